"""What the scheduler needs of the tables and of the containers, and nothing of how Azure offers it.

``tables.py`` and ``containers.py`` have these on Azure, ``memory.py`` in memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from extractor.runtime.records import Failure, Run
from scheduler.audit import AuditEntry
from scheduler.job import Job


class ConflictError(Exception):
    """The row is no longer the one that was read: somebody else has written it."""


class BusyError(Exception):
    """Azure can't do it now; try again later.

    Args:
        text: what Azure says.
        failure: one of :data:`~scheduler.retries.POSTPONED`.
        retry_after: how long Azure asks to wait, if it does.
    """

    def __init__(
        self,
        text: str,
        failure: Failure = Failure.TRANSITIONING,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(text)
        self.failure = failure
        self.retry_after = retry_after


class ContainersError(Exception):
    """Azure refuses; the text says why."""


class Store(ABC):
    """The tables ``jobs``, ``runs`` and ``audit``.

    Updates are conditional on the version that was read.
    """

    @abstractmethod
    def jobs(self) -> Sequence[Job]:
        """All jobs."""

    @abstractmethod
    def job(self, name: str) -> Job | None:
        """One job; ``None`` where there is none."""

    @abstractmethod
    def create_job(self, job: Job) -> Job:
        """Write a new row.

        Raises:
            ConflictError: there is one.
        """

    @abstractmethod
    def update_job(self, job: Job) -> Job:
        """Replace a job's row, and return it with its new version.

        Raises:
            ConflictError: the row's version is not ``job.etag``.
        """

    @abstractmethod
    def run(self, job: str, row_key: str) -> Run | None:
        """One run; ``None`` where there is none."""

    @abstractmethod
    def runs(self, job: str, *, after: str = "", limit: int | None = None) -> Sequence[Run]:
        """The runs of a job, newest first.

        Args:
            job: its name.
            after: row key of the run before the first one; any key sorts after the empty one.
            limit: most runs of the answer; ``None``: all.
        """

    @abstractmethod
    def create_run(self, run: Run) -> Run:
        """Write a new row; one that is there already is returned as it is."""

    @abstractmethod
    def update_run(self, run: Run) -> Run:
        """Replace a run's row, and return it with its new version.

        Raises:
            ConflictError: the row's version is not ``run.etag``.
        """

    @abstractmethod
    def append_audit(self, entry: AuditEntry) -> None:
        """Write a new row; one that is there already is left as it is."""

    @abstractmethod
    def audit(self, job: str, *, after: str = "", limit: int | None = None) -> Sequence[AuditEntry]:
        """What was done to a job, newest first; the arguments are those of :meth:`runs`."""

    @abstractmethod
    def delete_runs(self, job: str, row_keys: Sequence[str]) -> None:
        """Delete up to 100 runs of a job, all or none; nothing where one is gone already."""

    @abstractmethod
    def delete_audit(self, job: str, row_keys: Sequence[str]) -> None:
        """Delete what was done to a job; see :meth:`delete_runs`."""


@dataclass(frozen=True)
class GroupState:
    """What a group's container does.

    Args:
        terminated: it has ended.
        exit_code: of a container that has ended, where Azure knows it.
        started_at: when it last started.
        pull_error: why its image can't be pulled, if it can't.
        pull_failed_at: when that was last tried.
    """

    terminated: bool
    exit_code: int | None = None
    started_at: datetime | None = None
    pull_error: str | None = None
    pull_failed_at: datetime | None = None


class ContainerGroups(ABC):
    """The container groups of the stack, by name."""

    @abstractmethod
    def start(self, name: str) -> None:
        """Start a group; one that runs is left alone.

        Raises:
            BusyError: try again later.
            ContainersError: Azure refuses.
        """

    @abstractmethod
    def stop(self, name: str) -> None:
        """Stop a group; raises as :meth:`start`."""

    @abstractmethod
    def state(self, name: str) -> GroupState | None:
        """What its container does; ``None`` where there is no such group. Raises as start."""

    @abstractmethod
    def last_log_line(self, name: str) -> str | None:
        """The last line that its container wrote, where it can be had. Never raises."""
