"""Container groups, on a Docker daemon in memory."""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path
from unittest import mock

import docker
import pytest
from docker.errors import APIError, DockerException

from local import settings as settings_module
from local.containers import (
    CA_PATH,
    Container,
    ContainerGroups,
    ContainersError,
    ContainerState,
    Group,
    GroupExistsError,
    GroupNotFoundError,
    GroupTransitioningError,
    Kind,
    RestartPolicy,
    container_group,
)
from local.settings import Settings
from tests.unit.local.fake_docker import FINISHED, STARTED, FakeDocker, refusal

IMAGE = "127.0.0.1:15001/weather@sha256:0"
GROUP_ID = (
    "/subscriptions/s/resourceGroups/Pipelines/providers/Microsoft.ContainerInstance/"
    "containerGroups/weather"
)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(settings_module, "SHARED", tmp_path)
    settings = Settings(name="unit")
    settings.certificates.mkdir(parents=True)
    settings.certificate_bundle.write_text("PEM")
    return settings


@pytest.fixture
def daemon() -> FakeDocker:
    return FakeDocker(pullable={IMAGE})


@pytest.fixture
def groups(settings: Settings, daemon: FakeDocker) -> ContainerGroups:
    return ContainerGroups(settings, daemon.client)


def group(*names: str, group_id: str = GROUP_ID, kind: Kind = Kind.CONTAINER_GROUP) -> Group:
    return Group(
        id=group_id,
        kind=kind,
        containers=[Container(name=name, image=IMAGE) for name in names or ("weather",)],
        restart=RestartPolicy.NEVER,
    )


