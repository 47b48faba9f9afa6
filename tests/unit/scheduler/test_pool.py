"""What is done at once, and what is not."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from opentelemetry import trace

from extractor.runtime.records import RunStatus
from scheduler import retries
from scheduler.capacity import DEFAULT_LIMITS, Limits
from scheduler.declaration import JobDeclaration
from scheduler.memory import MemoryStore
from scheduler.pool import ON_THREAD, Pool
from scheduler.ports import BusyError, ContainerGroups, ContainersError, GroupState
from scheduler.tick import Scheduler
from tests.unit.scheduler.world import START, CrashError, declare, hour
from tests.unit.telemetry import recorded

WORKERS = 8
JOBS = [f"job-{number:02}" for number in range(5 * WORKERS)]
PATIENCE_S = 20.0
"""Long enough for a machine that is busy; nothing waits for it unless a test fails."""


class Gate:
    """Lets callers through in groups: each waits until the group is complete.

    Args:
        size: of a group. Fewer callers at once than that never get through.
    """

    def __init__(self, size: int) -> None:
        self._barrier = threading.Barrier(size, timeout=PATIENCE_S)
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0

    def __call__(self) -> None:
        with self._one_more():
            self._barrier.wait()

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        yield
        with self._lock:
            self._inside -= 1


def nothing(*_: str) -> None:
    pass


class Crowd(ContainerGroups):
    """Jobs that are all due at the full hour, whose containers start and go on for ever."""

    def __init__(
        self,
        declarations: Sequence[JobDeclaration],
        workers: int = WORKERS,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.store = MemoryStore()
        self.scheduler = Scheduler(self.store, self, limits=limits, workers=workers)
        self.declarations = declarations
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.on_start: Callable[[str], None] = nothing
        self.on_state: Callable[[str], None] = nothing

    def tick(self, now: datetime) -> None:
        self.scheduler.tick(self.declarations, now)

    def start(self, name: str) -> None:
        self.on_start(name)
        self.started.append(name)

    def stop(self, name: str) -> None:
        self.stopped.append(name)

    def state(self, name: str) -> GroupState | None:
        self.on_state(name)
        return GroupState(terminated=False, started_at=hour(1))

    def last_log_line(self, name: str) -> str | None:
        return None

    def outcome(self) -> list[tuple[object, ...]]:
        """What the tables say in the end, without what is random."""
        return [
            (job.name, job.status, job.reason, job.starts, run.status, run.failure, run.postponed)
            for job in self.store.jobs()
            for run in self.store.runs(job.name)
        ]


def declared(names: Sequence[str], **changes: object) -> list[JobDeclaration]:
    return [declare(name, **changes) for name in names]


def test_containers_are_started_at_once_but_no_more_than_there_are_workers() -> None:
    crowd, gate = Crowd(declared(JOBS)), Gate(WORKERS)
    crowd.on_start = lambda _: gate()
    crowd.tick(hour(1))
    assert gate.most == WORKERS
    assert sorted(crowd.started) == JOBS


def test_containers_are_looked_at_at_once() -> None:
    crowd, gate = Crowd(declared(JOBS)), Gate(WORKERS)
    crowd.tick(hour(1))
    asked: list[str] = []

    def look(name: str) -> None:
        gate()
        asked.append(name)

    crowd.on_state = look
    crowd.tick(hour(1) + timedelta(minutes=1))
    assert gate.most == WORKERS
    assert sorted(asked) == JOBS


def test_one_worker_is_the_caller_and_keeps_the_order() -> None:
    crowd = Crowd(declared(JOBS), workers=1)
    crowd.on_start = lambda _: threads.add(threading.current_thread())
    threads: set[threading.Thread] = set()
    crowd.tick(hour(1))
    assert threads == {threading.current_thread()}
    assert crowd.started == JOBS


def test_who_gets_what_is_left_is_decided_before_all_start() -> None:
    early, urgent = JOBS[:20], JOBS[-3:]
    declarations = [*declared(early), *declared(urgent, priority=5)]
    crowd, gate = Crowd(declarations, limits=Limits(max_running=4)), Gate(4)
    crowd.on_start = lambda _: gate()
    crowd.tick(hour(1))
    assert sorted(crowd.started) == [early[0], *urgent]
    waiting = [crowd.store.job(name) for name in early[1:]]
    reasons = {job.reason for job in waiting if job}
    assert reasons == {"It waits until fewer than 4 containers run."}
    crowd.tick(hour(1) + timedelta(minutes=1))
    assert len(crowd.started) == 4


def test_a_job_that_fails_stops_no_other() -> None:
    crowd = Crowd(declared(JOBS))

    def fail(name: str) -> None:
        if name == JOBS[3]:
            raise ZeroDivisionError("by nought")

    crowd.on_start = fail
    crowd.tick(hour(1))
    assert sorted(crowd.started) == sorted({*JOBS} - {JOBS[3]})
    failed = crowd.store.job(JOBS[3])
    assert failed is not None
    assert failed.reason == "The scheduler failed on it: ZeroDivisionError: by nought"


def life(workers: int) -> Crowd:
    """Three hours in which Azure is busy, refuses or fails, by the name of the job."""
    crowd = Crowd(declared(JOBS, max_attempts=1), workers, Limits(max_running=25))

    def trouble(name: str) -> None:
        errors = [None, None, None, BusyError("Not now."), ContainersError("No."), OSError("Why?")]
        if error := errors[int(name[-2:]) % 6]:
            raise error

    crowd.on_start = crowd.on_state = trouble
    for minutes in range(0, 180, 5):
        crowd.tick(START + timedelta(minutes=minutes))
        # Every other one ends in good time.
        for name in JOBS[::2]:
            job = crowd.store.job(name)
            run = crowd.store.run(name, job.active_run) if job and job.active_run else None
            if job and run and run.status is RunStatus.STARTING:
                now = START + timedelta(minutes=minutes)
                crowd.store.update_run(replace(run, status=RunStatus.SUCCEEDED, ended_at=now))
    return crowd


def test_many_workers_bring_about_what_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each run has delays of its own, by its id, which is random.
    alike = SimpleNamespace(Random=lambda _: random.Random(0))
    monkeypatch.setattr(retries, "random", alike)
    alone = life(1).outcome()
    assert {row[4] for row in alone} > {RunStatus.SUCCEEDED, RunStatus.FAILED}
    assert life(WORKERS).outcome() == alone


def test_what_is_done_for_a_tick_is_part_of_its_trace() -> None:
    spans = recorded()
    crowd, found = Crowd(declared(JOBS)), set()
    crowd.on_start = lambda _: found.add(trace.get_current_span().get_span_context().span_id)
    crowd.tick(hour(1))
    assert found == {span.context.span_id for span in spans.spans() if span.context}


# The pool alone


@pytest.mark.parametrize("workers", [1, WORKERS])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    pool = Pool(workers)
    for items in ([], [1], list(range(50))):
        assert pool.map(lambda item: item**2, items) == [item**2 for item in items]


def test_the_order_of_the_results_is_not_that_in_which_they_come() -> None:
    last = threading.Event()

    def late(item: str) -> str:
        if item == "b":
            last.set()
        assert last.wait(PATIENCE_S)
        return item

    assert Pool(2).map(late, "ab") == ["a", "b"]


def test_nothing_goes_on_once_an_error_is_raised() -> None:
    both, done = Gate(2), []

    def crash(item: str) -> None:
        both()
        if item == "a":
            raise CrashError
        time.sleep(0.02)
        done.append(item)

    with pytest.raises(CrashError):
        Pool(2).map(crash, "ab")
    assert done == ["b"]


@pytest.mark.parametrize("workers", [1, WORKERS])
def test_what_the_function_raises_is_raised_when_the_others_are_done(workers: int) -> None:
    done = []

    def crash(item: int) -> None:
        if item == 30:
            raise CrashError
        done.append(item)

    with pytest.raises(CrashError):
        Pool(workers).map(crash, range(40))
    assert len(done) == (30 if workers == 1 else 39)


def test_a_thread_works_for_one_caller_after_the_other() -> None:
    pool, caller = Pool(2), ContextVar[str]("caller")
    entered: list[str] = []
    for name in ("first", "second"):
        caller.set(name)
        token = ON_THREAD.set(lambda: entered.append(caller.get()))
        gate = Gate(2)
        assert pool.map(lambda _, gate=gate: (gate(), caller.get())[1], "ab") == [name] * 2  # type: ignore[misc]
        ON_THREAD.reset(token)
    assert entered == ["first", "first", "second", "second"]
