"""What a person sees of jobs, runs and landed data, on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from rich import box
from rich.table import Table
from rich.text import Text

from extractor.runtime.records import Run, RunStatus
from local.data import Landed
from scheduler.history import History
from scheduler.job import Job
from scheduler.views import BackfillView

_STYLES = {
    RunStatus.SUCCEEDED: "green",
    RunStatus.FAILED: "bold red",
    RunStatus.TIMED_OUT: "bold red",
    RunStatus.ABANDONED: "bold red",
    RunStatus.CANCELLED: "yellow",
    RunStatus.SKIPPED: "yellow",
    RunStatus.RUNNING: "cyan",
    RunStatus.STARTING: "cyan",
    RunStatus.QUEUED: "cyan",
}

_MINUTE = timedelta(minutes=1)


def jobs_table(jobs: Sequence[Job], now: datetime) -> Table:
    """A row for each job: how its last run ended, when the next one is due, how far it has come."""
    table = _table("Jobs", "job", "status", "last run", "next run", "schedule", "watermark")
    for job in jobs:
        table.add_row(
            job.name,
            job.status,
            _last_run(job, now),
            _time(job.next_fire_at),
            f"{job.expression} {job.time_zone}",
            _time(job.watermark),
        )
    return table


def runs_table(runs: Sequence[Run], now: datetime) -> Table:
    """A row for each run, in the order given."""
    table = _table("Runs", "job", "status", "window (UTC)", "queued", "took", "rows", "why")
    for run in runs:
        table.add_row(
            run.job,
            status_text(run.status),
            f"{_day(run.window_from)} to {_day(run.window_to)}",
            _ago(run.created_at, now),
            _duration(run.duration_s),
            "" if run.rows is None else f"{run.rows:,}",
            _why(run),
        )
    return table


def backfills_table(jobs: Sequence[Job]) -> Table:
    """A row for each job that has or had a backfill: how far it has come."""
    table = _table("Backfills", "job", "status", "range (UTC)", "done", "why")
    for job in jobs:
        seen = BackfillView.of(job)
        if seen is not None:
            table.add_row(
                job.name,
                seen.status,
                f"{_day(seen.range.start)} to {_day(seen.range.end)}",
                f"{seen.share:.0%}",
                seen.reason or "",
            )
    return table


def history_table(histories: Mapping[str, History]) -> Table:
    """A row for each job: what its runs came to, and what they would have cost in Azure.

    Half of the runs took at most ``p50``, 19 of 20 at most ``p95``.
    """
    table = _table("History", "job", "runs", "ok", "p50", "p95", "queued", "rows", "in Azure")
    for job, seen in histories.items():
        took, waited = seen.duration_seconds, seen.queue_seconds
        table.add_row(
            job,
            f"{seen.runs:,}",
            "" if seen.success_rate is None else f"{seen.success_rate:.0%}",
            _duration(took.p50 if took else None),
            _duration(took.p95 if took else None),
            _duration(waited.p50 if waited else None),
            _compact(seen.rows),
            "" if seen.cost is None else f"{seen.cost:.2f} {seen.currency}",
        )
    return table


def landed_table(landed: Landed) -> Table:
    """The first rows of what a run has written."""
    head: pa.Table = landed.head
    table = _table(f"{landed.path} ({landed.manifest['rows']:,} rows)", *head.column_names)
    for row in head.to_pylist():
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def job_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """How the declarations of the jobs differ, a line for each key; none where they do not.

    Args:
        before: the stack's outputs as deployed.
        after: the stack's outputs as they would be.
    """
    old, new = before.get("jobs", {}), after.get("jobs", {})
    for job in sorted({*old, *new}):
        if job not in old:
            yield f"  new job {job}: {_declared(new[job])}"
        elif job not in new:
            yield f"  job {job} would end: {_declared(old[job])}"
        elif old[job] != new[job]:
            yield f"  job {job}"
            yield from _key_changes(old[job], new[job])


def _key_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            yield f"    {key}: {_declared(old.get(key))} → {_declared(new.get(key))}"


def _declared(value: Any) -> str:
    return "its default" if value is None else json.dumps(value)


def status_text(status: RunStatus) -> Text:
    """A run's status in its colour."""
    return Text(status.value, style=_STYLES[status])


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _last_run(job: Job, now: datetime) -> Text:
    if job.last_status is None:
        return Text("none yet", style="dim")
    when = f" {_ago(job.last_run_at, now)}" if job.last_run_at else ""
    return status_text(job.last_status).append(when, style="default")


def _why(run: Run) -> str:
    retry = f"attempt {run.attempt}" if run.attempt > 1 else ""
    error = run.error if run.error and run.error not in (run.reason or "") else ""
    return "; ".join(filter(None, (retry, run.reason, error)))


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < _MINUTE.total_seconds():
        return f"{seconds:.1f} s"
    if seconds < timedelta(hours=1).total_seconds():
        return f"{seconds / 60:.1f} m"
    return f"{seconds / 3600:.1f} h"


def _compact(number: int) -> str:
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return str(number)


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _day(moment: datetime) -> str:
    midnight = moment.time() == datetime.min.time()
    return f"{moment:%Y-%m-%d}" if midnight else f"{moment:%Y-%m-%d %H:%M}"


def _ago(moment: datetime, now: datetime) -> str:
    elapsed = max(now - moment, timedelta(0))
    if elapsed < _MINUTE:
        return f"{elapsed.seconds} s ago"
    if elapsed < timedelta(hours=1):
        return f"{elapsed // _MINUTE} min ago"
    return _time(moment)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return "" if value is None else str(value)
