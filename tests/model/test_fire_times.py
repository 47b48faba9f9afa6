"""Fire times against croniter, on random expressions, zones and moments.

Where the two differ, a named reason has to explain it: croniter, told the same in words that it
reads as Debian's cron does, then gives our answer. ``FIRE_TIMES`` sets the number of cases.
"""

from __future__ import annotations

import heapq
import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from croniter import CroniterBadDateError, croniter

from scheduler.schedule import Schedule

CASES = int(os.environ.get("FIRE_TIMES") or "10000")
SEED = 6

ZONES = [
    "UTC",
    "Africa/Casablanca",  # summer time but for Ramadan
    "America/New_York",
    "America/Sao_Paulo",  # until 2019, clocks changed at midnight
    "America/St_Johns",
    "Antarctica/Troll",  # two hours of summer time
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # half an hour of summer time
    "Europe/Berlin",
    "Pacific/Chatham",  # clocks change at a quarter to an hour
]
FIRST, LAST = datetime(2015, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

_ONE_VALUE = re.compile(r"\b(\d+)-\1\b(?!/)")


class Reason(StrEnum):
    """Why the two differ."""

    ONE_VALUE = "croniter reads a range of one value, such as 12-12, as any value"
    BOTH_DAYS = "where a field of days begins with a star, Debian's cron wants both of them"
    NTH_WEEKDAY = "croniter wants both fields of days where one is such as 5#2"
    DOUBLED_HOUR = "at a fixed time, we fire in the first of the doubled hours alone"
    SKIPPED_HOUR = "where we follow real time, we do not make up for the hour that there is not"
    ODD_CHANGE = (
        "our library, cronsim 2.8, loses fire times in the day after clocks changed by a part of "
        "an hour or within one, where we follow real time"
    )


@dataclass(frozen=True)
class Case:
    expression: str
    zone: str
    after: datetime

    @property
    def local(self) -> datetime:
        return self.after.astimezone(ZoneInfo(self.zone))

    @property
    def follows_real_time(self) -> bool:
        minute, hour, *_ = self.expression.split()
        return minute.startswith("*") or hour.startswith("*")


@dataclass(frozen=True)
class Change:
    """A change of clocks.

    Args:
        at: when, to a quarter of an hour.
        odd: whether it is by a part of an hour, or within one.
    """

    at: datetime
    odd: bool


@cache
def changes(zone: str) -> list[Change]:
    return [
        Change(quarter, bool((after - before) % HOUR) or (quarter + before).minute != 0)
        for day in range((LAST - FIRST) // DAY)
        if offset(FIRST + day * DAY, zone) != offset(FIRST + (day + 1) * DAY, zone)
        for quarter in (FIRST + day * DAY + number * HOUR / 4 for number in range(96))
        for before, after in [(offset(quarter - HOUR / 4, zone), offset(quarter, zone))]
        if before != after
    ]


def offset(moment: datetime, zone: str) -> timedelta:
    found = moment.astimezone(ZoneInfo(zone)).utcoffset()
    assert found is not None
    return found


def random_case(dice: random.Random) -> Case:
    zone = dice.choice(ZONES)
    moment = FIRST + timedelta(seconds=dice.randrange(int((LAST - FIRST).total_seconds())))
    if changes(zone) and dice.random() < 0.5:
        moment = dice.choice(changes(zone)).at + dice.uniform(-1, 1) * DAY
    return Case(random_expression(dice), zone, moment.replace(microsecond=0))


def random_expression(dice: random.Random) -> str:
    hour = dice.choice(["*", str(dice.randint(0, 4)), random_field(dice, 0, 23)])
    days, months, weekdays = "*", "*", "*"
    if dice.random() < 0.4:
        days = random_field(dice, 1, 31)
    if dice.random() < 0.2:
        months = random_field(dice, 1, 12)
    if dice.random() < 0.3:
        weekdays = dice.choice([random_field(dice, 0, 6), "MON-FRI", "SUN", "5#2", "7"])
    return f"{random_field(dice, 0, 59)} {hour} {days} {months} {weekdays}"


def random_field(dice: random.Random, low: int, high: int) -> str:
    first, last = sorted(dice.sample(range(low, high + 1), 2))
    fields = ["*", f"*/{dice.randint(2, high // 2 + 1)}", f"{first}", f"{first},{last}"]
    fields += [f"{first}-{last}", f"{first}-{last}/{dice.randint(1, 5)}"]
    return f"{first}-{first}" if dice.random() < 0.03 else dice.choice(fields)


def ours(case: Case) -> datetime | None:
    return Schedule(case.expression, case.zone).next_fire(case.after)


def theirs(case: Case) -> datetime | None:
    return next(croniters(case, case.expression), None)


def croniters(case: Case, expression: str, *, either: bool = True) -> Iterator[datetime]:
    """croniter's fire times; where both fields of days are given, ``either`` is enough or both."""
    fires = croniter(expression, case.local, day_or=either, max_years_between_matches=30)
    while True:
        try:
            yield fires.get_next(datetime).astimezone(UTC)
        except CroniterBadDateError:
            return


@dataclass
class Explanation:
    """What croniter finds when it is told in other words.

    Args:
        case: as it is.
        reasons: those that made a difference.
    """

    case: Case
    reasons: set[Reason] = field(default_factory=set)

    def fire(self) -> datetime | None:
        expression = _ONE_VALUE.sub(r"\1", self.case.expression)
        if expression != self.case.expression:
            self.reasons.add(Reason.ONE_VALUE)
        return next((fire for fire in self._days(expression) if self._counts(fire)), None)

    def _days(self, expression: str) -> Iterator[datetime]:
        minute, hour, days, month, weekdays = expression.split()
        if "*" in (days, weekdays):
            return croniters(self.case, expression)
        if days.startswith("*") or weekdays.startswith("*"):
            self.reasons.add(Reason.BOTH_DAYS)
            return croniters(self.case, expression, either=False)
        if "#" not in weekdays:
            return croniters(self.case, expression)
        self.reasons.add(Reason.NTH_WEEKDAY)
        by_day, by_weekday = f"{days} {month} *", f"* {month} {weekdays}"
        return heapq.merge(
            *(croniters(self.case, f"{minute} {hour} {rest}") for rest in (by_day, by_weekday))
        )

    def _counts(self, fire: datetime) -> bool:
        local = fire.astimezone(ZoneInfo(self.case.zone))
        if self.case.follows_real_time:
            minute, hour, *_ = _ONE_VALUE.sub(r"\1", self.case.expression).split()
            on_the_wall = local.replace(tzinfo=None)
            if not croniter.match(f"{minute} {hour} * * *", on_the_wall):
                self.reasons.add(Reason.SKIPPED_HOUR)
                return False
        elif local.fold:
            self.reasons.add(Reason.DOUBLED_HOUR)
            return False
        return True


def explained(case: Case, fire: datetime | None) -> set[Reason]:
    """Why croniter's answer is another one than ours; none: there is no reason."""
    explanation = Explanation(case)
    expected = explanation.fire()
    if expected == fire:
        return explanation.reasons
    missed = case.follows_real_time and expected and (fire is None or expected < fire)
    if missed and expected and lost_by_cronsim(case.zone, expected):
        return {Reason.ODD_CHANGE}
    return set()


def lost_by_cronsim(zone: str, fire: datetime) -> bool:
    """Whether a fire time lies between an odd change of clocks and one o'clock of the next day."""
    return any(each.at <= fire < each.at + DAY + HOUR for each in changes(zone) if each.odd)


def test_fire_times_are_those_of_another_implementation() -> None:
    dice = random.Random(SEED)
    differences: Counter[Reason] = Counter()
    agreed = 0
    for _ in range(CASES):
        case = random_case(dice)
        fire = ours(case)
        if fire == theirs(case):
            agreed += 1
            continue
        reasons = explained(case, fire)
        assert reasons, f"{case}: ours {fire}, theirs {theirs(case)}"
        differences.update(reasons)
    print(f"{CASES} fire times: {agreed} agree")  # noqa: T201 - what was tried
    for reason, number in differences.most_common():
        print(f"{number:7} differ: {reason}")  # noqa: T201 - what was tried
    # A reason without a case would be an excuse.
    assert set(differences) == set(Reason)
    assert agreed > CASES * 0.8


@pytest.mark.parametrize("zone", ZONES)
def test_both_kinds_of_days_are_among_the_cases(zone: str) -> None:
    assert zone in ("UTC", "Asia/Kathmandu") or len(changes(zone)) > 8
