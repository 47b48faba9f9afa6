"""Who starts when not all may."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from extractor.runtime.records import Run, RunStatus
from scheduler.capacity import DEFAULT_LIMITS, Capacity, Limits, read, recorded
from scheduler.declaration import JobDeclaration
from scheduler.job import Job
from scheduler.memory import MemoryStore
from scheduler.ports import ContainerGroups, GroupState
from scheduler.settings import Settings
from scheduler.tick import Scheduler
from tests.unit.scheduler.world import START, declare, hour

MINUTE = timedelta(minutes=1)


class Fleet(ContainerGroups):
    """Jobs whose containers claim their runs at once and go on until :meth:`finish`."""

    def __init__(self, limits: Limits, *declarations: JobDeclaration) -> None:
        self.declarations = list(declarations)
        self.store = MemoryStore()
        self.scheduler = Scheduler(self.store, self, limits=limits)
        self.started: list[str] = []
        self.now = START
        self.tick(START)

    def tick(self, now: datetime) -> list[str]:
        """The jobs that this tick has started, in their order."""
        self.now = now
        self.started.clear()
        self.scheduler.tick(self.declarations, now)
        return list(self.started)

    def start(self, name: str) -> None:
        self.started.append(name)
        claimed = replace(self.run(name), status=RunStatus.RUNNING, started_at=self.now)
        self.store.update_run(claimed)

    def finish(self, *names: str) -> None:
        for name in names:
            ended = replace(self.run(name), status=RunStatus.SUCCEEDED, ended_at=self.now)
            self.store.update_run(ended)
            self.store.update_job(replace(self.job(name), watermark=ended.window_to))

    def stop(self, name: str) -> None:
        raise AssertionError("nothing is stopped")

    def state(self, name: str) -> GroupState | None:
        return GroupState(terminated=False)

    def last_log_line(self, name: str) -> str | None:
        return None

    def job(self, name: str) -> Job:
        job = self.store.job(name)
        assert job is not None
        return job

    def run(self, name: str) -> Run:
        run = self.store.run(name, self.job(name).active_run or "")
        assert run is not None
        return run


def jobs(names: Iterable[str], **changes: Any) -> list[JobDeclaration]:
    return [declare(name, run_deadline=timedelta(days=9), **changes) for name in names]


def test_what_is_beyond_the_most_that_may_run_waits_and_says_why() -> None:
    fleet = Fleet(Limits(max_running=2), *jobs("abc"))
    assert fleet.tick(hour(1)) == ["a", "b"]
    assert fleet.job("c").reason == "It waits until fewer than 2 containers run."
    assert fleet.run("c").status is RunStatus.QUEUED
    version = fleet.job("c").etag
    assert fleet.tick(hour(1) + MINUTE) == []
    assert fleet.job("c").etag == version
    fleet.finish("a")
    assert fleet.tick(hour(1) + 2 * MINUTE) == ["c"]
    assert fleet.job("c").reason is None
    # The window is that of the decision.
    assert fleet.run("c").window_to == hour(1)


def test_the_highest_priority_starts_first() -> None:
    fleet = Fleet(Limits(max_running=2), *jobs("ab"), *jobs("yz", priority=5))
    assert fleet.tick(hour(1)) == ["y", "z"]


def test_at_equal_priority_the_oldest_starts_first() -> None:
    early = declare("z", schedule="50 * * * *", run_deadline=timedelta(days=9))
    fleet = Fleet(Limits(max_running=1), *jobs("b"), early, *jobs("k", schedule="40 * * * *"))
    assert fleet.tick(hour(0.7)) == ["k"]
    assert fleet.tick(hour(0.9)) == []
    assert fleet.tick(hour(1)) == []
    fleet.finish("k")
    assert fleet.tick(hour(1.1)) == ["z"]
    fleet.finish("z")
    assert fleet.tick(hour(1.2)) == ["b"]


def test_a_run_that_waits_for_its_retry_takes_no_place() -> None:
    fleet = Fleet(Limits(max_running=1), *jobs("ab", retry_delay=timedelta(hours=1)))
    assert fleet.tick(hour(1)) == ["a"]
    fleet.store.update_run(replace(fleet.run("a"), status=RunStatus.FAILED, ended_at=fleet.now))
    assert fleet.tick(hour(1) + MINUTE) == ["b"]


@pytest.mark.parametrize(
    ("limits", "free_after", "reason"),
    [
        (Limits(starts_per_five_minutes=2), 5, "It waits: 2 starts in 5 minutes are the most."),
        (Limits(starts_per_hour=2), 60, "It waits: 2 starts in an hour are the most."),
    ],
)
def test_starts_are_counted(limits: Limits, free_after: int, reason: str) -> None:
    fleet = Fleet(limits, *jobs("abc", schedule="0 1 * * *"))
    assert fleet.tick(hour(1)) == ["a", "b"]
    fleet.finish("a", "b")
    # Another scheduler, or this one after a restart, knows them from the table.
    fleet.scheduler = Scheduler(fleet.store, fleet, limits=limits)
    assert fleet.tick(hour(1) + (free_after - 1) * MINUTE) == []
    assert fleet.job("c").reason == reason
    assert fleet.tick(hour(1) + free_after * MINUTE) == ["c"]


def test_the_limits_are_settings() -> None:
    environment = {
        "TABLES_ENDPOINT": "https://account.table.core.windows.net",
        "SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000000",
        "RESOURCE_GROUP": "group",
        "AZURE_CLIENT_ID": "00000000-0000-0000-0000-000000000000",
    }
    assert Settings.read(environment).scheduler().limits == DEFAULT_LIMITS
    own = {"MAX_RUNNING": "7", "STARTS_PER_FIVE_MINUTES": "8", "STARTS_PER_HOUR": "9"}
    assert Settings.read(environment | own).scheduler().limits == Limits(7, 8, 9)


def test_a_job_keeps_its_starts_of_an_hour() -> None:
    starts = None
    for minute in (0, 30, 61):
        starts = recorded(starts, START + minute * MINUTE)
    assert read(starts) == [START + 30 * MINUTE, START + 61 * MINUTE]
    assert read(None) == []


def test_a_start_is_one_less_of_each() -> None:
    left = Capacity(Limits(2, 9, 9), 0, [], START)
    for expected in (None, None, "It waits until fewer than 2 containers run."):
        assert left.take() == expected
