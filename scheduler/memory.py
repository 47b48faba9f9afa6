"""The store in memory, for tests: it keeps versions as Table Storage does."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from extractor.runtime.records import Run
from scheduler.audit import AuditEntry
from scheduler.job import Job
from scheduler.ports import ConflictError, Store


class MemoryStore(Store):
    """See :class:`~scheduler.ports.Store`."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._runs: dict[tuple[str, str], Run] = {}
        self._audit: dict[tuple[str, str], AuditEntry] = {}
        self._versions = count(1)
        self._lock = threading.Lock()

    def jobs(self) -> Sequence[Job]:
        return [self._jobs[name] for name in sorted(self._jobs)]

    def job(self, name: str) -> Job | None:
        return self._jobs.get(name)

    def create_job(self, job: Job) -> Job:
        with self._lock:
            if job.name in self._jobs:
                raise ConflictError(f"The job {job.name} has been created meanwhile.")
            return self._put_job(job)

    def update_job(self, job: Job) -> Job:
        with self._lock:
            present = self._jobs.get(job.name)
            if present is None or present.etag != job.etag:
                raise ConflictError(f"The row {job.name} was written meanwhile.")
            return self._put_job(job)

    def run(self, job: str, row_key: str) -> Run | None:
        return self._runs.get((job, row_key))

    def runs(self, job: str, *, after: str = "", limit: int | None = None) -> Sequence[Run]:
        keys = sorted(key for key in self._runs if key[0] == job and key[1] > after)
        return [self._runs[key] for key in keys[:limit]]

    def create_run(self, run: Run) -> Run:
        with self._lock:
            return self._runs.get((run.job, run.row_key)) or self._put_run(run)

    def update_run(self, run: Run) -> Run:
        with self._lock:
            present = self._runs.get((run.job, run.row_key))
            if present is None or present.etag != run.etag:
                raise ConflictError(f"The row {run.row_key} was written meanwhile.")
            return self._put_run(run)

    def append_audit(self, entry: AuditEntry) -> None:
        self._audit.setdefault((entry.job, entry.row_key), entry)

    def audit(self, job: str, *, after: str = "", limit: int | None = None) -> Sequence[AuditEntry]:
        keys = sorted(key for key in self._audit if key[0] == job and key[1] > after)
        return [self._audit[key] for key in keys[:limit]]

    def delete_runs(self, job: str, row_keys: Sequence[str]) -> None:
        _delete(self._runs, job, row_keys)

    def delete_audit(self, job: str, row_keys: Sequence[str]) -> None:
        _delete(self._audit, job, row_keys)

    def _put_job(self, job: Job) -> Job:
        self._jobs[job.name] = replace(job, etag=str(next(self._versions)))
        return self._jobs[job.name]

    def _put_run(self, run: Run) -> Run:
        key = (run.job, run.row_key)
        self._runs[key] = replace(run, etag=str(next(self._versions)))
        return self._runs[key]


def _delete(table: dict[tuple[str, str], Any], job: str, row_keys: Sequence[str]) -> None:
    keys = [(job, row_key) for row_key in row_keys]
    if all(key in table for key in keys):
        for key in keys:
            del table[key]
