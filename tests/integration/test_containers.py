"""Container groups on Docker, by themselves, through Resource Manager and under the Pulumi engine.

The fixture ``local_stack`` is the :class:`~local.settings.Settings` of a stack that runs.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pulumi
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.mgmt.containerinstance import ContainerInstanceManagementClient
from docker.errors import NotFound
from pulumi_azure_native import containerinstance, resources

from local import base_image, versions
from local import engine as container_engine
from local.containers import (
    ContainerGroups,
    ContainersError,
    GroupExistsError,
    GroupView,
    container_group,
)
from local.plugin.ids import SUBSCRIPTION_ID
from local.plugin.storage import PlatformCredential
from local.settings import Settings
from tests.integration.pulumi_engine import Engine, EngineError, Program

DEADLINE_S = 30.0
POLL_S = 0.1
LOG_SLACK_S = 1.5
"""More than the time before a start whose lines count as written after it."""

CLIENT_ID = "6d1c9ce0-5a6c-4b1e-9c52-0d5a3c1b7a10"

Run = Callable[..., str]


@pytest.fixture
def docker_host(local_stack: Settings, monkeypatch: pytest.MonkeyPatch) -> str:
    host = container_engine.host(local_stack)
    monkeypatch.setenv("DOCKER_HOST", host)
    return host


@pytest.fixture
def groups(local_stack: Settings, docker_host: str) -> ContainerGroups:
    return ContainerGroups.connect(local_stack)


@pytest.fixture
def image(local_stack: Settings, docker_host: str) -> str:
    """The base image, from the stack's registry or, where that has none, from Docker Hub."""
    with contextlib.closing(docker.DockerClient(base_url=docker_host)) as client:
        reference = base_image.reference(local_stack)
        try:
            client.images.pull(reference)
        except NotFound:
            return versions.BASE_IMAGE
        return reference


@pytest.fixture
def resource_group() -> str:
    return f"test-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def run(groups: ContainerGroups, image: str, resource_group: str) -> Iterator[Run]:
    """Create a group of one container and return its id."""
    created = []

    def create(*command: str, **changes: Any) -> str:
        name = f"test-{uuid.uuid4().hex[:8]}"
        created.append(
            f"/subscriptions/{SUBSCRIPTION_ID}/resourceGroups/{resource_group}/providers/"
            f"Microsoft.ContainerInstance/containerGroups/{name}"
        )
        container = {
            "name": "main",
            "image": image,
            "command": list(command),
            "resources": {"requests": {"cpu": 0.5, "memoryInGB": 0.5}},
            **changes,
        }
        inputs = {"containers": [container], "osType": "Linux", "restartPolicy": "Never"}
        groups.create(container_group(created[-1], inputs))
        return created[-1]

    yield create
    for group_id in created:
        groups.delete(group_id)


def ended(groups: ContainerGroups, group_id: str) -> GroupView:
    deadline = time.monotonic() + DEADLINE_S
    while not (view := groups.get(group_id)).terminated:
        assert time.monotonic() < deadline, "the container did not end in time"
        time.sleep(POLL_S)
    return view


def test_a_container_ends_and_starts_again(groups: ContainerGroups, run: Run) -> None:
    group_id = run("sh", "-c", "echo one; date +%s%N; exit 3")
    view = ended(groups, group_id)
    (container,) = view.containers
    assert (view.state, container.detail, container.exit_code) == ("Failed", "Error", 3)
    assert str(container.started_at) < str(container.finished_at)
    first = groups.logs(group_id, "main").splitlines()
    assert first[0] == "one"

    time.sleep(LOG_SLACK_S)
    groups.start(group_id)
    (again,) = ended(groups, group_id).containers
    assert str(again.started_at) > str(container.finished_at)
    second = groups.logs(group_id, "main").splitlines()
    assert len(second) == 2, "a log holds what was written since the last start"
    assert int(second[1]) > int(first[1])
    assert groups.logs(group_id, "main", tail=1).splitlines() == second[1:]


def test_a_running_container_is_not_started_twice(groups: ContainerGroups, run: Run) -> None:
    group_id = run("sleep", "60")
    before = groups.get(group_id)
    groups.start(group_id)
    assert groups.get(group_id) == before
    assert before.state == "Running"


