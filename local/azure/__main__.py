"""``python -m local.azure``: serve local Azure until a signal ends it.

It listens on loopback and on the gateway of Docker's bridge, by which containers reach their host,
and on no other address: the machine's network stays outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Iterator

import psutil
import uvicorn
from starlette.applications import Starlette

from local.azure.application import azure_application, platform_application
from local.settings import Settings

LOOPBACK = "127.0.0.1"
DOCKER_BRIDGE = "docker0"
"""The interface whose address Docker gives containers as ``host-gateway``."""

_BACKLOG = 1024
_SHUTDOWN_S = 5


class _Server(uvicorn.Server):
    """One of several servers in a process, whose ``main`` handles the signals for all of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def addresses() -> list[str]:
    """The IPv4 addresses to listen on."""
    bridge = psutil.net_if_addrs().get(DOCKER_BRIDGE, [])
    return [LOOPBACK, *(each.address for each in bridge if each.family is socket.AF_INET)]


def listen(port: int, hosts: list[str]) -> list[socket.socket]:
    """Sockets that listen on ``port`` of each host.

    Raises:
        OSError: the port is taken.
    """
    return [socket.create_server((host, port), backlog=_BACKLOG) for host in hosts]


def _server(application: Starlette, certificate: str | None = None) -> _Server:
    return _Server(
        uvicorn.Config(
            application,
            ssl_certfile=certificate,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=_SHUTDOWN_S,
        )
    )


async def serve(settings: Settings) -> None:
    """Serve both applications until SIGINT or SIGTERM.

    Raises:
        OSError: a port is taken.
        FileNotFoundError: the stack has no certificate.
    """
    certificate = settings.certificates / "server.pem"
    if not certificate.is_file():
        raise FileNotFoundError(
            f"The server's certificate {certificate} is missing; `make up` creates it."
        )
    hosts = addresses()
    servers = {
        _server(azure_application(settings), str(certificate)): listen(settings.azure_port, hosts),
        _server(platform_application(settings)): listen(settings.platform_port, hosts),
    }

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    await asyncio.gather(*(server.serve(sockets) for server, sockets in servers.items()))


def main() -> int:
    settings = Settings.from_environment()
    try:
        asyncio.run(serve(settings))
    except FileNotFoundError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        ports = f"{settings.azure_port} and {settings.platform_port}"
        sys.stderr.write(f"Local Azure cannot serve on ports {ports}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
