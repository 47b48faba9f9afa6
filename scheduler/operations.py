"""What operators do to a job between deployments; none of it needs a rebuild.

The scheduler acts on it at its next tick. A deployment undoes none of it, but for an overridden
schedule, which ends when the declaration changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from scheduler.job import Job
from scheduler.ports import ConflictError, Store
from scheduler.schedule import Schedule

_ATTEMPTS = 10


class OperationError(Exception):
    """An operator asked for what can't be done; the text is one sentence on why."""


def pause(store: Store, name: str) -> Job:
    """Start nothing any more; a run that goes on is left alone. Raises OperationError."""
    return _change(store, name, lambda job: replace(job, paused=True))


def resume(store: Store, name: str) -> Job:
    """Start again what is due, by the job's ``catchUp``. Raises OperationError."""
    return _change(store, name, lambda job: replace(job, paused=False))


def run_now(store: Store, name: str, *, by: str, now: datetime) -> Job:
    """Ask for a run from the watermark up to now, also of a paused job. Raises OperationError."""
    return _change(store, name, lambda job: replace(job, run_requested_at=now, run_requested_by=by))


def set_watermark(store: Store, name: str, watermark: datetime) -> Job:
    """Load again, or never, from another time on.

    Raises:
        OperationError: there is no such job, or a run of it is going: it would move the watermark
            back when it ends.
    """

    def change(job: Job) -> Job:
        if job.active_run:
            raise OperationError(
                f"{name} is running; pause it and set the watermark when it ended."
            )
        return replace(job, watermark=watermark)

    return _change(store, name, change)


def override_schedule(store: Store, name: str, schedule: Schedule | None, *, now: datetime) -> Job:
    """Use another schedule until the declaration changes; ``None`` returns to the declared one.

    Raises:
        OperationError: there is no such job.
    """

    def change(job: Job) -> Job:
        changed = replace(
            job,
            override_schedule=schedule.expression if schedule else None,
            override_time_zone=schedule.time_zone if schedule else None,
        )
        return replace(changed, scheduled_through=now, next_fire_at=changed.schedule.next_fire(now))

    return _change(store, name, change)


def _change(store: Store, name: str, change: Callable[[Job], Job]) -> Job:
    for _ in range(_ATTEMPTS):
        job = store.job(name)
        if job is None:
            known = ", ".join(each.name for each in store.jobs()) or "none yet"
            raise OperationError(f'The job is "{name}"; allowed is one of {known}.')
        try:
            return store.update_job(change(job))
        except ConflictError:
            continue
    raise OperationError(f"The row of {name} changed {_ATTEMPTS} times in a row; try again.")
