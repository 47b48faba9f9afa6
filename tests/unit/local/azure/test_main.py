"""Where local Azure listens."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from unittest import mock

import psutil
import pytest

from local.azure.__main__ import LOOPBACK, addresses, listen


@pytest.mark.parametrize(
    ("interfaces", "expected"),
    [
        ({"eth0": [SimpleNamespace(family=socket.AF_INET, address="192.0.2.1")]}, [LOOPBACK]),
        (
            {
                "docker0": [
                    SimpleNamespace(family=socket.AF_INET, address="172.17.0.1"),
                    SimpleNamespace(family=socket.AF_INET6, address="fe80::1"),
                ]
            },
            [LOOPBACK, "172.17.0.1"],
        ),
    ],
)
def test_it_listens_on_loopback_and_dockers_bridge_alone(
    interfaces: dict[str, list[SimpleNamespace]], expected: list[str]
) -> None:
    with mock.patch.object(psutil, "net_if_addrs", return_value=interfaces):
        assert addresses() == expected


def test_a_taken_port_is_an_error() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken, pytest.raises(OSError, match="in use"):
        listen(taken.getsockname()[1], [LOOPBACK])
