"""Checks of the machine."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from local import machine
from local.console import SetupError

LOOPBACK = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_is_named_with_its_owner_and_the_way_out(taken: int) -> None:
    expected = rf"^Port {taken} is taken by .+ \(process {os.getpid()}\); .*LOCAL_PORT_BASE=\d+ "
    with pytest.raises(SetupError, match=expected):
        machine.require_free_ports([taken], [LOOPBACK])


def test_the_owner_may_be_unknown(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    with pytest.raises(SetupError, match=rf"^Port {taken} is taken; "):
        machine.require_free_ports([taken], [LOOPBACK])


def test_a_free_port_passes_at_once_after_its_server_ended(taken: int) -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        free = server.getsockname()[1]
        # A connection that the server closes first lingers in TIME_WAIT.
        with socket.create_connection((LOOPBACK, free)):
            server.accept()[0].close()
    machine.require_free_ports([free], [LOOPBACK])


def test_too_little_disk_is_said_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=int(1.5 * 1024**3))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    machine.require_disk(tmp_path / "not" / "there", 1.5, "The build")
    with pytest.raises(SetupError, match=r"^The build needs 2 GB of free disk and .+ has 1\.5 GB"):
        machine.require_disk(tmp_path, 2, "The build")


@pytest.mark.parametrize(
    ("apt", "sentence"),
    [
        (None, "Install Docker and try again."),
        (
            "/usr/bin/apt-get",
            "Install Docker (on Debian: sudo apt-get install docker.io iptables) and try again.",
        ),
    ],
)
def test_who_may_not_install_is_told_what_is_missing(
    apt: str | None, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: apt)
    monkeypatch.setattr(machine, "is_root", lambda: False)
    with pytest.raises(SetupError) as caught:
        machine.install_packages(("docker.io", "iptables"), "Docker")
    assert str(caught.value) == sentence


def test_sockets_in_the_run_folder_have_short_paths() -> None:
    folder = machine.run_folder()
    assert len(str(folder / "containerd" / "containerd-debug.sock")) < 100
    assert folder.stat().st_mode & 0o077 == 0
    assert machine.run_folder() == folder


def test_waiting_ends_with_the_reason() -> None:
    answers = iter([False, True])
    machine.wait_until(lambda: next(answers), timeout_s=1, failure=lambda: "never")
    with pytest.raises(SetupError, match=r"^it is late$"):
        machine.wait_until(lambda: False, timeout_s=0, failure=lambda: "it is late")


@pytest.mark.parametrize(("free", "full"), [(0, True), (1 << 30, False)])
def test_a_disk_that_was_full_for_a_while(
    free: int, full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_WATCH_S", 0.001)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with machine.DiskWatch(tmp_path) as disk:
        time.sleep(0.02)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 40))
    assert disk.was_full is full
