"""The scheduler's store on Azure Table Storage."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from azure.core import MatchConditions
from azure.core.credentials import TokenCredential
from azure.core.exceptions import (
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import (
    EdmType,
    EntityProperty,
    TableClient,
    TableServiceClient,
    TableTransactionError,
    UpdateMode,
)

from extractor.runtime.records import JOB_PARTITION, JOBS_TABLE, RUNS_TABLE, Run
from scheduler.audit import AUDIT_TABLE, AuditEntry
from scheduler.job import Job
from scheduler.ports import ConflictError, Store
from scheduler.shared import PerThread

_log = logging.getLogger(__name__)

_MOST_ROWS = 1000
"""Of one answer of Table Storage."""

_NOT_FOUND = 404

_TICK_OF_VERSIONS_S = 0.001

_INT32_MAX = 2**31 - 1


class TableStore(Store):
    """See :class:`~scheduler.ports.Store`.

    Args:
        service: the storage account's tables.
    """

    def __init__(self, service: TableServiceClient) -> None:
        self._jobs = service.get_table_client(JOBS_TABLE)
        self._runs = service.get_table_client(RUNS_TABLE)
        self._audit = service.get_table_client(AUDIT_TABLE)

    @classmethod
    def connect(cls, endpoint: str, credential: TokenCredential) -> TableStore:
        """The store of the account whose tables are at ``endpoint``."""
        return cls(TableServiceClient(endpoint, credential=credential, transport=PerThread()))

    def jobs(self) -> Sequence[Job]:
        entities = self._jobs.query_entities(
            "PartitionKey eq @partition", parameters={"partition": JOB_PARTITION}
        )
        return [job for each in entities if (job := _readable(each))]

    def job(self, name: str) -> Job | None:
        entity = _get(self._jobs, JOB_PARTITION, name)
        return None if entity is None else Job.from_entity(entity)

    def create_job(self, job: Job) -> Job:
        try:
            answer = self._jobs.create_entity(_sent(job.to_entity()))
        except ResourceExistsError as error:
            raise ConflictError(f"The job {job.name} has been created meanwhile.") from error
        return replace(job, etag=answer["etag"])

    def update_job(self, job: Job) -> Job:
        return replace(job, etag=_replace(self._jobs, job.to_entity(), job.etag))

    def run(self, job: str, row_key: str) -> Run | None:
        entity = _get(self._runs, job, row_key)
        return None if entity is None else Run.from_entity(entity)

    def runs(self, job: str, *, after: str = "", limit: int | None = None) -> Sequence[Run]:
        return [Run.from_entity(each) for each in _rows(self._runs, job, after, limit)]

    def create_run(self, run: Run) -> Run:
        try:
            answer = self._runs.create_entity(_sent(run.to_entity()))
        except ResourceExistsError:
            found = self.run(run.job, run.row_key)
            if found is None:
                raise ConflictError(f"The run {run.run_id} has been deleted meanwhile.") from None
            return found
        return replace(run, etag=answer["etag"])

    def update_run(self, run: Run) -> Run:
        return replace(run, etag=_replace(self._runs, run.to_entity(), run.etag))

    def append_audit(self, entry: AuditEntry) -> None:
        with contextlib.suppress(ResourceExistsError):
            self._audit.create_entity(entry.to_entity())

    def audit(self, job: str, *, after: str = "", limit: int | None = None) -> Sequence[AuditEntry]:
        return [AuditEntry.from_entity(each) for each in _rows(self._audit, job, after, limit)]

    def delete_runs(self, job: str, row_keys: Sequence[str]) -> None:
        _delete(self._runs, job, row_keys)

    def delete_audit(self, job: str, row_keys: Sequence[str]) -> None:
        _delete(self._audit, job, row_keys)


def _readable(entity: Mapping[str, Any]) -> Job | None:
    """The job of a row; one that somebody has broken must not stop the others."""
    try:
        return Job.from_entity(entity)
    except (KeyError, TypeError, ValueError):
        _log.exception("row of a job can't be read job=%s", entity.get("RowKey"))
        return None


def _rows(
    table: TableClient, partition: str, after: str, limit: int | None
) -> Iterator[Mapping[str, Any]]:
    """Rows of a partition behind a key, in the order of their keys."""
    entities = table.query_entities(
        "PartitionKey eq @partition and RowKey gt @after",
        parameters={"partition": partition, "after": after},
        results_per_page=min(limit or _MOST_ROWS, _MOST_ROWS),
    )
    return islice(entities, limit)


def _delete(table: TableClient, partition: str, row_keys: Sequence[str]) -> None:
    entities = ({"PartitionKey": partition, "RowKey": each} for each in row_keys)
    try:
        table.submit_transaction(("delete", each) for each in entities)
    except TableTransactionError as error:
        if error.status_code != _NOT_FOUND:
            raise


def _get(table: TableClient, partition: str, row: str) -> Mapping[str, Any] | None:
    try:
        return table.get_entity(partition, row)
    except ResourceNotFoundError:
        return None


def _replace(table: TableClient, entity: Mapping[str, Any], etag: str | None) -> str:
    """Replace a row; its new version.

    Azurite's versions are times, so a row that is written twice within a millisecond keeps its
    version, and whoever has read it in between may undo the second write. Such a row is written
    once more. Azure orders its versions by itself, and this never comes to pass.
    """
    while True:
        try:
            answer = table.update_entity(
                _sent(entity),
                mode=UpdateMode.REPLACE,
                etag=etag,
                match_condition=MatchConditions.IfNotModified,
            )
        except (ResourceModifiedError, ResourceNotFoundError) as error:
            raise ConflictError(f"The row {entity['RowKey']} was written meanwhile.") from error
        if answer["etag"] != etag:
            return str(answer["etag"])
        time.sleep(_TICK_OF_VERSIONS_S)


def _sent(entity: Mapping[str, Any]) -> dict[str, Any]:
    # The client sends a plain int as 32 bits and refuses a larger one.
    return {
        name: EntityProperty(value, EdmType.INT64)
        if isinstance(value, int) and abs(value) > _INT32_MAX
        else value
        for name, value in entity.items()
    }
