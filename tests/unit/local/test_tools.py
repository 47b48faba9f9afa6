"""Which tools are taken, and where others come from."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from local import tools, versions
from local.console import SetupError
from local.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("local.settings.SHARED", tmp_path)
    return Settings()


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The commands that were run, none for real."""
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str], **_: object) -> str:
        commands.append(command)
        return ""

    monkeypatch.setattr(tools, "run", run)
    return commands


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets what every command says of its version; all commands exist."""

    def say(output: str) -> None:
        monkeypatch.setattr(shutil, "which", lambda name, path=None: f"/usr/bin/{name}")
        result = subprocess.CompletedProcess([], 0, stdout=f"{output}\n")
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: result)

    return say


@pytest.mark.parametrize("version", ["v3.259.0", "v3.259.1", "v3.300.0-dev.1"])
def test_an_installed_pulumi_that_is_new_enough_is_used(
    settings: Settings, commands: list[Sequence[str]], says: Callable[[str], None], version: str
) -> None:
    says(version)
    tools.ensure_pulumi(settings)
    assert commands == []


@pytest.mark.parametrize("version", ["v3.258.9", "v2.999.0", "v4.0.0", "unknown"])
def test_another_pulumi_is_not(
    settings: Settings,
    commands: list[Sequence[str]],
    says: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    version: str,
) -> None:
    says(version)
    monkeypatch.setattr(tools, "reachable", lambda _: False)
    monkeypatch.setattr(tools, "_go", lambda _: "go")
    tools.ensure_pulumi(settings)
    (command,) = commands
    assert command[:2] == ["go", "build"]
    assert f"version.Version=v{versions.PULUMI}" in " ".join(command)
    assert command[-1] == "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [
        ("linux", "x86_64", "linux-x64"),
        ("linux", "aarch64", "linux-arm64"),
        ("darwin", "arm64", "darwin-arm64"),
        ("darwin", "x86_64", "darwin-x64"),
    ],
)
def test_pulumi_is_fetched_for_this_machine(system: str, machine: str, name: str) -> None:
    expected = f"https://get.pulumi.com/releases/sdk/pulumi-v{versions.PULUMI}-{name}.tar.gz"
    assert tools.pulumi_address(system, machine) == expected


def test_go_is_fetched_for_this_machine() -> None:
    expected = f"https://proxy.golang.org/golang.org/toolchain/@v/v0.0.1-go{versions.GO}."
    assert tools.go_address("darwin", "arm64") == f"{expected}darwin-arm64.zip"
    assert tools.go_address("linux", "x86_64") == f"{expected}linux-amd64.zip"


@pytest.mark.parametrize(("system", "machine"), [("win32", "AMD64"), ("linux", "riscv64")])
def test_another_machine_is_refused(system: str, machine: str) -> None:
    with pytest.raises(SetupError, match=r"^The local stack runs on .+, not on (win32|riscv64)\.$"):
        tools.pulumi_address(system, machine)


def test_an_old_node_is_refused(
    settings: Settings, commands: list[Sequence[str]], says: Callable[[str], None]
) -> None:
    says("v16.20.2")
    with pytest.raises(SetupError, match=r"^Azurite needs Node\.js 18 or newer and .+ v16\.20\.2;"):
        tools.ensure_azurite(settings)
    assert commands == []


def test_azurite_is_installed_once_and_in_its_version(
    settings: Settings, commands: list[Sequence[str]], says: Callable[[str], None]
) -> None:
    says("v18.20.4")
    tools.ensure_azurite(settings)
    tools.ensure_azurite(settings)
    (command,) = commands
    assert command[-1] == f"azurite@{versions.AZURITE}"


def test_an_interrupted_installation_does_not_count(
    settings: Settings, says: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    says("v18.20.4")

    def fail(*_: object, **__: object) -> str:
        raise SetupError("npm failed.")

    monkeypatch.setattr(tools, "run", fail)
    for _ in range(2):
        with pytest.raises(SetupError, match="npm failed"):
            tools.ensure_azurite(settings)
