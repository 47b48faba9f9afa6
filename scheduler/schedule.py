"""Fire times: when a cron expression is due in a time zone.

Days and hours are those of the clock on the wall, so a job of 06:00 in Berlin stays at 06:00 when
clocks change. As in Debian's cron, the two hours in question depend on the expression:

Minute and hour both without a leading ``*``, such as ``30 2 * * *``
    In the skipped hour it fires once, at the first moment after that hour. In the doubled hour it
    fires once, in the first of the two.
Any other, such as ``*/10 * * * *``
    It follows real time: nothing in the hour that there is not, and both times in the doubled one.

Day of month and day of week: where either begins with ``*`` both must match, else one is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from cronsim import CronSim

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Schedule:
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
