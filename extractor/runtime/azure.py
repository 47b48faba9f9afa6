"""Tables, lake and key vault on Azure, through Azure's own clients and a managed identity."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import EdmType, TableClient, TableServiceClient, UpdateMode
from azure.keyvault.secrets import SecretClient
from azure.storage.filedatalake import FileSystemClient

from extractor.runtime.identity import credential_of
from extractor.runtime.ports import ConflictError, JobRow, Lake, PathExistsError, RunStore
from extractor.runtime.records import JOB_PARTITION, JOBS_TABLE, RUNS_TABLE, Run, entity_etag
from extractor.runtime.secrets import SecretError
from extractor.runtime.settings import RuntimeSettings

CHUNK_BYTES = 64 * 1024 * 1024
"""Of an upload. Azure takes up to 4000 MiB in one append; larger chunks than this gain nothing."""

_CHUNKS_AT_ONCE = 4

_SECRETS_ROLE = "Key Vault Secrets User"
_VAULT_TIMEOUT_S = 20

_CONFLICT = 409
_FORBIDDEN = 403

_ACCESS_PAUSES_S = (1, 2, 4, 8, 16)
"""A new identity's first tokens may be refused, and a role takes its time to reach the account."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


@contextmanager
def connect(settings: RuntimeSettings) -> Iterator[tuple[RunStore, Lake]]:
    """The tables and the lake of a deployment, once the job's row can be read.

    Raises:
        azure.core.exceptions.AzureError: they cannot be reached, or the identity may not read.
    """
    with ExitStack() as stack:
        credential = credential_of(settings.azure_client_id)
        stack.callback(credential.close)
        tables = stack.enter_context(
            TableServiceClient(endpoint=str(settings.tables_endpoint), credential=credential)
        )
        file_system = stack.enter_context(
            FileSystemClient(str(settings.lake_endpoint), settings.lake_file_system, credential)
        )
        store = AzureRunStore(tables)
        wait_for_access(lambda: store.read_job(settings.job_name))
        yield store, AzureLake(file_system)


def read_secrets(settings: RuntimeSettings) -> dict[str, str]:
    """The extractor's secrets, by the names under which it asks for them; none without a vault.

    Raises:
        SecretError: names the first one that cannot be read, its vault and what is missing.
    """
    if settings.key_vault_url is None or not settings.secrets:
        return {}
    with (
        credential_of(settings.azure_client_id) as credential,
        SecretClient(
            str(settings.key_vault_url),
            credential,
            connection_timeout=_VAULT_TIMEOUT_S,
            read_timeout=_VAULT_TIMEOUT_S,
        ) as vault,
    ):
        identity = settings.azure_client_id or "of this process"
        return {name: _secret(vault, secret, identity) for name, secret in settings.secrets.items()}


def _secret(vault: SecretClient, name: str, identity: str) -> str:
    place = f"the key vault {vault.vault_url}"
    try:
        return wait_for_access(lambda: vault.get_secret(name)).value or ""
    except ResourceNotFoundError as error:
        raise SecretError(
            f"The secret {name} is not in {place}; put its value there: {_detail(error)}."
        ) from error
    except AzureError as error:
        if _is_refusal(error):
            raise SecretError(
                f"The secret {name} in {place} is refused to the identity {identity}; it needs the "
                f"role {_SECRETS_ROLE} on it, and the vault must let this network in: "
                f"{_detail(error)}."
            ) from error
        raise SecretError(
            f"The secret {name} cannot be read from {place}: {_detail(error)}."
        ) from error


def _detail(error: AzureError) -> str:
    """The first line of what the service said."""
    return next(iter(str(error.message).splitlines()), "").strip().rstrip(".")


def wait_for_access(probe: Callable[[], T]) -> T:
    """Call ``probe`` until access is granted, for half a minute at most, and return its result.

    Raises:
        azure.core.exceptions.AzureError: ``probe``'s, when access is still refused, or another one.
    """
    for pause in _ACCESS_PAUSES_S:
        try:
            return probe()
        except HttpResponseError as error:
            if not _is_refusal(error):
                raise
            logger.info("access refused, trying again in %d s", pause)
            time.sleep(pause)
    return probe()


