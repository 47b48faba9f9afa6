"""A small cloud in memory that can go wrong in every way that the scheduler has to bear.

The scheduler and the extractors' claim are the real ones; tables, containers, lake and clock are
not. Whatever is asked of them goes through :meth:`World.turn`, where a process may end or another
one may come first. What must never be is noted in :attr:`World.violations` at the very write that
does it.
"""

from __future__ import annotations

import contextlib
import random
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum, auto
from itertools import pairwise
from logging import ERROR, Handler, LogRecord, getLogger
from types import SimpleNamespace
from typing import TypeVar
from unittest import mock

from extractor.runtime import ports
from extractor.runtime.claim import FenceLostError, Outcome, take
from extractor.runtime.load import Load, OverlapError
from extractor.runtime.records import BACKFILL, Run, RunStatus
from extractor.runtime.testing import IMAGE_DIGEST, MemoryLake
from extractor.runtime.window import Window as DataWindow
from scheduler.capacity import Limits
from scheduler.declaration import JobDeclaration
from scheduler.job import Job
from scheduler.memory import MemoryStore
from scheduler.ports import BusyError, ContainerGroups, ContainersError, GroupState
from scheduler.tick import Scheduler
from tests.unit.scheduler.extractor_store import ExtractorStore
from tests.unit.scheduler.world import CrashError

START = datetime(2026, 3, 28, tzinfo=UTC)
"""The day before clocks change in Berlin."""

Window = tuple[datetime, datetime]
Result = TypeVar("Result")

GOING = (RunStatus.STARTING, RunStatus.RUNNING)

KILLED = 137
STOPPED = 143


class StartFault(StrEnum):
    """What becomes of a request to start a container."""

    BUSY = auto()
    """Azure is still changing the group."""
    REFUSED = auto()
    """Azure says no."""
    DELAYED = auto()
    """It starts much later, or never; until then the group looks as before."""
    NEVER = auto()
    """The group leaves its former state and never comes up."""
    DOUBLED = auto()
    """Two containers come up, of which Azure knows one."""
    ANSWER_LOST = auto()
    """It starts, and the scheduler hears of an error."""


class StopFault(StrEnum):
    """What becomes of a request to stop a container."""

    REFUSED = auto()
    """Azure says no."""
    SURVIVED = auto()
    """Azure says that it has ended, and it goes on somewhere."""


class Tables(MemoryStore):
    """The tables, with a turn for others before each access."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def jobs(self) -> Sequence[Job]:
        self._world.turn()
        return super().jobs()

    def job(self, name: str) -> Job | None:
        self._world.turn()
        return super().job(name)

    def run(self, job: str, row_key: str) -> Run | None:
        self._world.turn()
        return super().run(job, row_key)

    def create_job(self, job: Job) -> Job:
        self._world.turn()
        return super().create_job(job)

    def update_job(self, job: Job) -> Job:
        self._world.turn()
        before = super().job(job.name)
        after = super().update_job(job)
        assert before is not None
        self._world.check_job(before, after)
        return after

    def create_run(self, run: Run) -> Run:
        self._world.turn()
        created = super().create_run(run)
        self._world.check_runs(run.job)
        return created

    def update_run(self, run: Run) -> Run:
        self._world.turn()
        before = super().run(run.job, run.row_key)
        after = super().update_run(run)
        assert before is not None
        self._world.check_run(before, after)
        return after

    def present(self, name: str) -> Job:
        """A job, without a turn for others."""
        job = super().job(name)
        assert job is not None
        return job


class Lake(MemoryLake):
    """The lake, with a turn for others before each change."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def rename(self, source: str, target: str) -> None:
        self._world.turn()
        super().rename(source, target)

    def delete(self, folder: str) -> None:
        self._world.turn()
        super().delete(folder)


