"""What operators do to a job between deployments; none of it needs a rebuild.

The scheduler acts on it at its next tick. A deployment undoes none of it, but for an overridden
schedule, which ends when the declaration changes.

Each operation takes who asks for it (``by``) and when (``now``, aware), and raises
:class:`UnknownJobError` or another :class:`OperationError`.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from extractor.runtime.log import facts
from extractor.runtime.records import BACKFILL, Run, RunStatus
from extractor.runtime.window import Window
from scheduler import audit, backfill, decisions
from scheduler.job import Job, run_from_json
from scheduler.ports import ConflictError, Store
from scheduler.schedule import Schedule

_log = logging.getLogger(__name__)

_ATTEMPTS = 10


class OperationError(Exception):
    """An operator asked for what can't be done now; the text is one sentence on why."""


class UnknownJobError(OperationError):
    """There is no such job."""


def pause(store: Store, name: str, *, by: str, now: datetime) -> Job:
    """Start nothing by itself any more; a run that goes on is left alone."""
    return _change(store, name, "pause", lambda job: replace(job, paused=True), by=by, now=now)


def resume(store: Store, name: str, *, by: str, now: datetime) -> Job:
    """Start again what is due, by the job's ``catchUp``."""
    return _change(store, name, "resume", lambda job: replace(job, paused=False), by=by, now=now)


def run_now(store: Store, name: str, *, by: str, now: datetime) -> Job:
    """Ask for a run from the watermark up to now, also of a paused job."""

    def change(job: Job) -> Job:
        if job.retired:
            raise OperationError(f"{name} is retired: no deployment declares it any more.")
        return replace(job, run_requested_at=now, run_requested_by=by)

    return _change(store, name, "start", change, by=by, now=now)


def set_watermark(store: Store, name: str, watermark: datetime, *, by: str, now: datetime) -> Job:
    """Load again, or never, from another time on.

    Refused while a run is going: it would move the watermark back when it ends. A chunk of a
    backfill would not.
    """

    def change(job: Job) -> Job:
        if job.active_run and not backfill.holds(job):
            raise OperationError(
                f"{name} is running; cancel its run, or set the watermark when it has ended."
            )
        return replace(job, watermark=watermark)

    return _change(store, name, "set watermark", change, by=by, now=now)


def override_schedule(
    store: Store, name: str, schedule: Schedule | None, *, by: str, now: datetime
) -> Job:
    """Use another schedule until the declaration changes; ``None`` returns to the declared one."""

    def change(job: Job) -> Job:
        changed = replace(
            job,
            override_schedule=schedule.expression if schedule else None,
            override_time_zone=schedule.time_zone if schedule else None,
        )
        # A job that runs after others counts from what it has loaded.
        through = job.watermark if changed.upstreams else now
        return replace(
            changed, scheduled_through=through, next_fire_at=changed.schedule.next_fire(now)
        )

    return _change(store, name, "set schedule", change, by=by, now=now)


def cancel(store: Store, name: str, *, by: str, now: datetime) -> Job:
    """End the active run as cancelled, without a retry; with a chunk its backfill ends as well.

    Its rights to write are gone with this; the next tick stops its container and closes its row. A
    load that it had committed before counts.
    """

    def change(job: Job) -> Job:
        run = _active_run(store, job)
        if run is None:
            raise OperationError(f"{name} has no run to cancel.")
        if run.trigger == BACKFILL:
            job = backfill.stopped(job, _cancelled_by(by))
        return _cancelled(job, run, by, now)

    return _change(store, name, "cancel", change, by=by, now=now)


def start_backfill(
    store: Store,
    name: str,
    window: Window,
    chunk: timedelta | None,
    *,
    overlap: bool = False,
    by: str,
    now: datetime,
) -> Job:
    """Load a range of the past in chunks, beside the live schedule; see :mod:`scheduler.backfill`.

    Args:
        store: the tables.
        name: the job.
        window: the range; not later than the watermark, behind which the live schedule loads.
        chunk: how much one run loads; ``None``: as much as a run of the live schedule does.
        overlap: whether the folders of windows that do not fit into the chunks were deleted.
        by: who asks for it.
        now: the time.
    """

    def change(job: Job) -> Job:
        if job.retired:
            raise OperationError(f"{name} is retired: no deployment declares it any more.")
        if backfill.going(job) or backfill.holds(job):
            raise OperationError(f"{name} has a backfill that is not done; cancel it first.")
        asked = backfill.Backfill(start=window.start, end=window.end, chunk=chunk, by=by, at=now)
        _check_range(job, asked)
        if not overlap:
            _check_overlap(store, job, asked)
        return backfill.asked(job, asked)

    return _change(store, name, "backfill", change, by=by, now=now)


