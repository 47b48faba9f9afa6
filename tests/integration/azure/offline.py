"""Keeps processes from talking to anything but this machine."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator
from typing import Any

_HERE = frozenset({"127.0.0.1", "::1", "localhost"})


class ReachedOutError(Exception):
    """Something tried to reach another machine."""


def refuse_connections(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: raises for each connection and each look-up of a name outside this machine.

    Raises:
        ReachedOutError: naming the host.

    Source of the events: https://docs.python.org/3/library/audit_events.html.
    """
    if event == "socket.connect":
        address = arguments[1]
        # The address of a Unix socket is its path.
        host = address[0] if isinstance(address, tuple) else None
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if host is not None and host not in _HERE:
        raise ReachedOutError(f"Something tried to reach {host}.")


class _Guard:
    """The audit hook of this process, which can't be removed, only told to rest."""

    def __init__(self) -> None:
        self.awake = False
        self.installed = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.awake:
            refuse_connections(event, arguments)

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        if not self.installed:
            sys.addaudithook(self)
        self.awake = self.installed = True
        try:
            yield
        finally:
            self.awake = False


_guard = _Guard()


@contextlib.contextmanager
def offline() -> Iterator[str]:
    """Let nothing of this process out, nor of those that send what is not local through a proxy.

    Yields:
        Address of the proxy for programs of other languages, which do as ``HTTPS_PROXY`` says.

    Raises:
        ReachedOutError: one of them tried to reach another machine.
    """
    with socket.create_server(("127.0.0.1", 0)) as proxy, _guard.on():
        yield f"http://127.0.0.1:{proxy.getsockname()[1]}"
        proxy.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            connection, _ = proxy.accept()
            with connection:
                raise ReachedOutError(f"Something asked the proxy: {connection.recv(200)!r}")