class Process:
    """A container's one process: the steps of an extractor, each at a time of its own.

    Args:
        world: where it runs.
        job: its name.
        started_at: by Azure's clock.
    """

    def __init__(self, world: World, job: str, started_at: datetime) -> None:
        self.job = job
        self.started_at = started_at
        self.exit_code: int | None = None
        self._world = world
        self._store = ExtractorStore(world.tables)
        self._load: Load | None = None
        self._steps = self._extract()

    @property
    def alive(self) -> bool:
        return self.exit_code is None

    def step(self) -> None:
        """Go on to the next point at which it may be interrupted for long."""
        if not self.alive:
            return
        try:
            next(self._steps)
        except CrashError:
            self._world.recover()
            self.exit_code = KILLED
        except FenceLostError:
            self.exit_code = 1
        except OverlapError:
            self.fail(1)
        except StopIteration:
            self.exit_code = 0

    def finish(self) -> None:
        while self.alive:
            self.step()

    def fail(self, exit_code: int) -> None:
        """The extractor raises, or is asked to stop: it closes its run if that is still its own."""
        if not self.alive:
            return
        self.exit_code = exit_code
        if self._load is None:
            return
        try:
            self._load.claim.check_fence()
            self._load.claim.close(Outcome(RunStatus.FAILED, reason="It raised."))
            self._load.discard()
        except FenceLostError:
            return

    def die(self) -> None:
        """Kill it."""
        if self.alive:
            self.exit_code = KILLED

    def _extract(self) -> Iterator[None]:
        yield
        claim = take(self._store, self.job, IMAGE_DIGEST)
        if claim is None:
            return
        self._load = load = Load(self._world.lake, claim)
        yield
        leftovers = load.leftovers()
        with contextlib.suppress(ports.ConflictError):
            claim.beat()
        load.stage(())
        yield
        load.publish()
        yield
        self._load = None  # from here on it is never closed as failed
        claim.commit(load.commit)
        yield
        load.delete(leftovers)
        claim.close(Outcome(RunStatus.SUCCEEDED, rows=1, bytes=10))


class Group:
    """A container group as Azure shows it, and what really runs."""

    def __init__(self) -> None:
        self.process: Process | None = None
        self.strays: list[Process] = []
        self.coming_up = False
        self.start_faults: deque[StartFault] = deque()
        self.stop_faults: deque[StopFault] = deque()
        self.stale: deque[GroupState] = deque()
        self.seen: list[GroupState] = []

    @property
    def processes(self) -> list[Process]:
        """All that are alive."""
        found = [self.process, *self.strays]
        return [process for process in found if process and process.alive]

    def state(self) -> GroupState:
        process = self.process
        if self.coming_up:
            return GroupState(terminated=False)
        if process is None:
            # A deployment has started it once, and it found nothing to do.
            return GroupState(True, 0, START - timedelta(days=1))
        if process.alive:
            return GroupState(terminated=False, started_at=process.started_at)
        return GroupState(True, process.exit_code, process.started_at)


