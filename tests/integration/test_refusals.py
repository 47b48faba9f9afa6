"""What a machine lacks is said in one sentence, and nothing is left running."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import docker
import psutil
import pytest
from docker.models.containers import Container

from local import engine
from local.containers import STACK_LABEL
from local.machine import is_linux, is_root
from local.services import IMAGES_GB
from local.settings import SHARED, Settings
from tests.integration.conftest import Clone, Result, copy_repository

AS_ANOTHER_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
"""Under another id in the process's own eyes, without root's rights, and with its files."""

INTERRUPTED = 130

FILL = (
    "python -c \"import shutil; shutil.copyfileobj(open('/dev/zero', 'rb'), open('/large', 'wb'))\""
)

OTHER = Settings(name="other", port_base=16100)


def error(result: Result) -> str:
    assert result.code == 1, result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("error:")]
    return line


def processes(text: str) -> list[str]:
    commands = (" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))
    return [command for command in commands if text in command]


def containers(docker_host: str) -> list[Container]:
    """The running containers of the other stack."""
    running: dict[str, str | list[str] | bool] = {"label": f"{STACK_LABEL}={OTHER.name}"}
    with contextlib.closing(docker.DockerClient(base_url=docker_host)) as client:
        return client.containers.list(filters=running)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port(clone: Clone, taken_port: int) -> None:
    other = {"LOCAL_STACK": OTHER.name, "LOCAL_PORT_BASE": str(taken_port - 1)}
    assert f"Port {taken_port} is taken" in error(clone.run("up", environment=other))
    assert processes(str(SHARED / "stacks" / OTHER.name)) == []


@pytest.mark.skipif(not is_linux(), reason="It takes Linux's user namespaces.")
def test_no_docker_and_not_root(clone: Clone, local_stack: Settings, tmp_path: Path) -> None:
    nowhere = {**OTHER.environment(), "DOCKER_HOST": f"unix://{tmp_path / 'docker.sock'}"}
    refused = error(clone.run("up", environment=nowhere, prefix=AS_ANOTHER_USER))
    assert "Docker does not answer and only root may start it" in refused
    assert processes(str(SHARED / "stacks" / OTHER.name)) == []


@pytest.fixture
def other(clone: Clone, local_stack: Settings) -> Iterator[Clone]:
    """The same copy with a second stack, beside the one that runs."""
    second = Clone(clone.folder, OTHER)
    yield second
    assert second.run("down").code == 0


def test_an_interrupted_up(other: Clone) -> None:
    process = other.start("up")
    assert process.stdout is not None
    with process.stdout as output:
        wait_for_line(output, "Deploying")
        # As a terminal does with Ctrl-C: to all of its processes.
        os.killpg(process.pid, signal.SIGINT)
        rest = output.read()
    assert process.wait() == INTERRUPTED
    assert "error: interrupted." in rest
    assert processes(str(SHARED / "stacks" / OTHER.name)) == []
    assert containers(engine.host(other.settings)) == []


def wait_for_line(output: IO[str], text: str) -> None:
    for line in output:
        if text in line:
            return
    raise AssertionError(f"It ended before it said {text!r}.")


@pytest.fixture
def small_disk(local_stack: Settings, tmp_path: Path) -> Iterator[Clone]:
    """A copy whose state is on a disk of its own, just large enough to begin."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = f"size={int((IMAGES_GB + 0.2) * 1024)}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", disk], check=True)
    (disk / "tools").symlink_to(local_stack.tools)
    (tmp_path / "copy").mkdir()
    copy = Clone(copy_repository(tmp_path / "copy", disk), OTHER)
    yield copy
    copy.run("down", environment={"DOCKER_HOST": engine.host(local_stack)})
    subprocess.run(["umount", disk], check=True)


@pytest.mark.skipif(not (is_linux() and is_root()), reason="Only root mounts a disk.")
def test_a_disk_that_fills_while_building(small_disk: Clone, local_stack: Settings) -> None:
    if not processes(str(SHARED / "tools" / "bin" / "buildkitd")):
        pytest.skip("BuildKit is a container here, and builds on the disk of Docker.")
    small_disk.edit(
        "extractor/weather/Dockerfile",
        "COPY application application",
        f"COPY application application\nRUN {FILL}",
    )
    docker_host = engine.host(local_stack)
    result = small_disk.run("up", environment={"DOCKER_HOST": docker_host})
    assert "the disk is full" in error(result)
    assert processes(str(small_disk.folder.parent / "disk")) == []
    assert containers(docker_host) == []
