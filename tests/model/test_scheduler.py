"""Random lives of the scheduler: whatever happens, each window is loaded once, and all of them.

``make model`` takes 10,000 steps; ``make model STEPS=100000 SEED=7`` more, and others. A failure
prints the shortest life that fails, as the calls of a program.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from extractor.runtime.records import ACTIVE_STATUSES, RunStatus
from extractor.runtime.window import Window
from scheduler import backfill, operations
from scheduler.capacity import DEFAULT_LIMITS, Limits
from scheduler.declaration import CatchUp, JobDeclaration, Overlap
from scheduler.job import Job
from scheduler.schedule import Schedule
from tests.model.world import (
    START,
    StartFault,
    StopFault,
    World,
    overlapping,
)

STEPS = int(os.environ.get("MODEL_STEPS") or "10000")
SEED = int(os.environ.get("MODEL_SEED") or "6")
STEPS_OF_A_LIFE = 50

SMALL = Limits(max_running=1, starts_per_five_minutes=3, starts_per_hour=60)
"""Backfills keep to half of it, which must be more than what is due in an hour takes."""
JOBS = ("rain", "wind")
HOUR = timedelta(hours=1)
TICK = timedelta(minutes=5)
CALM = timedelta(hours=3)
"""Long enough for each deadline and for the next fire time."""
MOST_TICKS = 2000
"""More than any backlog of a life takes."""

OPERATIONS = [
    operations.pause,
    operations.resume,
    operations.run_now,
    operations.cancel,
    operations.cancel_backfill,
]

jobs = st.sampled_from(JOBS)
schedules = st.sampled_from(["0 * * * *", "*/20 * * * *", "30 2 * * *", "15 */3 * * *"])
zones = st.sampled_from(["UTC", "Europe/Berlin"])
accesses = st.integers(1, 15)
container_accesses = st.integers(1, 40)
skews = st.integers(-60, 60).map(lambda seconds: timedelta(seconds=seconds))


def minutes(low: int, high: int) -> st.SearchStrategy[timedelta]:
    return st.integers(low, high).map(lambda number: timedelta(minutes=number))


@st.composite
def declarations(draw: st.DrawFn, name: str) -> JobDeclaration:
    due: dict[str, Any] = draw(
        st.one_of(
            st.builds(
                lambda cron, zone, jitter: {"schedule": cron, "time_zone": zone, "jitter": jitter},
                schedules,
                zones,
                st.sampled_from([timedelta(0), timedelta(minutes=7)]),
            ),
            st.builds(lambda every: {"every": every}, st.sampled_from([HOUR, HOUR / 4])),
            *([st.just({"after": ("rain",)})] if name == "wind" else []),
        )
    )
    catch_up = draw(st.sampled_from(CatchUp))
    replaces = catch_up is not CatchUp.ALL and "after" not in due
    overlaps = list(Overlap) if replaces else [Overlap.SKIP, Overlap.QUEUE]
    return JobDeclaration(
        name=name,
        container_group=name,
        start=START,
        lag=draw(st.sampled_from([timedelta(0), timedelta(minutes=45)])),
        max_window=draw(st.sampled_from([None, HOUR / 2, 5 * HOUR])),
        catch_up=catch_up,
        overlap=draw(st.sampled_from(overlaps)),
        run_deadline=draw(minutes(10, 60)),
        heartbeat_deadline=draw(minutes(10, 60)),
        max_attempts=draw(st.integers(1, 3)),
        **due,
    )


class Life(RuleBasedStateMachine):
    """Two schedulers, two jobs, and all that can befall them."""

    steps = 0
    ends: ClassVar[Counter[RunStatus]] = Counter()
    """Of all lives together."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(DEFAULT_LIMITS)
        self.skew = [timedelta(0), timedelta(0)]
        self.declared: list[dict[str, JobDeclaration]] = [{}, {}]
        self.latest: dict[str, JobDeclaration] = {}
        self.calm_since = START

    @initialize(data=st.data(), skew=skews, limits=st.sampled_from([DEFAULT_LIMITS, SMALL]))
    def first_deployment(self, data: st.DataObject, skew: timedelta, limits: Limits) -> None:
        self.world.close()
        self.world = World(limits)
        self.skew[1] = skew
        for name in JOBS:
            self.latest[name] = data.draw(declarations(name))
        self.declared = [dict(self.latest), dict(self.latest)]

    @invariant()
    def nothing_forbidden_has_happened(self) -> None:
        assert not self.world.violations, self.world.violations

    # Time and schedulers

    @rule(passed=minutes(0, 90))
    def time_passes(self, passed: timedelta) -> None:
        self.count()
        self.world.now += passed

    @rule(which=st.integers(0, 1), passed=minutes(0, 20))
    def tick(self, which: int, passed: timedelta) -> None:
        self.count()
        self.world.now += passed
        self._tick(which)

    @rule(number=st.integers(1, 12))
    def an_hour_of_ticks(self, number: int) -> None:
        """Of which containers take no notice."""
        self.count()
        for which in range(number):
            self.world.now += TICK
            self._tick(which % 2)

    @rule(which=st.integers(0, 1), passed=minutes(0, 20), at=accesses)
    def tick_that_crashes(self, which: int, passed: timedelta, at: int) -> None:
        self.count()
        self.world.now += passed
        self._disturbed(at, self.world.crash, lambda: self._tick(which))

    @rule(at=accesses, passed=minutes(0, 20))
    def two_ticks_at_once(self, at: int, passed: timedelta) -> None:
        self.count()
        self.world.now += passed
        self._disturbed(at, lambda: self._tick(1), lambda: self._tick(0))

    @rule(passed=minutes(0, 90), at=accesses, job=jobs, steps=st.integers(1, 5))
    def tick_while_a_container_works(
        self, passed: timedelta, at: int, job: str, steps: int
    ) -> None:
        self.count()
        self.world.now += passed
        self._disturbed(at, lambda: self._work(job, steps), lambda: self._tick(0))

    # Containers

    @rule(job=jobs, steps=st.integers(1, 6))
    def container_works(self, job: str, steps: int) -> None:
        self.count()
        self._work(job, steps)

    @rule(job=jobs, at=container_accesses, passed=minutes(0, 90), number=st.integers(1, 4))
    def container_stalls_while_schedulers_tick(
        self, job: str, at: int, passed: timedelta, number: int
    ) -> None:
        self.count()

        def ticks() -> None:
            self.world.now += passed
            for which in range(number):
                self._tick(which % 2)
                self.world.now += TICK

        self._disturbed(at, ticks, lambda: self._work(job, 6))

    @rule(job=jobs, at=container_accesses)
    def container_is_killed_at_work(self, job: str, at: int) -> None:
        self.count()
        self._disturbed(at, self.world.crash, lambda: self._work(job, 6))

    @rule(job=jobs, killed=st.booleans())
    def containers_fail(self, job: str, killed: bool) -> None:
        self.count()
        for process in self.world.groups.by_name[job].processes:
            if killed:
                process.die()
            else:
                process.fail(1)

    @rule(job=jobs, fault=st.sampled_from([*StartFault, *StopFault]))
    def next_request_goes_wrong(self, job: str, fault: StartFault | StopFault) -> None:
        self.count()
        group = self.world.groups.by_name[job]
        if isinstance(fault, StartFault):
            group.start_faults.append(fault)
        else:
            group.stop_faults.append(fault)

    @rule(job=jobs)
    def a_late_start_arrives(self, job: str) -> None:
        """Or a deployment starts the container."""
        self.count()
        self.world.groups.come_up(job)

    @rule(job=jobs, back=st.integers(1, 3))
    def next_view_is_stale(self, job: str, back: int) -> None:
        self.count()
        group = self.world.groups.by_name[job]
        if group.seen:
            group.stale.append(group.seen[-min(back, len(group.seen))])

    # Deployments and operators

    @rule(data=st.data(), job=jobs, reaches=st.sampled_from([(0,), (1,), (0, 1)]))
    def deployment(self, data: st.DataObject, job: str, reaches: tuple[int, ...]) -> None:
        """During a deployment, one scheduler may still have the former declarations."""
        self.count()
        self.latest[job] = data.draw(declarations(job))
        for which in reaches:
            self.declared[which] = dict(self.latest)

    @rule(job=jobs)
    def deployment_without_a_job(self, job: str) -> None:
        self.count()
        for declared in self.declared:
            declared.pop(job, None)

    @rule(job=jobs, operation=st.sampled_from(OPERATIONS))
    def operator(self, job: str, operation: Callable[..., object]) -> None:
        self.count()
        self._operate(operation, job)

    @rule(job=jobs, operation=st.sampled_from(OPERATIONS), which=st.integers(0, 1), at=accesses)
    def operator_during_a_tick(
        self, job: str, operation: Callable[..., object], which: int, at: int
    ) -> None:
        self.count()
        operate = functools.partial(self._operate, operation, job)
        self._disturbed(at, operate, lambda: self._tick(which))

    @rule(job=jobs, expression=schedules, zone=zones)
    def override_schedule(self, job: str, expression: str, zone: str) -> None:
        self.count()
        self._operate(operations.override_schedule, job, Schedule(expression, zone))

    @rule(
        job=jobs,
        start=st.integers(-12, 12),
        hours=st.integers(1, 12),
        chunk=st.sampled_from([None, HOUR, 5 * HOUR]),
    )
    def backfill(self, job: str, start: int, hours: int, chunk: timedelta | None) -> None:
        self.count()
        begin = START + start * HOUR
        window = Window(begin, begin + hours * HOUR)
        self._operate(operations.start_backfill, job, window, chunk)

    # The end of it: things calm down.

    def teardown(self) -> None:
        try:
            if self.latest and not self.world.violations:
                self._calm_down()
                self._check_the_end()
        finally:
            self.world.close()

    def _calm_down(self) -> None:
        world = self.world
        for group in world.groups.by_name.values():
            group.start_faults.clear()
            group.stop_faults.clear()
            group.stale.clear()
        for which in (0, 1):
            self.declared[which] = {
                name: replaced(each, max_attempts=3) for name, each in self.latest.items()
            }
        self._tick(0)
        for name in JOBS:
            self._operate(operations.resume, name)
        self.calm_since = world.now
        for number in range(MOST_TICKS):
            world.now += TICK
            self._tick(number % 2)
            for name in JOBS:
                self._work(name, 10)
            if world.now - self.calm_since > CALM and all(self._at_rest(name) for name in JOBS):
                return
        raise AssertionError(f"not at rest: {[world.tables.present(name) for name in JOBS]}")

    def _at_rest(self, name: str) -> bool:
        job = self.world.tables.present(name)
        due = job.next_fire_at is not None and job.next_fire_at <= self.world.now
        asked = job.run_requested_at or job.pending_audit or backfill.going(job)
        return not (job.active_run or job.closing or asked or due)

    def _check_the_end(self) -> None:
        world = self.world
        self.nothing_forbidden_has_happened()
        for name in JOBS:
            job = world.tables.present(name)
            assert (job.active_run, job.pending_run, job.closing, job.fence) == (None,) * 4
            for run in world.tables.runs(name):
                Life.ends[run.status] += 1
                assert not run.active, run
                assert run.ended_at is not None, run
                assert run.reason or run.status is RunStatus.SUCCEEDED, run
                assert run.status is RunStatus.SUCCEEDED or run.run_id not in world.committed, run
            loaded = world.loaded[name]
            edges = [START, *(end for _, end in loaded)]
            assert [begin for begin, _ in loaded] == edges[:-1]
            assert job.watermark == edges[-1]
            self._check_progress(job)
            shown = world.windows(name)
            assert not overlapping(shown), overlapping(shown)
            committed = {*loaded, *world.backfilled[name]}
            assert {each for each in committed if each[0] < each[1]} <= {*shown}

    def _check_progress(self, job: Job) -> None:
        """What became due since all is calm is loaded, and with it all that was before."""
        in_parts = job.options.max_window and job.options.catch_up is not CatchUp.ALL
        # Here a tick is so rare that a fire time may be missed; `none` leaves it to the next one.
        if job.upstreams or in_parts or job.options.catch_up is CatchUp.NONE:
            return
        fire = job.schedule.latest_fire(self.world.now - job.options.jitter - TICK)
        # A quota may make a run wait so long that the next fire time is skipped.
        skipped = {
            run.created_at
            for run in self.world.tables.runs(job.name)
            if run.status is RunStatus.SKIPPED
        }
        if fire and fire > self.calm_since and fire not in skipped:
            assert job.watermark >= fire - job.options.lag, (job, fire)

    # Parts of rules

    @classmethod
    def count(cls) -> None:
        Life.steps += 1

    def _tick(self, which: int) -> None:
        self.world.tick(list(self.declared[which].values()), self.skew[which])

    def _work(self, job: str, steps: int) -> None:
        for process in self.world.groups.by_name[job].processes:
            for _ in range(steps):
                process.step()

    def _operate(self, operation: Callable[..., object], job: str, *arguments: object) -> None:
        with contextlib.suppress(operations.OperationError):
            operation(self.world.tables, job, *arguments, by="me", now=self.world.now)

    def _disturbed(self, at: int, by: Callable[[], None], action: Callable[[], None]) -> None:
        self.world.interrupted(at, by)
        action()
        self.world.undisturbed()


def replaced(declaration: JobDeclaration, **changes: Any) -> JobDeclaration:
    return JobDeclaration(**{**declaration.model_dump(), **changes})


def test_random_lives() -> None:
    Life.steps = 0
    Life.ends.clear()
    run_state_machine_as_test(
        seed(SEED)(Life),
        settings=settings(
            max_examples=int(STEPS / STEPS_OF_A_LIFE * 1.15) + 2,
            stateful_step_count=STEPS_OF_A_LIFE,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    ends = ", ".join(f"{number} {status}" for status, number in Life.ends.most_common())
    print(f"{Life.steps} steps with seed {SEED}; runs: {ends}")  # noqa: T201 - what was tried
    assert Life.steps >= STEPS
    # A world in which nothing goes wrong, or nothing right, would prove nothing.
    assert set(Life.ends) == set(RunStatus) - ACTIVE_STATUSES
