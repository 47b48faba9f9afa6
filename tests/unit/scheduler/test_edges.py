"""Edges that once went wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from extractor.runtime.records import Run, RunStatus
from scheduler import retries
from scheduler.declaration import JobDeclaration
from scheduler.job import run_to_json
from scheduler.memory import MemoryStore
from scheduler.ports import ContainerGroups, GroupState
from scheduler.tick import Scheduler

NOW = datetime(2026, 1, 1, 7, tzinfo=UTC)
DECLARATION = JobDeclaration.model_validate(
    {
        "name": "weather",
        "containerGroup": "weather",
        "schedule": "0 6 * * *",
        "start": "2025-12-30T00:00:00Z",
        "maxAttempts": 100,
    }
)


class Groups(ContainerGroups):
    """Notes what is asked for."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.now = GroupState(terminated=False)

    def start(self, name: str) -> None:
        self.calls.append("start")

    def stop(self, name: str) -> None:
        self.calls.append("stop")

    def state(self, name: str) -> GroupState | None:
        return self.now

    def last_log_line(self, name: str) -> str | None:
        return None


def started() -> tuple[Scheduler, MemoryStore, Groups, Run]:
    """A scheduler whose one job has a run that an extractor has claimed."""
    store, groups = MemoryStore(), Groups()
    scheduler = Scheduler(store, groups)
    scheduler.tick([DECLARATION], NOW)
    (run,) = store.runs("weather")
    run = store.update_run(replace(run, status=RunStatus.RUNNING, started_at=NOW))
    return scheduler, store, groups, run


def test_the_delay_of_the_hundredth_attempt_is_the_longest() -> None:
    _, _, _, run = started()
    delay = retries.retry_delay(DECLARATION, replace(run, attempt=100))
    assert delay <= retries.LONGEST_RETRY_DELAY * 1.25
    assert delay >= retries.LONGEST_RETRY_DELAY * 0.75


def test_a_paused_job_is_not_tried_again_until_it_is_resumed() -> None:
    scheduler, store, groups, run = started()
    store.update_run(replace(run, status=RunStatus.FAILED, ended_at=NOW))
    job = store.job("weather")
    assert job is not None
    store.update_job(replace(job, paused=True))
    later = NOW + timedelta(hours=8)
    scheduler.tick([DECLARATION], later)
    scheduler.tick([DECLARATION], later + timedelta(hours=1))
    assert groups.calls == ["start"]
    job = store.job("weather")
    assert job is not None
    store.update_job(replace(job, paused=False))
    scheduler.tick([DECLARATION], later + timedelta(hours=2))
    assert groups.calls == ["start", "start"]


def test_the_end_of_the_container_before_is_not_that_of_the_run() -> None:
    scheduler, store, groups, _ = started()
    groups.now = GroupState(terminated=True, exit_code=0, started_at=NOW - timedelta(days=1))
    scheduler.tick([DECLARATION], NOW + timedelta(minutes=1))
    assert [each.status for each in store.runs("weather")] == [RunStatus.RUNNING]
    groups.now = GroupState(terminated=True, exit_code=137, started_at=NOW)
    scheduler.tick([DECLARATION], NOW + timedelta(minutes=2))
    assert RunStatus.ABANDONED in [each.status for each in store.runs("weather")]


def test_a_container_is_stopped_even_if_the_scheduler_died_before_it_could() -> None:
    scheduler, store, groups, run = started()
    job = store.job("weather")
    assert job is not None
    final = replace(run, status=RunStatus.TIMED_OUT, reason="late", ended_at=NOW)
    store.update_job(replace(job, active_run=None, closing=run_to_json(final)))
    scheduler.tick([DECLARATION], NOW + timedelta(minutes=1))
    assert "stop" in groups.calls
    assert RunStatus.TIMED_OUT in [each.status for each in store.runs("weather")]