def test_a_container_is_asked_to_end_before_it_is_killed(groups: ContainerGroups, run: Run) -> None:
    script = 'trap "echo bye; exit 0" TERM; echo up; while :; do sleep 0.1; done'
    group_id = run("sh", "-c", script)
    deadline = time.monotonic() + DEADLINE_S
    while "up" not in groups.logs(group_id, "main"):
        assert time.monotonic() < deadline
        time.sleep(POLL_S)
    groups.stop(group_id)
    view = groups.get(group_id)
    assert (view.state, groups.logs(group_id, "main")) == ("Succeeded", "up\nbye\n")


PLATFORM = """
import json, os, ssl, urllib.request

request = urllib.request.Request(
    os.environ["IDENTITY_ENDPOINT"]
    + "?resource=https://storage.azure.com&api-version=2019-08-01&client_id=" + os.environ["ID"],
    headers={"X-IDENTITY-HEADER": os.environ["IDENTITY_HEADER"]},
)
token = json.load(urllib.request.urlopen(request))
trusted = ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])
health = os.environ["AZURE_RESOURCE_MANAGER_ENDPOINT"] + "/health"
print(json.dumps({
    "client": token["client_id"],
    "health": urllib.request.urlopen(health, context=trusted).status,
    "secret": os.environ["SECRET"],
}))
"""


def test_a_container_reaches_its_platform(groups: ContainerGroups, run: Run) -> None:
    variables = [{"name": "ID", "value": CLIENT_ID}, {"name": "SECRET", "secureValue": "s3cret"}]
    group_id = run("python3", "-c", PLATFORM, environmentVariables=variables)
    view = ended(groups, group_id)
    log = groups.logs(group_id, "main")
    assert view.state == "Succeeded", log
    assert json.loads(log) == {"client": CLIENT_ID, "health": 200, "secret": "s3cret"}
    assert "s3cret" not in json.dumps(view.description)


def test_limits_are_docker_s(groups: ContainerGroups, run: Run, docker_host: str) -> None:
    name = run("sleep", "60").rpartition("/")[2]
    with contextlib.closing(docker.DockerClient(base_url=docker_host)) as client:
        machine = client.info()
        (container,) = client.containers.list(filters={"name": name})
        limits = container.attrs["HostConfig"]
    assert limits["NanoCpus"] == (500_000_000 if machine["CpuCfsQuota"] else 0)
    assert limits["Memory"] == (512 * 1024**2 if machine["MemoryLimit"] else 0)


def test_an_id_is_taken_once(groups: ContainerGroups, run: Run, image: str) -> None:
    group_id = run("sleep", "60")
    container = {
        "name": "main",
        "image": image,
        "resources": {"requests": {"cpu": 1, "memoryInGB": 1}},
    }
    with pytest.raises(GroupExistsError):
        groups.create(container_group(group_id.upper(), {"containers": [container]}))
    assert groups.get(group_id).state == "Running"


def test_an_image_that_is_nowhere(groups: ContainerGroups, run: Run, local_stack: Settings) -> None:
    image = f"{local_stack.registry}/nothing@sha256:{'0' * 64}"
    with pytest.raises(ContainersError, match=r'The image ".*/nothing@sha256:0+" can\'t be pulled'):
        run("true", image=image)


def test_a_command_that_does_not_exist_leaves_no_container(
    groups: ContainerGroups, run: Run, resource_group: str
) -> None:
    with pytest.raises(ContainersError, match="no-such-command"):
        run("no-such-command")
    assert not groups.list_groups(resource_group)


