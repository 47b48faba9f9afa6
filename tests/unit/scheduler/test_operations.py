"""What operators do, and its record, whatever dies on the way."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

from extractor.runtime.records import RunStatus
from scheduler import audit, operations
from scheduler.job import Job
from scheduler.memory import MemoryStore
from scheduler.operations import OperationError
from scheduler.ports import ConflictError, Store
from scheduler.schedule import Schedule
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

BY = "anna@example.com (1111)"
CANCELLED = RunStatus.CANCELLED

Operation = Callable[..., Job]


def asked(world: World) -> dict[str, Any]:
    return {"by": BY, "now": world.now}


def changes(world: World) -> list[tuple[str, Any, Any]]:
    """Operation, before and after, oldest first."""
    entries = reversed(world.store.audit(NAME))
    return [(each.operation, json.loads(each.before), json.loads(each.after)) for each in entries]


def test_each_operation_says_who_when_and_what() -> None:
    world = World()
    world.tick(START)
    operations.pause(world.store, NAME, **asked(world))
    world.now = hour(0.5)
    operations.resume(world.store, NAME, **asked(world))
    operations.set_watermark(world.store, NAME, hour(-24), **asked(world))
    entries = world.store.audit(NAME)
    assert {each.by for each in entries} == {BY}
    assert [each.at for each in entries] == [hour(0.5), hour(0.5), START]
    assert sorted(changes(world), key=lambda each: each[0]) == [
        ("pause", {"paused": False}, {"paused": True}),
        ("resume", {"paused": True}, {"paused": False}),
        (
            "set watermark",
            {"watermark": "2026-03-10T00:00:00Z"},
            {"watermark": "2026-03-09T00:00:00Z"},
        ),
    ]
    assert world.job.pending_audit is None


def test_the_entry_of_a_schedule_has_the_declared_one_before() -> None:
    world = World()
    world.tick(START)
    schedule = Schedule("30 6 * * *", "Europe/Berlin")
    operations.override_schedule(world.store, NAME, schedule, **asked(world))
    ((operation, before, after),) = changes(world)
    assert operation == "set schedule"
    assert (before["schedule"], before["timeZone"]) == ("0 * * * *", "UTC")
    assert (after["schedule"], after["timeZone"]) == ("30 6 * * *", "Europe/Berlin")


def test_an_overridden_schedule_survives_deployments_until_the_declaration_changes() -> None:
    world = World()
    world.tick(START)
    operations.override_schedule(world.store, NAME, Schedule("30 6 * * *"), **asked(world))
    world.tick()
    assert world.job.expression == "30 6 * * *"
    assert world.job.next_fire_at == hour(6.5)
    world.declaration = declare(max_attempts=2)
    world.tick()
    assert world.job.expression == "0 * * * *"


def test_the_declared_schedule_can_be_returned_to() -> None:
    world = World()
    world.tick(START)
    operations.override_schedule(world.store, NAME, Schedule("30 6 * * *"), **asked(world))
    job = operations.override_schedule(world.store, NAME, None, **asked(world))
    assert (job.expression, job.next_fire_at) == ("0 * * * *", hour(1))


def test_a_job_that_runs_after_others_does_so_again_when_it_gives_up_a_schedule() -> None:
    world = World(schedule=None, after=("upstream",))
    world.tick(START)
    job = operations.override_schedule(world.store, NAME, Schedule("30 6 * * *"), **asked(world))
    assert (job.upstreams, job.next_fire_at) == ((), hour(6.5))
    world.now = hour(3)
    job = operations.override_schedule(world.store, NAME, None, **asked(world))
    assert (job.upstreams, job.next_fire_at) == (("upstream",), None)
    assert job.scheduled_through == job.watermark


# Cancelling


def cancelled(world: World) -> World:
    operations.cancel(world.store, NAME, **asked(world))
    return world


def test_a_cancelled_run_ends_with_who_did_it_and_is_not_tried_again() -> None:
    world = World(Fate.HANGS)
    world.tick(hour(1))
    cancelled(world)
    assert (world.job.active_run, world.job.fence) == (None, None)
    world.tick()
    (run,) = world.runs
    assert (run.status, run.reason) == (CANCELLED, f"Cancelled by {BY}.")
    assert world.container.stops == 1
    assert world.job.last_status is CANCELLED
    world.check_at_rest()
    world.run_until(hour(2.5))
    assert world.container.loaded == [(START, hour(2))]


def test_a_load_that_was_committed_before_it_was_cancelled_counts() -> None:
    world = World(Fate.DIES_AFTER_COMMIT)
    world.tick(hour(1))
    cancelled(world)
    world.tick()
    assert world.statuses() == [RunStatus.SUCCEEDED]
    world.check_loaded_once()


def test_a_retry_that_waits_can_be_cancelled() -> None:
    world = World(Fate.REPORTS_AN_ERROR, retry_delay=timedelta(minutes=30))
    world.run_until(hour(1.25))
    cancelled(world)
    world.run_until(hour(1.9))
    assert world.statuses() == [RunStatus.FAILED, CANCELLED]
    assert world.container.starts == 1


def test_what_an_extractor_said_meanwhile_is_kept_and_not_tried_again() -> None:
    world = World(Fate.HANGS)
    world.tick(hour(1))
    cancelled(world)
    (run,) = world.runs
    told = replace(run, status=RunStatus.FAILED, ended_at=world.now, reason="told")
    MemoryStore.update_run(world.store, told)
    world.run_until(hour(1.9))
    assert [(each.status, each.reason) for each in world.runs] == [(RunStatus.FAILED, "told")]
    world.check_at_rest()


def test_a_run_whose_row_was_not_written_yet_can_be_cancelled() -> None:
    world = World()
    world.tick(START)
    world.now = hour(1)
    # The job is written, and its run is not.
    world.store.faults = Faults(2)
    with pytest.raises(CrashError):
        world.scheduler.tick([world.declaration], world.now)
    assert world.runs == []
    cancelled(world)
    world.tick()
    assert world.statuses() == [CANCELLED]
    assert world.container.loaded == []


def test_nothing_to_cancel_is_said() -> None:
    world = World()
    world.tick(START)
    with pytest.raises(OperationError, match="no run to cancel"):
        cancelled(world)
    assert changes(world) == []


# What can't be done


def test_the_watermark_of_a_running_job_is_left_alone() -> None:
    world = World(Fate.HANGS)
    world.tick(hour(1))
    with pytest.raises(OperationError, match="is running"):
        operations.set_watermark(world.store, NAME, hour(-1), **asked(world))
    assert world.job.watermark == START


def test_a_retired_job_is_not_started() -> None:
    world = World()
    world.tick(START)
    world.scheduler.tick([], hour(0.5))
    with pytest.raises(OperationError, match="retired"):
        operations.run_now(world.store, NAME, **asked(world))


def test_an_operation_is_tried_again_when_somebody_else_writes_the_row() -> None:
    world = World()
    world.tick(START)
    update, overtaken = world.store.update_job, iter([True, True])

    def update_late(job: Job) -> Job:
        if next(overtaken, False):
            raise ConflictError
        return update(job)

    with mock.patch.object(world.store, "update_job", update_late):
        operations.pause(world.store, NAME, **asked(world))
    assert world.job.paused
    assert len(changes(world)) == 1


def test_an_audit_that_cannot_be_written_stops_operations_but_not_the_job() -> None:
    world = World()
    world.tick(START)

    def refuse(entry: audit.AuditEntry) -> None:
        raise OSError("The table can't be reached.")

    with mock.patch.object(world.store, "append_audit", refuse):
        for _ in range(audit.MOST_PENDING // 2):
            operations.pause(world.store, NAME, **asked(world))
            operations.resume(world.store, NAME, **asked(world))
        with pytest.raises(OperationError, match="audit"):
            operations.pause(world.store, NAME, **asked(world))
        world.run_until(hour(1.5))
    assert world.statuses() == [RunStatus.SUCCEEDED]
    world.tick()
    assert len(changes(world)) == audit.MOST_PENDING
    assert world.job.pending_audit is None


# Deaths


def operate(store: Store, world: World) -> None:
    operations.pause(store, NAME, **asked(world))
    operations.set_watermark(store, NAME, hour(-5), **asked(world))


def deaths() -> Iterator[World]:
    """Operations with a death at each of their writes, before it and after it."""
    for number in itertools.count(1):
        for done in (False, True):
            world = World()
            world.tick(START)
            world.store.faults = Faults(number, done=done)
            try:
                operate(world.store, world)
            except CrashError:
                yield world
            else:
                assert number > 6
                return


def test_a_death_between_two_writes_loses_no_entry_and_makes_none_up() -> None:
    for world in deaths():
        world.tick()
        done = {"pause": world.job.paused, "set watermark": world.job.watermark == hour(-5)}
        told = [operation for operation, _, _ in changes(world)]
        assert sorted(told) == sorted(name for name, happened in done.items() if happened)
        assert world.job.pending_audit is None


@pytest.mark.parametrize("fate", [Fate.HANGS, Fate.NEVER_CLAIMS, Fate.DIES_AFTER_FENCE])
def test_a_death_while_a_run_is_cancelled_leaves_it_cancelled_or_untouched(fate: Fate) -> None:
    for number, done in itertools.product(range(1, 12), (False, True)):
        world = World(fate)
        world.tick(hour(1))
        world.store.faults = Faults(number, done=done)
        try:
            cancelled(world)
        except CrashError:
            if not changes(world) and not world.job.closing:
                continue  # nothing was done, and nothing is told
        world.tick()
        world.tick()
        assert world.statuses() == [CANCELLED]
        assert [operation for operation, _, _ in changes(world)] == ["cancel"]
        world.check_at_rest()
        assert world.now < hour(2) - TICK
