"""Azure's clients, shared by threads."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import Any
from unittest import mock

import pytest
from azure.core.credentials import AccessToken

from scheduler import containers, shared, tables
from scheduler.pool import Pool
from scheduler.settings import Settings
from scheduler.shared import OneAtATime, PerThread

THREADS = 4
ENVIRONMENT = {
    "TABLES_ENDPOINT": "https://account.table.core.windows.net",
    "SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000000",
    "RESOURCE_GROUP": "group",
    "AZURE_CLIENT_ID": "00000000-0000-0000-0000-000000000000",
}


class Transport:
    """Notes which threads use it."""

    users: defaultdict[Transport, set[int]]

    def open(self) -> None:
        self.users[self].add(threading.get_ident())

    def send(self, request: str, **options: Any) -> str:
        self.users[self].add(threading.get_ident())
        return f"{request} {options}"

    def close(self) -> None:
        self.users[self].add(threading.get_ident())


def test_each_thread_has_one_transport_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    Transport.users = defaultdict(set)
    monkeypatch.setattr(shared, "RequestsTransport", Transport)
    transport, barrier = PerThread(), threading.Barrier(THREADS, timeout=20)

    def use(_: int) -> list[str]:
        barrier.wait()
        with transport:
            return [transport.send("request", timeout=number) for number in range(3)]

    answers = Pool(THREADS).map(use, range(THREADS))
    assert answers == [[f"request {{'timeout': {number}}}" for number in range(3)]] * THREADS
    assert [len(users) for users in Transport.users.values()] == [1] * THREADS


def test_a_credential_is_asked_by_one_thread_at_a_time() -> None:
    inside: list[int] = []
    most = 0

    class Slow:
        def get_token(self, *scopes: str, **options: Any) -> AccessToken:
            nonlocal most
            inside.append(1)
            most = max(most, len(inside))
            time.sleep(0.002)
            inside.pop()
            return AccessToken(f"{scopes} {options}", 0)

    credential = OneAtATime(Slow())
    tokens = Pool(THREADS).map(lambda _: credential.get_token("a", tenant_id="b"), range(8))
    assert {each.token for each in tokens} == {"('a',) {'tenant_id': 'b'}"}
    assert most == 1


def test_the_clients_of_a_real_scheduler_can_be_shared() -> None:
    with (
        mock.patch.object(tables, "TableServiceClient") as of_tables,
        mock.patch.object(containers, "ContainerInstanceManagementClient") as of_containers,
    ):
        scheduler = Settings.read(ENVIRONMENT).scheduler()
        own = Settings.read(ENVIRONMENT | {"WORKERS": "3"}).scheduler()
    assert (scheduler.workers, own.workers) == (16, 3)
    for client in (of_tables, of_containers):
        assert isinstance(client.call_args.kwargs["transport"], PerThread)
    assert isinstance(of_tables.call_args.kwargs["credential"], OneAtATime)
    assert isinstance(of_containers.call_args.args[0], OneAtATime)
