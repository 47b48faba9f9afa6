"""The scheduler against containers that die at each step, and its own death at each write."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from unittest import mock

import pytest

from extractor.runtime.records import Failure, Run, RunStatus
from scheduler.declaration import CatchUp, Overlap
from scheduler.job import Job
from scheduler.memory import MemoryStore
from scheduler.ports import BusyError, ContainersError, GroupState
from scheduler.retries import MOST_POSTPONEMENTS
from scheduler.tick import Scheduler
from tests.unit.scheduler.world import (
    NAME,
    START,
    TICK,
    CrashError,
    Fate,
    Faults,
    World,
    declare,
    hour,
)

SUCCEEDED, FAILED, ABANDONED = RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.ABANDONED
TIMED_OUT, SKIPPED = RunStatus.TIMED_OUT, RunStatus.SKIPPED


def test_a_run_begins_at_its_fire_time_and_moves_the_watermark() -> None:
    world = World()
    world.run_until(hour(1) - TICK)
    assert world.runs == []
    world.tick()
    (run,) = world.runs
    assert (run.window_from, run.window_to, run.created_at) == (START, hour(1), hour(1))
    world.tick()
    world.check_at_rest()
    assert world.job.watermark == hour(1)
    assert world.job.last_status is SUCCEEDED
    assert world.job.next_fire_at == hour(2)
    assert world.container.starts == 1


def test_between_fire_times_nothing_is_written() -> None:
    world = World()
    world.run_until(hour(1.5))
    world.store.faults = Faults()
    world.tick()
    assert world.store.faults.writes == 0


@pytest.mark.parametrize(
    ("fate", "first", "reason"),
    [
        (Fate.DIES_AT_ONCE, FAILED, "exit code 1 before it claimed"),
        (Fate.DIES_AFTER_CLAIM, ABANDONED, "for want of memory) without closing"),
        (Fate.DIES_AFTER_FENCE, ABANDONED, "for want of memory) without closing"),
        (Fate.REPORTS_AN_ERROR, FAILED, "told: failed"),
        (Fate.HANGS, TIMED_OUT, "still going after 0:20:00"),
        (Fate.NEVER_CLAIMS, FAILED, "did not claim the run within 0:10:00"),
    ],
)
def test_a_run_that_did_not_commit_is_tried_again(
    fate: Fate, first: RunStatus, reason: str
) -> None:
    world = World(fate)
    world.run_until(hour(1.9))
    assert world.statuses() == [first, SUCCEEDED]
    lost, again = world.runs
    assert reason in (lost.reason or "")
    assert (again.attempt, again.window_from, again.window_to) == (2, START, hour(1))
    world.check_loaded_once()
    world.check_at_rest()


def test_a_run_that_died_after_its_commit_has_succeeded() -> None:
    world = World(Fate.DIES_AFTER_COMMIT)
    world.run_until(hour(1.9))
    (run,) = world.runs
    assert (run.status, run.rows, run.bytes, run.lake_path) == (SUCCEEDED, 7, 70, "lake/path")
    world.check_loaded_once()
    world.check_at_rest()


def test_a_run_that_hangs_is_stopped_and_cannot_commit_any_more() -> None:
    world = World(Fate.HANGS)
    world.run_until(hour(1) + timedelta(minutes=25))
    assert world.container.stops == 1
    assert world.statuses()[0] is TIMED_OUT
    assert world.job.fence is None


def test_after_the_last_attempt_the_job_waits_for_its_next_fire_time() -> None:
    world = World(Fate.REPORTS_AN_ERROR, Fate.REPORTS_AN_ERROR, max_attempts=2)
    world.run_until(hour(1.9))
    assert world.statuses() == [FAILED, FAILED]
    assert world.job.last_status is FAILED
    world.run_until(hour(2.9))
    # What was not loaded is part of the next window.
    assert world.container.loaded == [(START, hour(2))]
    world.check_at_rest()


def test_a_retry_waits() -> None:
    world = World(Fate.REPORTS_AN_ERROR, retry_delay=timedelta(minutes=30))
    world.run_until(hour(1.25))
    assert world.statuses() == [FAILED, RunStatus.QUEUED]
    not_before = world.runs[1].not_before
    assert not_before is not None
    world.run_until(not_before - TICK)
    assert world.container.starts == 1
    world.run_until(not_before + TICK)
    assert world.container.starts == 2


def test_a_group_in_transition_is_asked_again() -> None:
    world = World()
    world.container.busy = True
    world.tick(hour(1))
    postponed = [(run.status, run.failure, run.postponed) for run in world.runs]
    assert postponed == [(RunStatus.QUEUED, Failure.TRANSITIONING, 1)]
    waiting = world.job
    assert (waiting.status, waiting.reason) == (
        "running",
        "It waits for Azure: The group is in transition.",
    )
    world.container.busy = False
    world.tick()
    assert world.job.reason is None
    world.tick()
    (run,) = world.runs
    assert (run.status, run.attempt, run.failure) == (SUCCEEDED, 1, None)
    world.check_at_rest()


def test_a_group_that_is_busy_for_ever_fails_the_run() -> None:
    world = World(max_attempts=1)
    world.tick(START)
    world.container.busy = True
    world.run_until(hour(4))
    (run,) = (run for run in world.runs if run.status is FAILED)
    assert run.postponed == MOST_POSTPONEMENTS
    assert run.failure is Failure.TRANSITIONING
    assert run.reason == "Azure could not start it 21 times: The group is in transition."


def test_azure_says_how_long_to_wait() -> None:
    world = World()
    world.tick(START)
    throttled = BusyError("Too many requests.", Failure.THROTTLED, timedelta(minutes=40))
    with mock.patch.object(world.container, "start", side_effect=throttled):
        world.tick(hour(1))
    (run,) = world.runs
    assert (run.failure, run.not_before) == (Failure.THROTTLED, hour(1) + timedelta(minutes=40))


def test_a_refused_start_fails_with_what_azure_says() -> None:
    world = World(max_attempts=2)
    world.tick(START)
    refusal = ContainersError("The subscription has no cores left.")
    with mock.patch.object(world.container, "start", side_effect=refusal):
        world.run_until(hour(1.5))
    assert world.statuses() == [FAILED, FAILED]
    for run in world.runs:
        assert run.reason == "Azure refused the start: The subscription has no cores left."
        assert run.failure is Failure.REFUSED
        # The log is that of the run before.
        assert run.error is None
    world.check_at_rest()


def test_deadlines_are_kept_while_azure_does_not_tell_the_state() -> None:
    world = World(Fate.HANGS, max_attempts=1)
    world.tick(hour(1))
    with mock.patch.object(world.container, "state", side_effect=BusyError("Not now.")):
        world.run_until(hour(1.4))
    assert world.statuses() == [TIMED_OUT]


def test_the_container_of_a_run_that_gives_signs_of_life_is_not_looked_at() -> None:
    world = World(Fate.HANGS, run_deadline=timedelta(hours=9))
    world.tick(hour(1))
    with mock.patch.object(world.container, "state") as look:
        for minute in range(1, 5):
            now = hour(1) + timedelta(minutes=minute)
            world.store.update_run(replace(world.runs[0], heartbeat_at=now))
            world.tick(now)
    look.assert_not_called()


def test_a_slow_run_is_marked_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World(Fate.HANGS, run_deadline=timedelta(hours=9))
    world.tick(START)
    world.set_job(durations="300 300 300 300 300")
    with caplog.at_level(logging.WARNING):
        world.run_until(hour(1.9))
    (run,) = world.runs
    assert world.job.slow_run == run.run_id
    assert world.job.reason == (
        "Its run is slow: it is going for more than 0:15:00; the median of the last 5 is 0:05:00."
    )
    assert caplog.messages == [f"run slow job=weather run={run.run_id}"]


@pytest.mark.parametrize("max_window", [None, timedelta(minutes=30)])
def test_a_window_that_always_fails_is_begun_anew_at_fire_times_only(
    max_window: timedelta | None,
) -> None:
    world = World(
        *[Fate.REPORTS_AN_ERROR] * 6,
        catch_up=CatchUp.ALL,
        max_window=max_window,
        max_attempts=2,
    )
    world.tick(START)
    world.now = hour(5.1) - TICK
    world.run_until(hour(5.9))
    assert world.statuses() == [FAILED, FAILED]
    assert world.job.reason == (
        "Its last run ended failed; it goes on at the fire time 2026-03-10 06:00 UTC."
    )
    world.run_until(hour(9))
    world.check_loaded_once()
    assert len([run for run in world.runs if run.status is FAILED]) == 6


def test_a_run_that_closes_while_its_container_is_looked_at_is_not_given_up() -> None:
    world = World(Fate.HANGS)
    world.tick(hour(1))
    look = world.container.state

    def close_and_look(name: str) -> GroupState | None:
        (run,) = world.runs
        ended = replace(run, status=SUCCEEDED, ended_at=world.now, rows=7)
        MemoryStore.update_run(world.store, ended)
        world.container._end(0)
        return look(name)

    with mock.patch.object(world.container, "state", close_and_look):
        world.tick()
    assert [(run.status, run.rows) for run in world.runs] == [(SUCCEEDED, 7)]
    world.check_at_rest()


def test_what_an_extractor_said_of_its_end_is_kept_by_a_scheduler_that_gave_it_up() -> None:
    world = World(Fate.HANGS, max_attempts=1)
    world.tick(hour(1))
    # The death comes right after the write that takes the run's rights away.
    world.container._end(137)
    world.store.faults = Faults(1, done=True)
    with pytest.raises(CrashError):
        world.scheduler.tick([world.declaration], world.now + TICK)
    (run,) = world.runs
    told = replace(run, status=FAILED, ended_at=world.now, reason="stopped")
    MemoryStore.update_run(world.store, told)
    world.tick()
    assert [(run.status, run.reason) for run in world.runs] == [(FAILED, "stopped")]
    assert world.job.last_status is FAILED
    world.check_at_rest()


def test_a_running_containers_group_that_is_gone_ends_its_run() -> None:
    world = World(Fate.HANGS, max_attempts=1)
    world.tick(hour(1))
    world.container.missing = True
    world.tick()
    assert world.statuses() == [ABANDONED]
    assert "gone" in (world.runs[0].reason or "")


def test_a_container_that_a_deployment_starts_finds_nothing_to_do() -> None:
    world = World()
    world.tick(START)
    world.container.start(NAME)
    world.container.work(world.now)
    assert world.runs == []
    assert world.container.loaded == []
    assert world.container.state(NAME) is not None
    world.run_until(hour(1.5))
    world.check_loaded_once()


def test_a_container_that_came_too_early_is_started_again() -> None:
    # A deployment's container read the table just before the run was there, and then ended.
    world = World()
    world.run_until(hour(1) - TICK)
    world.container.start(NAME)
    world.container._fresh = False
    world.tick()
    assert world.statuses() == [RunStatus.STARTING]
    world.container._end(0)
    world.tick()
    world.tick()
    assert world.statuses() == [SUCCEEDED]
    assert world.container.starts == 3


def long_run(overlap: Overlap) -> World:
    """A run that is stopped after two hours, in which two fire times pass."""
    world = World(Fate.HANGS, overlap=overlap, run_deadline=timedelta(hours=2), max_attempts=1)
    world.run_until(hour(3.9))
    return world


def test_fire_times_during_a_run_are_skipped_each_once() -> None:
    world = long_run(Overlap.SKIP)
    assert world.statuses() == [TIMED_OUT, SKIPPED, SKIPPED]
    assert [run.created_at for run in world.runs] == [hour(1), hour(2), hour(3)]
    assert {run.reason for run in world.runs[1:]} == {
        "The run before was still going, and overlap is skip."
    }
    world.run_until(hour(4.5))
    assert world.container.loaded == [(START, hour(4))]
    world.check_at_rest()


def test_of_the_fire_times_during_a_run_one_is_queued() -> None:
    world = long_run(Overlap.QUEUE)
    assert world.statuses() == [TIMED_OUT, SUCCEEDED]
    assert world.container.loaded == [(START, hour(3))]
    world.check_at_rest()


def test_a_fire_time_that_waited_for_a_run_was_not_missed() -> None:
    world = World(
        Fate.HANGS,
        overlap=Overlap.QUEUE,
        catch_up=CatchUp.NONE,
        run_deadline=timedelta(hours=1.5),
        max_attempts=1,
    )
    world.run_until(hour(2.9))
    # The run of 01:00 was stopped at 02:35.
    assert world.statuses() == [TIMED_OUT, SUCCEEDED]
    assert world.container.loaded == [(START, hour(2))]
    assert world.job.queued_fire_at is None
    world.check_at_rest()


def test_a_pause_makes_a_waiting_fire_time_a_missed_one() -> None:
    world = World(
        Fate.HANGS,
        overlap=Overlap.QUEUE,
        catch_up=CatchUp.NONE,
        run_deadline=timedelta(hours=1.2),
        max_attempts=1,
    )
    world.run_until(hour(2.1))
    assert world.job.queued_fire_at == hour(2)
    world.set_job(paused=True)
    world.run_until(hour(2.5))
    world.set_job(paused=False)
    world.run_until(hour(2.9))
    assert world.container.loaded == []
    assert "was missed" in (world.job.reason or "")


def test_a_fire_time_replaces_the_run_that_is_going() -> None:
    world = World(Fate.HANGS, overlap=Overlap.REPLACE, run_deadline=timedelta(hours=9))
    world.run_until(hour(2))
    assert world.statuses() == [RunStatus.CANCELLED, SUCCEEDED]
    assert world.runs[0].reason == (
        "It was replaced by the run of the fire time 2026-03-10 02:00 UTC."
    )
    assert world.container.stops == 1
    world.tick()
    assert world.container.loaded == [(START, hour(2))]
    world.check_at_rest()


def test_a_run_that_was_not_started_yet_is_replaced_without_a_stop() -> None:
    world = World(Fate.REPORTS_AN_ERROR, overlap=Overlap.REPLACE, retry_delay=timedelta(hours=3))
    world.run_until(hour(2.5))
    assert world.statuses() == [FAILED, RunStatus.CANCELLED, SUCCEEDED]
    assert world.container.stops == 0
    world.check_loaded_once()


def test_a_replaced_run_that_had_committed_counts() -> None:
    world = World(Fate.HANGS, overlap=Overlap.REPLACE, run_deadline=timedelta(hours=9))
    world.run_until(hour(1.5))
    world.set_job(watermark=hour(1), commit_run_id=world.runs[0].run_id, commit_rows=7)
    world.run_until(hour(2.5))
    assert [(run.status, run.window_to) for run in world.runs] == [
        (SUCCEEDED, hour(1)),
        (SUCCEEDED, hour(2)),
    ]


def test_a_silent_run_is_stopped_and_tried_again() -> None:
    world = World(Fate.HANGS, heartbeat_deadline=timedelta(minutes=10))
    world.tick(hour(1))
    (run,) = world.runs
    world.store.update_run(replace(run, heartbeat_at=hour(1)))
    world.tick(hour(1) + timedelta(minutes=10))
    assert world.statuses() == [RunStatus.RUNNING]
    world.tick(hour(1) + timedelta(minutes=11))
    assert world.statuses()[0] is ABANDONED
    assert world.runs[0].reason == "It has given no sign of life for 0:10:00."
    assert world.container.stops == 1
    world.run_until(hour(1.5))
    world.check_loaded_once()


@pytest.mark.parametrize(
    ("catch_up", "max_window", "expected"),
    [
        (CatchUp.LATEST, None, [(0, 5)]),
        (CatchUp.LATEST, timedelta(hours=2), [(0, 2)]),
        (CatchUp.ALL, None, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]),
        (CatchUp.ALL, timedelta(minutes=30), [(n / 2, n / 2 + 0.5) for n in range(10)]),
        (CatchUp.NONE, None, []),
    ],
)
def test_what_was_missed_in_an_outage(
    catch_up: CatchUp, max_window: timedelta | None, expected: Sequence[tuple[float, float]]
) -> None:
    world = World(catch_up=catch_up, max_window=max_window)
    world.tick(START)
    world.now = hour(5.1) - TICK
    world.run_until(hour(5.9))
    assert world.container.loaded == [(hour(low), hour(high)) for low, high in expected]


def test_a_paused_job_is_left_alone_and_caught_up_when_it_is_resumed() -> None:
    world = World(paused=True)
    world.run_until(hour(3.5))
    assert world.runs == []
    assert world.job.status == "paused"
    world.set_job(paused=False)
    world.run_until(hour(3.9))
    assert world.container.loaded == [(START, hour(3))]


def test_an_operators_run_is_made_of_a_paused_job_too() -> None:
    world = World(paused=True, lag=timedelta(minutes=15))
    world.tick(START)
    world.set_job(run_requested_at=hour(0.5), run_requested_by="me")
    world.tick(hour(0.5))
    world.tick()
    assert world.container.loaded == [(START, hour(0.25))]
    assert world.runs[0].trigger == "manual"
    assert world.job.run_requested_at is None


def test_an_operators_run_waits_for_the_one_that_is_going() -> None:
    world = World(Fate.HANGS, max_attempts=1)
    world.tick(hour(1))
    world.set_job(run_requested_at=world.now, run_requested_by="me")
    world.tick()
    assert len(world.runs) == 1
    assert world.job.run_requested_at is not None
    world.run_until(hour(1.75))
    assert [run.trigger for run in world.runs] == ["schedule", "manual"]


def test_a_job_that_is_no_longer_declared_keeps_its_row_and_does_not_run() -> None:
    world = World()
    world.tick(START)
    world.scheduler.tick([], hour(3))
    gone = world.job
    assert (gone.retired, gone.status) == (True, "retired")
    assert world.runs == []
    world.tick(hour(3.1))
    back = world.job
    assert (back.retired, back.status) == (False, "running")


def test_a_deployment_resets_nothing() -> None:
    world = World()
    world.run_until(hour(1.5))
    before = world.job
    world.set_job(paused=True)
    world.declaration = declare(schedule="30 * * * *", start=hour(-24))
    world.tick()
    after = world.job
    assert after.paused
    assert (after.watermark, after.last_run_id) == (before.watermark, before.last_run_id)
    assert after.next_fire_at == hour(2.5)


def test_one_job_that_fails_does_not_stop_the_others() -> None:
    world = World()
    world.tick(START)
    MemoryStore.create_job(
        world.store,
        replace(Job.declared(declare("a-damaged-one")), override_schedule="no cron expression"),
    )
    # Its name comes first in the table.
    declarations = [declare("a-damaged-one"), world.declaration]
    world.scheduler.tick(declarations, hour(1))
    assert world.statuses() == [RunStatus.STARTING]
    damaged = world.store.job("a-damaged-one")
    assert damaged is not None
    assert (damaged.reason or "").startswith("The scheduler failed on it: CronSimError")
    # It is said once, and no longer than it is so.
    world.scheduler.tick(declarations, hour(1))
    assert world.store.job("a-damaged-one") == damaged
    assert world.store._jobs["a-damaged-one"].etag == damaged.etag
    MemoryStore.update_job(world.store, replace(damaged, override_schedule=None))
    world.scheduler.tick(declarations, hour(0.9))
    repaired = world.store.job("a-damaged-one")
    assert repaired is not None
    assert repaired.reason is None


def test_a_row_that_somebody_else_writes_is_left_for_the_next_tick() -> None:
    world = World()
    world.tick(START)
    read = world.store.jobs

    def read_and_be_overtaken() -> Sequence[Job]:
        jobs = read()
        world.set_job(reason="written meanwhile")
        return jobs

    with mock.patch.object(world.store, "jobs", read_and_be_overtaken):
        world.tick(hour(1))
    assert world.runs == []
    assert world.job.reason == "written meanwhile"
    world.tick()
    assert world.statuses() == [SUCCEEDED]


def test_a_run_that_another_scheduler_has_begun_and_ended_is_left_alone() -> None:
    world = World(max_attempts=1)
    world.tick(START)
    second = Scheduler(world.store, world.container)

    def be_overtaken(run: Run) -> Run:
        # Between this scheduler's two writes, another one goes on with the run, in vain.
        create = partial(MemoryStore.create_run, world.store)
        refusal = ContainersError("No.")
        with (
            mock.patch.object(world.store, "create_run", create),
            mock.patch.object(world.container, "_start", side_effect=refusal),
        ):
            second.tick([world.declaration], hour(1) + timedelta(minutes=1))
        assert world.statuses() == [FAILED]
        world.container.busy = True
        return create(run)

    with mock.patch.object(world.store, "create_run", be_overtaken):
        world.scheduler.tick([world.declaration], hour(1))
    assert world.statuses() == [FAILED]
    world.check_at_rest()


def test_two_schedulers_start_each_run_once() -> None:
    world = World(Fate.DIES_AFTER_FENCE, Fate.HANGS)
    second = Scheduler(world.store, world.container)
    while world.now < hour(4.5):
        world.tick()
        # Its clock is a minute ahead.
        second.tick([world.declaration], world.now + timedelta(minutes=1))
    world.check_loaded_once()
    assert world.job.watermark == hour(4)


# The scheduler's own death. The run of one hour goes wrong, or not, in all ways, and the scheduler
# dies at each of the writes that it makes on the way: before the write, and after it.

BENIGN = [
    [],
    [Fate.DIES_AT_ONCE],
    [Fate.DIES_AFTER_CLAIM],
    [Fate.DIES_AFTER_FENCE],
    [Fate.DIES_AFTER_COMMIT],
    [Fate.REPORTS_AN_ERROR],
    [Fate.DIES_AFTER_FENCE, Fate.REPORTS_AN_ERROR],
]
END = hour(3.5)


def life(fates: Sequence[Fate], faults: Faults, **changes: Any) -> World:
    world = World(*fates, **changes)
    world.store.faults = faults
    world.run_until(END)
    return world


def outcome(world: World) -> list[tuple[object, ...]]:
    """What is left of it all in the end, without what is random or a time of the clock."""
    runs = [(run.status, run.attempt, run.window_from, run.window_to) for run in world.runs]
    return [tuple(world.container.loaded), (world.job.watermark, world.job.next_fire_at), *runs]


def deaths(fates: Sequence[Fate], **changes: Any) -> Iterator[World]:
    """The same life once for each write, with the scheduler's death before and after that write."""
    for number in itertools.count(1):
        for done in (False, True):
            world = life(fates, Faults(number, done=done), **changes)
            if not world.crashed:
                assert number > MIN_WRITES
                return
            yield world


