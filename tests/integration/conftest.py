"""A local stack for the tests, beside the one of ``make up`` and with ports of its own.

It is deployed from a copy of the repository, so that tests may change files. The copy shares the
tools and the container engine.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from local import engine, services, tools
from local.containers import ContainerGroups
from local.data import StackData
from local.machine import exclusive
from local.settings import REPOSITORY, SHARED, Settings

SETTINGS = Settings(name="test", port_base=16000)

_COMMAND_TIMEOUT_S = 1800
"""The first one builds Pulumi from source where it can't be downloaded."""


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit code."""

    output: str
    code: int


@dataclass(frozen=True)
class Clone:
    """A copy of the repository with a local stack of its own."""

    folder: Path
    settings: Settings = SETTINGS

    def run(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> Result:
        """Run ``python -m local`` with these arguments, by the command ``prefix`` if there is."""
        process = self.start(*arguments, environment=environment, prefix=prefix)
        try:
            output, _ = process.communicate(timeout=_COMMAND_TIMEOUT_S)
        finally:
            process.kill()
        return Result(output, process.returncode)

    def start(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> subprocess.Popen[str]:
        """Begin what :meth:`run` does, in a process group of its own."""
        variables = {**os.environ, **self.settings.environment(), "COLUMNS": "200"}
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", "local", *arguments],
            cwd=self.folder,
            env={**variables, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def edit(self, file: str, before: str, after: str) -> None:
        """Replace a text that occurs once in a file."""
        path = self.folder / file
        text = path.read_text()
        assert text.count(before) == 1, f"{before!r} in {file}"
        path.write_text(text.replace(before, after))


@dataclass(frozen=True)
class Deployed:
    """A stack that was brought up: what has landed, and its containers."""

    clone: Clone
    data: StackData
    groups: ContainerGroups
    first: Result


def copy_repository(folder: Path, local: Path) -> Path:
    """Copy the repository as it is now.

    Args:
        folder: for the copy.
        local: what is to be its ``.local``.
    """
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    (folder / ".local").symlink_to(local)
    return folder


@pytest.fixture(scope="session")
def toolchain() -> None:
    """Pulumi and its image provider, set up as for a local stack."""
    with exclusive():
        tools.ensure_pulumi(SETTINGS)
        tools.ensure_docker_build(SETTINGS)


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A copy whose stack is deleted in the end."""
    SHARED.mkdir(exist_ok=True)
    with (SHARED / "tests.lock").open("w") as lock:
        # Test sessions of several working trees may share the stack's ports.
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield from _deployable(tmp_path_factory.mktemp("clone"))


def _deployable(folder: Path) -> Iterator[Clone]:
    copy_repository(folder, SHARED)
    copy = Clone(folder)
    # Four months in one run take long enough to be interrupted.
    copy.edit("Pulumi.local.yaml", "maxWindow: P31D", "maxWindow: P122D")
    copy.run("down")
    yield copy
    result = copy.run("down")
    assert result.code == 0, result.output


@pytest.fixture(scope="session")
def local_stack(clone: Clone) -> Settings:
    """The settings of a stack whose services run."""
    services.start(clone.settings)
    return clone.settings


@pytest.fixture(scope="session")
def deployed(clone: Clone) -> Deployed:
    """The stack after ``make up``."""
    first = clone.run("up")
    assert first.code == 0, first.output
    client = docker.DockerClient(base_url=engine.host(clone.settings))
    outputs = clone_outputs(clone)
    return Deployed(
        clone, StackData(clone.settings, outputs), ContainerGroups(clone.settings, client), first
    )


def clone_outputs(clone: Clone) -> dict[str, str]:
    """The outputs of the clone's program."""
    from local.__main__ import _stack  # noqa: PLC0415 - it starts nothing

    return _stack(clone.settings).outputs()
