"""``make up`` and what follows it, on the real engine, Docker, registry and Azurite.

The tests are steps of one story and run in their order.
"""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import pytest
from vega_datasets import local_data

from extractor.runtime.records import BACKFILL, Run, RunStatus
from extractor.runtime.window import Window
from scheduler import operations
from scheduler.job import Job
from scheduler.views import BackfillView
from tests.integration.conftest import Deployed

T = TypeVar("T")

JOB = "weather"
CHANGE = re.compile(
    r"^  (create|update|replace|delete|create-replacement|delete-replaced) (.*)$", re.MULTILINE
)


def wait_for(ask: Callable[[], T | None], timeout_s: float = 120) -> T:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = ask()
        if found is not None:
            return found
        time.sleep(0.1)
    raise AssertionError(f"nothing within {timeout_s} seconds")


def recorded_days(run: Run) -> int:
    """Days that the source has of a run's window."""
    with open(local_data.seattle_weather.filepath) as file:  # noqa: PTH123 - a name, not a path
        days = [
            datetime.strptime(f"{row['date']} +0000", "%Y/%m/%d %z") for row in csv.DictReader(file)
        ]
    return sum(run.window_from <= day < run.window_to for day in days)


def ended(deployed: Deployed, after: Run) -> Callable[[], Run | None]:
    """The oldest ended run that is newer than another."""

    def ask() -> Run | None:
        newer = [r for r in deployed.data.runs() if r.created_at > after.created_at]
        return next((run for run in reversed(newer) if not run.active), None)

    return ask


def container_starts(deployed: Deployed) -> dict[str, str | None]:
    return {
        name: deployed.groups.get(deployed.groups.find(name).id).containers[0].started_at
        for name in (JOB, "scheduler")
    }


def windows(deployed: Deployed) -> set[str]:
    """The folders that readers see."""
    return {path.name for path in deployed.data.lake.get_paths(JOB, recursive=False)}


def request_run(deployed: Deployed) -> Run:
    """Ask for a run now, and return the newest run before it."""
    last = deployed.data.runs()[0]
    operations.run_now(deployed.data.store(), JOB, by="test", now=datetime.now(UTC))
    return last


def test_up_lands_rows_in_the_lake(deployed: Deployed) -> None:
    (run,) = deployed.data.runs()
    assert run.status is RunStatus.SUCCEEDED
    assert run.lake_path is not None
    assert run.rows == deployed.data.rows(run.lake_path) == recorded_days(run)
    assert "succeeded" in deployed.first.output
    assert run.lake_path in deployed.first.output


def test_the_manifest_says_where_the_data_came_from(deployed: Deployed) -> None:
    (run,) = deployed.data.runs()
    assert run.lake_path is not None
    manifest = deployed.data.landed(run.lake_path).manifest
    assert manifest["run_id"] == run.run_id
    assert manifest["image_digest"] == run.image_digest
    assert manifest["rows"] == run.rows
    assert all(len(file["sha256"]) == 64 for file in manifest["files"])


def test_a_second_up_changes_nothing(deployed: Deployed) -> None:
    before = container_starts(deployed), len(deployed.data.runs())
    result = deployed.clone.run("up")
    assert result.code == 0, result.output
    assert "No resource changed." in result.output
    assert CHANGE.findall(result.output) == []
    assert (container_starts(deployed), len(deployed.data.runs())) == before


def test_a_start_without_a_run_ends_at_once_and_writes_nothing(deployed: Deployed) -> None:
    group = deployed.groups.find(JOB).id
    started = deployed.groups.get(group).containers[0].started_at
    jobs, runs = deployed.data.jobs(), deployed.data.runs()
    paths = [path.name for path in deployed.data.lake.get_paths()]
    begun = time.monotonic()
    deployed.groups.start(group)

    def terminated() -> int | None:
        (container,) = deployed.groups.get(group).containers
        return container.exit_code if container.started_at != started else None

    assert wait_for(terminated) == 0
    assert time.monotonic() - begun < 10
    assert (deployed.data.jobs(), deployed.data.runs()) == (jobs, runs)
    assert [path.name for path in deployed.data.lake.get_paths()] == paths


def test_editing_a_line_replaces_one_image_and_one_group(deployed: Deployed) -> None:
    (before,) = deployed.data.jobs()
    runs = deployed.data.runs()
    deployed.clone.edit(
        "extractor/weather/application/dataextractor.py", "_TIMEOUT_S = 60", "_TIMEOUT_S = 61"
    )
    result = deployed.clone.run("up")
    assert result.code == 0, result.output
    changed = {name.partition(" (")[0] for _, name in CHANGE.findall(result.output)}
    assert changed == {"Image weather-image", "containerinstance:ContainerGroup weather"}
    (after,) = deployed.data.jobs()
    assert after.watermark == before.watermark
    assert deployed.data.runs() == runs