class TestCreate:
    def test_the_image_is_pulled_once_and_every_container_runs(
        self, groups: ContainerGroups, daemon: FakeDocker
    ) -> None:
        groups.create(group("a", "b"))
        assert daemon.calls == [
            f"pull {IMAGE}",
            "start unit.weather.a",
            "start unit.weather.b",
        ]

    def test_a_container_is_told_of_its_platform_and_trusts_it(
        self, groups: ContainerGroups, daemon: FakeDocker, settings: Settings
    ) -> None:
        container = Container(
            name="weather", image=IMAGE, environment={"JOB_NAME": "weather", "SSL_CERT_FILE": "x"}
        )
        groups.create(Group(GROUP_ID, Kind.WEB_APP, [container], RestartPolicy.ALWAYS))
        options = daemon.only().options
        assert options["environment"] == {
            "JOB_NAME": "weather",
            "AZURE_RESOURCE_MANAGER_ENDPOINT": "https://host.docker.internal:15000",
            "IDENTITY_ENDPOINT": "http://host.docker.internal:15002/identity/token",
            "IDENTITY_HEADER": (settings.state / "identity-header").read_text(),
            "REQUESTS_CA_BUNDLE": CA_PATH,
            "SSL_CERT_FILE": CA_PATH,
        }
        assert options["volumes"] == [f"{settings.certificate_bundle}:{CA_PATH}:ro"]
        assert options["extra_hosts"] == {"host.docker.internal": "host-gateway"}
        assert options["restart_policy"] == {"Name": "always"}

    def test_telemetry_is_switched_on_for_a_container_by_whoever_deploys_it(
        self, groups: ContainerGroups, daemon: FakeDocker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TELEMETRY", "console")
        groups.create(group("weather"))
        assert daemon.only().options["environment"]["TELEMETRY"] == "console"

    @pytest.mark.parametrize(("asked", "given"), [(0.5, 500_000_000), (4, 2_000_000_000)])
    def test_cores_are_limited_to_those_of_the_machine(
        self, groups: ContainerGroups, daemon: FakeDocker, asked: float, given: int
    ) -> None:
        container = Container(name="weather", image=IMAGE, cpu=asked, memory_gb=1.5)
        groups.create(Group(GROUP_ID, Kind.CONTAINER_GROUP, [container], RestartPolicy.NEVER))
        assert daemon.only().options["nano_cpus"] == given
        assert daemon.only().options["mem_limit"] == 1_610_612_736

    def test_a_machine_without_limits_sets_none(
        self, groups: ContainerGroups, daemon: FakeDocker
    ) -> None:
        daemon.machine = {"NCPU": 2, "CpuCfsQuota": False, "MemoryLimit": False}
        container = Container(name="weather", image=IMAGE, cpu=1, memory_gb=1)
        groups.create(Group(GROUP_ID, Kind.CONTAINER_GROUP, [container], RestartPolicy.NEVER))
        assert daemon.only().options["nano_cpus"] is None
        assert daemon.only().options["mem_limit"] is None

    def test_an_id_is_taken_whatever_its_case(self, groups: ContainerGroups) -> None:
        groups.create(group())
        with pytest.raises(GroupExistsError, match="already exists"):
            groups.create(group(group_id=GROUP_ID.upper()))

    def test_what_a_killed_creation_left_is_replaced(
        self, groups: ContainerGroups, daemon: FakeDocker
    ) -> None:
        groups.create(group("a", "b"))
        daemon.by_name["unit.weather.b"].status = "created"
        groups.create(group("a"))
        assert [each.name for each in daemon.by_name.values()] == ["unit.weather.a"]

    def test_an_image_that_is_nowhere_is_named_and_nothing_is_left(
        self, groups: ContainerGroups, daemon: FakeDocker
    ) -> None:
        daemon.pullable.clear()
        with pytest.raises(ContainersError) as caught:
            groups.create(group())
        assert str(caught.value) == (
            f'The image "{IMAGE}" can\'t be pulled: manifest for {IMAGE} not found.'
        )
        assert not daemon.by_name

    def test_a_group_that_can_not_start_is_removed_whole(
        self, groups: ContainerGroups, daemon: FakeDocker
    ) -> None:
        daemon.unstartable.add(IMAGE)
        with pytest.raises(ContainersError, match=r'can\'t run the container group "weather"'):
            groups.create(group("a", "b"))
        assert not daemon.by_name

    def test_missing_certificates_are_noticed_before_docker_makes_a_folder_of_them(
        self, groups: ContainerGroups, daemon: FakeDocker, settings: Settings
    ) -> None:
        settings.certificate_bundle.unlink()
        with pytest.raises(ContainersError, match="certificates of local Azure are missing"):
            groups.create(group())
        assert not daemon.by_name

    def test_containers_of_another_group_of_that_name_stay(
        self, groups: ContainerGroups, daemon: FakeDocker
    ) -> None:
        groups.create(group())
        with pytest.raises(ContainersError, match="is already in use"):
            groups.create(group(group_id=GROUP_ID.replace("Pipelines", "other")))
        assert groups.exists(GROUP_ID)


class TestReplace:
    def test_new_containers_take_the_place_of_the_old(
        self, groups: ContainerGroups, daemon: FakeDocker
    ) -> None:
        groups.create(group("a"))
        daemon.calls.clear()
        groups.replace(group("b"))
        assert daemon.calls == ["remove unit.weather.a", "start unit.weather.b"]

    def test_the_old_ones_stay_where_the_image_can_not_be_pulled(
        self, groups: ContainerGroups, daemon: FakeDocker
    ) -> None:
        groups.create(group())
        daemon.images_here.clear()
        daemon.pullable.clear()
        with pytest.raises(ContainersError):
            groups.replace(group())
        assert daemon.only().status == "running"


class TestState:
    def test_a_running_container(self, groups: ContainerGroups) -> None:
        groups.create(group())
        view = groups.get(GROUP_ID.lower())
        assert (view.id, view.name, view.state, view.terminated) == (
            GROUP_ID,
            "weather",
            "Running",
            False,
        )
        (container,) = view.containers
        assert (container.state, container.started_at) == (ContainerState.RUNNING, STARTED)
        assert (container.exit_code, container.finished_at) == (None, None)

    @pytest.mark.parametrize(
        ("exit_code", "state", "detail"),
        [(0, "Succeeded", "Completed"), (1, "Failed", "Error"), (137, "Failed", "OOMKilled")],
    )
    def test_an_ended_container(
        self, groups: ContainerGroups, daemon: FakeDocker, exit_code: int, state: str, detail: str
    ) -> None:
        groups.create(group())
        daemon.only().end(exit_code)
        daemon.only().oom_killed = detail == "OOMKilled"
        view = groups.get(GROUP_ID)
        assert (view.state, view.terminated) == (state, True)
        (container,) = view.containers
        assert (container.detail, container.exit_code) == (detail, exit_code)
        assert container.finished_at == FINISHED

    def test_one_container_of_two_that_runs_keeps_the_group_running(
        self, groups: ContainerGroups, daemon: FakeDocker
    ) -> None:
        groups.create(group("a", "b"))
        daemon.by_name["unit.weather.a"].end(1)
        view = groups.get(GROUP_ID)
        assert (view.state, view.terminated) == ("Running", False)

    def test_a_container_between_two_starts_is_waiting(
        self, groups: ContainerGroups, daemon: FakeDocker
    ) -> None:
        groups.create(group())
        daemon.only().status, daemon.only().restarts = "restarting", 3
        view = groups.get(GROUP_ID)
        assert (view.state, view.terminated) == ("Pending", False)
        (container,) = view.containers
        assert (container.detail, container.restarts) == ("CrashLoopBackOff", 3)

    def test_a_group_that_does_not_exist(self, groups: ContainerGroups) -> None:
        assert not groups.exists(GROUP_ID)
        with pytest.raises(GroupNotFoundError, match="There is no container group /subscr"):
            groups.get(GROUP_ID)

    def test_a_resource_group_lists_its_container_groups_and_no_web_apps(
        self, groups: ContainerGroups
    ) -> None:
        groups.create(group())
        groups.create(group(group_id=f"{GROUP_ID}-2"))
        groups.create(group(group_id=f"{GROUP_ID}-3", kind=Kind.WEB_APP))
        groups.create(group(group_id=f"{GROUP_ID}-4".replace("Pipelines", "other")))
        assert [each.name for each in groups.list_groups("PIPELINES")] == ["weather", "weather-2"]

    def test_stacks_do_not_see_each_other(
        self, groups: ContainerGroups, daemon: FakeDocker, settings: Settings
    ) -> None:
        groups.create(group())
        assert not ContainerGroups(Settings(name="other"), daemon.client).exists(GROUP_ID)


class TestStart:
    def test_a_running_container_is_left_alone(
        self, groups: ContainerGroups, daemon: FakeDocker
    ) -> None:
        groups.create(group("a", "b"))
        daemon.by_name["unit.weather.b"].end()
        daemon.calls.clear()
        groups.start(GROUP_ID)
        assert daemon.calls == ["start unit.weather.b"]

    @pytest.mark.parametrize("action", ["start", "stop", "restart"])
    def test_a_group_in_creation_is_to_be_asked_again(
        self, groups: ContainerGroups, daemon: FakeDocker, action: str
    ) -> None:
        groups.create(group())
        daemon.only().status = "created"
        with pytest.raises(GroupTransitioningError, match="still being created"):
            getattr(groups, action)(GROUP_ID)

    def test_stop_and_restart(self, groups: ContainerGroups, daemon: FakeDocker) -> None:
        groups.create(group())
        groups.stop(GROUP_ID)
        assert groups.get(GROUP_ID).terminated
        groups.restart(GROUP_ID)
        assert not groups.get(GROUP_ID).terminated


class TestLogs:
    @pytest.mark.parametrize(("asked", "tail"), [(None, "all"), (5, 5), (0, 0)])
    def test_lines_since_a_second_before_the_last_start(
        self, groups: ContainerGroups, daemon: FakeDocker, asked: int | None, tail: str | int
    ) -> None:
        groups.create(group())
        assert groups.logs(GROUP_ID, "weather", asked) == "first\nsecond \ufffd\n"
        (query,) = daemon.only().log_queries
        assert query == {"tail": tail, "since": pytest.approx(1767323044.123456, abs=1e-5)}

    def test_an_unknown_container_is_named(self, groups: ContainerGroups) -> None:
        groups.create(group())
        with pytest.raises(GroupNotFoundError, match='no container "wether"'):
            groups.logs(GROUP_ID, "wether")


class TestRemove:
    def test_delete_is_repeatable(self, groups: ContainerGroups, daemon: FakeDocker) -> None:
        groups.create(group("a", "b"))
        groups.delete(GROUP_ID)
        groups.delete(GROUP_ID)
        assert not daemon.by_name

    def test_all_of_a_stack_are_removed_and_named(
        self, groups: ContainerGroups, daemon: FakeDocker
    ) -> None:
        ContainerGroups(Settings(name="unit2"), daemon.client)
        groups.create(group())
        groups.create(group(group_id=f"{GROUP_ID}-web", kind=Kind.WEB_APP))
        assert groups.remove_all() == ["unit.weather-web.weather", "unit.weather.weather"]
        assert not daemon.by_name

    def test_a_removal_under_way_is_no_error_and_another_refusal_is(
        self, groups: ContainerGroups, daemon: FakeDocker
    ) -> None:
        groups.create(group())
        daemon.removal_error = refusal(HTTPStatus.CONFLICT, "removal is already in progress")
        groups.delete(GROUP_ID)
        daemon.removal_error = refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "device is busy")
        with pytest.raises(APIError):
            groups.delete(GROUP_ID)