class Groups(ContainerGroups):
    """The container groups, with a turn for others before each request."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.by_name: defaultdict[str, Group] = defaultdict(Group)

    def start(self, name: str) -> None:
        self._world.turn()
        group = self.by_name[name]
        fault = group.start_faults.popleft() if group.start_faults else None
        if fault is StartFault.BUSY:
            raise BusyError("The group is in transition.")
        if fault is StartFault.REFUSED:
            raise ContainersError("There are no cores left.")
        if fault is StartFault.DELAYED:
            return
        if fault is StartFault.NEVER and not group.processes:
            group.coming_up = True
            return
        self.come_up(name)
        if fault is StartFault.DOUBLED:
            group.strays.append(Process(self._world, name, self._world.now))
        if fault is StartFault.ANSWER_LOST:
            raise ContainersError("The connection was reset.")

    def come_up(self, name: str) -> None:
        group = self.by_name[name]
        if group.coming_up or (group.process and group.process.alive):
            return
        group.process = Process(self._world, name, self._world.now)

    def stop(self, name: str) -> None:
        self._world.turn()
        group = self.by_name[name]
        fault = group.stop_faults.popleft() if group.stop_faults else None
        if fault is StopFault.REFUSED:
            raise BusyError("The group is in transition.")
        group.coming_up = False
        process = group.process
        if process is None or not process.alive:
            return
        if fault is StopFault.SURVIVED:
            group.strays.append(process)
            ended = Process(self._world, name, process.started_at)
            ended.exit_code = STOPPED
            group.process = ended
        else:
            process.fail(STOPPED)

    def state(self, name: str) -> GroupState | None:
        self._world.turn()
        group = self.by_name[name]
        group.seen.append(group.state())
        return group.stale.popleft() if group.stale else group.state()

    def last_log_line(self, name: str) -> str | None:
        return "its last words"


class World:
    """Everything, and the true time.

    Args:
        limits: of the scheduler.

    Attributes:
        now: what a perfect clock shows.
        violations: what happened that must not.
        loaded: the windows that were committed and moved the watermark, by job.
        committed: ids of the runs that did so, or moved a backfill's position.
        backfilled: those that were committed for a backfill.
        lake: what readers see.
    """

    def __init__(self, limits: Limits) -> None:
        self.now = START
        self.violations: list[str] = []
        self.loaded: defaultdict[str, list[Window]] = defaultdict(list)
        self.committed: set[str] = set()
        self.backfilled: defaultdict[str, list[Window]] = defaultdict(list)
        self.lake = Lake(self)
        self.tables = Tables(self)
        self.groups = Groups(self)
        self.scheduler = Scheduler(self.tables, self.groups, limits=limits)
        self._interruption: tuple[int, Callable[[], None]] | None = None
        self._accesses = 0
        self._crashing = False
        self._claimed: set[str] = set()
        self._patches = self._patched()

    def close(self) -> None:
        """Give back what was patched."""
        self._patches.close()

    def _patched(self) -> ExitStack:
        dice = random.Random(0)

        def new_id() -> uuid.UUID:
            return uuid.UUID(int=dice.getrandbits(128), version=4)

        clock = SimpleNamespace(now=self._clock)
        no_sleep = SimpleNamespace(sleep=lambda _: None)
        with ExitStack() as stack:
            stack.enter_context(mock.patch("extractor.runtime.claim.datetime", clock))
            stack.enter_context(mock.patch("extractor.runtime.claim.time", no_sleep))
            # What goes wrong must go wrong again when it is tried again.
            stack.enter_context(mock.patch.object(uuid, "uuid4", new_id))
            stack.callback(_watched(self._logged))
            return stack.pop_all()

    def _clock(self, _: tzinfo) -> datetime:
        return self.now

    # What happens.

    def interrupted(self, at: int, by: Callable[[], None]) -> None:
        """Before the ``at``-th access from now on, counted from 1, let something else happen."""
        self._accesses = 0
        self._interruption = (at, by)

    def undisturbed(self) -> None:
        """Forget an interruption that has not come."""
        self._interruption = None

    def turn(self) -> None:
        """A moment at which others may come first."""
        if self._crashing:
            raise CrashError
        self._accesses += 1
        if self._interruption is None or self._accesses < self._interruption[0]:
            return
        _, action = self._interruption
        self._interruption = None
        action()

    def tick(self, declarations: Iterable[JobDeclaration], skew: timedelta) -> None:
        """One tick of a scheduler whose clock is wrong by ``skew``."""
        try:
            self.scheduler.tick(declarations, self.now + skew)
        except CrashError:
            self.recover()

    def crash(self) -> None:
        """End the process whose turn it is: nothing that it still tries has any effect."""
        self._crashing = True
        raise CrashError

    def recover(self) -> None:
        """The process is gone; others go on."""
        self._crashing = False

    def windows(self, job: str) -> list[Window]:
        """What readers of a job see."""
        found = [DataWindow.of_folder(name) for name in self.lake.children(job)]
        return [(each.start, each.end) for each in found if each]

    # What must not be.

    def check_job(self, before: Job, after: Job) -> None:
        """Nobody but the load of a window moves the watermark, and from where it was."""
        moved = after.watermark != before.watermark
        if before.commit_run_id == after.commit_run_id:
            if moved:
                self.violations.append(f"The watermark of {after.name} moved without a load.")
            return
        runs = {run.run_id: run for run in MemoryStore.runs(self.tables, after.name)}
        run = runs.get(after.commit_run_id or "")
        if run is None:
            self.violations.append(f"The last load of {after.name} was forgotten.")
            return
        window = (run.window_from, run.window_to)
        self.committed.add(run.run_id)
        backfills = run.trigger == BACKFILL
        (self.backfilled if backfills else self.loaded)[after.name].append(window)
        if window != (before.watermark, after.watermark) and (moved or not backfills):
            self.violations.append(
                f"The watermark of {after.name} moved from {before.watermark} to "
                f"{after.watermark} by the {run.trigger} load of {run.window_from}/{run.window_to}."
            )

    def check_run(self, before: Run, after: Run) -> None:
        """An end is final, and a run is claimed once."""
        if not before.active:
            self.violations.append(f"The run {after.run_id} was {before.status}, then written.")
        if before.claim_token != after.claim_token:
            if after.run_id in self._claimed:
                self.violations.append(f"The run {after.run_id} was claimed twice.")
            self._claimed.add(after.run_id)
        self.check_runs(after.job)

    def check_runs(self, job: str) -> None:
        """Of a job's runs, one is going at most."""
        going = [run for run in MemoryStore.runs(self.tables, job) if run.status in GOING]
        if len(going) > 1:
            self.violations.append(f"{len(going)} runs of {job} were going at once.")

    def _logged(self, record: LogRecord) -> None:
        if record.exc_info:
            self.violations.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


def _watched(note: Callable[[LogRecord], None]) -> Callable[[], None]:
    """Note what the scheduler logs as an error, for a tick survives its errors."""

    class Noting(Handler):
        def emit(self, record: LogRecord) -> None:
            note(record)

    logger, handler = getLogger("scheduler"), Noting(ERROR)
    logger.addHandler(handler)
    return lambda: logger.removeHandler(handler)


def overlapping(windows: Iterable[Window]) -> list[tuple[Window, Window]]:
    """Neighbours that share some time; windows without any are left out."""
    ordered = sorted(window for window in windows if window[0] < window[1])
    return [pair for pair in pairwise(ordered) if pair[0][1] > pair[1][0]]
