"""The tables and the lake in memory, for the tests of the runtime and of any extractor.

landed = land(extract, Window(start, end))
assert landed.table.num_rows == 24
"""

from __future__ import annotations

import io
import json
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from extractor.runtime.load import MANIFEST
from extractor.runtime.parts import PARTITION_COLUMN
from extractor.runtime.ports import ConflictError, JobRow, PathExistsError
from extractor.runtime.records import Run, RunStatus, run_row_key
from extractor.runtime.runner import Extract, run_job
from extractor.runtime.termination import Termination
from extractor.runtime.window import Window

JOB = "job"
IMAGE_DIGEST = "sha256:" + "0" * 64


class MemoryRunStore:
    """The tables.

    Attributes:
        jobs: properties of each job's row, by its name.
        runs: rows of the runs, by job and row key.
        writes: how often a row was written.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.runs: dict[tuple[str, str], Run] = {}
        self.writes = 0
        self._job_etags: dict[str, str] = {}
        self._lock = threading.RLock()

    def read_job(self, name: str) -> JobRow | None:
        with self._lock:
            if name not in self.jobs:
                return None
            row = self.jobs[name]
            return JobRow(row.get("active_run"), row.get("fence"), self._job_etags[name])

    def update_job(self, name: str, changes: Mapping[str, object], etag: str) -> None:
        with self._lock:
            if self._job_etags.get(name) != etag:
                raise ConflictError(name)
            self.put_job(name, **changes)

    def read_run(self, job: str, row_key: str) -> Run | None:
        with self._lock:
            return self.runs.get((job, row_key))

    def write_run(self, run: Run) -> None:
        with self._lock:
            present = self.runs.get((run.job, run.row_key))
            if present is None or present.etag != run.etag:
                raise ConflictError(run.run_id)
            self.put_run(run)

    # Writes of others, that of the scheduler first.

    def start(self, window: Window, *, job: str = JOB) -> Run:
        """Write a run that a container can claim, and make it the job's active one."""
        now = datetime.now(UTC)
        run_id = uuid.uuid4().hex
        run = Run(
            job=job,
            run_id=run_id,
            row_key=run_row_key(now, run_id),
            status=RunStatus.STARTING,
            trigger="schedule",
            window_from=window.start,
            window_to=window.end,
            created_at=now,
            starting_at=now,
        )
        self.put_run(run)
        self.put_job(job, active_run=run.row_key)
        return run

    def put_job(self, job: str = JOB, /, **changes: object) -> None:
        """Set properties of a job's row, whatever its version; ``None`` removes one."""
        with self._lock:
            row = {**self.jobs.get(job, {}), **changes}
            self.jobs[job] = {name: value for name, value in row.items() if value is not None}
            self._job_etags[job] = uuid.uuid4().hex
            self.writes += 1

    def put_run(self, run: Run) -> None:
        """Write a run's row, whatever its version."""
        with self._lock:
            self.runs[run.job, run.row_key] = replace(run, etag=uuid.uuid4().hex)
            self.writes += 1


class MemoryLake:
    """The lake.

    Attributes:
        files: content by path.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def upload(self, source: Path, path: str) -> None:
        content = source.read_bytes()
        with self._lock:
            self.files[path] = content

    def rename(self, source: str, target: str) -> None:
        with self._lock:
            moved = self._below(source)
            if not moved:
                raise FileNotFoundError(source)
            if self._below(target):
                raise PathExistsError(target)
            for path in moved:
                self.files[target + path[len(source) :]] = self.files.pop(path)

    def delete(self, folder: str) -> None:
        with self._lock:
            for path in self._below(folder):
                del self.files[path]

    def children(self, folder: str) -> list[str]:
        with self._lock:
            parts = (path[len(folder) + 1 :].split("/") for path in self._below(folder))
            return sorted({first for first, *_ in parts})

    def below(self, folder: str) -> list[str]:
        """Paths of the files in the folder and in those below it."""
        with self._lock:
            return self._below(folder)

    def table(self, folder: str) -> pa.Table:
        """The folder's rows, with the partition column as a query engine adds it."""
        paths = [path for path in self.below(folder) if path.endswith(".parquet")]
        return pa.concat_tables([_with_date(path, self.files[path]) for path in paths])

    def _below(self, folder: str) -> list[str]:
        return sorted(path for path in self.files if path.startswith(f"{folder}/"))


def _with_date(path: str, content: bytes) -> pa.Table:
    day = date.fromisoformat(PurePosixPath(path).parent.name.removeprefix(f"{PARTITION_COLUMN}="))
    rows = pq.read_table(io.BytesIO(content))
    column = pa.array([day] * rows.num_rows, pa.date32())
    return rows.append_column(pa.field(PARTITION_COLUMN, pa.date32()), column)


@dataclass(frozen=True)
class Landed:
    """What a run has left behind.

    Args:
        exit_code: of the container.
        run: the run's row.
        manifest: of the window; empty where the run failed.
        table: the window's rows; without columns where there are none.
    """

    exit_code: int
    run: Run
    manifest: Mapping[str, Any]
    table: pa.Table


def land(extract: Extract, window: Window) -> Landed:
    """Run an extractor as its container does, with tables and lake in memory."""
    store, lake = MemoryRunStore(), MemoryLake()
    started = store.start(window)
    exit_code = run_job(
        extract,
        job=JOB,
        image_digest=IMAGE_DIGEST,
        store=store,
        lake=lake,
        termination=Termination(),
    )
    run = store.runs[started.job, started.row_key]
    folder = f"{JOB}/{window.folder}"
    manifest = json.loads(lake.files.get(f"{folder}/{MANIFEST}", b"{}"))
    table = lake.table(folder) if manifest.get("files") else pa.table({})
    return Landed(exit_code, run, manifest, table)
