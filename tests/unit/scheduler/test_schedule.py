"""Fire times, above all on the two days a year on which an hour is missing or comes twice."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from scheduler.schedule import Interval, Once, Schedule, Until, jitter

BERLIN = "Europe/Berlin"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(schedule: Schedule, after: datetime, until: datetime) -> list[datetime]:
    found = []
    while (fire := schedule.next_fire(after)) is not None and fire <= until:
        found.append(fire)
        after = fire
    return found


def test_a_fire_time_is_later_than_the_moment_it_is_asked_for() -> None:
    hourly = Schedule("0 * * * *")
    assert hourly.next_fire(utc("2026-03-10T06:00:00")) == utc("2026-03-10T07:00:00")
    assert hourly.next_fire(utc("2026-03-10T05:59:59.999999")) == utc("2026-03-10T06:00:00")


def test_hours_are_those_of_the_time_zone() -> None:
    daily = Schedule("0 6 * * *", BERLIN)
    assert daily.next_fire(utc("2026-01-10T00:00:00")) == utc("2026-01-10T05:00:00")
    assert daily.next_fire(utc("2026-07-10T00:00:00")) == utc("2026-07-10T04:00:00")


# Clocks in Berlin go from 02:00 to 03:00 on 29 March 2026, at 01:00 UTC.
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["2026-03-29T01:00:00"]),
        ("0,30 2 * * *", ["2026-03-29T01:00:00"]),
        ("0 3 * * *", ["2026-03-29T01:00:00"]),
        ("*/30 2 * * *", []),
        ("30 * * * *", ["2026-03-29T00:30:00", "2026-03-29T01:30:00"]),
    ],
)
def test_the_skipped_hour(expression: str, expected: list[str]) -> None:
    found = fires(
        Schedule(expression, BERLIN), utc("2026-03-29T00:00:00"), utc("2026-03-29T02:00:00")
    )
    assert found == [utc(text) for text in expected]


# Clocks in Berlin go from 03:00 back to 02:00 on 25 October 2026, at 01:00 UTC.
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["2026-10-25T00:30:00"]),
        ("0 2 * * *", ["2026-10-25T00:00:00"]),
        ("0 3 * * *", ["2026-10-25T02:00:00"]),
        ("*/30 2 * * *", [f"2026-10-25T0{h}:{m}:00" for h in (0, 1) for m in ("00", "30")]),
        ("30 * * * *", ["2026-10-25T00:30:00", "2026-10-25T01:30:00"]),
    ],
)
def test_the_doubled_hour(expression: str, expected: list[str]) -> None:
    found = fires(
        Schedule(expression, BERLIN), utc("2026-10-24T23:59:00"), utc("2026-10-25T02:00:00")
    )
    assert found == [utc(text) for text in expected]


@pytest.mark.parametrize("second", [0, 10, 40])
def test_in_the_second_of_the_doubled_hours_the_first_is_past(second: int) -> None:
    daily = Schedule("30 2 * * *", BERLIN)
    inside = utc("2026-10-25T01:10:00") + timedelta(seconds=second)
    assert daily.next_fire(inside) == utc("2026-10-26T01:30:00")
    assert daily.latest_fire(inside) == utc("2026-10-25T00:30:00")


def test_the_latest_fire_time_may_be_now() -> None:
    daily = Schedule("0 6 * * *")
    assert daily.latest_fire(utc("2026-03-10T06:00:00")) == utc("2026-03-10T06:00:00")
    assert daily.latest_fire(utc("2026-03-10T05:59:59.5")) == utc("2026-03-09T06:00:00")
    assert daily.latest_fire(utc("2026-03-10T06:00:00.5")) == utc("2026-03-10T06:00:00")


def test_there_may_be_no_fire_time() -> None:
    leap = Schedule("0 0 29 2 *")
    assert leap.next_fire(utc("2026-03-01T00:00:00")) == utc("2028-02-29T00:00:00")
    # No month has a second Monday on its last days.
    never = Schedule("0 0 */28 2 MON#2")
    assert never.next_fire(utc("2026-03-01T00:00:00")) is None
    assert never.latest_fire(utc("2026-03-01T00:00:00")) is None


RANDOM_CASES = 300


def _random_expression(dice: random.Random) -> str:
    # croniter reads a range of one value, such as 12-12, as any value.
    def field(low: int, high: int) -> str:
        first = dice.randint(low, high - 1)
        return dice.choice(
            [
                "*",
                f"*/{dice.randint(2, max(2, high // 2))}",
                str(first),
                f"{first}-{dice.randint(first + 1, high)}",
                f"{first},{dice.randint(low, high)}",
            ]
        )

    # croniter joins day of month and day of week differently; that is tested apart, below.
    days, weekdays = dice.choice([(field(1, 28), "*"), ("*", field(0, 6)), ("*", "*")])
    return f"{field(0, 59)} {field(0, 23)} {days} {field(1, 12)} {weekdays}"


def test_fire_times_are_those_of_another_implementation() -> None:
    dice = random.Random(4)
    for _ in range(RANDOM_CASES):
        expression = _random_expression(dice)
        after = utc("2020-01-01T00:00:00") + timedelta(seconds=dice.randrange(10**8))
        theirs = croniter(expression, after).get_next(datetime)
        assert Schedule(expression).next_fire(after) == theirs, (expression, after)


def test_the_latest_fire_time_is_the_last_of_those_that_follow_one_another() -> None:
    dice = random.Random(5)
    changes = [utc("2026-03-29T01:00:00"), utc("2026-10-25T01:00:00")]
    for _ in range(RANDOM_CASES):
        expression = dice.choice(
            ["30 2 * * *", "0,30 1-3 * * *", "*/20 2 * * *", "15 * * * *", "*/7 */2 * * *"]
        )
        schedule = Schedule(expression, BERLIN)
        at = dice.choice(changes) + timedelta(seconds=dice.randint(-3 * 3600, 3 * 3600))
        before = fires(schedule, at - timedelta(days=2), at)
        assert schedule.latest_fire(at) == before[-1], (expression, at)


def test_day_of_month_and_day_of_week() -> None:
    both = Schedule("0 0 1 * MON")
    assert both.next_fire(utc("2026-03-02T00:00:00")) == utc("2026-03-09T00:00:00")
    one = Schedule("0 0 */10 * MON")
    assert one.next_fire(utc("2026-03-01T00:00:00")) == utc("2026-05-11T00:00:00")


def test_the_zone_of_the_answer_is_utc() -> None:
    fire = Schedule("0 6 * * *", BERLIN).next_fire(datetime(2026, 3, 10, tzinfo=ZoneInfo(BERLIN)))
    assert fire is not None
    assert fire.tzinfo is UTC


# Schedules of other kinds.

QUARTER = Interval(timedelta(minutes=15), utc("2026-03-10T00:05:00"))


@pytest.mark.parametrize(
    ("moment", "latest", "following"),
    [
        ("2026-03-10T00:05:00", "2026-03-10T00:05:00", "2026-03-10T00:20:00"),
        ("2026-03-10T00:19:59", "2026-03-10T00:05:00", "2026-03-10T00:20:00"),
        ("2026-03-09T23:00:00", "2026-03-09T22:50:00", "2026-03-09T23:05:00"),
    ],
)
def test_an_interval_counts_from_its_anchor_both_ways(
    moment: str, latest: str, following: str
) -> None:
    assert QUARTER.latest_fire(utc(moment)) == utc(latest)
    assert QUARTER.next_fire(utc(moment)) == utc(following)


def test_an_interval_is_not_moved_by_a_change_of_clocks() -> None:
    anchor = datetime(2026, 3, 28, 12, tzinfo=ZoneInfo(BERLIN))
    daily = Interval(timedelta(days=1), anchor)
    assert daily.next_fire(utc("2026-03-28T11:00:00")) == utc("2026-03-29T11:00:00")
    assert daily.next_fire(anchor).tzinfo is UTC
    # Noon of the next day is 23 hours later.
    noon = datetime(2026, 3, 29, 12, tzinfo=ZoneInfo(BERLIN))
    assert daily.latest_fire(noon) == anchor


def test_once_is_once() -> None:
    moment = utc("2026-12-01T06:00:00")
    once, before = Once(moment), moment - timedelta.resolution
    assert (once.next_fire(before), once.latest_fire(before)) == (moment, None)
    assert (once.next_fire(moment), once.latest_fire(moment)) == (None, moment)
    assert (Once().next_fire(moment), Once().latest_fire(moment)) == (None, None)


def test_the_end_may_still_be_a_fire_time() -> None:
    end = utc("2026-03-10T00:20:00")
    until = Until(QUARTER, end)
    assert until.next_fire(utc("2026-03-10T00:05:00")) == end
    assert until.next_fire(end) is None
    assert until.latest_fire(utc("2026-03-11T00:00:00")) == end
    assert until.latest_fire(utc("2026-03-10T00:10:00")) == utc("2026-03-10T00:05:00")


def test_jitter_is_the_same_each_time_and_spread_over_jobs_and_fire_times() -> None:
    longest, moment = timedelta(minutes=10), utc("2026-03-10T00:00:00")
    jobs = [jitter(f"job-{number}", moment, longest) for number in range(100)]
    times = [jitter("job", moment + number * longest, longest) for number in range(100)]
    assert jobs == [jitter(f"job-{number}", moment, longest) for number in range(100)]
    for delays in (jobs, times):
        assert timedelta(0) <= min(delays) < timedelta(minutes=1)
        assert timedelta(minutes=9) < max(delays) <= longest
        assert len(set(delays)) == 100
    assert jitter("job", moment, timedelta(0)) == timedelta(0)
