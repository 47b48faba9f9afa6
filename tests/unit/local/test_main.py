"""What the commands make of a stack's data."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import NoReturn, cast

import pytest
from azure.core.exceptions import ResourceNotFoundError

from extractor.runtime.records import Run, RunStatus
from local import __main__ as commands
from local.data import StackData
from local.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = Run(
    job="weather",
    run_id="1",
    row_key="1",
    status=RunStatus.SUCCEEDED,
    trigger="schedule",
    window_from=NOW,
    window_to=NOW,
    created_at=NOW,
    rows=3,
    lake_path="weather/window=1",
)


def job(name: str, *, active_run: str | None = None, retired: bool = False) -> SimpleNamespace:
    return SimpleNamespace(name=name, active_run=active_run, retired=retired)


def data(jobs: list[SimpleNamespace], *runs: Run) -> StackData:
    def gone(_: str) -> NoReturn:
        raise ResourceNotFoundError

    return cast(StackData, SimpleNamespace(jobs=lambda: jobs, runs=lambda: list(runs), landed=gone))


def test_a_folder_that_somebody_deleted_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    commands._print_landed(data([]), RUN)
    assert capsys.readouterr().out == "weather/window=1 is no longer in the lake.\n"


def test_the_first_success_is_of_a_declared_job_and_has_been_closed() -> None:
    runs = [
        replace(RUN, job="gone", row_key="4"),
        replace(RUN, row_key="3"),
        replace(RUN, row_key="2", rows=0),
        RUN,
    ]
    jobs = [job("gone", retired=True), job("weather", active_run="3")]
    assert commands._first_success(Settings(), data(jobs, *runs)) is RUN
