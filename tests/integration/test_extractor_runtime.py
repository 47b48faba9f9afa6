"""The extractor's tables and lake: the same tests on the local stack's storage and in memory.

A run in memory is only worth what the memory's likeness is. On the stack, Azure's own clients are
used as a container uses them, through a managed identity.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from azure.data.tables import TableServiceClient
from azure.identity import ManagedIdentityCredential
from azure.storage.filedatalake import DataLakeServiceClient

from extractor.runtime import Window, run
from extractor.runtime.azure import AzureLake, AzureRunStore, read_secrets
from extractor.runtime.ports import ConflictError, Lake, PathExistsError, RunStore
from extractor.runtime.records import (
    JOB_PARTITION,
    JOBS_TABLE,
    RUNS_TABLE,
    Run,
    RunStatus,
    run_row_key,
)
from extractor.runtime.runner import EXIT_OK, run_job
from extractor.runtime.secrets import SecretError
from extractor.runtime.settings import RuntimeSettings
from extractor.runtime.termination import Termination
from extractor.runtime.testing import IMAGE_DIGEST, MemoryLake, MemoryRunStore
from local.azure.identity import TOKEN_PATH, identity_header
from local.settings import Settings

ACCOUNT = "extractors"
CLIENT_ID = "0d6f5a0e-3c0f-4a53-9d4c-0f0c8ce0d001"
START = datetime(2020, 1, 1, tzinfo=UTC)
END = datetime(2020, 1, 3, tzinfo=UTC)
LARGE = 2**40
"""More than fits into 32 bits."""


@dataclass(frozen=True)
class Storage:
    """Tables and a lake, with one job that has a started run.

    Args:
        store: the tables.
        lake: the lake.
        content: reads a file of the lake.
        run: the started run.
    """

    store: RunStore
    lake: Lake
    content: Callable[[str], bytes]
    run: Run


@pytest.fixture(params=["memory", "stack"])
def storage(request: pytest.FixtureRequest) -> Storage:
    found: Storage = request.getfixturevalue(f"{request.param}_storage")
    return found


def started_run(job: str) -> Run:
    now = datetime.now(UTC)
    run_id = uuid.uuid4().hex
    return Run(
        job=job,
        run_id=run_id,
        row_key=run_row_key(now, run_id),
        status=RunStatus.STARTING,
        trigger="schedule",
        window_from=START,
        window_to=END,
        created_at=now,
        reason="due",
    )


@pytest.fixture
def memory_storage() -> Storage:
    store, lake = MemoryRunStore(), MemoryLake()
    run = started_run(f"job-{uuid.uuid4().hex}")
    store.put_run(run)
    store.put_job(run.job, active_run=run.row_key)
    return Storage(store, lake, lake.files.__getitem__, run)


@pytest.fixture
def environment(local_stack: Settings, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """A container's environment on the stack, which the process has as well."""
    variables = {
        "IDENTITY_ENDPOINT": local_stack.platform_url() + TOKEN_PATH,
        "IDENTITY_HEADER": identity_header(local_stack),
        "REQUESTS_CA_BUNDLE": str(local_stack.certificate_bundle),
        "AZURE_CLIENT_ID": CLIENT_ID,
        "JOB_NAME": f"job-{uuid.uuid4().hex}",
        "IMAGE_DIGEST": IMAGE_DIGEST,
        "TABLES_ENDPOINT": f"{local_stack.azure_url()}/tables/{ACCOUNT}/",
        "LAKE_ENDPOINT": f"{local_stack.azure_url()}/{ACCOUNT}/",
        "LAKE_FILE_SYSTEM": f"lake-{uuid.uuid4().hex}",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def stack_storage(environment: Mapping[str, str]) -> Iterator[Storage]:
    settings = RuntimeSettings.read(environment)
    credential = ManagedIdentityCredential(client_id=CLIENT_ID)
    with (
        TableServiceClient(
            endpoint=environment["TABLES_ENDPOINT"], credential=credential
        ) as service,
        DataLakeServiceClient(environment["LAKE_ENDPOINT"], credential) as data_lake,
        data_lake.create_file_system(settings.lake_file_system) as file_system,
    ):
        jobs = service.create_table_if_not_exists(JOBS_TABLE)
        runs = service.create_table_if_not_exists(RUNS_TABLE)
        run = started_run(settings.job_name)
        runs.create_entity(run.to_entity())
        jobs.create_entity(
            {"PartitionKey": JOB_PARTITION, "RowKey": run.job, "active_run": run.row_key}
        )
        yield Storage(
            AzureRunStore(service),
            AzureLake(file_system),
            lambda path: file_system.get_file_client(path).download_file().readall(),
            run,
        )
        jobs.delete_entity(JOB_PARTITION, run.job)
        runs.delete_entity(run.job, run.row_key)
        file_system.delete_file_system()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    return path


def present(storage: Storage) -> Run:
    run = storage.store.read_run(storage.run.job, storage.run.row_key)
    assert run is not None
    return run


# Tables


def test_a_row_that_is_not_there_is_none(storage: Storage) -> None:
    assert storage.store.read_job("nobody") is None
    assert storage.store.read_run(storage.run.job, "nothing") is None
    assert storage.store.read_run("nobody", storage.run.row_key) is None


def test_a_run_is_read_as_it_was_written(storage: Storage) -> None:
    assert present(storage) == storage.run
    written = replace(
        present(storage),
        status=RunStatus.SUCCEEDED,
        reason=None,
        ended_at=datetime(2020, 1, 4, 1, 2, 3, 456789, tzinfo=UTC),
        duration_s=1.5,
        rows=LARGE,
        bytes=0,
    )
    storage.store.write_run(written)
    assert present(storage) == written


def test_a_run_that_was_written_meanwhile_is_a_conflict(storage: Storage) -> None:
    read = present(storage)
    storage.store.write_run(replace(read, status=RunStatus.RUNNING))
    with pytest.raises(ConflictError):
        storage.store.write_run(replace(read, status=RunStatus.FAILED))
    assert present(storage).status is RunStatus.RUNNING


def test_a_run_that_is_not_there_is_a_conflict(storage: Storage) -> None:
    with pytest.raises(ConflictError):
        storage.store.write_run(replace(present(storage), row_key="nothing"))


def test_a_jobs_other_properties_stay(storage: Storage) -> None:
    job = storage.store.read_job(storage.run.job)
    assert job is not None
    storage.store.update_job(storage.run.job, {"fence": "token", "commit_rows": LARGE}, job.etag)
    updated = storage.store.read_job(storage.run.job)
    assert updated is not None
    assert (updated.active_run, updated.fence) == (storage.run.row_key, "token")
    with pytest.raises(ConflictError):
        storage.store.update_job(storage.run.job, {"fence": "late"}, job.etag)
    with pytest.raises(ConflictError):
        storage.store.update_job("nobody", {"fence": "late"}, job.etag)
    assert storage.store.read_job(storage.run.job) == updated


# Lake


def test_an_upload_replaces(storage: Storage, file: Path) -> None:
    storage.lake.upload(file, "a/date=2020-01-01/part")
    file.write_bytes(b"longer content")
    storage.lake.upload(file, "a/date=2020-01-01/part")
    assert storage.content("a/date=2020-01-01/part") == b"longer content"
    file.write_bytes(b"")
    storage.lake.upload(file, "a/date=2020-01-01/part")
    assert storage.content("a/date=2020-01-01/part") == b""


def test_a_rename_takes_all_along_and_makes_the_folders_above(storage: Storage, file: Path) -> None:
    storage.lake.upload(file, "_staging/job/run/date=2020-01-01/part")
    storage.lake.upload(file, "_staging/job/run/manifest")
    storage.lake.rename("_staging/job/run", "job/window=a_b")
    assert storage.content("job/window=a_b/date=2020-01-01/part") == b"content"
    assert sorted(storage.lake.children("job/window=a_b")) == ["date=2020-01-01", "manifest"]
    assert storage.lake.children("_staging/job") == []


def test_a_rename_does_not_replace(storage: Storage, file: Path) -> None:
    storage.lake.upload(file, "job/old/part")
    storage.lake.upload(file, "job/new/other")
    with pytest.raises(PathExistsError):
        storage.lake.rename("job/new", "job/old")
    assert storage.lake.children("job/old") == ["part"]
    assert storage.lake.children("job/new") == ["other"]


def test_what_is_not_there_has_no_children_and_is_deleted_all_the_same(storage: Storage) -> None:
    assert storage.lake.children("nowhere/at/all") == []
    storage.lake.delete("nowhere/at/all")


def test_a_deletion_takes_all_that_is_in_the_folder_and_no_more(
    storage: Storage, file: Path
) -> None:
    for path in ("job/a/x/1", "job/a/2", "job/ab/3"):
        storage.lake.upload(file, path)
    storage.lake.delete("job/a")
    assert storage.lake.children("job") == ["ab"]


# Runs


def rows(window: Window) -> Iterator[pa.Table]:
    for day in window.days():
        yield pa.table({"date": pa.array([day] * 2, pa.date32()), "number": [1, 2]})


def container(storage: Storage) -> int:
    return run_job(
        rows,
        job=storage.run.job,
        image_digest=IMAGE_DIGEST,
        store=storage.store,
        lake=storage.lake,
        termination=Termination(),
    )


def test_a_run_lands_and_a_second_container_finds_nothing_to_do(storage: Storage) -> None:
    assert container(storage) == EXIT_OK
    closed = present(storage)
    assert closed.status is RunStatus.SUCCEEDED
    assert closed.rows == 4
    assert closed.lake_path is not None
    assert sorted(storage.lake.children(closed.lake_path)) == [
        f"date={date(2020, 1, 1)}", f"date={date(2020, 1, 2)}", "manifest.json",
    ]  # fmt: skip
    assert container(storage) == EXIT_OK
    assert present(storage) == closed


def test_a_window_is_loaded_again_in_place_of_the_former(storage: Storage) -> None:
    assert container(storage) == EXIT_OK
    storage.store.write_run(replace(present(storage), status=RunStatus.STARTING))
    assert container(storage) == EXIT_OK
    assert storage.lake.children(f"_staging/{storage.run.job}") == []
    job = storage.store.read_job(storage.run.job)
    assert job is not None
    assert job.fence == present(storage).claim_token


def test_a_container_runs_from_its_environment_alone(
    environment: Mapping[str, str], stack_storage: Storage
) -> None:
    assert run(rows, environment) == EXIT_OK
    assert present(stack_storage).status is RunStatus.SUCCEEDED


def test_a_container_without_any_job_ends_well(environment: Mapping[str, str]) -> None:
    assert run(rows, {**environment, "JOB_NAME": "nobody"}) == EXIT_OK


def test_access_that_is_refused_is_asked_for_again(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def grant_later(seconds: float) -> None:
        pauses.append(seconds)
        monkeypatch.setenv("IDENTITY_HEADER", environment["IDENTITY_HEADER"])

    monkeypatch.setenv("IDENTITY_HEADER", "not yet")
    monkeypatch.setattr("extractor.runtime.azure.time.sleep", grant_later)
    assert run(rows, {**environment, "JOB_NAME": "nobody"}) == EXIT_OK
    assert pauses


@pytest.fixture
def vault_settings(
    environment: Mapping[str, str], local_stack: Settings
) -> Iterator[RuntimeSettings]:
    """An extractor that asks for one secret, ``API_KEY``."""
    local_stack.secrets.parent.mkdir(exist_ok=True)
    local_stack.secrets.write_text("weather-key: 'hunter2 & more'\n")
    yield RuntimeSettings.read(
        {
            **environment,
            "KEY_VAULT_URL": f"{local_stack.azure_url()}/vaults/vault1/",
            "SECRETS": '{"API_KEY": "weather-key"}',
        }
    )
    local_stack.secrets.unlink()


def test_the_key_vaults_client_reads_the_developers_secrets(
    vault_settings: RuntimeSettings, local_stack: Settings
) -> None:
    assert read_secrets(vault_settings) == {"API_KEY": "hunter2 & more"}
    local_stack.secrets.write_text("")
    with pytest.raises(SecretError) as caught:
        read_secrets(vault_settings)
    assert str(caught.value) == (
        f"The secret weather-key is not in the key vault {local_stack.azure_url()}/vaults/vault1; "
        "put its value there: (SecretNotFound) .local/secrets/test.yaml has no line for it."
    )
