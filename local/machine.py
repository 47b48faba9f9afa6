"""What this machine is, has and allows."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

import psutil

from local.console import SetupError, run, step
from local.settings import SHARED

_REACHABLE_S = 5.0
_FULL = 1 << 20
"""Bytes below which nothing more can be written to speak of."""

_WATCH_S = 0.1

_GIB = 1024**3


def is_root() -> bool:
    return os.geteuid() == 0


def is_linux() -> bool:
    return sys.platform == "linux"


def reachable(url: str) -> bool:
    """Whether the server of ``url`` answers within seconds, with whatever status."""
    try:
        # The addresses are constants of this package.
        with urllib.request.urlopen(url, timeout=_REACHABLE_S):  # noqa: S310
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def install_packages(packages: Iterable[str], purpose: str) -> None:
    """Install Debian packages.

    Args:
        packages: their names.
        purpose: what they are for, for a person who has to install them.

    Raises:
        SetupError: this is no Debian, this user may not, or apt failed.
    """
    names = " ".join(packages)
    if not shutil.which("apt-get"):
        raise SetupError(f"Install {purpose} and try again.")
    if not is_root():
        raise SetupError(
            f"Install {purpose} (on Debian: sudo apt-get install {names}) and try again."
        )
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with step(f"Installing {names} with apt"):
        failure = f"apt-get can't install {names}"
        run(["apt-get", "update", "-q"], failure=failure, environment=quiet)
        options = ["-q", "-y", "--no-install-recommends"]
        run(["apt-get", "install", *options, *names.split()], failure=failure, environment=quiet)


def accepts(path: Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def require_disk(folder: Path, gigabytes: float, purpose: str) -> None:
    """Check for free space before something large is made.

    Raises:
        SetupError: less than ``gigabytes`` (GiB) are free.
    """
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(existing).free / _GIB
    if free < gigabytes:
        raise SetupError(
            f"{purpose} needs {gigabytes:g} GB of free disk and {existing} has {free:.1f} GB."
        )


class DiskWatch:
    """Notices that a disk is full at some time while the ``with`` block runs.

    A build that ran out of disk may free it again before it reports its end.

    Args:
        folder: a folder on the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.was_full = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self.was_full and not self._ended.wait(_WATCH_S):
            self.was_full = shutil.disk_usage(self._folder).free < _FULL


def require_free_ports(ports: Iterable[int], hosts: Iterable[str]) -> None:
    """Check that nothing listens on the ports.

    Raises:
        SetupError: one is taken; names the port, and the process where it may be known.
    """
    hosts = list(hosts)
    for port in ports:
        if any(not _free(host, port) for host in hosts):
            raise SetupError(
                f"Port {port} is taken{_owner(port)}; stop that, or move the local stack to other "
                f"ports, as in: LOCAL_PORT_BASE=16000 make up."
            )


def _free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections of an ended server that still linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise SetupError(f"Port {port} of {host} can't be opened: {error}.") from error
    return True


def _owner(port: int) -> str:
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # macOS shows them to root alone
        return ""
    for each in connections:
        if (
            each.laddr
            and each.laddr.port == port
            and each.status == psutil.CONN_LISTEN
            and each.pid
        ):
            with contextlib.suppress(psutil.Error):
                return f" by {psutil.Process(each.pid).name()} (process {each.pid})"
    return ""


def run_folder() -> Path:
    """Where sockets are: a Unix socket's path has at most 107 characters, and a clone's path may
    be longer.

    Raises:
        SetupError: it belongs to somebody else.
    """
    name = f"data-pipelines-{hashlib.sha256(os.fsencode(SHARED)).hexdigest()[:10]}"
    parent = Path("/run") if is_root() and Path("/run").is_dir() else Path("/tmp")  # noqa: S108
    folder = parent / (name if is_root() else f"{name}-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    # Anybody may create a folder in /tmp.
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise SetupError(f"The folder {folder} belongs to somebody else; remove it.")
    return folder


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Keep a second ``make`` of this clone waiting while tools or shared services change."""
    SHARED.mkdir(exist_ok=True)
    with (SHARED / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def wait_until(ready: Callable[[], bool], *, timeout_s: float, failure: Callable[[], str]) -> None:
    """Ask until it is so.

    Raises:
        SetupError: with ``failure()``, after ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise SetupError(failure())
        time.sleep(0.1)
