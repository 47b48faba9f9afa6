"""A scheduler with its tables in memory, and containers that keep to the protocol or die at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum, auto
from typing import Any, TypeVar

from extractor.runtime.records import BACKFILL, Run, RunStatus
from scheduler.audit import AuditEntry
from scheduler.declaration import JobDeclaration
from scheduler.job import Job
from scheduler.memory import MemoryStore
from scheduler.ports import BusyError, ContainerGroups, GroupState
from scheduler.tick import Scheduler

START = datetime(2026, 3, 10, tzinfo=UTC)
TICK = timedelta(minutes=5)
NAME = "weather"

Window = tuple[datetime, datetime]
Result = TypeVar("Result")


def hour(number: float) -> datetime:
    return START + timedelta(hours=number)


def declare(name: str = NAME, **changes: Any) -> JobDeclaration:
    values: dict[str, Any] = {
        "name": name,
        "container_group": name,
        "schedule": "0 * * * *",
        "start": START,
        "run_deadline": timedelta(minutes=20),
    }
    return JobDeclaration(**values | changes)


class Fate(StrEnum):
    """What becomes of a container that finds a run to do."""

    DONE = auto()
    DIES_AT_ONCE = auto()
    DIES_AFTER_CLAIM = auto()
    DIES_AFTER_FENCE = auto()
    DIES_AFTER_LOAD = auto()
    DIES_AFTER_COMMIT = auto()
    REPORTS_AN_ERROR = auto()
    HANGS = auto()
    NEVER_CLAIMS = auto()


class CrashError(BaseException):
    """The scheduler's process is gone; unlike an error it can't be caught."""


class Faults:
    """Ends the process at one of the writes that a scheduler makes.

    Args:
        at: which write, counted from 1; ``None``: never.
        done: whether that write still took effect.
    """

    def __init__(self, at: int | None = None, *, done: bool = False) -> None:
        self._at = at
        self._done = done
        self.writes = 0

    def pass_through(self, write: Callable[[], Result]) -> Result:
        self.writes += 1
        if self.writes != self._at:
            return write()
        if self._done:
            write()
        raise CrashError


class FaultyStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.faults = Faults()

    def create_job(self, job: Job) -> Job:
        return self.faults.pass_through(lambda: MemoryStore.create_job(self, job))

    def update_job(self, job: Job) -> Job:
        return self.faults.pass_through(lambda: MemoryStore.update_job(self, job))

    def create_run(self, run: Run) -> Run:
        return self.faults.pass_through(lambda: MemoryStore.create_run(self, run))

    def update_run(self, run: Run) -> Run:
        return self.faults.pass_through(lambda: MemoryStore.update_run(self, run))

    def append_audit(self, entry: AuditEntry) -> None:
        self.faults.pass_through(lambda: MemoryStore.append_audit(self, entry))


class Container(ContainerGroups):
    """The one container group. It does its work when :meth:`work` is called, between two ticks."""

    def __init__(self, store: FaultyStore) -> None:
        self._store = store
        self.fates: list[Fate] = []
        self.starts = 0
        self.stops = 0
        self.busy = False
        self.missing = False
        self.loaded: list[Window] = []
        self.backfilled: list[Window] = []
        self._now = START
        self._running = False
        self._fresh = False
        self._exit_code = 0
        self._started_at: datetime | None = None

    # As the scheduler sees it.
    def start(self, name: str) -> None:
        self._store.faults.pass_through(self._start)

    def _start(self) -> None:
        if self.busy:
            raise BusyError("The group is in transition.")
        self.starts += 1
        if not self._running:
            self._running = self._fresh = True
            self._started_at = self._now

    def stop(self, name: str) -> None:
        self._store.faults.pass_through(self._stop)

    def _stop(self) -> None:
        self.stops += 1
        self._end(143)

    def state(self, name: str) -> GroupState | None:
        if self.missing:
            return None
        if self._running:
            return GroupState(terminated=False, started_at=self._started_at)
        return GroupState(True, self._exit_code, self._started_at)

    def last_log_line(self, name: str) -> str | None:
        return "its last words"

    # What happens in it.
    def work(self, now: datetime) -> None:
        self._now = now
        if self._fresh:
            self._fresh = False
            self._extract(now)

    def _end(self, exit_code: int) -> None:
        self._running = self._fresh = False
        self._exit_code = exit_code

    def _extract(self, now: datetime) -> None:
        run = self._startable()
        if run is None:
            return self._end(0)
        fate = self.fates.pop(0) if self.fates else Fate.DONE
        if fate is Fate.NEVER_CLAIMS:
            return None
        if fate is Fate.DIES_AT_ONCE:
            return self._end(1)
        run = MemoryStore.update_run(
            self._store,
            replace(run, status=RunStatus.RUNNING, claim_token=run.run_id, started_at=now),
        )
        if fate is Fate.HANGS:
            return None
        if fate is not Fate.DIES_AFTER_CLAIM:
            self._load(run, fate)
        self._end(0 if fate is Fate.DONE else 1 if fate is Fate.REPORTS_AN_ERROR else 137)
        return None

    def _load(self, run: Run, fate: Fate) -> None:
        self._save_job(fence=run.claim_token)
        if fate in (Fate.DIES_AFTER_FENCE, Fate.DIES_AFTER_LOAD):
            return
        if fate is Fate.REPORTS_AN_ERROR:
            self._close(run, RunStatus.FAILED)
            return
        assert self._job().fence == run.claim_token
        chunk = run.trigger == BACKFILL
        (self.backfilled if chunk else self.loaded).append((run.window_from, run.window_to))
        moved = {"backfill_position" if chunk else "watermark": run.window_to}
        self._save_job(
            **moved,
            commit_run_id=run.run_id,
            commit_rows=7,
            commit_bytes=70,
            commit_lake_path="lake/path",
        )
        if fate is not Fate.DIES_AFTER_COMMIT:
            self._close(run, RunStatus.SUCCEEDED)

    def _close(self, run: Run, status: RunStatus) -> None:
        rows = 7 if status is RunStatus.SUCCEEDED else None
        ended = replace(run, status=status, ended_at=self._now, reason=f"told: {status}", rows=rows)
        MemoryStore.update_run(self._store, ended)

    def _startable(self) -> Run | None:
        job = self._job()
        run = self._store.run(NAME, job.active_run) if job.active_run else None
        return run if run and run.status is RunStatus.STARTING else None

    def _job(self) -> Job:
        job = self._store.job(NAME)
        assert job is not None
        return job

    def _save_job(self, **changes: Any) -> None:
        MemoryStore.update_job(self._store, replace(self._job(), **changes))


class World:
    """Everything, and the time.

    Args:
        fates: of the containers that find a run to do, in turn; all later ones are done.
        changes: to the job's declaration, see :func:`declare`.
    """

    def __init__(self, *fates: Fate, **changes: Any) -> None:
        self.declaration = declare(**changes)
        self.store = FaultyStore()
        self.container = Container(self.store)
        self.container.fates = list(fates)
        self.now = START
        self.crashed = False
        self.scheduler = Scheduler(self.store, self.container)

    @property
    def job(self) -> Job:
        job = self.store.job(NAME)
        assert job is not None
        return job

    @property
    def runs(self) -> list[Run]:
        """Oldest first."""
        return list(reversed(self.store.runs(NAME)))

    def tick(self, now: datetime | None = None) -> None:
        """One tick of the scheduler, and another at once where it crashes; then the container."""
        self.now = now or self.now + TICK
        self.container._now = self.now
        try:
            self.scheduler.tick([self.declaration], self.now)
        except CrashError:
            self.crashed = True
            self.scheduler.tick([self.declaration], self.now)
        self.container.work(self.now + timedelta(seconds=20))

    def run_until(self, end: datetime) -> None:
        while self.now < end:
            self.tick()

    def set_job(self, **changes: Any) -> None:
        """As an operator would."""
        MemoryStore.update_job(self.store, replace(self.job, **changes))

    def statuses(self) -> list[RunStatus]:
        return [run.status for run in self.runs]

    def check_loaded_once(self) -> None:
        """Every window up to the watermark was loaded, and none of it twice."""
        assert self.container.loaded
        edges = [START, *(to for _, to in self.container.loaded)]
        assert [begin for begin, _ in self.container.loaded] == edges[:-1]
        assert self.job.watermark == edges[-1]

    def check_at_rest(self) -> None:
        """Nothing is under way, and every run has an end with a reason or a success."""
        job = self.job
        assert (job.active_run, job.pending_run, job.closing, job.fence) == (None,) * 4
        for run in self.runs:
            assert not run.active
            assert run.ended_at is not None
            assert run.reason or run.status is RunStatus.SUCCEEDED
