"""The storage account of a running local stack, through Azure's own unmodified clients.

The fixture ``local_stack`` is the :class:`~local.settings.Settings` of a stack that runs.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import TableClient, TableServiceClient, UpdateMode
from azure.identity import ManagedIdentityCredential
from azure.storage.filedatalake import DataLakeServiceClient, FileSystemClient

from local.azure.identity import TOKEN_PATH, identity_header
from local.settings import Settings

CLIENT_ID = "6d1c9ce0-5a6c-4b1e-9c52-0d5a3c1b7a10"
ACCOUNT = "integration"
LARGE = 50 * 1024 * 1024
KEYS = ("p", "r")


@pytest.fixture
def credential(
    local_stack: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ManagedIdentityCredential]:
    monkeypatch.setenv("IDENTITY_ENDPOINT", local_stack.platform_url() + TOKEN_PATH)
    monkeypatch.setenv("IDENTITY_HEADER", identity_header(local_stack))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(local_stack.certificate_bundle))
    with ManagedIdentityCredential(client_id=CLIENT_ID) as credential:
        yield credential


@pytest.fixture
def lake(
    local_stack: Settings, credential: ManagedIdentityCredential
) -> Iterator[FileSystemClient]:
    """An empty file system."""
    endpoint = f"{local_stack.azure_url()}/{ACCOUNT}"
    with DataLakeServiceClient(endpoint, credential=credential) as service:
        file_system = service.create_file_system(f"test-{uuid.uuid4().hex}")
        yield file_system
        file_system.delete_file_system()


@pytest.fixture
def table(local_stack: Settings, credential: ManagedIdentityCredential) -> Iterator[TableClient]:
    """An empty table."""
    endpoint = f"{local_stack.azure_url()}/tables/{ACCOUNT}/"
    with TableServiceClient(endpoint, credential=credential) as service:
        name = f"test{uuid.uuid4().hex}"
        yield service.create_table(name)
        service.delete_table(name)


def content(lake: FileSystemClient, path: str) -> bytes:
    return lake.get_file_client(path).download_file().readall()


def test_appended_bytes_show_at_the_flush_and_not_before(lake: FileSystemClient) -> None:
    file = lake.create_file("raw/é +%.csv")
    file.append_data(b"hello ", 0)
    file.append_data(b"world", 6)
    assert file.get_file_properties().size == 0
    assert content(lake, "raw/é +%.csv") == b""
    file.flush_data(11)
    assert content(lake, "raw/é +%.csv") == b"hello world"
    file.append_data(b"!", 11, flush=True)
    assert content(lake, "raw/é +%.csv") == b"hello world!"


def test_a_flush_to_another_length_is_refused(lake: FileSystemClient) -> None:
    file = lake.create_file("f")
    file.append_data(b"12345", 0)
    with pytest.raises(HttpResponseError, match="InvalidFlushPosition") as caught:
        file.flush_data(6)
    assert caught.value.status_code == 400
    assert file.get_file_properties().size == 0


def test_bytes_that_a_writer_left_behind_do_not_reach_the_next_one(lake: FileSystemClient) -> None:
    abandoned = lake.create_file("f")
    abandoned.append_data(b"old", 0)
    abandoned.append_data(b" and left behind", 3)
    lake.get_file_client("f").upload_data(b"new", overwrite=True)
    assert content(lake, "f") == b"new"


def test_a_file_that_a_blob_client_wrote_can_be_appended_to(
    lake: FileSystemClient, local_stack: Settings, credential: ManagedIdentityCredential
) -> None:
    from azure.storage.blob import BlobClient  # noqa: PLC0415 - of this test alone

    address = f"{local_stack.azure_url()}/{ACCOUNT}"
    with BlobClient(address, lake.file_system_name, "f", credential=credential) as blob:
        blob.upload_blob(b"old")
    file = lake.get_file_client("f")
    file.append_data(b" and new", 3)
    file.flush_data(11)
    assert content(lake, "f") == b"old and new"


def test_a_rename_replaces_a_file_and_keeps_its_properties(lake: FileSystemClient) -> None:
    lake.create_directory("out")
    lake.get_file_client("out/final").upload_data(b"old", overwrite=True)
    draft = lake.get_file_client("draft")
    draft.upload_data(b"new", overwrite=True, metadata={"run": "1"})
    final = draft.rename_file(f"{lake.file_system_name}/out/final")
    assert content(lake, "out/final") == b"new"
    assert final.get_file_properties().metadata == {"run": "1"}
    assert not draft.exists()


def test_a_rename_that_cannot_be_done_changes_nothing(lake: FileSystemClient) -> None:
    draft = lake.get_file_client("draft")
    draft.upload_data(b"new", overwrite=True)
    lake.get_file_client("final").upload_data(b"old", overwrite=True)
    with pytest.raises(ResourceExistsError):
        draft.rename_file(
            f"{lake.file_system_name}/final", match_condition=MatchConditions.IfMissing
        )
    with pytest.raises(ResourceNotFoundError):
        draft.rename_file(f"{lake.file_system_name}/no/such/directory")
    with pytest.raises(ResourceNotFoundError):
        lake.get_file_client("missing").rename_file(f"{lake.file_system_name}/final")
    assert content(lake, "draft") == b"new"
    assert content(lake, "final") == b"old"


def test_readers_of_a_path_see_whole_files_while_renames_replace_it(
    lake: FileSystemClient,
) -> None:
    size = 200_000
    lake.get_file_client("final").upload_data(b"0" * size, overwrite=True)

    def replace() -> None:
        for number in range(10):
            draft = lake.get_file_client(f"draft-{number}")
            draft.upload_data(str(number).encode() * size, overwrite=True)
            draft.rename_file(f"{lake.file_system_name}/final")

    with ThreadPoolExecutor(1) as executor:
        replacing = executor.submit(replace)
        while not replacing.done():
            seen = content(lake, "final")
            assert len(seen) == size
            assert len(set(seen)) == 1
        replacing.result()


def test_paths_are_listed_with_their_directories_and_in_pages(lake: FileSystemClient) -> None:
    for number in range(5):
        lake.create_file(f"a/b/{number}")
    names = [path.name for path in lake.get_paths("a", max_results=2)]
    assert names == ["a/b", *(f"a/b/{number}" for number in range(5))]
    top = list(lake.get_paths(recursive=False))
    assert [(path.name, path.is_directory) for path in top] == [("a", True)]
    with pytest.raises(ResourceNotFoundError):
        list(lake.get_paths("missing"))


def test_directories_are_moved_and_deleted_with_their_content(lake: FileSystemClient) -> None:
    lake.get_file_client("a/b/f").upload_data(b"1", overwrite=True)
    directory = lake.get_directory_client("a")
    moved = directory.rename_directory(f"{lake.file_system_name}/c")
    assert content(lake, "c/b/f") == b"1"
    assert not directory.exists()
    moved.delete_directory()
    assert list(lake.get_paths()) == []


def test_missing_and_deleted_files_are_not_found(lake: FileSystemClient) -> None:
    file = lake.get_file_client("f")
    with pytest.raises(ResourceNotFoundError):
        file.append_data(b"1", 0)
    file.upload_data(b"1", overwrite=True)
    assert file.exists()
    file.delete_file()
    assert not file.exists()
    for call in (file.delete_file, file.download_file, file.get_file_properties):
        with pytest.raises(ResourceNotFoundError):
            call()


def test_create_and_flush_keep_to_their_conditions(lake: FileSystemClient) -> None:
    file = lake.create_file("f")
    etag = file.get_file_properties().etag
    with pytest.raises(ResourceExistsError):
        file.create_file(match_condition=MatchConditions.IfMissing)
    file.upload_data(b"1", overwrite=True)
    file.append_data(b"2", 1)
    with pytest.raises(ResourceModifiedError):
        file.flush_data(2, etag=etag, match_condition=MatchConditions.IfNotModified)
    assert content(lake, "f") == b"1"


def test_large_files_in_parallel_blocks(lake: FileSystemClient) -> None:
    data = os.urandom(LARGE)
    file = lake.get_file_client("large")
    file.upload_data(data, overwrite=True, max_concurrency=4, chunk_size=4 * 1024 * 1024)
    assert file.download_file(max_concurrency=4).readall() == data


def test_an_entity_is_created_once(table: TableClient) -> None:
    entity = {"PartitionKey": "job", "RowKey": "it's + one", "value": 1}
    table.create_entity(entity)
    with pytest.raises(ResourceExistsError):
        table.create_entity(entity)
    assert table.get_entity("job", "it's + one")["value"] == 1


def test_an_update_with_a_stale_etag_is_refused(table: TableClient) -> None:
    table.create_entity({"PartitionKey": "p", "RowKey": "r", "value": 1})
    stale = table.get_entity(*KEYS)
    fresh = {"PartitionKey": "p", "RowKey": "r", "value": 2}
    table.update_entity(fresh, mode=UpdateMode.REPLACE)
    with pytest.raises(ResourceModifiedError) as caught:
        table.update_entity(
            {**fresh, "value": 3},
            etag=stale.metadata["etag"],
            match_condition=MatchConditions.IfNotModified,
        )
    assert caught.value.status_code == 412
    assert table.get_entity(*KEYS)["value"] == 2


def test_of_concurrent_conditional_updates_one_wins(table: TableClient) -> None:
    table.create_entity({"PartitionKey": "p", "RowKey": "r", "winner": -1})
    etag = table.get_entity(*KEYS).metadata["etag"]

    def claim(number: int) -> bool:
        try:
            table.update_entity(
                {"PartitionKey": "p", "RowKey": "r", "winner": number},
                etag=etag,
                match_condition=MatchConditions.IfNotModified,
            )
        except ResourceModifiedError:
            return False
        return True

    with ThreadPoolExecutor(16) as executor:
        won = [number for number, mine in enumerate(executor.map(claim, range(16))) if mine]
    assert won == [table.get_entity(*KEYS)["winner"]]


def test_batches_and_pages_of_entities(table: TableClient) -> None:
    operations = [
        ("upsert", {"PartitionKey": "p", "RowKey": f"{number:03d}"}) for number in range(100)
    ]
    table.submit_transaction(operations)
    rows = list(table.query_entities("PartitionKey eq 'p'", results_per_page=30))
    assert [row["RowKey"] for row in rows] == [f"{number:03d}" for number in range(100)]
