"""What the runtime needs of the tables and of the lake, and nothing of how Azure offers it.

``azure.py`` has these on Azure, ``testing.py`` in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from extractor.runtime.records import Run


class ConflictError(Exception):
    """The row is no longer the one that was read: somebody else has written it, or deleted it."""


class PathExistsError(Exception):
    """The new name of a folder is taken."""


@dataclass(frozen=True)
class JobRow:
    """The part of a row of ``jobs`` that an extractor reads.

    Args:
        active_run: row key of the run that the scheduler wants to see run.
        fence: claim token of the extractor that may commit.
        etag: version of the row as read.
    """

    active_run: str | None
    fence: str | None
    etag: str


class RunStore(Protocol):
    """The tables ``jobs`` and ``runs``. Every write is conditional on the version that was read."""

    def read_job(self, name: str) -> JobRow | None:
        """The job's row; ``None`` where there is none."""

    def update_job(self, name: str, changes: Mapping[str, object], etag: str) -> None:
        """Set some of the row's properties, all or none of them.

        Raises:
            ConflictError: the row's version is not ``etag``.
        """

    def read_run(self, job: str, row_key: str) -> Run | None:
        """The run's row; ``None`` where there is none."""

    def write_run(self, run: Run) -> None:
        """Replace the run's row.

        Raises:
            ConflictError: the row's version is not ``run.etag``.
        """


class Lake(Protocol):
    """A file system of the lake. Paths have slashes between their parts and none at their ends."""

    def upload(self, source: Path, path: str) -> None:
        """Write a local file to ``path``, in place of what is there; folders above it appear.

        Called from several threads at once.
        """

    def rename(self, source: str, target: str) -> None:
        """Give a folder another name, at once and with all that is in it; folders above appear.

        Raises:
            PathExistsError: ``target`` exists. Nothing has changed.
        """

    def delete(self, folder: str) -> None:
        """Delete a folder with all that is in it; one that does not exist is no error."""

    def children(self, folder: str) -> list[str]:
        """Names of what is directly in the folder; none for one that does not exist."""
