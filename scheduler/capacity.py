"""How many containers may be started now.

Azure Container Instances documents, for a region of a subscription, 100 container groups, and 100
of their starts in five minutes and 300 in an hour:
https://learn.microsoft.com/azure/container-instances/container-instances-resource-and-quota-limits.
A start beyond that is refused with 429, and counts against the quota all the same. So the scheduler
counts for itself: each job's row names its starts of the last hour, and a tick reads all rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta

MAX_RUNNING = 100
STARTS_PER_FIVE_MINUTES = 100
STARTS_PER_HOUR = 300

WAITS = "It waits"
"""Begins the reason of a job whose run waits for its start."""

_FIVE_MINUTES = timedelta(minutes=5)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Limits:
    """What the scheduler keeps to, over all jobs.

    Args:
        max_running: containers that run at once.
        starts_per_five_minutes: starts in any five minutes.
        starts_per_hour: starts in any hour.
    """

    max_running: int = MAX_RUNNING
    starts_per_five_minutes: int = STARTS_PER_FIVE_MINUTES
    starts_per_hour: int = STARTS_PER_HOUR

    @property
    def halved(self) -> Limits:
        """What backfills keep to, so that there is room for what becomes due meanwhile."""
        halves = (math.ceil(value / 2) for value in astuple(self))
        return Limits(*halves)


DEFAULT_LIMITS = Limits()


class Capacity:
    """What is left of the limits in one tick.

    Args:
        limits: see :class:`Limits`.
        running: containers that run already.
        starts: the starts of the last hour, older ones do no harm.
        now: the time of the tick.
    """

    def __init__(
        self, limits: Limits, running: int, starts: Iterable[datetime], now: datetime
    ) -> None:
        recent = [now - start for start in starts if now - start < _HOUR]
        self._limits = limits
        self._running = running
        self._in_an_hour = len(recent)
        self._in_five_minutes = sum(age < _FIVE_MINUTES for age in recent)

    def take(self, *, backfill: bool = False) -> str | None:
        """Count a start, where there may be one; else the answer says why not.

        The sentence is the same from tick to tick, so that it is written once.

        Args:
            backfill: whether it is to load a chunk of one, which has half of the limits.
        """
        limits = self._limits.halved if backfill else self._limits
        if self._running >= limits.max_running:
            return f"{WAITS} until fewer than {limits.max_running} containers run."
        if self._in_five_minutes >= limits.starts_per_five_minutes:
            return f"{WAITS}: {limits.starts_per_five_minutes} starts in 5 minutes are the most."
        if self._in_an_hour >= limits.starts_per_hour:
            return f"{WAITS}: {limits.starts_per_hour} starts in an hour are the most."
        self._running += 1
        self._in_five_minutes += 1
        self._in_an_hour += 1
        return None


def recorded(starts: str | None, now: datetime) -> str:
    """A job's starts of the last hour with another one, see :func:`read`."""
    recent = [start for start in read(starts) if now - start < _HOUR]
    return " ".join(str(int(start.timestamp())) for start in [*recent, now])


def read(starts: str | None) -> list[datetime]:
    """Times that are kept as seconds since 1970, with spaces between them."""
    return [datetime.fromtimestamp(int(each), tz=UTC) for each in (starts or "").split()]
