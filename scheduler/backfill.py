"""A backfill: a range of the past, loaded in chunks beside the live schedule.

It is a part of its job's row, and each chunk is a run of the job like any other, so that there is
never more than one container of a job. Whatever the live schedule or an operator asks for goes
first; a chunk begins when nothing else is due. The extractor that loads a chunk moves the job's
``backfill_position`` where that of a live run moves the ``watermark``, in the same fenced write; so
a backfill never touches the watermark, and after a death it goes on where the last commit was.

A chunk that fails is tried again as often as any run. In between, the job is free for what is due.
When its last attempt has failed the backfill stops, and says where and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

from pydantic import AwareDatetime

from extractor.runtime.records import BACKFILL, Run, RunStatus
from extractor.runtime.window import Window
from scheduler.declaration import Declaration
from scheduler.job import Job, run_from_json

MOST_CHUNKS = 10_000
"""Of one backfill; more would be years of container starts."""


class Backfill(Declaration):
    """What is asked for and how it fares; kept as JSON in the property ``backfill``.

    Args:
        start: where the first chunk begins.
        end: where the last one ends.
        chunk: how much one run loads; without it, what the live schedule's runs load: from one
            fire time to the next, or ``maxWindow`` where that is less.
        by: who asked for it.
        at: when.
        attempt: number of the next attempt at the chunk that begins at the position.
        not_before: the next attempt waits until then.
        stopped: why it has ended before its end, if it has.
    """

    start: AwareDatetime
    end: AwareDatetime
    chunk: timedelta | None = None
    by: str
    at: AwareDatetime
    attempt: int = 1
    not_before: AwareDatetime | None = None
    stopped: str | None = None


def of(job: Job) -> Backfill | None:
    """The job's backfill, ended or not; ``None`` where there never was one."""
    return Backfill.model_validate_json(job.backfill) if job.backfill else None


def asked(job: Job, backfill: Backfill) -> Job:
    """The job with a new backfill in place of any before."""
    return replace(_with(job, backfill), backfill_position=backfill.start)


def going(job: Job) -> bool:
    """Whether there is something left of the job's backfill to do."""
    backfill = of(job)
    return backfill is not None and not backfill.stopped and position(job) < backfill.end


def position(job: Job) -> datetime:
    """Everything of the backfill before it is in the lake."""
    # They are written together.
    assert job.backfill_position  # noqa: S101
    return job.backfill_position


def stopped(job: Job, reason: str) -> Job:
    """The job whose backfill starts no chunk any more."""
    backfill = of(job)
    return _changed(job, backfill, stopped=reason) if backfill else job


def holds(job: Job) -> bool:
    """Whether the job's active run is a chunk."""
    return job.pending_run is not None and run_from_json(job.pending_run).trigger == BACKFILL


def next_chunk(job: Job, now: datetime) -> tuple[Window, int] | None:
    """Window and number of the attempt that may begin now, where nothing else is due."""
    backfill = of(job)
    if backfill is None or not going(job):
        return None
    if backfill.not_before and backfill.not_before > now:
        return None
    return next(windows(job, backfill, position(job))), backfill.attempt


def ended(job: Job, run: Run, retry_at: datetime | None) -> Job:
    """The job after an attempt at a chunk.

    Args:
        job: which no run holds any more.
        run: the attempt, ended.
        retry_at: when the next one may begin; ``None``: it is not tried again.
    """
    backfill = of(job)
    if backfill is None:
        return job
    if run.status is RunStatus.SKIPPED:
        return job
    if run.status is RunStatus.SUCCEEDED:
        return _changed(job, backfill, attempt=1, not_before=None)
    if retry_at:
        return _changed(job, backfill, attempt=run.attempt + 1, not_before=retry_at)
    return _changed(job, backfill, stopped=backfill.stopped or _why(run))


def windows(job: Job, backfill: Backfill, start: datetime) -> Iterator[Window]:
    """The chunks from ``start`` on, oldest first."""
    while start < backfill.end:
        end = min(_chunk_end(job, backfill, start), backfill.end)
        yield Window(start, end)
        start = end


def too_many(job: Job, backfill: Backfill) -> bool:
    """Whether it has more chunks than one backfill may have."""
    return next(islice(windows(job, backfill, backfill.start), MOST_CHUNKS, None), None) is not None


def _chunk_end(job: Job, backfill: Backfill, start: datetime) -> datetime:
    if backfill.chunk:
        return start + backfill.chunk
    options = job.options
    fire = job.schedule.next_fire(start + options.lag)
    ends = [
        fire - options.lag if fire else None,
        start + options.max_window if options.max_window else None,
    ]
    return min((end for end in ends if end), default=backfill.end)


def _changed(job: Job, backfill: Backfill, **changes: object) -> Job:
    return _with(job, backfill.model_copy(update=changes))


def _with(job: Job, backfill: Backfill) -> Job:
    return replace(job, backfill=backfill.model_dump_json(by_alias=True, exclude_defaults=True))


def _why(run: Run) -> str:
    window = Window(run.window_from, run.window_to)
    return f"The chunk {window} ended {run.status.value}: {run.reason}"
