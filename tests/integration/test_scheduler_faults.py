"""What breaks on a real stack: the scheduler, the tables, Docker and containers.

The scheduler is a process of its own that is killed with SIGKILL; containers run the image of the
deployed extractor, with an extractor of these tests. Afterwards each window is loaded exactly once.
``FAULT_OUTAGE_S`` is for how long the tables are gone, 20 seconds by default.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import docker
import pytest
from azure.core.exceptions import AzureError
from azure.data.tables import TableServiceClient
from azure.identity import ManagedIdentityCredential
from azure.storage.filedatalake import DataLakeServiceClient, FileSystemClient
from docker.models.containers import Container as DockerContainer

from extractor.runtime.records import JOBS_TABLE, RUNS_TABLE, Run, RunStatus
from extractor.runtime.window import Window
from local import engine, services
from local.azure.identity import TOKEN_PATH, identity_header
from local.containers import ContainerGroups, container_group
from local.plugin.ids import SUBSCRIPTION_ID
from local.settings import HOST_ALIAS
from scheduler.containers import AzureContainerGroups
from scheduler.declaration import CatchUp, JobDeclaration
from scheduler.job import Job
from scheduler.ports import Store
from scheduler.tables import TableStore
from scheduler.tick import Scheduler
from tests.integration.conftest import Deployed

CLIENT_ID = "9a1f3c52-1d0e-4a7b-8c26-7f4f0a4b1e55"
OUTAGE_S = float(os.environ.get("FAULT_OUTAGE_S") or "20")
TICK_S = 0.2
DEADLINE_S = 90.0
EVERY = timedelta(hours=1)

EXTRACTOR = """
import os, pathlib, sys, time
import pyarrow as pa
from extractor.runtime import run

starts = pathlib.Path("/tmp/starts")
starts.touch()
number = len(starts.read_text())
starts.write_text("." * (number + 1))
fate = os.environ["FATES"].split(",")[number:][:1]
if fate == ["never_claims"]:
    time.sleep(600)

def extract(window):
    if fate == ["killed"]:
        os._exit(137)  # a container's first process can't kill itself
    if fate == ["never_ends"]:
        time.sleep(600)
    if fate == ["slow"]:
        time.sleep(5)
    yield pa.table({"date": pa.array([window.start.date()], pa.date32()), "number": [1]})

sys.exit(run(extract))
"""
"""The fate of a container's n-th start is the n-th of ``FATES``; after them all is well."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Place:
    """A storage account, a job and its container group."""

    name: str
    tables: str
    lake: FileSystemClient
    store: TableStore
    groups: ContainerGroups
    group_id: str
    docker: docker.DockerClient
    resource_manager: str

    def scheduler(self, fault: Callable[[], None] = lambda: None) -> Scheduler:
        """A scheduler with clients of its own; ``fault`` is called before and after each write."""
        credential = ManagedIdentityCredential(client_id=CLIENT_ID)
        groups = AzureContainerGroups.connect(
            credential, SUBSCRIPTION_ID, self.group_id.split("/")[4], self.resource_manager
        )
        store = TableStore.connect(self.tables, credential)
        jobs = store.jobs
        # The deployed stack's jobs are in the same table and none of this scheduler's business.
        setattr(store, "jobs", lambda: [job for job in jobs() if job.name == self.name])  # noqa: B010
        writes = ("create_job", "update_job", "create_run", "update_run")
        for owner, names in ((store, writes), (groups, ("start", "stop"))):
            for name in names:
                setattr(owner, name, _surrounded(getattr(owner, name), fault))
        return Scheduler(store=store, groups=groups)

    def container(self) -> DockerContainer:
        return self.docker.containers.list(all=True, filters={"name": self.name})[0]

    def job(self) -> Job:
        job = self.store.job(self.name)
        assert job is not None
        return job

    def runs(self) -> list[Run]:
        """Oldest first."""
        return list(reversed(self.store.runs(self.name)))

    def statuses(self) -> list[RunStatus]:
        return [run.status for run in self.runs()]

    def done(self, declaration: JobDeclaration, store: Store | None = None) -> bool:
        job = (store or self.store).job(self.name)
        return (
            job is not None
            and not (job.active_run or job.closing)
            and job.watermark == declaration.end
        )

    def check_loaded_once(self, declaration: JobDeclaration) -> None:
        """Each window is in the lake, once; each run has ended, and none was loaded twice."""
        windows = sorted(
            (run.window_from, run.window_to)
            for run in self.runs()
            if run.status is RunStatus.SUCCEEDED
        )
        edges = [declaration.start, *(end for _, end in windows)]
        assert [begin for begin, _ in windows] == edges[:-1]
        assert edges[-1] == declaration.end == self.job().watermark
        paths = [path.name for path in self.lake.get_paths(self.name, recursive=False)]
        assert sorted(paths) == [f"{self.name}/{Window(*each).folder}" for each in windows]
        for run in self.runs():
            assert not run.active
            assert run.ended_at is not None
            assert run.reason or run.status is RunStatus.SUCCEEDED


