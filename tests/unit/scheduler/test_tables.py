"""What the store on Azure Table Storage asks of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from unittest import mock

import pytest
from azure.core import MatchConditions

from scheduler.ports import ConflictError
from scheduler.tables import TableStore
from tests.unit.scheduler.store_contract import new_job, new_run
from tests.unit.scheduler.table_service import TableService


@pytest.fixture
def service() -> TableService:
    return TableService()


@pytest.fixture
def store(service: TableService) -> Iterator[TableStore]:
    with service.client() as client:
        yield TableStore(client)


def test_each_write_is_one_request(service: TableService, store: TableStore) -> None:
    job, run = store.create_job(new_job()), store.create_run(new_run())
    assert service.requests == 2
    job, run = store.update_job(replace(job, reason="why")), store.update_run(run)
    assert service.requests == 4
    # The versions are those of the rows as they are now.
    assert store.update_job(job).etag != job.etag
    assert store.update_run(run).etag != run.etag
    with pytest.raises(ConflictError):
        store.update_job(job)


def test_a_version_that_has_not_changed_is_written_over() -> None:
    # As Azurite's, where two writes come within a millisecond.
    service = mock.MagicMock()
    table = service.get_table_client.return_value
    table.update_entity.side_effect = [{"etag": "1"}, {"etag": "1"}, {"etag": "2"}]
    job = replace(new_job(), etag="1")
    assert TableStore(service).update_job(job) == job
    assert table.update_entity.call_count == 3
    for call in table.update_entity.call_args_list:
        assert call.kwargs["etag"] == "1"
        assert call.kwargs["match_condition"] is MatchConditions.IfNotModified
    table.update_entity.side_effect = [{"etag": "2"}]
    assert TableStore(service).update_job(job).etag == "2"
