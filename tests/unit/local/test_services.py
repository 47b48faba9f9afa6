"""What the services are told, without starting one."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest
from docker.errors import ImageNotFound

from local import engine, services, versions
from local.console import SetupError
from local.services import Source
from local.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for module in ("settings", "services", "machine"):
        monkeypatch.setattr(f"local.{module}.SHARED", tmp_path)
    for module in ("services", "engine"):
        monkeypatch.setattr(f"local.{module}.run_folder", lambda: tmp_path / "run")
    return Settings(name="test", port_base=23000)


def test_buildkit_asks_the_registries_of_all_stacks_for_base_images(tmp_path: Path) -> None:
    text = services.buildkit_configuration(
        root=tmp_path / 'a "b"',
        socket=tmp_path / "s",
        mirrors=["127.0.0.1:15001", "127.0.0.1:16001"],
    )
    configuration = tomllib.loads(text)
    assert configuration["root"] == str(tmp_path / 'a "b"')
    assert configuration["grpc"]["address"] == [f"unix://{tmp_path / 's'}"]
    mirrors = configuration["registry"]["docker.io"]["mirrors"]
    assert mirrors == ["127.0.0.1:15001", "127.0.0.1:16001"]


def test_a_further_stack_adds_its_registry_and_none_is_forgotten(settings: Settings) -> None:
    other = Settings(name="other", port_base=24000)
    first = services._buildkitd(settings)
    assert services._buildkitd(settings) == first
    # supervisord restarts what differs.
    assert services._buildkitd(other) != first
    assert services._mirrors(settings.engine / "buildkitd.toml") == [
        "127.0.0.1:23001",
        "127.0.0.1:24001",
    ]


def test_the_registry_listens_on_loopback_alone(settings: Settings) -> None:
    configuration = services.registry_configuration(settings)
    assert configuration["http"] == {"addr": "127.0.0.1:23001"}
    root = configuration["storage"]["filesystem"]["rootdirectory"]
    assert Path(root).is_relative_to(settings.state)


def test_azurite_listens_on_loopback_alone(settings: Settings) -> None:
    command = services._azurite(settings).command
    for service, port in (("blob", 23003), ("queue", 23004), ("table", 23005)):
        assert f"--{service}Host=127.0.0.1" in command
        assert f"--{service}Port={port}" in command


@pytest.mark.parametrize(
    ("source", "scheme"),
    [(Source.CONTAINERS, "docker-container://"), (Source.PROCESSES, "unix:///")],
)
def test_the_builder_is_one_that_is_not_dockers_own(source: Source, scheme: str) -> None:
    builder = services.builder("test", source)
    assert builder["Driver"] == "remote"
    (node,) = builder["Nodes"]
    assert node["Endpoint"].startswith(scheme)
    assert json.loads(json.dumps(builder)) == builder


class Images:
    """Docker's images, by name."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def get(self, name: str) -> object:
        if name not in self.names:
            raise ImageNotFound(name)
        return object()


def client(*images: str) -> docker.DockerClient:
    return cast("docker.DockerClient", SimpleNamespace(images=Images(*images)))


@pytest.mark.parametrize(
    ("images", "online", "expected"),
    [
        ((), True, Source.CONTAINERS),
        ((), False, Source.PROCESSES),
        ((versions.REGISTRY_IMAGE,), False, Source.PROCESSES),
        ((versions.REGISTRY_IMAGE, versions.BUILDKIT_IMAGE), False, Source.CONTAINERS),
    ],
)
def test_containers_come_first(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    images: tuple[str, ...],
    online: bool,
    expected: Source,
) -> None:
    monkeypatch.setattr(services, "reachable", lambda _: online)
    assert services._decide(settings, client(*images)) is expected


def test_a_stack_does_not_move_when_the_internet_comes_or_goes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "reachable", lambda _: False)
    assert services._decide(settings, client()) is Source.PROCESSES
    monkeypatch.setattr(services, "reachable", lambda _: True)
    assert services._decide(settings, client()) is Source.PROCESSES


def test_without_docker_hub_only_root_on_linux_can_go_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "is_root", lambda: False)
    with pytest.raises(SetupError, match=r"^Docker Hub can't be reached, and without it only root"):
        services._ensure_processes(settings)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"NO_PROXY": "example.com"}, "example.com,127.0.0.1,localhost,host.docker.internal"),
        ({"https_proxy": "http://proxy"}, "127.0.0.1,localhost,host.docker.internal"),
    ],
)
def test_a_proxy_never_sees_the_local_stack(
    variables: dict[str, str], expected: str | None
) -> None:
    assert services._without_proxy(variables).get("no_proxy") == expected
    assert services._without_proxy(variables).get("NO_PROXY") == expected


def test_the_engine_finds_its_tools_first_and_downloads_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "host", lambda _: "unix:///docker.sock")
    environment = services.environment(settings)
    folders = environment["PATH"].split(":")
    assert folders[:2] == [str(settings.state / "plugins"), str(settings.tools / "bin")]
    assert environment["DOCKER_HOST"] == "unix:///docker.sock"
    assert environment["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"
    assert environment["PULUMI_BACKEND_URL"] == f"file://{settings.state}/pulumi"
    again = services.environment(settings)
    assert again["PULUMI_CONFIG_PASSPHRASE"] == environment["PULUMI_CONFIG_PASSPHRASE"]
    assert (settings.state / "passphrase").stat().st_mode & 0o077 == 0


@pytest.fixture
def halted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stacks that were ended."""
    halted: list[str] = []
    monkeypatch.setattr(services, "_halt", lambda settings: halted.append(settings.name))
    monkeypatch.setattr(services, "require_free_ports", lambda *_: None)
    return halted


def fail(*_: Any) -> None:
    raise SetupError("no")


@pytest.mark.parametrize(("before", "expected"), [(False, ["test"]), (True, [])])
def test_a_failed_start_ends_what_it_started_and_no_more(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    halted: list[str],
    before: bool,
    expected: list[str],
) -> None:
    monkeypatch.setattr(services, "running", lambda _: before)
    monkeypatch.setattr(services, "_start", fail)
    with pytest.raises(SetupError, match=r"^no$"):
        services.start(settings)
    assert halted == expected


def test_a_stack_whose_docker_is_off_is_not_forgotten(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, halted: list[str]
) -> None:
    monkeypatch.setattr(services, "reachable", lambda _: True)
    services._decide(settings, client())
    monkeypatch.setattr(engine, "find", lambda _: None)
    with pytest.raises(SetupError, match=r"^Docker does not answer; start it"):
        services.stop(settings)
    assert services.exists(settings)
    assert halted == []


def test_a_stack_that_does_not_exist_is_stopped_without_a_word(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, halted: list[str]
) -> None:
    monkeypatch.setattr(engine, "find", lambda _: None)
    services.stop(settings)
    services.stop(settings)
    assert not services.exists(settings)


def test_the_engine_goes_with_the_last_stack(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, halted: list[str]
) -> None:
    monkeypatch.setattr(services, "reachable", lambda _: True)
    monkeypatch.setattr(engine, "find", lambda _: None)
    monkeypatch.setattr(engine, "is_own", lambda _: True)
    deleted: list[str] = []
    monkeypatch.setattr(engine, "delete", lambda settings: deleted.append(settings.name))
    other = Settings(name="other", port_base=24000)
    for each in (settings, other):
        services._decide(each, client())
    services.stop(settings)
    assert deleted == []
    services.stop(other)
    assert deleted == ["other"]
    assert halted == ["test", "other"]