def _surrounded(call: Callable[..., Result], fault: Callable[[], None]) -> Callable[..., Result]:
    def surrounded(*arguments: Any, **options: Any) -> Result:
        fault()
        result = call(*arguments, **options)
        fault()
        return result

    return surrounded


@pytest.fixture(scope="module")
def environment(deployed: Deployed) -> Iterator[None]:
    """The platform's, while the deployed scheduler is stopped: it would retire the tests' jobs."""
    scheduler = deployed.groups.find("scheduler").id
    deployed.groups.stop(scheduler)
    settings = deployed.clone.settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IDENTITY_ENDPOINT", settings.platform_url() + TOKEN_PATH)
        patch.setenv("IDENTITY_HEADER", identity_header(settings))
        patch.setenv("REQUESTS_CA_BUNDLE", str(settings.certificate_bundle))
        yield
    deployed.groups.start(scheduler)


Prepare = Callable[..., Place]


@pytest.fixture
def prepare(deployed: Deployed, environment: None) -> Iterator[Prepare]:
    """Make an account's tables and lake, and a container group of the given fates."""
    settings = deployed.clone.settings
    account, file_system = "faults", f"faults-{uuid.uuid4().hex}"
    name = f"fault-{uuid.uuid4().hex[:8]}"
    client = docker.DockerClient(base_url=engine.host(settings))
    (weather,) = client.containers.list(
        all=True, filters={"name": f"{settings.name}.weather.weather"}
    )
    image: str = weather.attrs["Config"]["Image"]
    group_id = (
        f"/subscriptions/{SUBSCRIPTION_ID}/resourceGroups/faults/providers/"
        f"Microsoft.ContainerInstance/containerGroups/{name}"
    )
    tables = f"{settings.azure_url()}/tables/{account}/"

    def create(*fates: str) -> Place:
        variables = {
            "JOB_NAME": name,
            "AZURE_CLIENT_ID": CLIENT_ID,
            "IMAGE_DIGEST": "sha256:" + "0" * 64,
            "TABLES_ENDPOINT": f"{settings.azure_url(HOST_ALIAS)}/tables/{account}/",
            "LAKE_ENDPOINT": f"{settings.azure_url(HOST_ALIAS)}/{account}/",
            "LAKE_FILE_SYSTEM": file_system,
            "FATES": ",".join(("idle", *fates)),  # its creation starts it, with nothing to do
        }
        deployed.groups.create(container_group(group_id, _group(name, image, variables)))
        return Place(
            name,
            tables,
            lake,
            TableStore(service),
            deployed.groups,
            group_id,
            client,
            settings.azure_url(),
        )

    with (
        contextlib.closing(client),
        ManagedIdentityCredential(client_id=CLIENT_ID) as credential,
        TableServiceClient(tables, credential=credential) as service,
        DataLakeServiceClient(f"{settings.azure_url()}/{account}", credential) as data_lake,
        data_lake.create_file_system(file_system) as lake,
    ):
        yield create
        deployed.groups.delete(group_id)
        data_lake.delete_file_system(file_system)
        _forget(service, name)


def _forget(service: TableServiceClient, name: str) -> None:
    """Delete a job's rows: the deployed stack is in the same tables."""
    for table, query in ((JOBS_TABLE, "RowKey eq @name"), (RUNS_TABLE, "PartitionKey eq @name")):
        client = service.get_table_client(table)
        for row in client.query_entities(query, parameters={"name": name}):
            client.delete_entity(row)


def _group(name: str, image: str, variables: Mapping[str, str]) -> dict[str, Any]:
    container = {
        "name": name,
        "image": image,
        "command": ["env", "python3", "-c", EXTRACTOR],
        "resources": {"requests": {"cpu": 0.5, "memoryInGB": 0.5}},
        "environmentVariables": [{"name": key, "value": variables[key]} for key in variables],
    }
    return {"containers": [container], "osType": "Linux", "restartPolicy": "Never"}


