"""Which Docker is used."""

from __future__ import annotations

import gc
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest

from local import engine
from local.console import SetupError
from local.settings import Settings
from local.supervisor import Supervisor

DESKTOP = "unix:///home/user/.docker/run/docker.sock"
SYSTEM = "unix:///var/run/docker.sock"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("local.settings.SHARED", tmp_path)
    monkeypatch.setattr(engine, "run_folder", lambda: tmp_path / "run")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    result = subprocess.CompletedProcess([], 0, stdout=f"{DESKTOP}\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: result)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    return Settings()


def answering(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    monkeypatch.setattr(engine, "_answers", lambda address: address in addresses)


def test_the_variable_comes_first_and_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://machine:2375")
    answering(monkeypatch, "tcp://machine:2375", SYSTEM)
    assert engine.find(settings) == "tcp://machine:2375"
    answering(monkeypatch, SYSTEM)
    assert engine.find(settings) is None


def test_then_the_docker_commands_context_and_the_usual_socket(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, DESKTOP, SYSTEM)
    assert engine.find(settings) == DESKTOP
    answering(monkeypatch, SYSTEM)
    assert engine.find(settings) == SYSTEM


def test_stacks_stay_on_the_docker_that_was_started_for_them(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, engine.own_host(), SYSTEM)
    assert engine.find(settings) == SYSTEM
    engine._program(settings)
    assert engine.find(settings) == engine.own_host()
    answering(monkeypatch, SYSTEM)
    assert engine.find(settings) is None
    engine.delete(settings)
    assert engine.find(settings) == SYSTEM


def test_the_one_started_here_shares_nothing_with_another(
    settings: Settings, tmp_path: Path
) -> None:
    command = engine._program(settings).command
    options = dict(option.split("=", 1) for option in command[1:])
    for name in ("--host", "--data-root", "--exec-root", "--pidfile", "--config-file"):
        path = Path(options[name].removeprefix("unix://"))
        assert path.is_relative_to(tmp_path), name


def test_the_build_cache_outlives_the_engine(settings: Settings) -> None:
    for name in ("docker", "logs", engine.BUILD_CACHE):
        (settings.engine / name).mkdir(parents=True)
    engine.delete(settings)
    assert [each.name for each in settings.engine.iterdir()] == [engine.BUILD_CACHE]


@pytest.mark.parametrize(
    ("linux", "sentence"),
    [
        (True, "^Docker does not answer and only root may start it; "),
        (False, "^Docker does not answer; start Docker Desktop and try again.$"),
    ],
)
def test_who_may_not_start_one_is_told_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, linux: bool, sentence: str
) -> None:
    answering(monkeypatch)
    monkeypatch.setattr(engine, "is_root", lambda: False)
    monkeypatch.setattr(engine, "is_linux", lambda: linux)
    with pytest.raises(SetupError, match=sentence):
        engine.ensure(settings)
    assert not engine.is_own(settings)


def test_a_docker_that_cannot_be_started_leaves_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch)
    monkeypatch.setattr(engine, "is_root", lambda: True)
    monkeypatch.setattr(engine, "is_linux", lambda: True)

    def fail(*_: object) -> None:
        raise SetupError("dockerd does not start.")

    monkeypatch.setattr(Supervisor, "apply", fail)
    with pytest.raises(SetupError, match="does not start"):
        engine.ensure(settings)
    assert not engine.is_own(settings)


def test_a_socket_that_nobody_listens_on_is_not_left_open(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'nobody.sock'}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        assert engine.find(settings) is None
        gc.collect()
    assert not caught
