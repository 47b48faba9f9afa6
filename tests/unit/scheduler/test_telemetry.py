"""What is measured of a tick."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from extractor.runtime.records import Run, RunStatus
from scheduler.job import Job
from scheduler.telemetry import jobs_read, run_ended, run_started, ticking
from tests.unit.scheduler.world import NAME, START, World, declare
from tests.unit.telemetry import Recorded
from tests.unit.telemetry import recorded as recorded_now


@pytest.fixture
def recorded() -> Recorded:
    return recorded_now()


def test_a_tick_is_traced_and_timed_even_if_it_fails(recorded: Recorded) -> None:
    before = sum(value for _, value in recorded.points("scheduler.tick.duration"))
    with pytest.raises(ZeroDivisionError), ticking():
        raise ZeroDivisionError
    with ticking():
        pass
    assert [span.name for span in recorded.spans()] == ["tick", "tick"]
    assert sum(value for _, value in recorded.points("scheduler.tick.duration")) == before + 2


def test_a_start_and_an_end_are_counted_by_job_and_status(recorded: Recorded) -> None:
    def counted(name: str, **attributes: str) -> float:
        return sum(
            value
            for found, value in recorded.points(name)
            if found == {"job": "counted", **attributes}
        )

    run = Run(
        job="counted",
        run_id="1",
        row_key="1",
        status=RunStatus.TIMED_OUT,
        trigger="schedule",
        window_from=START,
        window_to=START,
        created_at=START,
    )
    run_started(run)
    run_started(run)
    run_ended(run)
    assert counted("scheduler.runs.started") == 2
    assert counted("scheduler.runs.ended", status="timed_out") == 1


def test_the_ticks_of_a_run_report_it(recorded: Recorded) -> None:
    def count(name: str, **attributes: str) -> float:
        wanted = {"job": NAME, **attributes}
        return sum(value for found, value in recorded.points(name) if found == wanted)

    before = [count("scheduler.runs.started"), count("scheduler.runs.ended", status="succeeded")]
    World().run_until(START + timedelta(hours=2))
    after = [count("scheduler.runs.started"), count("scheduler.runs.ended", status="succeeded")]
    # One is due at each full hour, and the second has only begun.
    assert [later - earlier for earlier, later in zip(before, after, strict=True)] == [2, 1]
    assert {span.name for span in recorded.spans()} == {"tick"}
    # The latest tick found the first hour loaded, and the second due.
    assert recorded.points("scheduler.job.lag") == [({"job": NAME}, 3600)]
    assert recorded.points("scheduler.jobs.due") == [({}, 1)]


def test_a_retired_job_is_no_longer_reported_and_a_paused_one_not_due(recorded: Recorded) -> None:
    def job(name: str, **changes: object) -> Job:
        return replace(Job.declared(declare(name)), **changes)  # type: ignore[arg-type]

    late = START + timedelta(hours=3)
    jobs_read([job("kept"), job("paused", paused=True), job("retired", retired=True)], late)
    assert recorded.points("scheduler.job.lag") == [
        ({"job": "kept"}, 3 * 3600),
        ({"job": "paused"}, 3 * 3600),
    ]
    assert recorded.points("scheduler.jobs.due") == [({}, 1)]
