"""What a tick costs: requests to the tables and to Azure, which are billed and throttled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import pytest

from extractor.runtime.records import Run, RunStatus
from scheduler.capacity import Limits
from scheduler.declaration import JobDeclaration, declarations_from_environment
from scheduler.job import Job
from scheduler.memory import MemoryStore
from scheduler.ports import ContainerGroups, GroupState
from scheduler.tick import Scheduler
from tests.unit.scheduler.world import START, declare, hour

JOBS = 200
DUE = 10


class Counted(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.requests: Counter[str] = Counter()

    def jobs(self) -> Any:
        self.requests["jobs"] += 1
        return super().jobs()

    def job(self, name: str) -> Job | None:
        self.requests["job"] += 1
        return super().job(name)

    def create_job(self, job: Job) -> Job:
        self.requests["create_job"] += 1
        return super().create_job(job)

    def update_job(self, job: Job) -> Job:
        self.requests["update_job"] += 1
        return super().update_job(job)

    def run(self, job: str, row_key: str) -> Run | None:
        self.requests["run"] += 1
        return super().run(job, row_key)

    def create_run(self, run: Run) -> Run:
        self.requests["create_run"] += 1
        return super().create_run(run)

    def update_run(self, run: Run) -> Run:
        self.requests["update_run"] += 1
        return super().update_run(run)


class Company(ContainerGroups):
    """Many jobs of which some are due at one o'clock; containers claim at once and go on."""

    def __init__(self) -> None:
        self.store = Counted()
        self.asked: Counter[str] = Counter()
        limits = Limits(JOBS, JOBS, JOBS)
        self.scheduler = Scheduler(self.store, self, limits=limits)
        self.environment = {
            f"JOB__{number}": declare(
                f"job-{number:03}", schedule="0 1 * * *" if number < DUE else "30 5 * * *"
            ).to_setting()
            for number in range(JOBS)
        }
        self.tick(START)

    def tick(self, now: datetime) -> Mapping[str, int]:
        """What was asked of the tables."""
        self.store.requests.clear()
        self.asked.clear()
        self.scheduler.tick(declarations_from_environment(self.environment), now)
        return dict(self.store.requests)

    def claim(self, now: datetime) -> None:
        for job in self.store.jobs():
            for run in self.store.runs(job.name):
                running = {"status": RunStatus.RUNNING, "started_at": now, "heartbeat_at": now}
                self.store.update_run(replace(run, **running))  # type: ignore[arg-type]

    def start(self, name: str) -> None:
        self.asked["start"] += 1

    def stop(self, name: str) -> None:
        self.asked["stop"] += 1

    def state(self, name: str) -> GroupState | None:
        self.asked["state"] += 1
        return GroupState(terminated=False)

    def last_log_line(self, name: str) -> str | None:
        self.asked["log"] += 1
        return None


@pytest.fixture
def company() -> Company:
    return Company()


def test_where_nothing_is_due_the_jobs_are_read_and_that_is_all(company: Company) -> None:
    assert company.tick(hour(0.5)) == {"jobs": 1}
    assert not company.asked


def test_a_job_that_is_due_costs_two_writes_and_a_start(company: Company) -> None:
    assert company.tick(hour(1)) == {"jobs": 1, "update_job": DUE, "create_run": DUE}
    assert company.asked == {"start": DUE}


def test_a_run_that_goes_on_costs_a_read_and_nothing_of_azure(company: Company) -> None:
    company.tick(hour(1))
    company.claim(hour(1))
    assert company.tick(hour(1) + timedelta(seconds=40)) == {"jobs": 1, "run": DUE}
    assert not company.asked


def test_a_run_that_has_ended_costs_a_read_and_a_write(company: Company) -> None:
    company.tick(hour(1))
    for job in company.store.jobs():
        for run in company.store.runs(job.name):
            company.store.update_run(replace(run, status=RunStatus.SUCCEEDED, ended_at=hour(1)))
    assert company.tick(hour(1.1)) == {"jobs": 1, "run": DUE, "update_job": DUE}
    assert not company.asked


def test_a_declaration_is_read_once_and_not_at_each_tick(company: Company) -> None:
    with mock.patch.object(JobDeclaration, "model_validate") as read:
        company.tick(hour(0.5))
        company.tick(hour(1))
    read.assert_not_called()


def test_a_fingerprint_changes_with_what_was_declared() -> None:
    assert declare().fingerprint == declare().fingerprint
    assert declare().fingerprint != declare(max_attempts=7).fingerprint