def test_resource_manager_sees_the_same_groups(
    groups: ContainerGroups, run: Run, local_stack: Settings, resource_group: str
) -> None:
    group_id = run("sh", "-c", "echo done")
    names = (resource_group, group_id.rpartition("/")[2])
    ended(groups, group_id)
    manager = ContainerInstanceManagementClient(
        PlatformCredential(local_stack),
        SUBSCRIPTION_ID,
        base_url=local_stack.azure_url(),
        connection_verify=str(local_stack.certificate_bundle),
    )
    with manager:
        listed: Any
        (listed,) = manager.container_groups.list_by_resource_group(resource_group)
        assert listed.id == group_id
        group: Any = manager.container_groups.get(*names)
        assert group.instance_view.state == "Succeeded"
        first = group.containers[0].instance_view.current_state
        assert first.exit_code == 0

        manager.container_groups.begin_start(*names).result()
        ended(groups, group_id)
        group = manager.container_groups.get(*names)
        assert group.containers[0].instance_view.current_state.start_time > first.finish_time
        assert manager.containers.list_logs(*names, "main", tail=1).content == "done\n"

        groups.delete(group_id)
        with pytest.raises(ResourceNotFoundError):
            manager.container_groups.begin_start(*names)


class TestUnderTheEngine:
    @pytest.fixture
    def engine(self, tmp_path: Path, local_stack: Settings, docker_host: str) -> Iterator[Engine]:
        engine = Engine(tmp_path, local_stack, {"DOCKER_HOST": docker_host})
        yield engine
        engine.destroy()

    @pytest.fixture
    def program(self, image: str, resource_group: str) -> Callable[..., Program]:
        """A program that declares one group; options are those of its resource."""

        def program(*command: str, tag: str = "1", cpu: float = 0.5, **options: Any) -> Program:
            container: Any = {
                "name": "weather",
                "image": image,
                "command": list(command),
                "resources": {"requests": {"cpu": cpu, "memory_in_gb": 0.5}},
            }

            def declare() -> None:
                parent = resources.ResourceGroup(
                    "parent", resource_group_name=resource_group, location="westeurope"
                )
                containerinstance.ContainerGroup(
                    "weather",
                    resource_group_name=parent.name,
                    container_group_name=f"{resource_group}-weather",
                    os_type="Linux",
                    restart_policy="Never",
                    containers=[container],
                    tags={"tag": tag},
                    opts=pulumi.ResourceOptions(**options),
                )

            return declare

        return program

    def test_a_group_that_has_ended_is_replaced_and_not_updated(
        self, engine: Engine, groups: ContainerGroups, program: Callable[..., Program]
    ) -> None:
        assert engine.up(program("true")) == {"create": 2}
        group_id = str(engine.state()["weather"]["id"])
        ended(groups, group_id)
        assert engine.up(program("true")) == {"same": 2}
        (before,) = groups.get(group_id).containers

        with pytest.raises(EngineError) as caught:
            engine.up(program("true", tag="2"))
        assert "Azure does not update a terminated group (tags.tag changed)" in str(caught.value)
        assert list(groups.get(group_id).containers) == [before]

        options = {"replace_on_changes": ["tags", "containers"], "delete_before_replace": True}
        assert engine.up(program("true", tag="2", **options)) == {"same": 1, "replace": 1}
        (after,) = ended(groups, group_id).containers
        assert str(after.started_at) > str(before.finished_at)
        assert groups.get(group_id).description["tags"] == {"tag": "2"}

        assert engine.up(program("true", tag="2", cpu=0.25, **options)) == {"same": 1, "replace": 1}

    def test_a_running_group_is_updated_where_azure_updates_it(
        self, engine: Engine, groups: ContainerGroups, program: Callable[..., Program]
    ) -> None:
        engine.up(program("sleep", "60"))
        group_id = str(engine.state()["weather"]["id"])
        (before,) = groups.get(group_id).containers
        assert engine.up(program("sleep", "61")) == {"same": 1, "update": 1}
        (after,) = groups.get(group_id).containers
        assert str(after.started_at) > str(before.started_at)

        with pytest.raises(EngineError, match=r"resources\.requests\.cpu of the container group"):
            engine.up(program("sleep", "61", cpu=0.25))
        assert list(groups.get(group_id).containers) == [after]

    def test_what_somebody_removed_is_made_again(
        self, engine: Engine, groups: ContainerGroups, program: Callable[..., Program]
    ) -> None:
        engine.up(program("true"))
        group_id = str(engine.state()["weather"]["id"])
        groups.delete(group_id)
        assert engine.refresh() == {"same": 1, "delete": 1}
        assert engine.up(program("true")) == {"same": 1, "create": 1}
        assert groups.exists(group_id)
        engine.destroy()
        assert not groups.exists(group_id)
