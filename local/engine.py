"""The container engine: the Docker that answers, or one that is started for local stacks.

The one started here has a data root, a socket and a configuration of its own, so that it never
touches containers or images of another.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import docker
import psutil
from docker.errors import DockerException

from local.console import SetupError, step
from local.machine import accepts, install_packages, is_linux, is_root, run_folder
from local.settings import Settings
from local.supervisor import Program, Supervisor

DOCKERD = "dockerd"
BUILD_CACHE = "buildkit"
"""Folder of what BuildKit keeps between stacks."""

_PACKAGES = ("docker.io", "iptables", "ca-certificates")
_ANSWER_S = 5
_START_S = 60.0
_STOP_S = 60
_SYSTEMD = Path("/run/systemd/system")
"""Exists where systemd is in charge; installing Debian's docker.io starts it there."""

_UNIX = "unix://"
_DEFAULT_HOST = f"{_UNIX}/var/run/docker.sock"


def supervisor(settings: Settings) -> Supervisor:
    """The supervisord of what all local stacks share."""
    return Supervisor(
        socket=run_folder() / "engine.sock", state=settings.engine, logs=settings.engine / "logs"
    )


def own_host() -> str:
    """Address of the engine that is started here."""
    return f"{_UNIX}{run_folder() / 'docker.sock'}"


def find(settings: Settings) -> str | None:
    """Address of a Docker that answers: the machine's own, or the one started here before."""
    # Stacks that live on the one started here must not move when another comes up.
    candidates = [own_host()] if is_own(settings) else _candidates()
    return next((host for host in candidates if _answers(host)), None)


def host(settings: Settings) -> str:
    """Address of the Docker to use, for ``DOCKER_HOST``.

    Raises:
        SetupError: none answers.
    """
    found = find(settings)
    if found is None:
        raise SetupError("Docker does not answer; start it, or run `make up`.")
    return found


def ensure(settings: Settings) -> str:
    """Start Docker where none answers.

    Returns:
        Docker's address.

    Raises:
        SetupError: there is none and it can't be started.
    """
    found = find(settings) or _installed(settings)
    if found is not None:
        return found
    before = is_own(settings)
    keeper = supervisor(settings)
    try:
        with step("Starting Docker"):
            keeper.apply([_program(settings)])
            keeper.wait(DOCKERD, lambda: _answers(own_host()), timeout_s=_START_S)
    except BaseException:
        stop(settings)
        if not before:
            # The next attempt may find another Docker. The log stays, to be read.
            _forget(settings)
        raise
    return own_host()


def share(settings: Settings, program: Program) -> None:
    """Run a program that serves all stacks, beside the Docker started here, if there is one."""
    docker_too = [_program(settings)] if is_own(settings) else []
    supervisor(settings).apply([*docker_too, program])


def _forget(settings: Settings) -> None:
    shutil.rmtree(_data(settings), ignore_errors=True)
    _configuration(settings).unlink(missing_ok=True)


def is_own(settings: Settings) -> bool:
    """Whether local stacks live in a Docker that was started here."""
    return _configuration(settings).exists()


def stop(settings: Settings) -> None:
    """End the shared programs, the Docker started here among them, and leave nothing of it."""
    supervisor(settings).stop()
    _unmount(settings)
    _tidy()


def delete(settings: Settings) -> None:
    """Delete the containers, images and volumes of the stopped engine; the build cache stays."""
    if not settings.engine.exists():
        return
    for each in settings.engine.iterdir():
        if each.is_dir() and each.name != BUILD_CACHE:
            shutil.rmtree(each, ignore_errors=True)
        elif each.is_file():
            each.unlink()


def _candidates() -> list[str]:
    if os.environ.get("DOCKER_HOST"):
        return [os.environ["DOCKER_HOST"]]
    return list(dict.fromkeys([*_context(), _DEFAULT_HOST]))


def _context() -> list[str]:
    """The address of the Docker command's current context: Docker Desktop, Colima and others."""
    if not shutil.which("docker"):
        return []
    command = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
    with contextlib.suppress(subprocess.SubprocessError, OSError):
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=_ANSWER_S, check=True
        )
        return [result.stdout.strip()] if result.stdout.strip() else []
    return []


def _answers(address: str) -> bool:
    # Docker's own client leaves the socket open that it could not connect.
    if address.startswith(_UNIX) and not accepts(Path(address.removeprefix(_UNIX))):
        return False
    try:
        client = docker.DockerClient(base_url=address, timeout=_ANSWER_S)
    except DockerException:
        return False
    with contextlib.closing(client):
        try:
            return bool(client.ping())
        except (DockerException, OSError):
            return False


def _installed(settings: Settings) -> str | None:
    """Install Docker where it is missing.

    Returns:
        The address of the installed one where the machine's init system started it at once.

    Raises:
        SetupError: Docker can't be started by this user, or on this system.
    """
    if not is_linux():
        raise SetupError("Docker does not answer; start Docker Desktop and try again.")
    if not is_root():
        raise SetupError(
            "Docker does not answer and only root may start it; start it (and see that this user "
            "may use it), set DOCKER_HOST, or run make as root."
        )
    if shutil.which(DOCKERD):
        return None
    install_packages(_PACKAGES, "Docker")
    return find(settings) if _SYSTEMD.is_dir() else None


def _program(settings: Settings) -> Program:
    folder = settings.engine
    folder.mkdir(parents=True, exist_ok=True)
    # Without a file of its own, dockerd reads the machine's /etc/docker/daemon.json.
    configuration = _configuration(settings)
    configuration.write_text(json.dumps({}))
    command = [
        DOCKERD,
        f"--host={own_host()}",
        f"--config-file={configuration}",
        f"--data-root={_data(settings)}",
        f"--exec-root={_exec_root()}",
        f"--pidfile={run_folder() / 'docker.pid'}",
    ]
    return Program(DOCKERD, command, stop_s=_STOP_S)


def _data(settings: Settings) -> Path:
    return settings.engine / "docker"


def _configuration(settings: Settings) -> Path:
    return settings.engine / "daemon.json"


def _exec_root() -> Path:
    return run_folder() / "docker"


def _unmount(settings: Settings) -> None:
    folders = (_exec_root(), settings.engine)
    mounted = [
        each.mountpoint
        for each in psutil.disk_partitions(all=True)
        if any(Path(each.mountpoint).is_relative_to(folder) for folder in folders)
    ]
    # The innermost first.
    for point in sorted(mounted, key=len, reverse=True):
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)


def _tidy() -> None:
    """Delete what the shared programs left in the run folder, and the folder if it is empty."""
    shutil.rmtree(_exec_root(), ignore_errors=True)
    for socket in (*run_folder().glob("*.sock"), *run_folder().glob("*.otel")):
        # A socket of which nobody answers.
        if not accepts(socket):
            socket.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        run_folder().rmdir()
