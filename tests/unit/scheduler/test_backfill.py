"""Backfills beside the live schedule, whatever dies on the way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from extractor.runtime.records import RunStatus
from extractor.runtime.window import Window
from scheduler import decisions, operations
from scheduler.capacity import DEFAULT_LIMITS, Capacity, Limits
from scheduler.declaration import CatchUp, Overlap
from scheduler.job import Job
from scheduler.memory import MemoryStore
from scheduler.operations import OperationError
from scheduler.views import JobView
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

BY = "anna"
HOUR = timedelta(hours=1)
FROM, TO = hour(-4), hour(-1)
CHUNKS = [(hour(-4), hour(-3)), (hour(-3), hour(-2)), (hour(-2), hour(-1))]
SUCCEEDED, FAILED, CANCELLED = RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED


def ask(
    world: World,
    start: datetime = FROM,
    end: datetime = TO,
    chunk: timedelta | None = HOUR,
    **options: Any,
) -> Job:
    window = Window(start, end)
    return operations.start_backfill(
        world.store, NAME, window, chunk, by=BY, now=world.now, **options
    )


def backfilling(*fates: Fate, **changes: Any) -> World:
    """A backfill of three hours, asked for a quarter of an hour before the job is due."""
    world = World(*fates, **changes)
    world.tick(START)
    world.run_until(hour(0.75))
    ask(world)
    return world


def seen(world: World) -> tuple[str, str | None]:
    view = JobView.of(world.job).backfill
    assert view is not None
    return view.status, view.reason


def triggers(world: World) -> list[str]:
    return [run.trigger for run in world.runs]


def test_a_range_is_loaded_in_chunks_and_the_watermark_left_alone() -> None:
    world = World()
    world.tick(START)
    before = world.job
    ask(world)
    world.run_until(hour(0.9))
    assert world.container.backfilled == CHUNKS
    assert world.container.loaded == []
    after = world.job
    assert (after.watermark, after.next_fire_at) == (before.watermark, before.next_fire_at)
    assert (after.last_run_id, after.last_status) == (None, None)
    assert seen(world) == ("done", None)
    world.check_at_rest()
    world.run_until(hour(1.5))
    world.check_loaded_once()


@pytest.mark.parametrize(
    ("overlap", "catch_up"),
    [
        each
        for each in itertools.product(Overlap, CatchUp)
        if each != (Overlap.REPLACE, CatchUp.ALL)
    ],
)
def test_what_is_due_goes_first_and_is_neither_skipped_nor_missed(
    overlap: Overlap, catch_up: CatchUp
) -> None:
    # The first chunk hangs past the fire time, until its deadline.
    world = backfilling(Fate.HANGS, overlap=overlap, catch_up=catch_up)
    world.run_until(hour(1.9))
    hung, *later = world.runs
    assert (hung.trigger, hung.status) == ("backfill", RunStatus.TIMED_OUT)
    assert [run.trigger for run in later] == ["schedule", "backfill", "backfill", "backfill"]
    assert later[0].created_at > hour(1) + timedelta(minutes=5)
    assert world.container.loaded == [(START, hour(1))]
    assert world.container.backfilled == CHUNKS


def test_a_chunk_that_waits_for_its_start_gives_way_to_what_is_due() -> None:
    world = backfilling()
    full = Limits(max_running=0)
    world.scheduler = replace(world.scheduler, limits=full)
    world.tick()
    assert world.statuses() == [RunStatus.QUEUED]
    world.run_until(hour(1))
    assert [(run.trigger, run.status) for run in world.runs] == [
        ("backfill", RunStatus.SKIPPED),
        ("schedule", RunStatus.QUEUED),
    ]
    world.scheduler = replace(world.scheduler, limits=DEFAULT_LIMITS)
    world.run_until(hour(1.9))
    world.check_loaded_once()
    assert world.container.backfilled == CHUNKS
    assert {run.attempt for run in world.runs} == {1}
    world.check_at_rest()


def test_a_chunk_that_waits_gives_way_to_a_request_too() -> None:
    world = backfilling()
    world.scheduler = replace(world.scheduler, limits=Limits(max_running=0))
    world.tick()
    operations.run_now(world.store, NAME, by=BY, now=world.now)
    world.tick()
    assert triggers(world) == ["backfill", "manual"]


@pytest.mark.parametrize(
    ("limits", "started"),
    [
        (Limits(max_running=2), False),
        (Limits(max_running=3), True),
        (Limits(max_running=3, starts_per_hour=2), False),
    ],
)
def test_backfills_take_half_of_what_azure_allows(limits: Limits, started: bool) -> None:
    starts = [START - timedelta(minutes=1)]
    chunk = Capacity(limits, 1, starts, START).take(backfill=True)
    assert (chunk is None) == started
    assert Capacity(limits, 1, starts, START).take() is None


def test_what_backfills_leave_is_there_for_what_is_due() -> None:
    world = backfilling()
    world.scheduler = replace(world.scheduler, limits=Limits(starts_per_hour=2))
    world.run_until(hour(1.25))
    assert world.container.backfilled == CHUNKS[:1]
    assert world.container.loaded == [(START, hour(1))]


def test_backfills_start_after_all_that_is_due() -> None:
    world = backfilling(priority=9)
    world.tick()
    chunk = world.runs[0]
    due = replace(chunk, trigger="schedule", created_at=chunk.created_at + HOUR)
    other = Job.declared(declare("other", priority=1))
    assert decisions.turn(other, due) < decisions.turn(world.job, chunk)


def test_a_request_goes_before_a_chunk() -> None:
    world = backfilling()
    operations.run_now(world.store, NAME, by=BY, now=world.now)
    world.tick()
    world.tick()
    assert triggers(world)[:2] == ["manual", "backfill"]


def test_a_failed_chunk_is_tried_again_and_holds_up_nothing() -> None:
    world = backfilling(Fate.REPORTS_AN_ERROR, retry_delay=timedelta(hours=2))
    world.run_until(hour(2.2))
    assert triggers(world) == ["backfill", "schedule", "schedule"]
    assert seen(world) == ("waiting", None)
    world.run_until(hour(5.5))
    again = [run for run in world.runs if run.trigger == "backfill"]
    assert [(run.attempt, run.status) for run in again[:3]] == [
        (1, FAILED),
        (2, SUCCEEDED),
        (1, SUCCEEDED),
    ]
    assert world.container.backfilled == CHUNKS
    world.check_loaded_once()


def test_a_chunk_that_failed_for_good_stops_the_backfill() -> None:
    fates = (Fate.DONE, Fate.REPORTS_AN_ERROR) * 2  # the live run is between the attempts
    world = backfilling(*fates, max_attempts=2)
    world.run_until(hour(3.5))
    assert world.container.backfilled == CHUNKS[:1]
    status, reason = seen(world)
    assert status == "stopped"
    assert reason == (
        "The chunk 2026-03-09T21:00:00Z/2026-03-09T22:00:00Z ended failed: told: failed"
    )
    world.check_loaded_once()
    # What is left can be asked for again.
    ask(world, hour(-3), TO)
    world.run_until(hour(3.9))
    assert world.container.backfilled == CHUNKS
    assert seen(world) == ("done", None)


def test_a_paused_job_starts_no_chunk_until_it_is_resumed() -> None:
    world = backfilling()
    operations.pause(world.store, NAME, by=BY, now=world.now)
    world.run_until(hour(1.5))
    assert world.runs == []
    operations.resume(world.store, NAME, by=BY, now=world.now)
    world.run_until(hour(1.9))
    assert world.container.backfilled == CHUNKS
    assert triggers(world)[0] == "schedule"


def test_a_chunk_that_was_decided_on_before_its_job_was_paused_waits_too() -> None:
    world = backfilling()
    # The job is written, and its run is not.
    world.store.faults = Faults(2)
    with pytest.raises(CrashError):
        world.scheduler.tick([world.declaration], world.now + TICK)
    assert world.job.active_run
    operations.pause(world.store, NAME, by=BY, now=world.now)
    world.tick()
    world.tick()
    assert world.statuses() == [RunStatus.QUEUED]
    operations.resume(world.store, NAME, by=BY, now=world.now)
    world.run_until(hour(1.9))
    assert world.container.backfilled == CHUNKS


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [(-2.5, -2), (-2, -1)]),
        ({"lag": timedelta(minutes=15)}, [(-2.5, -2.25), (-2.25, -1.25), (-1.25, -1)]),
        ({"max_window": timedelta(minutes=45)}, [(-2.5, -2), (-2, -1.25), (-1.25, -1)]),
    ],
)
def test_without_a_chunk_windows_are_those_of_the_schedule(
    changes: dict[str, Any], expected: Sequence[tuple[float, float]]
) -> None:
    world = World(**changes)
    world.tick(START)
    ask(world, hour(-2.5), hour(-1), None)
    world.run_until(hour(0.9))
    assert world.container.backfilled == [(hour(low), hour(high)) for low, high in expected]


# Cancelling


def test_a_cancelled_backfill_ends_with_its_chunk() -> None:
    world = backfilling(Fate.DONE, Fate.HANGS)
    world.tick()
    world.tick()
    operations.cancel_backfill(world.store, NAME, by=BY, now=world.now)
    assert (world.job.active_run, world.job.fence) == (None, None)
    world.run_until(hour(2.5))
    assert [run.status for run in world.runs if run.trigger == "backfill"] == [
        SUCCEEDED,
        CANCELLED,
    ]
    assert world.container.backfilled == CHUNKS[:1]
    assert seen(world) == ("stopped", "Cancelled by anna.")
    world.check_loaded_once()
    world.check_at_rest()


def test_a_cancelled_backfill_leaves_a_live_run_alone() -> None:
    world = backfilling(Fate.REPORTS_AN_ERROR, Fate.HANGS, retry_delay=timedelta(minutes=30))
    world.run_until(hour(1))
    assert world.job.active_run
    operations.cancel_backfill(world.store, NAME, by=BY, now=world.now)
    world.tick()
    assert world.statuses() == [FAILED, RunStatus.RUNNING]
    assert seen(world)[0] == "stopped"


@pytest.mark.parametrize("fate", [Fate.HANGS, Fate.DIES_AFTER_COMMIT])
def test_cancelling_the_run_that_is_a_chunk_ends_the_backfill(fate: Fate) -> None:
    world = backfilling(fate)
    world.tick()
    operations.cancel(world.store, NAME, by=BY, now=world.now)
    world.run_until(hour(0.9))
    assert world.statuses() == [SUCCEEDED if fate is Fate.DIES_AFTER_COMMIT else CANCELLED]
    assert seen(world) == ("stopped", "Cancelled by anna.")


def test_a_chunk_that_ended_by_itself_does_not_keep_a_backfill_from_being_cancelled() -> None:
    world = backfilling()
    world.tick()
    assert world.job.active_run  # and the run behind it has ended
    operations.cancel_backfill(world.store, NAME, by=BY, now=world.now)
    world.tick()
    assert world.statuses() == [SUCCEEDED]
    assert seen(world) == ("stopped", "Cancelled by anna.")


# What can't be done


def test_what_the_schedule_has_not_loaded_yet_is_left_to_it() -> None:
    world = World()
    world.tick(START)
    with pytest.raises(OperationError, match="at most the watermark, 2026-03-10T00:00:00Z"):
        ask(world, hour(-1), hour(1))


def test_one_backfill_at_a_time() -> None:
    world = backfilling()
    with pytest.raises(OperationError, match="not done; cancel it first"):
        ask(world)


def test_too_many_chunks_are_refused() -> None:
    world = World()
    world.tick(START)
    with pytest.raises(OperationError, match="more than 10000 chunks"):
        ask(world, hour(-10_000.5), START)
    ask(world, hour(-10_000), START)


def test_a_retired_job_is_not_backfilled() -> None:
    world = World()
    world.tick(START)
    world.scheduler.tick([], hour(0.5))
    with pytest.raises(OperationError, match="retired"):
        ask(world)


def test_rows_that_would_be_in_the_lake_twice_are_refused() -> None:
    world = World()
    world.run_until(hour(3.5))
    for run in world.runs:
        MemoryStore.update_run(world.store, replace(run, lake_path="somewhere"))
    with pytest.raises(OperationError, match="would be there twice"):
        ask(world, START, hour(2), timedelta(minutes=30))
    with pytest.raises(OperationError, match="would be there twice"):
        ask(world, START, hour(1.5))
    with pytest.raises(OperationError, match="would be there twice"):
        ask(world, hour(0.5), hour(2), None)
    ask(world, START, hour(2))
    world.run_until(hour(3.9))
    assert world.container.backfilled == [(START, hour(1)), (hour(1), hour(2))]
    ask(world, START, hour(2), timedelta(hours=2))
    operations.cancel_backfill(world.store, NAME, by=BY, now=world.now)
    ask(world, START, hour(2), timedelta(minutes=30), overlap=True)


def test_the_watermark_can_be_set_while_a_chunk_is_going() -> None:
    world = backfilling(Fate.HANGS)
    world.tick()
    job = operations.set_watermark(world.store, NAME, hour(0.5), by=BY, now=world.now)
    assert (job.watermark, job.active_run is not None) == (hour(0.5), True)


# Deaths

BENIGN = [
    [],
    [Fate.DIES_AFTER_FENCE],
    [Fate.DIES_AFTER_COMMIT],
    [Fate.DONE, Fate.REPORTS_AN_ERROR],
]


def life(fates: Sequence[Fate], faults: Faults) -> World:
    world = backfilling(*fates)
    world.store.faults = faults
    world.run_until(hour(1.75))
    return world


def deaths(fates: Sequence[Fate]) -> Iterator[World]:
    for number in itertools.count(1):
        for done in (False, True):
            world = life(fates, Faults(number, done=done))
            if not world.crashed:
                assert number > 10
                return
            yield world


@pytest.mark.parametrize("fates", BENIGN, ids=lambda fates: "+".join(fates) or "done")
def test_a_death_at_any_write_loads_every_chunk_once(fates: Sequence[Fate]) -> None:
    for world in deaths(fates):
        assert world.container.backfilled == CHUNKS
        assert world.job.watermark == hour(1)
        world.check_loaded_once()
        world.check_at_rest()
        assert seen(world) == ("done", None)


def test_a_death_while_a_backfill_is_cancelled_leaves_it_cancelled_or_going() -> None:
    for number, done in itertools.product(range(1, 12), (False, True)):
        world = backfilling(Fate.DONE, Fate.HANGS)
        world.tick()
        world.tick()
        world.store.faults = Faults(number, done=done)
        try:
            operations.cancel_backfill(world.store, NAME, by=BY, now=world.now)
        except CrashError:
            if seen(world)[0] == "running":
                continue  # nothing was done
        world.run_until(hour(2.5))
        assert seen(world) == ("stopped", "Cancelled by anna.")
        assert world.container.backfilled == CHUNKS[:1]
        world.check_loaded_once()
        world.check_at_rest()