def cancel_backfill(store: Store, name: str, *, by: str, now: datetime) -> Job:
    """End the job's backfill, with the chunk that is going; a live run is left alone."""

    def change(job: Job) -> Job:
        if not backfill.going(job):
            raise OperationError(f"{name} has no backfill to cancel.")
        run = _active_run(store, job) if backfill.holds(job) else None
        job = backfill.stopped(job, _cancelled_by(by))
        return _cancelled(job, run, by, now) if run else job

    return _change(store, name, "cancel backfill", change, by=by, now=now)


def unknown(store: Store, name: str) -> NoReturn:
    """Raise UnknownJobError: there is no job ``name``."""
    known = ", ".join(each.name for each in store.jobs()) or "none yet"
    raise UnknownJobError(f'The job is "{name}"; allowed is one of {known}.')


def _active_run(store: Store, job: Job) -> Run | None:
    """The run that holds the job; its row is written here if a tick has not come to it."""
    if not job.active_run or not job.pending_run:
        return None
    found = store.run(job.name, job.active_run)
    run = found or store.create_run(run_from_json(job.pending_run))
    return run if run.active else None


def _cancelled(job: Job, run: Run, by: str, now: datetime) -> Job:
    verdict = decisions.Verdict(RunStatus.CANCELLED, _cancelled_by(by))
    return decisions.given_up(job, run, verdict, now)


def _cancelled_by(by: str) -> str:
    return f"Cancelled by {by}."


def _check_range(job: Job, asked: backfill.Backfill) -> None:
    if asked.end > job.watermark:
        raise OperationError(
            f'to is "{_iso(asked.end)}"; allowed is at most the watermark, {_iso(job.watermark)}: '
            "what comes behind it is loaded by the schedule."
        )
    if backfill.too_many(job, asked):
        raise OperationError(
            f"The range has more than {backfill.MOST_CHUNKS} chunks; allowed is a longer chunk or "
            "a shorter range."
        )


def _check_overlap(store: Store, job: Job, asked: backfill.Backfill) -> None:
    """Refuse early what the extractor would refuse, as far as the history goes back.

    See :class:`~extractor.runtime.load.OverlapError`.
    """
    chunks = list(backfill.windows(job, asked, asked.start))
    starts = [chunk.start for chunk in chunks]
    for run in store.runs(job.name):
        loaded = Window(run.window_from, run.window_to)
        if not run.lake_path or not loaded.overlaps(Window(asked.start, asked.end)):
            continue
        chunk = chunks[max(0, bisect_right(starts, loaded.start) - 1)]
        if loaded.start < chunk.start or loaded.end > chunk.end:
            raise OperationError(
                f"The window {loaded} is in the lake and not within one chunk of the backfill, so "
                "rows would be there twice; choose chunks that hold whole windows, or delete the "
                f"folder {run.lake_path} and allow the overlap."
            )


def _iso(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _change(
    store: Store, name: str, operation: str, change: Callable[[Job], Job], *, by: str, now: datetime
) -> Job:
    """Write what an operation makes of the job, and the audit's entry of it, at once."""
    for _ in range(_ATTEMPTS):
        job = store.job(name) or unknown(store, name)
        if len(audit.pending(job)) >= audit.MOST_PENDING:
            raise OperationError(f"The audit of {name} can't be written; try again later.")
        changed = audit.recorded(job, change(job), operation, by, now)
        try:
            return _audited(store, store.update_job(changed))
        except ConflictError:
            continue
    raise OperationError(f"The row of {name} changed {_ATTEMPTS} times in a row; try again.")


def _audited(store: Store, job: Job) -> Job:
    try:
        return audit.moved(store, job)
    except Exception:  # noqa: BLE001 - it is done, and the next tick moves what is left
        _log.exception("audit not moved %s", facts(job=job.name))
        return job