def test_a_container_killed_in_the_middle_leaves_nothing_and_is_tried_again(
    deployed: Deployed,
) -> None:
    visible = {path.name for path in deployed.data.lake.get_paths(JOB)}
    last = request_run(deployed)

    def staged() -> bool | None:
        names = (path.name for path in deployed.data.lake.get_paths(recursive=True))
        return any(n.startswith(f"_staging/{JOB}/") and "part-" in n for n in names) or None

    wait_for(staged)
    deployed.groups.kill(deployed.groups.find(JOB).id)

    killed = wait_for(ended(deployed, last))
    assert killed.status is RunStatus.ABANDONED
    assert killed.reason is not None
    assert "137" in killed.reason
    assert {path.name for path in deployed.data.lake.get_paths(JOB)} == visible

    retried = wait_for(ended(deployed, killed))
    assert retried.status is RunStatus.SUCCEEDED, retried
    assert retried.attempt == 2
    assert (retried.window_from, retried.window_to) == (killed.window_from, killed.window_to)
    assert retried.lake_path is not None
    assert retried.rows == deployed.data.rows(retried.lake_path) == recorded_days(retried)


def test_a_backfill_loads_again_what_there_is_and_leaves_the_watermark(deployed: Deployed) -> None:
    (before,) = deployed.data.jobs()
    folders = windows(deployed)
    loaded = [run for run in deployed.data.runs() if run.status is RunStatus.SUCCEEDED]
    store, month = deployed.data.store(), before.options.max_window
    whole = Window(before.options.start, before.watermark)
    now = datetime.now(UTC)
    operations.start_backfill(store, JOB, whole, month, by="test", now=now)

    def done() -> Job | None:
        (job,) = deployed.data.jobs()
        view = BackfillView.of(job)
        assert view is not None
        return job if view.status in ("done", "stopped") and not job.active_run else None

    after = wait_for(done)
    view = BackfillView.of(after)
    assert view is not None
    assert (view.status, view.reason, view.share) == ("done", None, 1)
    assert after.watermark == before.watermark
    chunks = [run for run in deployed.data.runs() if run.trigger == BACKFILL]
    assert {run.lake_path for run in chunks} == {run.lake_path for run in loaded}
    assert len(chunks) > 1
    for run in chunks:
        assert run.lake_path is not None
        assert run.rows == deployed.data.rows(run.lake_path) == recorded_days(run)
        assert deployed.data.landed(run.lake_path).manifest["run_id"] == run.run_id
    assert windows(deployed) == folders
    (entry, *_) = store.audit(JOB)
    assert (entry.by, entry.operation) == ("test", "backfill")


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('schedule: "0 6 * * *"', 'schedule: "0 0 6 * * *"', 'weather.schedule is "0 0 6 * * *"'),
        ("retryDelay: PT5S", "cpu: 0", "weather.cpu is 0; allowed is at least 1."),
        ("retryDelay: PT5S", "timeZone: Mars/Base", 'weather.timeZone is "Mars/Base"'),
        ("retryDelay: PT5S", "retries: 3", "weather.retries is not a known key"),
        ("    weather:", "    Weather_2:", "a name that Azure Container Instances accepts"),
    ],
)
def test_a_bad_configuration_is_one_sentence_and_changes_nothing(
    deployed: Deployed, before: str, after: str, sentence: str
) -> None:
    starts = container_starts(deployed)
    deployed.clone.edit("Pulumi.local.yaml", before, after)
    try:
        result = deployed.clone.run("up")
    finally:
        deployed.clone.edit("Pulumi.local.yaml", after, before)
    assert result.code != 0
    (error,) = [line for line in result.output.splitlines() if line.startswith("error:")]
    assert sentence in error
    assert CHANGE.findall(result.output) == []
    assert container_starts(deployed) == starts


def test_status_logs_and_preview(deployed: Deployed) -> None:
    status = deployed.clone.run("status")
    assert status.code == 0
    assert "abandoned" in status.output
    assert "succeeded" in status.output
    logs = deployed.clone.run("logs", JOB)
    assert "committed" in logs.output
    assert "Backfills" in status.output
    assert "History" in status.output
    preview = deployed.clone.run("preview")
    assert "Nothing would change." in preview.output


def test_an_unknown_job_is_one_sentence(deployed: Deployed) -> None:
    result = deployed.clone.run("run", "wether")
    assert result.code == 1
    assert result.output.strip() == 'error: JOB is "wether"; allowed is one of weather.'
