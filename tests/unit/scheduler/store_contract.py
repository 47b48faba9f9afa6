"""What every store promises: a test class that each store's own tests inherit.

The scheduler's rows are written by extractors too, through a store of theirs on the same tables, so
that one belongs to the contract.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, get_args, get_type_hints

import pytest

from extractor.runtime import ports
from extractor.runtime.ports import RunStore
from extractor.runtime.records import Failure, Run, RunStatus, run_row_key
from scheduler.audit import AuditEntry
from scheduler.declaration import JobDeclaration
from scheduler.job import Job
from scheduler.ports import ConflictError, Store

NOW = datetime(2026, 3, 10, 1, 2, 3, 456789, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 10, tzinfo=UTC)
LARGE = 2**40
"""More than fits into 32 bits."""

SAMPLES: dict[type, object] = {
    RunStatus: RunStatus.TIMED_OUT,
    Failure: Failure.LOST,
    datetime: NOW,
    bool: True,
    int: LARGE,
    float: 2.0,
    str: "It's “full” — 100 %, a\\b\nand more.",
}

WRITERS = 16

Record = TypeVar("Record", Job, Run)


@dataclass(frozen=True)
class Backend:
    """A store, and that of the extractors on the same tables.

    Args:
        store: without rows whose names a test could meet.
        extractors: see :class:`~extractor.runtime.ports.RunStore`.
        page: most rows in one answer of the service.
    """

    store: Store
    extractors: RunStore
    page: int = 10


def new_job(name: str | None = None) -> Job:
    name = name or f"job-{uuid.uuid4().hex}"
    return Job.declared(
        JobDeclaration(name=name, container_group=name, schedule="0 * * * *", start=MIDNIGHT)
    )


def filled(record: Record) -> Record:
    """The record with a value in each property that it leaves out: long texts, large numbers."""
    hints = get_type_hints(type(record))
    absent = [f.name for f in fields(record) if getattr(record, f.name) is None]
    values: dict[str, Any] = {
        name: next(sample for kind, sample in SAMPLES.items() if kind in get_args(hints[name]))
        for name in absent
        if name != "etag"
    }
    return replace(record, **values)


def new_run(job: str = "job", *, created: datetime = NOW) -> Run:
    run_id = uuid.uuid4().hex[:12]
    return Run(
        job=job,
        run_id=run_id,
        row_key=run_row_key(created, run_id),
        status=RunStatus.QUEUED,
        trigger="schedule",
        window_from=MIDNIGHT,
        window_to=NOW,
        created_at=created,
    )


def new_entry(job: str, at: datetime = NOW) -> AuditEntry:
    return AuditEntry(
        job=job,
        row_key=run_row_key(at, uuid.uuid4().hex[:12]),
        at=at,
        by="somebody@example.com",
        operation="pause",
        before='{"paused": false}',
        after='{"paused": true}',
    )


def winners(attempt: Callable[[int], object]) -> list[int]:
    """Which of many concurrent attempts met no conflict."""

    def won(number: int) -> bool:
        try:
            attempt(number)
        except (ConflictError, ports.ConflictError):
            return False
        return True

    with ThreadPoolExecutor(WRITERS) as executor:
        return [number for number, mine in enumerate(executor.map(won, range(WRITERS))) if mine]


class StoreContract:
    """Inherit it, and give a fixture ``backend``."""

    @pytest.fixture
    def store(self, backend: Backend) -> Store:
        return backend.store

    # Jobs

    def test_what_is_not_there_is_none(self, store: Store) -> None:
        assert store.job("nobody") is None
        assert store.run("nobody", "nothing") is None

    def test_a_job_is_read_as_it_was_written(self, store: Store) -> None:
        job = filled(new_job())
        written = store.create_job(job)
        read = store.job(job.name)
        assert written == read == job
        assert read is not None
        assert written.etag
        assert written.etag == read.etag

    def test_a_job_without_its_optional_properties_is_read_so(self, store: Store) -> None:
        job = new_job()
        store.create_job(job)
        assert store.job(job.name) == job

    def test_a_job_is_created_once(self, store: Store) -> None:
        job = new_job()
        first = store.create_job(replace(job, reason="first"))
        with pytest.raises(ConflictError):
            store.create_job(replace(job, reason="second"))
        assert store.job(job.name) == first

    def test_an_update_replaces_the_whole_row(self, store: Store) -> None:
        full = store.create_job(filled(new_job()))
        bare = replace(new_job(full.name), etag=full.etag)
        updated = store.update_job(bare)
        assert updated == bare
        assert store.job(full.name) == bare
        assert updated.etag != full.etag

    def test_an_update_of_an_older_version_is_a_conflict(self, store: Store) -> None:
        read = store.create_job(new_job())
        fresh = store.update_job(replace(read, reason="first"))
        with pytest.raises(ConflictError):
            store.update_job(replace(read, reason="late"))
        assert store.job(read.name) == fresh
        assert store.update_job(replace(fresh, reason="next")).reason == "next"

    def test_an_update_of_a_job_that_is_not_there_is_a_conflict(self, store: Store) -> None:
        read = store.create_job(new_job())
        with pytest.raises(ConflictError):
            store.update_job(replace(read, name="nobody"))
        assert store.job("nobody") is None

    def test_of_concurrent_updates_one_wins(self, store: Store) -> None:
        read = store.create_job(new_job())
        won = winners(lambda number: store.update_job(replace(read, reason=str(number))))
        present = store.job(read.name)
        assert present is not None
        assert [str(number) for number in won] == [present.reason]

    def test_of_concurrent_creations_one_wins(self, store: Store) -> None:
        job = new_job()
        won = winners(lambda number: store.create_job(replace(job, reason=str(number))))
        present = store.job(job.name)
        assert present is not None
        assert [str(number) for number in won] == [present.reason]

    def test_all_jobs_are_listed_whatever_the_services_page(self, backend: Backend) -> None:
        prefix = uuid.uuid4().hex
        names = [f"{prefix}-{number:04d}" for number in range(backend.page + 1)]
        with ThreadPoolExecutor(WRITERS) as executor:
            list(executor.map(lambda name: backend.store.create_job(new_job(name)), names))
        listed = [job for job in backend.store.jobs() if job.name.startswith(prefix)]
        assert [job.name for job in listed] == names

    def test_a_listed_job_can_be_updated(self, store: Store) -> None:
        name = store.create_job(new_job()).name
        (listed,) = [job for job in store.jobs() if job.name == name]
        assert listed == store.job(name)
        store.update_job(replace(listed, reason="listed"))

    # Runs

    def test_a_run_is_read_as_it_was_written(self, store: Store) -> None:
        run = filled(new_run())
        written = store.create_run(run)
        read = store.run(run.job, run.row_key)
        assert written == read == run
        assert read is not None
        assert written.etag
        assert written.etag == read.etag

    def test_a_run_that_is_created_again_is_left_as_it_is(self, store: Store) -> None:
        run = new_run()
        first = store.create_run(run)
        begun = store.update_run(replace(first, status=RunStatus.STARTING))
        again = store.create_run(run)
        assert again == begun
        assert again.etag == begun.etag

    def test_an_update_replaces_the_whole_run(self, store: Store) -> None:
        full = store.create_run(filled(new_run()))
        bare = replace(
            new_run(), run_id=full.run_id, row_key=full.row_key, job=full.job, etag=full.etag
        )
        assert store.update_run(bare) == bare
        assert store.run(full.job, full.row_key) == bare

    def test_an_update_of_an_older_run_is_a_conflict(self, store: Store) -> None:
        read = store.create_run(new_run())
        fresh = store.update_run(replace(read, status=RunStatus.STARTING))
        with pytest.raises(ConflictError):
            store.update_run(replace(read, status=RunStatus.FAILED))
        assert store.run(read.job, read.row_key) == fresh

    def test_an_update_of_a_run_that_is_not_there_is_a_conflict(self, store: Store) -> None:
        read = store.create_run(new_run())
        with pytest.raises(ConflictError):
            store.update_run(replace(read, row_key="nothing"))
        assert store.run(read.job, "nothing") is None

    def test_runs_are_listed_newest_first_and_in_parts(self, store: Store) -> None:
        job = f"job-{uuid.uuid4().hex}"
        runs = [new_run(job, created=NOW + timedelta(hours=number)) for number in range(5)]
        for run in [*runs, new_run(f"{job}-2")]:
            store.create_run(run)
        newest_first = [run.run_id for run in reversed(runs)]
        assert [run.run_id for run in store.runs(job)] == newest_first
        first = store.runs(job, limit=2)
        rest = store.runs(job, after=first[-1].row_key)
        assert [run.run_id for run in (*first, *rest)] == newest_first
        assert len(first) == 2
        assert list(store.runs("nobody")) == []

    # Audit

    def test_an_entry_of_the_audit_is_written_once(self, store: Store) -> None:
        job = f"job-{uuid.uuid4().hex}"
        entry = new_entry(job)
        store.append_audit(entry)
        store.append_audit(replace(entry, by="a copy"))
        assert list(store.audit(job)) == [entry]
        assert list(store.audit("nobody")) == []

    def test_the_audit_is_listed_newest_first_and_in_parts(self, store: Store) -> None:
        job = f"job-{uuid.uuid4().hex}"
        entries = [new_entry(job, NOW + timedelta(hours=number)) for number in range(5)]
        for entry in entries:
            store.append_audit(entry)
        newest_first = entries[::-1]
        assert list(store.audit(job)) == newest_first
        assert list(store.audit(job, limit=2)) == newest_first[:2]
        assert list(store.audit(job, after=newest_first[1].row_key)) == newest_first[2:]

    # Old rows

    def test_old_runs_are_deleted_all_at_once(self, store: Store) -> None:
        job = f"job-{uuid.uuid4().hex}"
        times = [NOW + timedelta(hours=number) for number in range(100)]
        runs = [store.create_run(new_run(job, created=each)) for each in times]
        kept = [store.create_run(new_run(job)), store.create_run(new_run(f"{job}-2"))]
        store.delete_runs(job, [run.row_key for run in runs])
        assert list(store.runs(job)) == kept[:1]
        assert list(store.runs(f"{job}-2")) == kept[1:]

    def test_where_one_is_gone_none_is_deleted_and_nothing_said(self, store: Store) -> None:
        job = f"job-{uuid.uuid4().hex}"
        times = [NOW + timedelta(hours=number) for number in range(3)]
        first, second, third = (store.create_run(new_run(job, created=each)) for each in times)
        store.delete_runs(job, [second.row_key])
        store.delete_runs(job, [first.row_key, second.row_key])
        assert list(store.runs(job)) == [third, first]

    def test_old_entries_of_the_audit_are_deleted(self, store: Store) -> None:
        job = f"job-{uuid.uuid4().hex}"
        old, young = new_entry(job), new_entry(job, NOW + timedelta(hours=1))
        store.append_audit(old)
        store.append_audit(young)
        store.delete_audit(job, [old.row_key])
        assert list(store.audit(job)) == [young]
        store.delete_audit(job, [old.row_key])

    # With extractors

    def test_an_extractors_write_is_seen_and_makes_older_versions_conflicts(
        self, backend: Backend
    ) -> None:
        job = backend.store.create_job(replace(new_job(), active_run="key", reason="kept"))
        row = backend.extractors.read_job(job.name)
        assert row is not None
        assert row.active_run == "key"
        moved = {"fence": "token", "watermark": NOW, "commit_rows": LARGE}
        backend.extractors.update_job(job.name, moved, row.etag)
        with pytest.raises(ConflictError):
            backend.store.update_job(replace(job, fence=None))
        present = backend.store.job(job.name)
        assert present == replace(job, fence="token", watermark=NOW, commit_rows=LARGE)

    def test_an_extractor_loses_what_the_scheduler_has_taken_away(self, backend: Backend) -> None:
        job = backend.store.create_job(replace(new_job(), fence="token"))
        row = backend.extractors.read_job(job.name)
        assert row is not None
        backend.store.update_job(replace(job, fence=None))
        with pytest.raises(ports.ConflictError):
            backend.extractors.update_job(job.name, {"watermark": NOW}, row.etag)
        present = backend.store.job(job.name)
        assert present is not None
        assert present.watermark == MIDNIGHT
        after = backend.extractors.read_job(job.name)
        assert after is not None
        assert after.fence is None

    def test_of_an_extractor_and_a_scheduler_one_has_the_run(self, backend: Backend) -> None:
        run = backend.store.create_run(replace(new_run(), status=RunStatus.STARTING))
        claimed = backend.extractors.read_run(run.job, run.row_key)
        assert claimed == run
        assert claimed is not None
        backend.extractors.write_run(replace(claimed, status=RunStatus.RUNNING, rows=LARGE))
        with pytest.raises(ConflictError):
            backend.store.update_run(replace(run, status=RunStatus.FAILED))
        present = backend.store.run(run.job, run.row_key)
        assert present == replace(run, status=RunStatus.RUNNING, rows=LARGE)
