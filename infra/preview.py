"""What a preview tells people of the jobs beside the resources: when each is due next.

How a job's declaration differs from the deployed one the engine shows by itself, as the difference
of the stack's output ``jobs``. Fire times are no output: they pass, so no two previews would agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

from scheduler.declaration import JobDeclaration
from scheduler.job import Job

FIRES = 5
"""Fire times shown of a job."""

DETAILED_JOBS = 10
"""With more jobs than these, only the next fire time of each is shown."""

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_AHEAD = 366
"""Days in which a change of clocks is looked for."""


def fire_times(declarations: Sequence[JobDeclaration], now: datetime) -> str:
    """The next fire times of each job, as its clock shows them, and how a change of clocks moves
    them; no lines for no jobs.

    Args:
        declarations: the jobs.
        now: when the preview runs, with an offset.
    """
    detailed = len(declarations) <= DETAILED_JOBS
    of_job = _in_detail if detailed else _in_short
    return "\n".join(line for each in declarations for line in of_job(Job.declared(each), now))


def upcoming(job: Job, now: datetime) -> Iterator[datetime]:
    """The fire times of a job later than ``now``, the earliest first, in its time zone."""
    zone = ZoneInfo(job.time_zone)
    fire = job.schedule.next_fire(max(now, job.scheduled_through))
    while fire is not None:
        yield fire.astimezone(zone)
        fire = job.schedule.next_fire(fire)


def clock_change(zone: tzinfo, after: datetime) -> datetime | None:
    """The moment at which clocks change next, in UTC; ``None``: not within a year."""

    def offset(at: datetime) -> timedelta | None:
        return at.astimezone(zone).utcoffset()

    # In UTC: between two times of one zone, Python counts the hours on the wall.
    days = (after.astimezone(UTC) + day * _DAY for day in range(_AHEAD + 1))
    found = next(((a, b) for a, b in pairwise(days) if offset(a) != offset(b)), None)
    if found is None:
        return None
    before, changed = found
    while changed - before > _SECOND:
        middle = before + (changed - before) / 2
        before, changed = (
            (middle, changed) if offset(middle) == offset(before) else (before, middle)
        )
    return changed.replace(microsecond=0)


def _in_short(job: Job, now: datetime) -> Iterator[str]:
    fire = next(upcoming(job, now), None)
    yield (
        f"{_title(job)}: next {_time(fire)}" if fire else f"{_title(job)}: no fire time of its own"
    )


def _in_detail(job: Job, now: datetime) -> Iterator[str]:
    fires = [fire for fire, _ in zip(upcoming(job, now), range(FIRES), strict=False)]
    yield f"{_title(job)}{'' if fires else ': no fire time of its own'}"
    if not fires:
        return
    zone = ZoneInfo(job.time_zone)
    yield from _marked([now.astimezone(zone), *fires])
    change = clock_change(zone, fires[-1])
    if change and not _changes(now.astimezone(zone), fires[-1]):
        yield from _around(job, change, zone)


def _around(job: Job, change: datetime, zone: tzinfo) -> Iterator[str]:
    """The last fire time before a change of clocks, and the first one after it."""
    last = job.schedule.latest_fire(change - _SECOND)
    first = job.schedule.next_fire(change - _SECOND)
    if last and first and last > job.scheduled_through:
        yield "  …"
        yield f"  {_time(last.astimezone(zone))}"
        yield from _marked([last.astimezone(zone), first.astimezone(zone)])


def _marked(times: Sequence[datetime]) -> Iterator[str]:
    """A line for each time but the first, with a mark where clocks have changed since the last."""
    for earlier, later in pairwise(times):
        mark = f"  clocks changed from {_offset(earlier)}" if _changes(earlier, later) else ""
        yield f"  {_time(later)}{mark}"


def _changes(earlier: datetime, later: datetime) -> bool:
    return earlier.utcoffset() != later.utcoffset()


def _title(job: Job) -> str:
    # Only a cron expression is read in a time zone.
    zone = f" {job.time_zone}" if job.options.schedule else ""
    return f"{job.name}: {job.expression}{zone}"


def _time(at: datetime) -> str:
    return f"{at:%a %Y-%m-%d %H:%M} {_offset(at)}"


def _offset(at: datetime) -> str:
    return at.isoformat(timespec="minutes")[-len("+00:00") :]