def declare(name: str, windows: int, **changes: Any) -> JobDeclaration:
    """A job that has missed some fire times, all of which are to be made up for."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    values: dict[str, Any] = {
        "every": EVERY,
        "end": start + windows * EVERY,
        "catch_up": CatchUp.ALL,
        "retry_delay": timedelta(seconds=0.1),
        "max_attempts": 100,
    }
    return JobDeclaration(name=name, container_group=name, start=start, **values | changes)


def tick_until(scheduler: Scheduler, declaration: JobDeclaration, done: Callable[[], bool]) -> None:
    """As ``python -m scheduler`` does, but faster."""
    deadline = time.monotonic() + DEADLINE_S + OUTAGE_S
    while True:
        with contextlib.suppress(AzureError):
            scheduler.tick([declaration], datetime.now(UTC))
            if done():
                return
        assert time.monotonic() < deadline, scheduler.store.runs(declaration.name)
        time.sleep(TICK_S)


def killed_at(place: Place, declaration: JobDeclaration, point: int) -> bool:
    """Run a scheduler that kills itself at a point; whether it came so far."""

    def life() -> None:
        passed = 0

        def fault() -> None:
            nonlocal passed
            passed += 1
            if passed == point:
                os.kill(os.getpid(), signal.SIGKILL)

        # Nothing that is connected is shared with the process that was forked.
        scheduler = place.scheduler(fault)
        tick_until(scheduler, declaration, lambda: place.done(declaration, scheduler.store))

    process = multiprocessing.get_context("fork").Process(target=life)
    process.start()
    process.join(DEADLINE_S)
    return process.exitcode == -signal.SIGKILL


POINTS = 10
"""Before and after each of the first five writes of a process."""


def test_a_scheduler_killed_at_each_point_of_its_ticks_loads_each_window_once(
    prepare: Prepare,
) -> None:
    place = prepare()
    # Each life begins where the one before was killed, and comes further in all.
    declaration = declare(place.name, windows=8)
    kills = 0
    for point in range(1, POINTS + 1):
        kills += killed_at(place, declaration, point)
    assert kills >= POINTS - 1
    tick_until(place.scheduler(), declaration, lambda: place.done(declaration))
    place.check_loaded_once(declaration)


def test_tables_that_are_gone_for_a_while_lose_nothing(
    prepare: Prepare, deployed: Deployed
) -> None:
    place = prepare("slow", "slow")
    declaration = declare(place.name, windows=2, run_deadline=timedelta(seconds=OUTAGE_S + 15))
    scheduler = place.scheduler()
    tick_until(scheduler, declaration, lambda: RunStatus.RUNNING in place.statuses())
    keeper = services._keeper(deployed.clone.settings)
    with keeper._rpc() as rpc:
        rpc.stopProcess("azurite")
    back_at = time.monotonic() + OUTAGE_S
    failed = 0
    while time.monotonic() < back_at:
        try:
            scheduler.tick([declaration], datetime.now(UTC))
        except AzureError:
            failed += 1
        time.sleep(TICK_S)
    assert failed
    with keeper._rpc() as rpc:
        rpc.startProcess("azurite")
    tick_until(scheduler, declaration, lambda: place.done(declaration))
    place.check_loaded_once(declaration)


def test_starts_that_docker_refuses_are_made_up_for(prepare: Prepare) -> None:
    place = prepare()
    declaration = declare(place.name, windows=1)
    container = place.container()
    container.wait()
    sound = _archived(container, "/usr/bin/env")
    container.put_archive("/usr/bin", _archive("env", sound, mode=0o644))
    scheduler = place.scheduler()
    tick_until(scheduler, declaration, lambda: bool(place.runs()) and bool(place.runs()[0].reason))
    (waiting,) = place.runs()
    assert waiting.status is RunStatus.QUEUED
    assert "env" in (waiting.reason or "")  # Docker's sentence names the command
    container.put_archive("/usr/bin", _archive("env", sound, mode=0o755))
    tick_until(scheduler, declaration, lambda: place.done(declaration))
    place.check_loaded_once(declaration)


@pytest.mark.parametrize(
    ("fate", "changes", "ends", "reason"),
    [
        ("killed", {}, RunStatus.ABANDONED, "exit code 137"),
        ("never_claims", {"start_deadline": timedelta(seconds=15)}, RunStatus.FAILED, "claim"),
        ("never_ends", {"run_deadline": timedelta(seconds=8)}, RunStatus.TIMED_OUT, "still going"),
    ],
)
def test_a_container_that_fails_is_tried_again(
    prepare: Prepare, fate: str, changes: Mapping[str, Any], ends: RunStatus, reason: str
) -> None:
    place = prepare(fate)
    declaration = declare(place.name, windows=2, **changes)
    # The first container that Docker starts does nothing; the next one has the fate.
    place.container().wait()
    tick_until(place.scheduler(), declaration, lambda: place.done(declaration))
    lost, *_ = place.runs()
    assert lost.status is ends
    assert reason in (lost.reason or "")
    place.check_loaded_once(declaration)


def _archived(container: DockerContainer, path: str) -> bytes:
    chunks, _ = container.get_archive(path, encode_stream=False)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        found = archive.extractfile(archive.getmembers()[0])
        assert found is not None
        return found.read()


def _archive(name: str, content: bytes, mode: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), mode
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()
