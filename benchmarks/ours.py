"""This project's scheduler: its rows in memory, and on Azure Table Storage's own answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import requests

from benchmarks.load import BEFORE, DUE, Cron, Measured, Stopwatch, crons
from extractor.runtime.records import JOBS_TABLE
from scheduler.capacity import Limits
from scheduler.declaration import JobDeclaration
from scheduler.job import Job
from scheduler.memory import MemoryStore
from scheduler.ports import ContainerGroups, GroupState, Store
from scheduler.tables import TableStore
from scheduler.tick import Scheduler
from tests.unit.scheduler.table_service import TableService

UNLIMITED = Limits(10**9, 10**9, 10**9)
"""Azure's quotas would hold most of the starts back, in the largest case."""

IDLE = DUE - timedelta(minutes=1)


class Groups(ContainerGroups):
    """Counts the starts."""

    def __init__(self) -> None:
        self.starts = 0

    def start(self, name: str) -> None:
        self.starts += 1

    def stop(self, name: str) -> None:
        """Nothing runs."""

    def state(self, name: str) -> GroupState | None:
        return GroupState(terminated=True, exit_code=0)

    def last_log_line(self, name: str) -> str | None:
        return None


class MeteredService(TableService):
    """Answers as Azure does; the CPU seconds that it takes itself do not count."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        super().__init__()
        self._stopwatch = stopwatch

    def send(
        self, request: requests.PreparedRequest, *arguments: object, **options: object
    ) -> requests.Response:
        with self._stopwatch.stopped():
            return super().send(request, *arguments, **options)


def in_memory(number: int) -> Measured:
    declarations = [declared(each) for each in crons(number)]
    stopwatch = Stopwatch()
    return _measured("this project, in memory", declarations, _filled(declarations), stopwatch)


def on_tables(number: int) -> Measured:
    declarations = [declared(each) for each in crons(number)]
    stopwatch = Stopwatch()
    service = MeteredService(stopwatch)
    for job in _filled(declarations).jobs():
        service.seed(JOBS_TABLE, _on_the_wire(job.to_entity()))
    store = TableStore(service.client())
    return _measured("this project, on tables", declarations, store, stopwatch, service)


def declared(cron: Cron) -> JobDeclaration:
    return JobDeclaration(
        name=cron.name, container_group=cron.name, schedule=cron.expression, start=BEFORE
    )


def _filled(declarations: list[JobDeclaration]) -> MemoryStore:
    store = MemoryStore()
    for declaration in declarations:
        store.create_job(Job.declared(declaration))
    return store


def _measured(
    name: str,
    declarations: list[JobDeclaration],
    store: Store,
    stopwatch: Stopwatch,
    service: TableService | None = None,
) -> Measured:
    groups = Groups()
    scheduler = Scheduler(store, groups, limits=UNLIMITED)
    found = Measured(name, len(declarations))
    # The first tick of a process also reads the declarations.
    for now in (BEFORE, IDLE, DUE):
        stopwatch.cpu_s = 0.0
        requests_before = service.requests if service else 0
        with stopwatch.running():
            scheduler.tick(declarations, now)
        sent = service.requests - requests_before if service else None
        if now == IDLE:
            found.idle_cpu_s, found.idle_requests = stopwatch.cpu_s, sent
    found.started, found.cpu_s, found.requests = groups.starts, stopwatch.cpu_s, sent
    return found


def _on_the_wire(entity: Mapping[str, Any]) -> dict[str, Any]:
    sent: dict[str, Any] = {}
    for name, value in entity.items():
        if isinstance(value, datetime):
            sent[f"{name}@odata.type"] = "Edm.DateTime"
            sent[name] = f"{value:%Y-%m-%dT%H:%M:%S.%f}Z"
        else:
            sent[name] = json.loads(json.dumps(value))
    return sent
