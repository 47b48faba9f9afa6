"""The scheduler's row of a job in the table ``jobs``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from extractor.runtime.records import (
    JOB_PARTITION,
    Run,
    RunStatus,
    entity_etag,
    known_properties,
    properties,
)
from scheduler.declaration import JobDeclaration
from scheduler.schedule import FireTimes, Interval, Once, Schedule, Until, jitter


@dataclass(frozen=True)
class Job:
    """A job: what was declared, what operators changed, and how far it has come.

    Args:
        name: the job's name.
        declaration: JSON of its :class:`~scheduler.declaration.JobDeclaration`.
        declaration_hash: tells whether a deployment has changed the declaration.
        watermark: everything before it is in the lake.
        scheduled_through: fire times up to here were decided on; of a job that runs after others,
            how far they had come when it was.
        next_fire_at: the next fire time, UTC.
        queued_fire_at: a fire time that was due in time and waits for the active run to end.
        held_until: nothing that was missed is caught up with before then, for the last run failed.
        retired: no deployment declares it any more.
        paused: an operator has paused it.
        status: for people: ``idle``, ``running``, ``paused`` or ``retired``.
        reason: why it is not running although something asked for it, if so.
        active_run: row key of the run that holds the job.
        pending_run: JSON of that run as it was decided on. It is written together with
            ``active_run``, so a crash before the run's own row exists loses nothing.
        closing: JSON of the final row of a run that was given up. It is written when the run's
            rights are taken away, so a crash before the run's own row is closed loses nothing.
        fence: claim token of the extractor that may move the watermark.
        last_run_id: the last run that ended.
        last_status: how it ended.
        last_run_at: when.
        last_success_at: when the last successful one ended.
        run_requested_at: an operator has asked for a run.
        run_requested_by: who.
        override_schedule: cron expression that an operator has set; a changed declaration ends it.
        override_time_zone: the time zone of that.
        backfill: JSON of its :class:`~scheduler.backfill.Backfill`.
        backfill_position: everything of the backfill before it is in the lake.
        pending_audit: JSON of what operators did and the table ``audit`` does not tell yet, see
            :mod:`scheduler.audit`.
        starts: when its container was started in the last hour, see :mod:`scheduler.capacity`.
        durations: seconds that its last successful runs took, oldest first, with spaces between.
        slow_run: the active run, once it has taken far longer than those.
        commit_run_id: the run that last moved the watermark.
        commit_rows: rows that it loaded.
        commit_bytes: their size.
        commit_lake_path: their folder.
        etag: version of the row as read; ``None`` before it was written.
    """

    name: str
    declaration: str
    declaration_hash: str
    watermark: datetime
    scheduled_through: datetime
    next_fire_at: datetime | None = None
    queued_fire_at: datetime | None = None
    held_until: datetime | None = None
    retired: bool = False
    paused: bool = False
    status: str = "idle"
    reason: str | None = None
    active_run: str | None = None
    pending_run: str | None = None
    closing: str | None = None
    fence: str | None = None
    last_run_id: str | None = None
    last_status: RunStatus | None = None
    last_run_at: datetime | None = None
    last_success_at: datetime | None = None
    run_requested_at: datetime | None = None
    run_requested_by: str | None = None
    override_schedule: str | None = None
    override_time_zone: str | None = None
    backfill: str | None = None
    backfill_position: datetime | None = None
    pending_audit: str | None = None
    starts: str | None = None
    durations: str | None = None
    slow_run: str | None = None
    commit_run_id: str | None = None
    commit_rows: int | None = None
    commit_bytes: int | None = None
    commit_lake_path: str | None = None
    etag: str | None = field(default=None, compare=False)

    @classmethod
    def declared(cls, declaration: JobDeclaration) -> Self:
        """The row of a job that is new."""
        job = cls(
            name=declaration.name,
            declaration=declaration.to_setting(),
            declaration_hash=declaration.fingerprint,
            watermark=declaration.start,
            scheduled_through=declaration.start,
            paused=declaration.paused,
        )
        return replace(job, next_fire_at=job.schedule.next_fire(job.scheduled_through))

    @property
    def options(self) -> JobDeclaration:
        return JobDeclaration.from_setting(self.declaration)

    @property
    def time_zone(self) -> str:
        """The zone in which the cron expression is read: an operator's, else the declared one."""
        overridden = self.override_time_zone if self.override_schedule else None
        return overridden or self.options.time_zone

    @property
    def expression(self) -> str:
        """When it is due, for people: an operator's cron expression, else what was declared."""
        return self.override_schedule or self.options.described

    @property
    def upstreams(self) -> tuple[str, ...]:
        """The jobs after which it runs, unless an operator has given it a schedule."""
        return () if self.override_schedule else self.options.after or ()

    @property
    def schedule(self) -> FireTimes:
        """Its fire times; a job that runs after others has none."""
        end = self.options.end
        return Until(self._fires, end) if end else self._fires

    @property
    def _fires(self) -> FireTimes:
        options = self.options
        cron = self.override_schedule or options.schedule
        if cron:
            return Schedule(cron, self.time_zone)
        if options.every:
            return Interval(options.every, options.anchor or options.start)
        return Once(options.at)

    def due_at(self, fire: datetime) -> datetime:
        """When a fire time is acted on."""
        return fire + jitter(self.name, fire, self.options.jitter)

    def to_entity(self) -> dict[str, Any]:
        """The row's properties; ``None`` is left out, so write with replace, not merge."""
        return {"PartitionKey": JOB_PARTITION, "RowKey": self.name} | properties(
            self, skip=("name", "etag")
        )

    @classmethod
    def from_entity(cls, entity: Mapping[str, Any]) -> Self:
        """Read a row as azure-data-tables returns it."""
        known = known_properties(cls, entity)
        last = known.get("last_status")
        return cls(
            **known
            | {
                "name": entity["RowKey"],
                "etag": entity_etag(entity),
                "last_status": RunStatus(last) if last else None,
            }
        )


def run_to_json(run: Run) -> str:
    """A run as text, for a property of the job's row."""
    return json.dumps(run.to_entity(), default=datetime.isoformat)


def run_from_json(text: str) -> Run:
    """The inverse of :func:`run_to_json`."""
    entity = json.loads(text)
    for name, value in entity.items():
        if name.endswith(("_at", "_before")) or name in ("window_from", "window_to"):
            entity[name] = datetime.fromisoformat(value)
    return Run.from_entity(entity)
