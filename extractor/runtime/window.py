"""The span of time that a run loads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Self

_FOLDER_TIME = "%Y%m%dT%H%M%S"
_FOLDER = re.compile(r"window=(\d{8}T\d{6}(?:\.\d{6})?Z)_(\d{8}T\d{6}(?:\.\d{6})?Z)")


@dataclass(frozen=True)
class Window:
    """What a run loads: from ``start`` on, up to and without ``end``.

    Windows of one job follow one another without a gap or an overlap, so a row belongs to exactly
    one of them, the one in which its time lies.

    Args:
        start: inclusive, aware, UTC.
        end: exclusive, aware, UTC, not before ``start``. It was fixed before the run began.
    """

    start: datetime
    end: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def overlaps(self, other: Window) -> bool:
        """Whether a moment can be in both."""
        return self.start < other.end and other.start < self.end

    def days(self) -> Iterator[date]:
        """The UTC calendar days that begin in the window, oldest first.

        For sources of one value a day: such a value belongs to the window in which its day begins.
        """
        day = self.start.astimezone(UTC).date()
        if _midnight(day) < self.start:
            day += timedelta(days=1)
        while _midnight(day) < self.end:
            yield day
            day += timedelta(days=1)

    @property
    def folder(self) -> str:
        """Name of the folder in the lake that holds the window, the same for every attempt."""
        return f"window={_folder_time(self.start)}_{_folder_time(self.end)}"

    @classmethod
    def of_folder(cls, name: str) -> Self | None:
        """The inverse of :attr:`folder`; ``None`` where the folder holds no window."""
        found = _FOLDER.fullmatch(name)
        return cls(*map(datetime.fromisoformat, found.groups())) if found else None

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%M:%SZ}/{self.end:%Y-%m-%dT%H:%M:%SZ}"


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _folder_time(moment: datetime) -> str:
    # Fire times have no fraction of a second; one that an operator set may have, and two windows
    # must not share a folder.
    utc = moment.astimezone(UTC)
    fraction = f".{utc.microsecond:06d}" if utc.microsecond else ""
    return f"{utc.strftime(_FOLDER_TIME)}{fraction}Z"