MIN_WRITES = 10
"""Fewer deaths than this would mean that they are not injected."""


@pytest.mark.parametrize("fates", BENIGN, ids=lambda fates: "+".join(fates) or "done")
def test_a_death_at_any_write_changes_nothing_in_the_end(fates: Sequence[Fate]) -> None:
    undisturbed = life(fates, Faults())
    undisturbed.check_loaded_once()
    for world in deaths(fates):
        assert outcome(world) == outcome(undisturbed)
        world.check_at_rest()


@pytest.mark.parametrize("fate", [Fate.HANGS, Fate.NEVER_CLAIMS])
@pytest.mark.parametrize(
    ("overlap", "catch_up"),
    [
        (Overlap.SKIP, CatchUp.LATEST),
        (Overlap.SKIP, CatchUp.ALL),
        (Overlap.QUEUE, CatchUp.LATEST),
        (Overlap.QUEUE, CatchUp.ALL),
        (Overlap.QUEUE, CatchUp.NONE),
        (Overlap.REPLACE, CatchUp.LATEST),
    ],
)
def test_a_death_before_a_container_is_stopped_loses_no_window(
    fate: Fate, overlap: Overlap, catch_up: CatchUp
) -> None:
    for world in deaths([fate], overlap=overlap, catch_up=catch_up):
        # A stop that was lost is made up for at the next attempt's start deadline.
        world.check_loaded_once()
        world.check_at_rest()
        assert world.job.watermark == hour(3)
