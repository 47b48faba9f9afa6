"""The contract of stores, in memory and against Azure's own answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from unittest import mock

import pytest
from azure.core.exceptions import HttpResponseError

from extractor.runtime.azure import AzureRunStore
from scheduler.memory import MemoryStore
from scheduler.ports import ConflictError
from scheduler.tables import TableStore
from tests.unit.scheduler.extractor_store import ExtractorStore
from tests.unit.scheduler.store_contract import Backend, StoreContract, new_job, new_run
from tests.unit.scheduler.table_service import Fault, TableService


class TestMemory(StoreContract):
    @pytest.fixture
    def backend(self) -> Backend:
        store = MemoryStore()
        return Backend(store, ExtractorStore(store))


@pytest.fixture
def service() -> TableService:
    return TableService(page=10)


@pytest.fixture
def tables(service: TableService) -> Iterator[Backend]:
    with service.client() as client:
        yield Backend(TableStore(client), AzureRunStore(client))


class TestAzuresAnswers(StoreContract):
    @pytest.fixture
    def backend(self, tables: Backend) -> Backend:
        return tables


@pytest.fixture
def pauses() -> Iterator[list[float]]:
    """For how long the client would have slept."""
    slept: list[float] = []
    with mock.patch("time.sleep", slept.append):
        yield slept


@pytest.mark.parametrize("fault", [Fault(429, "TooManyRequests", 7), Fault(503, "ServerBusy", 7)])
def test_a_throttled_request_is_sent_again_when_azure_says(
    service: TableService, tables: Backend, pauses: list[float], fault: Fault
) -> None:
    job = tables.store.create_job(new_job())
    service.faults.extend([fault, fault])
    updated = tables.store.update_job(replace(job, reason="after all"))
    assert updated.reason == "after all"
    assert pauses == [7, 7]


def test_a_service_that_stays_busy_is_an_error_and_not_a_conflict(
    service: TableService, tables: Backend, pauses: list[float]
) -> None:
    job = tables.store.create_job(new_job())
    service.faults.extend([Fault(503, "ServerBusy")] * 100)
    with pytest.raises(HttpResponseError) as caught:
        tables.store.update_job(replace(job, reason="never"))
    assert caught.value.status_code == 503
    service.faults.clear()
    assert tables.store.job(job.name) == job


# A write takes effect and its answer is lost; the client sends it again, on its own account.


def test_a_job_whose_answer_is_lost_is_a_conflict_and_can_be_read(
    service: TableService, tables: Backend, pauses: list[float]
) -> None:
    job = new_job()
    service.faults.append(Fault(500, "InternalError", applied=True))
    with pytest.raises(ConflictError):
        tables.store.create_job(job)
    present = tables.store.job(job.name)
    assert present == job
    assert present is not None
    service.faults.append(Fault(500, "InternalError", applied=True))
    with pytest.raises(ConflictError):
        tables.store.update_job(replace(present, reason="arrived"))
    assert tables.store.job(job.name) == replace(job, reason="arrived")


def test_a_run_whose_answer_is_lost_is_there(
    service: TableService, tables: Backend, pauses: list[float]
) -> None:
    run = new_run()
    service.faults.append(Fault(500, "InternalError", applied=True))
    assert tables.store.create_run(run) == run


def test_a_row_that_somebody_has_broken_does_not_hide_the_others(
    service: TableService, tables: Backend
) -> None:
    name = tables.store.create_job(new_job()).name
    with service.client() as client:
        broken = {"PartitionKey": "job", "RowKey": "broken", "watermark": "no time"}
        client.get_table_client("jobs").create_entity(broken)
    assert [job.name for job in tables.store.jobs()] == [name]
