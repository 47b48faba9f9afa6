"""Jobs and runs as operators see them: without claim tokens, fences and other inner workings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from extractor.runtime.records import Run, RunStatus
from scheduler import backfill
from scheduler.job import Job


class View(BaseModel):
    """Base of answers: their keys are camelCase."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class LastRun(View):
    """How the last run that ended did."""

    id: str
    status: RunStatus | None
    at: datetime | None


class Span(View):
    """From ``start`` on, up to and without ``end``."""

    start: Annotated[datetime, Field(alias="from")]
    end: Annotated[datetime, Field(alias="to")]


class BackfillView(View):
    """A backfill.

    Args:
        status: ``running``, ``waiting`` for its turn or its next attempt, ``done`` or ``stopped``.
        reason: why it was stopped.
        range: what it loads.
        position: everything of the range before it is in the lake.
        share: how much of the range that is, from 0 to 1.
        chunk: how much one run loads; ``None``: as much as a run of the live schedule.
        requested_by: who asked for it.
        requested_at: when.
    """

    status: str
    reason: str | None
    range: Span
    position: datetime
    share: float
    chunk: timedelta | None
    requested_by: str
    requested_at: datetime

    @classmethod
    def of(cls, job: Job) -> Self | None:
        """What there is to see of the job's backfill; ``None`` where there never was one."""
        asked = backfill.of(job)
        if asked is None:
            return None
        position = backfill.position(job)
        return cls(
            status=_backfill_status(job),
            reason=asked.stopped,
            range=Span(start=asked.start, end=asked.end),
            position=position,
            share=round((position - asked.start) / (asked.end - asked.start), 3),
            chunk=asked.chunk,
            requested_by=asked.by,
            requested_at=asked.at,
        )


def _backfill_status(job: Job) -> str:
    if backfill.going(job):
        return "running" if backfill.holds(job) else "waiting"
    asked = backfill.of(job)
    return "stopped" if asked and asked.stopped else "done"


class JobView(View):
    """A job.

    Args:
        name: of the job.
        status: ``idle``, ``running``, ``paused`` or ``retired``, as of the last tick.
        reason: why it does not run although something asked for it, if so.
        paused: it starts nothing by itself.
        watermark: everything before it is in the lake.
        schedule: cron expression that is in force.
        time_zone: of the schedule.
        schedule_overridden: an operator has set the schedule.
        next_run_at: the next fire time.
        active_run: id of the run that is going, or waits for its next attempt.
        start_requested_by: who asked for a run that has not begun.
        last_run: see :class:`LastRun`.
        last_success_at: when a run last succeeded.
        backfill: the last one; see :class:`BackfillView`.
    """

    name: str
    status: str
    reason: str | None
    paused: bool
    watermark: datetime
    schedule: str
    time_zone: str
    schedule_overridden: bool
    next_run_at: datetime | None
    active_run: str | None
    start_requested_by: str | None
    last_run: LastRun | None
    last_success_at: datetime | None
    backfill: BackfillView | None

    @classmethod
    def of(cls, job: Job) -> Self:
        """What there is to see of a job's row."""
        last = job.last_run_id
        return cls(
            name=job.name,
            status=job.status,
            reason=job.reason,
            paused=job.paused,
            watermark=job.watermark,
            schedule=job.expression,
            time_zone=job.time_zone,
            schedule_overridden=job.override_schedule is not None,
            next_run_at=job.next_fire_at,
            active_run=job.active_run.partition("-")[2] if job.active_run else None,
            start_requested_by=job.run_requested_by,
            last_run=LastRun(id=last, status=job.last_status, at=job.last_run_at) if last else None,
            last_success_at=job.last_success_at,
            backfill=BackfillView.of(job),
        )


class RunView(View):
    """A run; see :class:`~extractor.runtime.records.Run` and :mod:`scheduler.history`."""

    id: str
    status: RunStatus
    trigger: str
    attempt: int
    window: Span
    reason: str | None
    error: str | None
    created_at: datetime
    not_before: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    duration_seconds: float | None
    queue_seconds: float | None
    cost: float | None
    rows: int | None
    bytes: int | None
    image_digest: str | None
    lake_path: str | None

    @classmethod
    def of(cls, run: Run, queue_s: float | None, cost: float | None) -> Self:
        """What there is to see of a run's row."""
        return cls(
            id=run.run_id,
            status=run.status,
            trigger=run.trigger,
            attempt=run.attempt,
            window=Span(start=run.window_from, end=run.window_to),
            reason=run.reason,
            error=run.error,
            created_at=run.created_at,
            not_before=run.not_before,
            started_at=run.started_at,
            ended_at=run.ended_at,
            duration_seconds=run.duration_s,
            queue_seconds=queue_s,
            cost=cost,
            rows=run.rows,
            bytes=run.bytes,
            image_digest=run.image_digest,
            lake_path=run.lake_path,
        )


class AuditView(View):
    """What an operator did; ``before`` and ``after`` have what it changed of a :class:`JobView`."""

    at: datetime
    by: str
    operation: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
