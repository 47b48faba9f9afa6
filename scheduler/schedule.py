"""Fire times: when a job is due by the clock.

Days and hours of a cron expression are those of the clock on the wall, so a job of 06:00 in Berlin
stays at 06:00 when clocks change. As in Debian's cron, the two hours in question depend on the
expression:

Minute and hour both without a leading ``*``, such as ``30 2 * * *``
    In the skipped hour it fires once, at the first moment after that hour. In the doubled hour it
    fires once, in the first of the two.
Any other, such as ``*/10 * * * *``
    It follows real time: nothing in the hour that there is not, and both times in the doubled one.

Day of month and day of week: where either begins with ``*`` both must match, else one is enough.

An :class:`Interval` knows no time zone: it follows real time through both hours.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from cronsim import CronSim

_SECOND = timedelta(seconds=1)


class FireTimes(ABC):
    """Moments at which a job is due, all in UTC."""

    @abstractmethod
    def next_fire(self, after: datetime) -> datetime | None:
        """The first fire time later than ``after``; ``None``: there is none any more."""

    @abstractmethod
    def latest_fire(self, at: datetime) -> datetime | None:
        """The last fire time not later than ``at``; ``None``: there was none yet."""


@dataclass(frozen=True)
class Schedule(FireTimes):
    """A cron expression in a time zone.

    Args:
        expression: five fields.
        time_zone: IANA name.
    """

    expression: str
    time_zone: str = "UTC"

    def next_fire(self, after: datetime) -> datetime | None:
        """The first fire time later than ``after``, in UTC; ``None``: none within 50 years.

        Raises:
            cronsim.CronSimError: the expression is none.
            zoneinfo.ZoneInfoNotFoundError: there is no such time zone.
        """
        # The library compares hours on the wall, where the second of two doubled hours looks like
        # the first.
        fires = self._fires(after, reverse=False)
        return next((fire for fire in fires if fire > after), None)

    def latest_fire(self, at: datetime) -> datetime | None:
        """The last fire time not later than ``at``, in UTC; ``None``: none in the 50 years before.

        Raises:
            cronsim.CronSimError: the expression is none.
            zoneinfo.ZoneInfoNotFoundError: there is no such time zone.
        """
        fires = self._fires(at + _SECOND, reverse=True)
        latest = next((fire for fire in fires if fire <= at), None)
        if latest is None:
            return None
        # Walking backwards out of a doubled hour, the library passes over the first of the two.
        while (following := self.next_fire(latest)) is not None and following <= at:
            latest = following
        return latest

    def _fires(self, start: datetime, *, reverse: bool) -> Iterator[datetime]:
        local = start.astimezone(self._zone())
        for fire in CronSim(self.expression, local, reverse=reverse):
            yield fire.astimezone(UTC)

    def _zone(self) -> tzinfo:
        # The library is quicker with the constant, and knows it by identity.
        return UTC if self.time_zone == "UTC" else ZoneInfo(self.time_zone)


@dataclass(frozen=True)
class Interval(FireTimes):
    """Fire times at equal distances, before and after the anchor.

    Args:
        every: the distance, above zero.
        anchor: one of the fire times.
    """

    every: timedelta
    anchor: datetime

    def next_fire(self, after: datetime) -> datetime:
        return self._fire(self._number(after) + 1)

    def latest_fire(self, at: datetime) -> datetime:
        return self._fire(self._number(at))

    # In UTC: between two times of one zone, Python counts the hours on the wall.
    def _number(self, at: datetime) -> int:
        return (at.astimezone(UTC) - self.anchor.astimezone(UTC)) // self.every

    def _fire(self, number: int) -> datetime:
        return self.anchor.astimezone(UTC) + number * self.every


@dataclass(frozen=True)
class Once(FireTimes):
    """The one fire time ``at``; never, without it."""

    at: datetime | None = None

    def next_fire(self, after: datetime) -> datetime | None:
        return self.at if self.at and self.at > after else None

    def latest_fire(self, at: datetime) -> datetime | None:
        return self.at if self.at and self.at <= at else None


@dataclass(frozen=True)
class Until(FireTimes):
    """The fire times of another schedule that are not later than ``end``."""

    fires: FireTimes
    end: datetime

    def next_fire(self, after: datetime) -> datetime | None:
        fire = self.fires.next_fire(after)
        return fire if fire and fire <= self.end else None

    def latest_fire(self, at: datetime) -> datetime | None:
        return self.fires.latest_fire(min(at, self.end))


def jitter(job: str, fire: datetime, longest: timedelta) -> timedelta:
    """A delay from zero to ``longest``: the same for one job and fire time, wherever it is asked.

    So jobs of one schedule do not all start at once, and two schedulers agree on when each does.
    """
    digest = hashlib.sha256(f"{job} {fire.timestamp()}".encode()).digest()
    return longest * (int.from_bytes(digest[:4]) / 2**32)