def test_without_docker_the_error_says_what_to_do(settings: Settings) -> None:
    failure = DockerException("Error while fetching server API version\nTraceback")
    with (
        mock.patch.object(docker, "from_env", side_effect=failure),
        pytest.raises(ContainersError) as caught,
    ):
        ContainerGroups.connect(settings)
    assert str(caught.value) == (
        "Docker does not answer (Error while fetching server API version); start it, or set "
        "DOCKER_HOST."
    )


INPUTS = {
    "containerGroupName": "weather",
    "containers": [
        {
            "name": "weather",
            "image": IMAGE,
            "command": ["python", "-V"],
            "environmentVariables": [
                {"name": "PLAIN", "value": "1"},
                {"name": "HIDDEN", "secureValue": "s3cret"},
            ],
            "resources": {"requests": {"cpu": 0.5, "memoryInGB": 1}},
        }
    ],
    "imageRegistryCredentials": [{"server": "r", "password": "s3cret"}],
    "osType": "Linux",
    "tags": {"stack": "local"},
}


class TestInputsOfAContainerGroup:
    def test_a_container_gets_what_the_program_set(self) -> None:
        (container,) = container_group(GROUP_ID, INPUTS).containers
        assert container == Container(
            name="weather",
            image=IMAGE,
            environment={"PLAIN": "1", "HIDDEN": "s3cret"},
            command=["python", "-V"],
            cpu=0.5,
            memory_gb=1,
        )

    @pytest.mark.parametrize(
        ("azure", "local"),
        [
            (None, RestartPolicy.ALWAYS),  # Azure's default
            ("Never", RestartPolicy.NEVER),
            ("OnFailure", RestartPolicy.ON_FAILURE),
            ("Always", RestartPolicy.ALWAYS),
        ],
    )
    def test_restart_policies(self, azure: str | None, local: RestartPolicy) -> None:
        inputs = INPUTS if azure is None else {**INPUTS, "restartPolicy": azure}
        assert container_group(GROUP_ID, inputs).restart is local

    def test_the_description_holds_no_secret(self) -> None:
        described = container_group(GROUP_ID, INPUTS).description
        assert "s3cret" not in json.dumps(described)
        assert {"name": "HIDDEN"} in described["containers"][0]["environmentVariables"]
        assert described["tags"] == {"stack": "local"}
