"""What runs took, brought and cost; and how long rows are kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from extractor.runtime.records import Run, RunStatus, run_row_key
from scheduler import history, operations
from scheduler.audit import AuditEntry
from scheduler.history import Price, Rate, Spread
from scheduler.memory import MemoryStore
from scheduler.retention import BATCH, INTERVAL, JOBS_PER_TICK, Retention
from tests.unit.scheduler.world import NAME, START, TICK, World, hour

PRICE = Price(currency="EUR", core_second=0.001, gb_second=0.0001)
RATE = Rate.of(PRICE, 2, 4)
KEEP = timedelta(days=90)
DAY = timedelta(days=1)


def run(status: RunStatus = RunStatus.SUCCEEDED, **changes: Any) -> Run:
    """A run of an hour that waited a minute for its container and another one for its claim."""
    begun = changes.pop("created_at", START)
    values: dict[str, Any] = {
        "job": NAME,
        "run_id": "r",
        "row_key": run_row_key(begun, "r"),
        "status": status,
        "trigger": "schedule",
        "window_from": START,
        "window_to": START,
        "created_at": begun,
        "starting_at": begun + timedelta(minutes=1),
        "started_at": begun + timedelta(minutes=2),
        "ended_at": begun + timedelta(minutes=62),
        "duration_s": 3600.0,
        "rows": 10,
        "bytes": 100,
    }
    return Run(**values | changes)


# History


@pytest.mark.parametrize(
    ("count", "p50", "p95"), [(1, 1, 1), (2, 1, 2), (3, 2, 3), (20, 10, 19), (100, 50, 95)]
)
def test_percentiles_are_values_that_occurred(count: int, p50: float, p95: float) -> None:
    assert Spread.of(float(each) for each in range(count, 0, -1)) == Spread(p50=p50, p95=p95)


def test_of_nothing_there_is_no_percentile() -> None:
    empty = history.summary([], RATE)
    assert (empty.runs, empty.success_rate, empty.duration_seconds, empty.since) == (
        0,
        None,
        None,
        None,
    )
    assert empty.cost == 0


def test_the_rate_of_success_is_that_of_runs_which_had_the_chance() -> None:
    statuses = [
        *[RunStatus.SUCCEEDED] * 3,
        RunStatus.FAILED,
        RunStatus.SKIPPED,
        RunStatus.CANCELLED,
        RunStatus.RUNNING,
    ]
    seen = history.summary([run(each) for each in statuses], None)
    assert (seen.runs, seen.succeeded, seen.success_rate) == (5, 3, 0.75)
    assert (seen.cost, seen.currency) == (None, None)


def test_only_success_tells_how_long_a_run_takes() -> None:
    seen = history.summary([run(duration_s=5.0), run(RunStatus.TIMED_OUT, duration_s=900.0)], None)
    assert seen.duration_seconds == Spread(p50=5, p95=5)


def test_rows_and_bytes_add_up() -> None:
    seen = history.summary([run(), run(), run(rows=None, bytes=None)], None)
    assert (seen.rows, seen.bytes) == (20, 200)


def test_the_queue_is_what_a_run_waited_for_its_claim() -> None:
    assert history.queue_s(run()) == 120
    assert history.queue_s(run(not_before=START + timedelta(minutes=1.5))) == 30
    assert history.queue_s(run(started_at=None)) is None


def test_a_run_costs_what_its_container_takes_from_its_start_to_its_end() -> None:
    # Two cores and 4 GB for 61 minutes.
    assert history.cost(run(), RATE) == pytest.approx(61 * 60 * (2 * 0.001 + 4 * 0.0001))
    assert history.cost(run(started_at=None, starting_at=None), RATE) == 0
    assert history.cost(run(RunStatus.RUNNING, ended_at=None), RATE) is None
    assert history.cost(run(), None) is None
    seen = history.summary([run(), run(RunStatus.FAILED)], RATE)
    assert seen.cost == pytest.approx(2 * 61 * 60 * 0.0024)
    assert seen.currency == "EUR"


@pytest.mark.parametrize(
    ("price", "cpu", "memory"), [(None, 1, 1), (PRICE, None, 1), (PRICE, 1, None)]
)
def test_without_price_or_size_there_is_no_cost(
    price: Price | None, cpu: float | None, memory: float | None
) -> None:
    assert Rate.of(price, cpu, memory) is None


# Retention


def kept(store: MemoryStore) -> list[int]:
    """Ages of the runs in days, youngest first."""
    return [(hour(0) - each.created_at).days for each in store.runs(NAME)]


def store_of(*days: int, **changes: Any) -> MemoryStore:
    store = MemoryStore()
    for age in days:
        store.create_run(run(created_at=START - age * DAY, **changes))
        begun = START - age * DAY
        row_key = run_row_key(begun, "a")
        store.append_audit(AuditEntry(NAME, row_key, begun, "me", "pause", "{}", "{}"))
    return store


def test_what_is_older_is_deleted_and_the_rest_kept() -> None:
    store = store_of(1, 89, 90, 91, 400)
    Retention(store, KEEP).purge([NAME], START)
    assert kept(store) == [1, 89, 90]
    assert len(store.audit(NAME)) == 3


def test_the_newest_run_and_one_that_is_going_stay() -> None:
    store = store_of(100, 200)
    store.create_run(run(RunStatus.QUEUED, created_at=START - 300 * DAY))
    Retention(store, KEEP).purge([NAME], START)
    assert kept(store) == [100, 300]
    assert store.audit(NAME) == []


def test_a_job_without_runs_has_nothing_to_delete() -> None:
    Retention(store_of(), KEEP).purge([NAME, "another"], START)


def test_many_rows_go_a_hundred_at_a_time() -> None:
    store = store_of(1, *range(100, 100 + BATCH + 20))
    retention = Retention(store, KEEP)
    retention.purge([NAME], START)
    assert len(store.runs(NAME)) == 21
    retention.purge([NAME], START + TICK)
    assert kept(store) == [1]


def test_many_old_rows_go_where_the_newest_is_among_them() -> None:
    store = store_of(*range(100, 100 + BATCH + 20))
    retention = Retention(store, KEEP)
    for number in range(3):
        retention.purge([NAME], START + number * TICK)
    assert kept(store) == [100]


class CountingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def audit(self, job: str, *, after: str = "", limit: int | None = None) -> list[AuditEntry]:
        self.asked.append(job)
        return []


def test_a_tick_looks_at_a_few_jobs_and_at_each_once_a_day() -> None:
    store = CountingStore()
    retention = Retention(store, KEEP)
    jobs = [f"job-{number:02}" for number in range(JOBS_PER_TICK + 2)]
    retention.purge(jobs, START)
    assert store.asked == jobs[:JOBS_PER_TICK]
    retention.purge(jobs, START + TICK)
    assert store.asked == jobs
    retention.purge(jobs, START + INTERVAL - TICK)
    assert store.asked == jobs
    retention.purge(jobs, START + INTERVAL)
    assert store.asked == jobs + jobs[:JOBS_PER_TICK]


def test_two_schedulers_that_delete_at_once_do_no_harm() -> None:
    store = store_of(1, 100, 200)
    rows = [each.row_key for each in store.runs(NAME)[1:]]
    store.delete_runs(NAME, rows[:1])
    store.delete_runs(NAME, rows)
    Retention(store, KEEP).purge([NAME], START)
    assert kept(store) == [1]


def test_a_tick_deletes_what_is_old() -> None:
    world = World()
    world.scheduler = replace(world.scheduler, retention=Retention(world.store, timedelta(hours=3)))
    world.tick(START)
    operations.pause(world.store, NAME, by="me", now=START)
    operations.resume(world.store, NAME, by="me", now=START)
    world.run_until(hour(25))
    ages = [each.created_at for each in world.runs]
    assert hour(20) not in ages
    assert ages[-1] == hour(25)
    assert world.store.audit(NAME) == []


def test_rows_that_cannot_be_deleted_stop_no_job() -> None:
    class Refusing(MemoryStore):
        def audit(self, job: str, *, after: str = "", limit: int | None = None) -> list[AuditEntry]:
            raise OSError("The table can't be reached.")

    world = World()
    world.scheduler = replace(world.scheduler, retention=Retention(Refusing(), KEEP))
    world.run_until(hour(1.5))
    world.check_loaded_once()
