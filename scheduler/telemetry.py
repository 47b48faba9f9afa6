"""What the scheduler measures: each tick, and of each job how late it is and what became of it.

Nothing is measured before :func:`extractor.runtime.telemetry.start`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Observation

from extractor.runtime.records import Run
from scheduler.job import Job

_tracer = trace.get_tracer(__name__)
_meter = metrics.get_meter(__name__)

TICK_DURATION = _meter.create_histogram(
    "scheduler.tick.duration", unit="s", description="How long a tick took."
)
RUNS_STARTED = _meter.create_counter(
    "scheduler.runs.started", description="Containers started, by job."
)
RUNS_ENDED = _meter.create_counter(
    "scheduler.runs.ended", description="Runs that ended, by job and status."
)


@dataclass
class _Latest:
    """The gauges' values as of the latest tick, so that a job that is gone is no longer reported.

    Args:
        lags: seconds between each job's watermark and the tick.
        due: jobs with a fire time that no run has been written for.
    """

    lags: Mapping[str, float] = field(default_factory=dict)
    due: int = 0


_latest = _Latest()


def _observe_lag(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(lag, {"job": job}) for job, lag in _latest.lags.items()]


def _observe_due(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(_latest.due)]


JOB_LAG = _meter.create_observable_gauge(
    "scheduler.job.lag", [_observe_lag], unit="s", description="Age of a job's watermark."
)
JOBS_DUE = _meter.create_observable_gauge(
    "scheduler.jobs.due", [_observe_due], description="Jobs that were due at the latest tick."
)


@contextmanager
def ticking() -> Iterator[None]:
    """Trace and time a tick, also one that fails."""
    begun = time.monotonic()
    with _tracer.start_as_current_span("tick"):
        try:
            yield
        finally:
            TICK_DURATION.record(time.monotonic() - begun)


def jobs_read(jobs: Iterable[Job], now: datetime) -> None:
    """Report how late the jobs are, as their rows were at the beginning of the tick of ``now``."""
    declared = [job for job in jobs if not job.retired]
    _latest.lags = {job.name: (now - job.watermark).total_seconds() for job in declared}
    _latest.due = sum(
        not job.paused and job.next_fire_at is not None and job.next_fire_at <= now
        for job in declared
    )


def run_started(run: Run) -> None:
    """Count a start of a run's container."""
    RUNS_STARTED.add(1, {"job": run.job})


def run_ended(run: Run) -> None:
    """Count a run that has a final status."""
    RUNS_ENDED.add(1, {"job": run.job, "status": run.status.value})
