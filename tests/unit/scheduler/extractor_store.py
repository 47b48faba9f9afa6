"""The extractors' side of the scheduler's store in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from extractor.runtime import ports
from extractor.runtime.ports import JobRow
from extractor.runtime.records import Run
from scheduler.ports import ConflictError, Store


class ExtractorStore:
    """See :class:`~extractor.runtime.ports.RunStore`.

    Args:
        store: whose rows it reads and writes.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def read_job(self, name: str) -> JobRow | None:
        job = self._store.job(name)
        return None if job is None else JobRow(job.active_run, job.fence, job.etag or "")

    def update_job(self, name: str, changes: Mapping[str, object], etag: str) -> None:
        job = self._store.job(name)
        if job is None:
            raise ports.ConflictError(name)
        values: dict[str, Any] = dict(changes)
        try:
            self._store.update_job(replace(job, **values, etag=etag))
        except ConflictError as error:
            raise ports.ConflictError(name) from error

    def read_run(self, job: str, row_key: str) -> Run | None:
        return self._store.run(job, row_key)

    def write_run(self, run: Run) -> None:
        try:
            self._store.update_run(run)
        except ConflictError as error:
            raise ports.ConflictError(run.run_id) from error
