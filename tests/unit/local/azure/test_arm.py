"""Resource Manager's container groups, through the client that the scheduler uses.

The client is unmodified; its requests go to the application in this process.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
import requests
import urllib3
from azure.core.credentials import AccessToken
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.mgmt.containerinstance import ContainerInstanceManagementClient
from requests.adapters import HTTPAdapter
from starlette.applications import Starlette

from local import settings as settings_module
from local.azure.application import azure_application
from local.azure.identity import MANAGEMENT_AUDIENCES, STORAGE_AUDIENCES, TokenAuthority
from local.containers import ContainerGroups, ContainersError, container_group
from local.settings import Settings
from tests.unit.local.fake_docker import FakeDocker, refusal

SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"
IMAGE = "127.0.0.1:15001/weather@sha256:0"
GROUP_ID = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/pipelines/providers/"
    "Microsoft.ContainerInstance/containerGroups/weather"
)
IDENTITY = "/subscriptions/s/.../userAssignedIdentities/weather"
NAMES = ("pipelines", "weather")


class Adapter(HTTPAdapter):
    """Hands requests to an application in this process."""

    def __init__(self, application: Starlette) -> None:
        super().__init__()
        self._application = application

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        answer = asyncio.run(self._answer(request))
        body = urllib3.HTTPResponse(
            io.BytesIO(answer.content),
            headers=dict(answer.headers),
            status=answer.status_code,
            preload_content=False,
        )
        response: requests.Response = self.build_response(request, body)
        return response

    async def _answer(self, request: requests.PreparedRequest) -> httpx.Response:
        transport = httpx.ASGITransport(self._application)
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.request(
                str(request.method),
                str(request.url),
                headers=dict(request.headers),
                content=request.body,
            )


class Credential:
    def __init__(self, authority: TokenAuthority, audience: str) -> None:
        self._authority = authority
        self._audience = audience

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        now = int(time.time())
        return AccessToken(self._authority.issue(self._audience, "client", now=now), now + 3600)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(settings_module, "SHARED", tmp_path)
    settings = Settings(name="unit")
    settings.certificates.mkdir(parents=True)
    settings.certificate_bundle.write_text("PEM")
    return settings


@pytest.fixture
def daemon() -> FakeDocker:
    return FakeDocker(images_here={IMAGE})


@pytest.fixture
def application(settings: Settings, daemon: FakeDocker) -> Iterator[Starlette]:
    groups = ContainerGroups(settings, daemon.client)
    with mock.patch.object(ContainerGroups, "connect", return_value=groups):
        yield azure_application(settings)


def manager(
    application: Starlette, settings: Settings, audience: str = MANAGEMENT_AUDIENCES[0]
) -> ContainerInstanceManagementClient:
    session = requests.Session()
    session.mount("https://", Adapter(application))
    return ContainerInstanceManagementClient(
        Credential(TokenAuthority.of(settings), audience),
        SUBSCRIPTION,
        base_url=settings.azure_url(),
        transport=RequestsTransport(session=session, session_owner=False),
        retry_total=0,
    )


@pytest.fixture
def client(application: Starlette, settings: Settings) -> ContainerInstanceManagementClient:
    return manager(application, settings)


@pytest.fixture
def weather(settings: Settings, daemon: FakeDocker) -> None:
    inputs = {
        "containerGroupName": "weather",
        "containers": [
            {
                "name": "weather",
                "image": IMAGE,
                "environmentVariables": [
                    {"name": "JOB_NAME", "value": "weather"},
                    {"name": "KEY", "secureValue": "s3cret"},
                ],
                "resources": {"requests": {"cpu": 1, "memoryInGB": 1.5}},
            }
        ],
        "identity": {"type": "UserAssigned", "userAssignedIdentities": [IDENTITY]},
        "location": "westeurope",
        "osType": "Linux",
        "restartPolicy": "Never",
        "tags": {"stack": "local"},
    }
    ContainerGroups(settings, daemon.client).create(container_group(GROUP_ID, inputs))


@pytest.mark.usefixtures("weather")
def test_a_group_is_as_the_program_declared_it(client: ContainerInstanceManagementClient) -> None:
    group: Any = client.container_groups.get(*NAMES)
    assert (group.id, group.name, group.location) == (GROUP_ID, "weather", "westeurope")
    assert (group.os_type, group.restart_policy) == ("Linux", "Never")
    assert group.provisioning_state == "Succeeded"
    assert group.tags == {"stack": "local"}
    assert list(group.identity.user_assigned_identities) == [IDENTITY]
    (container,) = group.containers
    assert (container.name, container.image) == ("weather", IMAGE)
    assert container.resources.requests.cpu == 1
    assert container.resources.requests.memory_in_gb == 1.5
    shown = {each.name: (each.value, each.secure_value) for each in container.environment_variables}
    assert shown == {"JOB_NAME": ("weather", None), "KEY": (None, None)}


@pytest.mark.usefixtures("weather")
def test_the_state_of_a_running_and_of_an_ended_container(
    client: ContainerInstanceManagementClient, daemon: FakeDocker
) -> None:
    group: Any = client.container_groups.get(*NAMES)
    assert group.instance_view.state == "Running"
    state = group.containers[0].instance_view.current_state
    assert (state.state, state.exit_code, state.finish_time) == ("Running", None, None)
    assert state.start_time.isoformat() == "2026-01-02T03:04:05.123456+00:00"

    daemon.only().end(exit_code=3)
    group = client.container_groups.get(*NAMES)
    assert group.instance_view.state == "Failed"
    state = group.containers[0].instance_view.current_state
    assert (state.state, state.exit_code, state.detail_status) == ("Terminated", 3, "Error")
    assert state.finish_time > state.start_time


@pytest.mark.usefixtures("weather")
def test_a_list_leaves_states_out(client: ContainerInstanceManagementClient) -> None:
    group: Any
    (group,) = client.container_groups.list_by_resource_group("PIPELINES")
    assert group.name == "weather"
    assert group.instance_view is None
    assert group.containers[0].instance_view is None
    assert not list(client.container_groups.list_by_resource_group("other"))


@pytest.mark.usefixtures("weather")
def test_start_stop_and_restart(
    client: ContainerInstanceManagementClient, daemon: FakeDocker
) -> None:
    daemon.only().end()
    daemon.calls.clear()
    client.container_groups.begin_start(*NAMES).result()
    client.container_groups.begin_start(*NAMES).result()
    client.container_groups.stop(*NAMES)
    client.container_groups.begin_restart(*NAMES).result()
    assert daemon.calls == [
        "start unit.weather.weather",
        "stop unit.weather.weather",
        "restart unit.weather.weather",
    ]


@pytest.mark.usefixtures("weather")
def test_logs(client: ContainerInstanceManagementClient, daemon: FakeDocker) -> None:
    logs = client.containers.list_logs(*NAMES, "weather", tail=1)
    assert logs.content == "first\nsecond \ufffd\n"
    assert daemon.only().log_queries[0]["tail"] == 1
    with pytest.raises(ResourceNotFoundError, match="no container"):
        client.containers.list_logs(*NAMES, "wether")


def test_a_group_that_does_not_exist(client: ContainerInstanceManagementClient) -> None:
    with pytest.raises(ResourceNotFoundError) as caught:
        client.container_groups.begin_start(*NAMES)
    assert caught.value.error is not None
    assert caught.value.error.code == "ResourceNotFound"


@pytest.mark.usefixtures("weather")
def test_a_group_in_creation_is_transitioning(
    client: ContainerInstanceManagementClient, daemon: FakeDocker
) -> None:
    daemon.only().status = "created"
    with pytest.raises(ResourceExistsError) as caught:  # the client's name for a 409
        client.container_groups.begin_start(*NAMES)
    assert caught.value.error is not None
    assert caught.value.error.code == "ContainerGroupTransitioning"


@pytest.mark.usefixtures("weather")
@pytest.mark.parametrize(
    "failure",
    [
        refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "driver failed"),
        requests.ConnectionError("refused"),
        ContainersError("Docker does not answer."),
    ],
)
def test_a_failure_of_docker_is_told_as_resource_manager_tells_one(
    client: ContainerInstanceManagementClient, failure: Exception
) -> None:
    with (
        mock.patch.object(ContainerGroups, "get", side_effect=failure),
        pytest.raises(HttpResponseError) as caught,
    ):
        client.container_groups.get(*NAMES)
    assert caught.value.status_code == 500
    assert caught.value.error is not None
    assert caught.value.error.code == "InternalServerError"


@pytest.mark.usefixtures("weather")
def test_a_token_for_storage_is_refused(application: Starlette, settings: Settings) -> None:
    client = manager(application, settings, STORAGE_AUDIENCES[0])
    with pytest.raises(ClientAuthenticationError):
        client.container_groups.get(*NAMES)


@pytest.mark.usefixtures("weather")
@pytest.mark.parametrize("tail", ["-1", "all", "1.5"])
def test_a_number_of_lines_is_whole(application: Starlette, settings: Settings, tail: str) -> None:
    token = Credential(TokenAuthority.of(settings), MANAGEMENT_AUDIENCES[0]).get_token().token
    session = requests.Session()
    session.mount("https://", Adapter(application))
    answer = session.get(
        f"{settings.azure_url()}{GROUP_ID}/containers/weather/logs",
        params={"tail": tail},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 400
    assert tail in answer.json()["error"]["message"]
