"""What a person sees of histories and backfills, at the width of a terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table

from extractor.runtime.records import Run, RunStatus, run_row_key
from local import view
from scheduler import backfill, history
from scheduler.declaration import JobDeclaration
from scheduler.job import Job

START = datetime(2026, 3, 10, tzinfo=UTC)
RATE = history.Rate("EUR", 0.001)


def lines(table: Table) -> list[str]:
    """The rows on a terminal of 80 columns, without the title."""
    console = Console(width=80, record=True, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()[1:] if line.strip()]


def run(number: int) -> Run:
    begun = START + timedelta(hours=number)
    return Run(
        job="weather",
        run_id=str(number),
        row_key=run_row_key(begun, str(number)),
        status=RunStatus.FAILED if number == 19 else RunStatus.SUCCEEDED,
        trigger="schedule",
        window_from=START,
        window_to=START,
        created_at=begun,
        starting_at=begun,
        started_at=begun + timedelta(seconds=42),
        ended_at=begun + timedelta(hours=2),
        duration_s=90.0 if number else 7200.0,
        rows=1_234_567,
    )


def test_the_history_of_a_job_is_one_line_of_a_terminal() -> None:
    seen = history.summary([run(number) for number in range(20)], RATE)
    head, _, row = lines(view.history_table({"weather-nl-sea": seen}))
    assert re.split(r"  +", head.strip()) == [
        *("job", "runs", "ok", "p50", "p95", "queued", "rows", "in Azure")
    ]
    assert re.split(r"  +", row.strip()) == [
        *("weather-nl-sea", "20", "95%", "1.5 m", "2.0 h", "42.0 s", "24.7 M", "144.00 EUR")
    ]


def test_a_job_without_runs_has_an_empty_history() -> None:
    *_, row = lines(view.history_table({"weather": history.summary([], None)}))
    assert row.split() == ["weather", "0", "0"]


def test_a_backfill_says_how_far_it_is_and_why_it_stopped() -> None:
    declaration = JobDeclaration(
        name="weather", container_group="weather", schedule="0 6 * * *", start=START
    )
    asked = backfill.Backfill(start=START - timedelta(days=4), end=START, by="anna", at=START)
    job = backfill.asked(Job.declared(declaration), asked)
    job = replace(job, backfill_position=START - timedelta(days=1))
    _, _, row = lines(view.backfills_table([job, Job.declared(declaration)]))
    assert row.split() == ["weather", "waiting", "2026-03-06", "to", "2026-03-10", "75%"]
    stopped = backfill.stopped(job, "Cancelled by anna.")
    _, _, row = lines(view.backfills_table([stopped]))
    assert row.endswith("75%    Cancelled by anna.")
