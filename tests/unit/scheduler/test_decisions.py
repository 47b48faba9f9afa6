"""What is due, and what to make of a run."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from extractor.runtime.records import Failure, Run, RunStatus
from scheduler.decisions import (
    BEATING,
    Verdict,
    beats,
    closed,
    decided,
    durations_of,
    given_up,
    judged,
    new_run,
    reconciled,
    skipped,
    slow,
)
from scheduler.declaration import CatchUp, Overlap
from scheduler.job import Job, run_from_json, run_to_json
from scheduler.ports import GroupState
from scheduler.retries import LONGEST_RETRY_DELAY, postponement, retry_delay
from scheduler.upstream import Progress
from tests.unit.scheduler.world import START, declare, hour

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def job(**changes: Any) -> Job:
    return Job.declared(declare(**changes))


def run(status: RunStatus = RunStatus.RUNNING, **changes: Any) -> Run:
    decided_on = new_run(job(), hour(1), hour(1), trigger="schedule")
    times = {"starting_at": hour(1), "started_at": hour(1) + MINUTE}
    return replace(decided_on, status=status, **times | changes)


def window(decided_on: Job) -> tuple[datetime, datetime] | None:
    if decided_on.pending_run is None:
        return None
    planned = run_from_json(decided_on.pending_run)
    assert planned.row_key == decided_on.active_run
    return planned.window_from, planned.window_to


# What is due.


def test_a_new_job_begins_at_its_start_and_is_due_when_a_fire_time_has_passed() -> None:
    new = job(start=hour(-3))
    assert (new.watermark, new.next_fire_at) == (hour(-3), hour(-2))
    assert window(decided(new, hour(0.5))) == (hour(-3), START)


def test_a_job_is_due_at_its_fire_time_and_not_before() -> None:
    assert decided(job(), hour(1) - timedelta(microseconds=1)) == job()
    due = decided(job(), hour(1))
    assert window(due) == (START, hour(1))
    assert (due.scheduled_through, due.next_fire_at) == (hour(1), hour(2))


def test_the_window_ends_the_lag_before_the_fire_time_however_late_the_tick() -> None:
    late = decided(job(lag=10 * MINUTE), hour(1) + 7 * MINUTE)
    assert window(late) == (START, hour(1) - 10 * MINUTE)


def test_without_anything_to_load_the_reason_says_so_and_the_fire_time_is_past() -> None:
    idle = decided(job(lag=timedelta(hours=1)), hour(1))
    assert idle.active_run is None
    assert idle.reason == (
        "Nothing to load: the watermark is 2026-03-10 00:00 UTC, "
        "the window's end 2026-03-10 00:00 UTC."
    )
    assert idle.next_fire_at == hour(2)


@pytest.mark.parametrize(
    "changes",
    [{"paused": True}, {"retired": True}, {"active_run": "a-run"}, {"closing": "{}"}],
)
def test_a_job_that_may_not_run_keeps_its_fire_times(changes: dict[str, Any]) -> None:
    kept = replace(job(), **changes)
    assert decided(kept, hour(3)) == kept


@pytest.mark.parametrize(
    ("catch_up", "max_window", "expected", "through"),
    [
        (CatchUp.LATEST, None, (START, hour(5)), hour(5)),
        (CatchUp.LATEST, timedelta(hours=2), (START, hour(2)), hour(5)),
        (CatchUp.ALL, None, (START, hour(1)), hour(1)),
        (CatchUp.ALL, 30 * MINUTE, (START, hour(0.5)), START),
        (CatchUp.NONE, None, None, hour(5)),
    ],
)
def test_what_was_missed(
    catch_up: CatchUp,
    max_window: timedelta | None,
    expected: tuple[datetime, datetime] | None,
    through: datetime,
) -> None:
    missed = decided(job(catch_up=catch_up, max_window=max_window), hour(5.5))
    assert window(missed) == expected
    assert missed.scheduled_through == through


def test_without_catching_up_a_tick_may_still_be_five_minutes_late() -> None:
    none = job(catch_up=CatchUp.NONE)
    assert window(decided(none, hour(1) + 5 * MINUTE)) == (START, hour(1))
    missed = decided(none, hour(1) + 6 * MINUTE)
    assert window(missed) is None
    assert missed.reason == ("The fire time 2026-03-10 01:00 UTC was missed, and catchUp is none.")


def test_a_fire_time_that_waited_is_made_up_for_although_a_later_one_was_missed() -> None:
    waited = replace(job(catch_up=CatchUp.NONE), queued_fire_at=hour(1))
    late = decided(waited, hour(2.5))
    assert window(late) == (START, hour(1))
    assert (late.scheduled_through, late.queued_fire_at) == (hour(2), None)
    decided_before = replace(waited, scheduled_through=hour(1))
    assert window(decided(decided_before, hour(2.5))) is None


def test_a_requested_run_ends_the_lag_before_now() -> None:
    asked = replace(job(lag=10 * MINUTE), run_requested_at=hour(0.5), run_requested_by="me")
    begun = decided(asked, hour(0.5))
    assert window(begun) == (START, hour(0.5) - 10 * MINUTE)
    assert (begun.run_requested_at, begun.run_requested_by) == (None, None)
    # The schedule goes on as it was.
    assert begun.next_fire_at == hour(1)


def test_a_requested_run_is_not_longer_than_the_longest_window() -> None:
    asked = replace(job(max_window=MINUTE), run_requested_at=hour(0.5))
    assert window(decided(asked, hour(0.5))) == (START, START + MINUTE)


def test_a_requested_run_without_anything_to_load_is_answered_with_a_reason() -> None:
    asked = replace(job(), watermark=hour(1), run_requested_at=hour(0.5))
    answered = decided(asked, hour(0.5))
    assert answered.run_requested_at is None
    assert "Nothing to load" in (answered.reason or "")


def timed(**changes: Any) -> Job:
    return job(schedule=None, **changes)


def test_an_interval_is_due_at_each_distance_from_the_start() -> None:
    quarter = timed(every=15 * MINUTE)
    assert quarter.next_fire_at == START + 15 * MINUTE
    due = decided(quarter, START + 16 * MINUTE)
    assert window(due) == (START, START + 15 * MINUTE)
    shifted = timed(every=15 * MINUTE, anchor=START + 5 * MINUTE)
    assert shifted.next_fire_at == START + 5 * MINUTE


def test_a_job_of_one_fire_time_runs_once() -> None:
    once = decided(timed(at=hour(3)), hour(4))
    assert window(once) == (START, hour(3))
    assert once.next_fire_at is None
    ended = replace(once, active_run=None, pending_run=None, watermark=hour(3))
    assert decided(ended, hour(99)) == ended


def test_after_the_end_nothing_is_due() -> None:
    ending = job(end=hour(2.5))
    last = decided(ending, hour(9))
    assert window(last) == (START, hour(2))
    assert last.next_fire_at is None


@pytest.mark.parametrize("catch_up", list(CatchUp))
def test_jitter_delays_the_start_and_leaves_the_window(catch_up: CatchUp) -> None:
    shaken = job(jitter=30 * MINUTE, catch_up=catch_up)
    due = shaken.due_at(hour(1))
    assert hour(1) < due < hour(1.5)
    assert decided(shaken, due - timedelta.resolution) == shaken
    assert skipped(replace(shaken, active_run="a-run"), due - timedelta.resolution) is None
    assert window(decided(shaken, due)) == (START, hour(1))


def test_of_fire_times_that_jitter_still_delays_the_one_before_is_the_latest() -> None:
    shaken = job(jitter=30 * MINUTE)
    late = decided(shaken, shaken.due_at(hour(3)) - timedelta.resolution)
    assert window(late) == (START, hour(2))
    assert late.next_fire_at == hour(3)


# After other jobs.

FIRST = "It waits until orders has loaded more."


def follower(**changes: Any) -> Job:
    return timed(after=("orders",), **changes)


def test_a_follower_is_due_when_there_is_more_and_its_window_ends_there() -> None:
    ahead = Progress(hour(1.25), FIRST)
    due = decided(follower(), hour(2), ahead)
    assert window(due) == (START, hour(1.25))
    assert (due.reason, due.next_fire_at) == (None, None)
    done = replace(due, active_run=None, pending_run=None, watermark=hour(1.25))
    waiting = decided(replace(done, last_status=RunStatus.SUCCEEDED), hour(2), ahead)
    assert (waiting.active_run, waiting.reason) == (None, FIRST)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"lag": 15 * MINUTE}, hour(1)),
        ({"max_window": 30 * MINUTE}, hour(0.5)),
        ({"end": hour(1)}, hour(1)),
    ],
)
def test_a_followers_options_shorten_its_window(
    changes: dict[str, Any], expected: datetime
) -> None:
    due = decided(follower(**changes), hour(2), Progress(hour(1.25), FIRST))
    assert window(due) == (START, expected)


def test_a_follower_goes_on_after_a_success_and_waits_for_more_after_a_failure() -> None:
    ahead = Progress(hour(2), FIRST)
    part = decided(follower(max_window=HOUR), hour(2), ahead)
    ended = replace(part, active_run=None, pending_run=None)
    failed = replace(ended, last_status=RunStatus.FAILED)
    assert decided(failed, hour(2), ahead).active_run is None
    assert window(decided(failed, hour(2), Progress(hour(3), FIRST))) == (START, hour(1))
    done = replace(ended, last_status=RunStatus.SUCCEEDED, watermark=hour(1))
    assert window(decided(done, hour(2), ahead)) == (hour(1), hour(2))


def test_a_follower_does_not_load_what_was_not_loaded_before_even_if_asked() -> None:
    asked = replace(follower(), run_requested_at=hour(2))
    assert window(decided(asked, hour(2), Progress(hour(1), FIRST))) == (START, hour(1))
    assert window(decided(asked, hour(2), Progress(None, FIRST))) is None


def test_a_follower_waits_where_nothing_was_loaded_yet() -> None:
    waiting = decided(follower(), hour(2), Progress(None, "It waits."))
    assert (waiting.active_run, waiting.reason) == (None, "It waits.")


# Deployments.


def test_an_unchanged_declaration_changes_nothing() -> None:
    assert reconciled(job(), declare(), hour(1)) == job()


def test_another_schedule_counts_from_now_on() -> None:
    ran = replace(job(), last_run_id="a-run", scheduled_through=hour(1), next_fire_at=hour(2))
    changed = reconciled(ran, declare(schedule="*/10 * * * *"), hour(1.7))
    assert changed.next_fire_at == hour(1) + 50 * MINUTE
    assert decided(changed, hour(1.7)) == changed


def test_a_changed_declaration_may_be_what_was_wrong_so_nothing_is_held_back() -> None:
    held = replace(job(), held_until=hour(9))
    assert reconciled(held, declare(), hour(1)).held_until == hour(9)
    assert reconciled(held, declare(max_attempts=7), hour(1)).held_until is None


def test_other_upstreams_count_from_the_watermark_on() -> None:
    ran = replace(follower(), last_run_id="a-run", scheduled_through=hour(5), watermark=hour(1))
    declared = declare(schedule=None, after=("orders", "prices"))
    changed = reconciled(ran, declared, hour(6))
    assert changed.scheduled_through == hour(1)
    other_option = declare(schedule=None, after=("orders",), lag=MINUTE)
    assert reconciled(ran, other_option, hour(6)).scheduled_through == hour(5)


def test_other_options_leave_the_schedule_alone() -> None:
    ran = replace(job(), last_run_id="a-run", scheduled_through=START, next_fire_at=hour(1))
    changed = reconciled(ran, declare(max_attempts=7), hour(5.5))
    assert changed.next_fire_at == hour(1)
    assert changed.options.max_attempts == 7


def test_a_changed_declaration_ends_an_operators_schedule_and_nothing_else_of_his() -> None:
    mine = replace(job(), override_schedule="5 5 * * *", paused=True, watermark=hour(9))
    changed = reconciled(mine, declare(max_attempts=7), hour(10))
    assert changed.override_schedule is None
    assert changed.expression == "0 * * * *"
    assert (changed.paused, changed.watermark) == (True, hour(9))


# Fire times during a run.


def test_a_fire_time_during_a_run_is_recorded_by_its_own_time() -> None:
    busy = replace(job(), active_run="a-run")
    passed, record = skipped(busy, hour(2.5)) or pytest.fail("nothing was skipped")
    again = skipped(busy, hour(2.7))
    assert again is not None
    assert record.row_key == again[1].row_key
    assert (record.status, record.created_at) == (RunStatus.SKIPPED, hour(2))
    assert record.reason
    assert (passed.scheduled_through, passed.next_fire_at) == (hour(2), hour(3))
    assert skipped(passed, hour(2.9)) is None


@pytest.mark.parametrize(
    "changes", [{"overlap": Overlap.QUEUE}, {"catch_up": CatchUp.ALL}, {"paused": True}]
)
def test_a_fire_time_that_waits_is_not_skipped(changes: dict[str, Any]) -> None:
    assert skipped(replace(job(**changes), active_run="a-run"), hour(2)) is None


# What to make of a run.

ALIVE = GroupState(terminated=False, started_at=hour(1))
ENDED = GroupState(terminated=True, exit_code=137, started_at=hour(1))


def test_a_run_is_left_alone_until_its_deadline() -> None:
    claimed = hour(1) + MINUTE
    assert judged(job(), run(), ALIVE, claimed + 20 * MINUTE) is None
    verdict = judged(job(), run(), ALIVE, claimed + 21 * MINUTE)
    assert verdict == Verdict(
        RunStatus.TIMED_OUT, "It was still going after 0:20:00.", True, Failure.DEADLINE
    )


@pytest.mark.parametrize(
    ("state", "reason", "failure"),
    [
        (
            ENDED,
            (
                "Its container ended with exit code 137 (killed, most often for want of memory) "
                "without closing the run."
            ),
            Failure.OUT_OF_MEMORY,
        ),
        (
            replace(ENDED, exit_code=1),
            "Its container ended with exit code 1 without closing the run.",
            Failure.CONTAINER,
        ),
        (
            replace(ENDED, exit_code=None),
            "Its container ended without closing the run.",
            Failure.CONTAINER,
        ),
        (None, "Its container group is gone.", Failure.LOST),
    ],
)
def test_a_claimed_run_whose_container_has_ended_is_abandoned(
    state: GroupState | None, reason: str, failure: Failure
) -> None:
    expected = Verdict(RunStatus.ABANDONED, reason, failure=failure)
    assert judged(job(), run(), state, hour(1.1)) == expected
    assert expected.has_ended is (state is not None)


def test_an_image_that_cannot_be_pulled_is_waited_for_a_little() -> None:
    starting = run(RunStatus.STARTING, started_at=None)
    pulling = replace(ALIVE, pull_error="not found", pull_failed_at=hour(1) + MINUTE)
    assert judged(job(), starting, pulling, hour(1) + 2 * MINUTE) is None
    verdict = judged(job(), starting, pulling, hour(1) + 3 * MINUTE)
    assert verdict == Verdict(
        RunStatus.FAILED, "Its image can't be pulled: not found", True, Failure.IMAGE_PULL
    )
    before = replace(pulling, pull_failed_at=hour(1) - MINUTE)
    assert judged(job(), starting, before, hour(1) + 3 * MINUTE) is None


@pytest.mark.parametrize(
    ("changes", "sure"),
    [
        ({"heartbeat_at": hour(2) - BEATING}, True),
        ({"heartbeat_at": hour(2) - BEATING - timedelta.resolution}, False),
        ({"heartbeat_at": None}, False),
        ({"heartbeat_at": hour(2), "status": RunStatus.STARTING}, False),
    ],
)
def test_a_run_is_alive_for_certain_after_a_sign_of_life(
    changes: dict[str, Any], sure: bool
) -> None:
    assert beats(replace(run(), **changes), hour(2)) is sure


# Runs that are slow.


def with_history(*minutes: float) -> Job:
    ended = job()
    for each in minutes:
        done = run(RunStatus.SUCCEEDED, ended_at=hour(1), duration_s=each * 60)
        ended = closed(ended, done, hour(1))
    return ended


@pytest.mark.parametrize(
    ("history", "limit_min"),
    [
        ([5] * 5, 15),  # three times the median
        ([0.1] * 5, 1.1),  # the median and a minute
        ([5, 5, 5, 5, 5, 40], 40),  # the longest so far
    ],
)
def test_a_run_is_slow_that_takes_far_longer_than_those_before(
    history: list[float], limit_min: float
) -> None:
    known = with_history(*history)
    going = run(started_at=hour(2))
    limit = hour(2) + limit_min * MINUTE
    assert slow(known, going, limit) is None
    flagged = slow(known, going, limit + timedelta(seconds=1))
    assert flagged is not None
    assert flagged.slow_run == going.run_id
    assert "slow" in (flagged.reason or "")
    assert slow(flagged, going, hour(9)) is None
    assert closed(flagged, replace(going, status=RunStatus.SUCCEEDED), hour(9)).slow_run is None


def test_without_a_history_no_run_is_slow() -> None:
    assert slow(with_history(5, 5, 5, 5), run(started_at=hour(2)), hour(99)) is None


def test_the_history_is_of_the_last_twenty_successes() -> None:
    known = with_history(*range(1, 31))
    assert durations_of(known) == [minutes * 60 for minutes in range(11, 31)]
    failed = closed(known, run(RunStatus.FAILED, attempt=3, duration_s=1.0), hour(1))
    assert failed.durations == known.durations


def test_a_run_that_nobody_claims_fails_at_its_start_deadline() -> None:
    starting = run(RunStatus.STARTING, started_at=None)
    assert judged(job(), starting, ALIVE, hour(1) + 10 * MINUTE) is None
    verdict = judged(job(), starting, ALIVE, hour(1) + 11 * MINUTE)
    assert verdict is not None
    assert (verdict.status, verdict.stop) == (RunStatus.FAILED, True)
    assert verdict.failure is Failure.DEADLINE


def test_only_a_failure_after_the_start_counts_against_a_starting_run() -> None:
    starting = run(RunStatus.STARTING, started_at=None)
    verdict = judged(job(), starting, ENDED, hour(1) + MINUTE)
    assert verdict is not None
    assert verdict.status is RunStatus.FAILED
    earlier = replace(ENDED, started_at=hour(1) - MINUTE)
    assert judged(job(), starting, earlier, hour(1) + MINUTE) is None
    nothing_to_do = replace(ENDED, exit_code=0)
    assert judged(job(), starting, nothing_to_do, hour(1) + MINUTE) is None


ABANDONED = Verdict(RunStatus.ABANDONED, "Its container ended.")


def test_giving_up_takes_the_runs_rights_and_keeps_how_it_ended() -> None:
    held = replace(job(), active_run="a-run", pending_run="{}", fence="token")
    freed = given_up(held, run(), ABANDONED, hour(1.5))
    assert (freed.active_run, freed.pending_run, freed.fence) == (None, None, None)
    final = run_from_json(freed.closing or "")
    assert (final.status, final.reason) == (RunStatus.ABANDONED, "Its container ended.")
    assert (final.ended_at, final.duration_s) == (hour(1.5), 29 * 60)


def test_a_run_that_has_committed_has_succeeded() -> None:
    lost = run()
    held = replace(job(), commit_run_id=lost.run_id, commit_rows=7, commit_lake_path="lake/path")
    final = run_from_json(given_up(held, lost, ABANDONED, hour(1.5)).closing or "")
    assert (final.status, final.rows, final.lake_path) == (RunStatus.SUCCEEDED, 7, "lake/path")
    another = replace(held, commit_run_id="the-run-before")
    final = run_from_json(given_up(another, lost, ABANDONED, hour(1.5)).closing or "")
    assert final.status is RunStatus.ABANDONED


def test_a_success_frees_the_job() -> None:
    ended = run(RunStatus.SUCCEEDED, ended_at=hour(1.5))
    free = closed(replace(job(), active_run=ended.row_key, fence="token"), ended, hour(1.6))
    assert (free.active_run, free.pending_run, free.fence) == (None, None, None)
    assert (free.last_run_id, free.last_status) == (ended.run_id, RunStatus.SUCCEEDED)
    assert (free.last_run_at, free.last_success_at) == (hour(1.5), hour(1.5))


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.ABANDONED, RunStatus.TIMED_OUT])
def test_what_did_not_succeed_is_tried_again_after_a_while(status: RunStatus) -> None:
    ended = run(status, ended_at=hour(1.5))
    held = closed(job(), ended, hour(1.6))
    again = run_from_json(held.pending_run or "")
    assert (again.attempt, again.status) == (2, RunStatus.QUEUED)
    assert (again.window_from, again.window_to) == (START, hour(1))
    assert again.not_before is not None
    assert again.not_before > hour(1.6)
    assert held.active_run == again.row_key != ended.row_key
    assert held.last_success_at is None


def test_the_last_attempt_is_not_tried_again() -> None:
    ended = run(RunStatus.FAILED, attempt=3, ended_at=hour(1.5))
    assert closed(job(max_attempts=3), ended, hour(1.6)).active_run is None
    assert closed(job(max_attempts=4), ended, hour(1.6)).active_run is not None


@pytest.mark.parametrize(("attempt", "doubled"), [(1, 1), (2, 2), (5, 16)])
def test_delays_double_with_a_jitter_that_is_the_same_each_time(attempt: int, doubled: int) -> None:
    ended = [run(RunStatus.FAILED, attempt=attempt) for _ in range(50)]
    delays = [retry_delay(declare(), each) for each in ended]
    assert delays == [retry_delay(declare(), each) for each in ended]
    assert min(delays) >= 0.75 * doubled * MINUTE
    assert max(delays) <= 1.25 * doubled * MINUTE
    assert len(set(delays)) > 40


def test_an_image_that_cannot_be_pulled_is_waited_for_longer() -> None:
    failed = run(RunStatus.FAILED, failure=Failure.IMAGE_PULL)
    assert retry_delay(declare(), failed) >= 0.75 * 5 * MINUTE
    assert retry_delay(declare(retry_delay=HOUR), failed) >= 0.75 * HOUR


@pytest.mark.parametrize(
    ("failure", "first", "longest"),
    [
        (Failure.TRANSITIONING, 0.25, 5),
        (Failure.THROTTLED, 1, 15),
        (Failure.UNAVAILABLE, 0.5, 10),
    ],
)
def test_a_start_is_postponed_by_the_kind_of_failure(
    failure: Failure, first: float, longest: float
) -> None:
    for number, minutes in ((0, first), (1, 2 * first), (15, longest)):
        delay = postponement(run(postponed=number), failure, None)
        assert 0.75 * minutes * MINUTE <= delay <= 1.25 * minutes * MINUTE
    assert postponement(run(), failure, HOUR) == HOUR
    # Jobs that were throttled together do not come back together.
    delays = {postponement(run(), failure, None) for _ in range(20)}
    assert len(delays) == 20


def test_delays_do_not_grow_for_ever() -> None:
    delay = retry_delay(declare(), run(RunStatus.FAILED, attempt=30))
    assert delay <= 1.25 * LONGEST_RETRY_DELAY


def test_a_run_survives_being_text() -> None:
    full = run(not_before=hour(2), heartbeat_at=hour(1), rows=7, claim_token="token")
    assert run_from_json(run_to_json(full)) == full


def test_a_job_survives_being_a_row() -> None:
    full = replace(
        job(),
        last_status=RunStatus.FAILED,
        last_run_at=hour(1),
        commit_rows=7,
        run_requested_at=hour(2),
        override_schedule="5 5 * * *",
    )
    assert Job.from_entity(full.to_entity()) == full