def _is_refusal(error: AzureError) -> bool:
    return isinstance(error, ClientAuthenticationError) or (
        isinstance(error, HttpResponseError) and error.status_code == _FORBIDDEN
    )


class AzureRunStore:
    """The tables of a storage account.

    Every write is one conditional update of one row. No batches: they buy nothing here, and the
    condition is Azure's promise for a single row.
    """

    def __init__(self, service: TableServiceClient) -> None:
        self._jobs = service.get_table_client(JOBS_TABLE)
        self._runs = service.get_table_client(RUNS_TABLE)

    def read_job(self, name: str) -> JobRow | None:
        entity = _entity(self._jobs, JOB_PARTITION, name)
        if entity is None:
            return None
        return JobRow(
            active_run=entity.get("active_run"),
            fence=entity.get("fence"),
            etag=entity_etag(entity) or "",
        )

    def update_job(self, name: str, changes: Mapping[str, object], etag: str) -> None:
        entity = {"PartitionKey": JOB_PARTITION, "RowKey": name, **changes}
        _update(self._jobs, entity, etag, UpdateMode.MERGE)

    def read_run(self, job: str, row_key: str) -> Run | None:
        entity = _entity(self._runs, job, row_key)
        return None if entity is None else Run.from_entity(entity)

    def write_run(self, run: Run) -> None:
        _update(self._runs, run.to_entity(), run.etag or "", UpdateMode.REPLACE)


def _entity(table: TableClient, partition: str, row: str) -> Mapping[str, Any] | None:
    try:
        return table.get_entity(partition, row)
    except ResourceNotFoundError:
        return None


def _update(table: TableClient, entity: Mapping[str, object], etag: str, mode: UpdateMode) -> None:
    try:
        table.update_entity(
            {name: _typed(value) for name, value in entity.items()},
            mode=mode,
            etag=etag,
            match_condition=MatchConditions.IfNotModified,
        )
    except (ResourceModifiedError, ResourceNotFoundError) as error:
        raise ConflictError(str(error)) from error


def _typed(value: object) -> object:
    # The client writes an int as Int32 and refuses one that does not fit; bytes and rows may not.
    return (value, EdmType.INT64) if type(value) is int else value


class AzureLake:
    """A file system of an account with hierarchical namespace, where a rename is one step."""

    def __init__(self, file_system: FileSystemClient) -> None:
        self._file_system = file_system

    def upload(self, source: Path, path: str) -> None:
        file = self._file_system.get_file_client(path)
        size = source.stat().st_size
        if not size:
            file.create_file()  # the client's upload leaves everything as it is then
            return
        with source.open("rb") as content:
            file.upload_data(
                content,
                length=size,
                # Without this, the client appends to a file that it expects to be there.
                overwrite=True,
                chunk_size=CHUNK_BYTES,
                max_concurrency=_CHUNKS_AT_ONCE,
            )

    def rename(self, source: str, target: str) -> None:
        # Unlike an upload, a rename needs the folder above.
        parent = str(PurePosixPath(target).parent)
        if not self._exists(parent):
            self._file_system.create_directory(parent)
        try:
            self._file_system.get_directory_client(source).rename_directory(
                f"{self._file_system.file_system_name}/{target}"
            )
        except HttpResponseError as error:
            if error.status_code == _CONFLICT and self._exists(target):
                raise PathExistsError(target) from error
            raise

    def delete(self, folder: str) -> None:
        try:
            self._file_system.get_directory_client(folder).delete_directory()
        except ResourceNotFoundError:
            return

    def children(self, folder: str) -> list[str]:
        try:
            paths = list(self._file_system.get_paths(folder, recursive=False))
        except ResourceNotFoundError:
            return []
        return [PurePosixPath(path.name).name for path in paths]

    def _exists(self, folder: str) -> bool:
        return bool(self._file_system.get_directory_client(folder).exists())
