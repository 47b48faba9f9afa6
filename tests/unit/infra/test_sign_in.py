from __future__ import annotations

import subprocess
from typing import Any

import pytest
import requests

from infra.sign_in import SignInError, _registry_token

# conftest.py replaces the function in its module; this is the real one.
from infra.sign_in import sign_in as real_sign_in

SERVER = "registry.azurecr.io"


class Answer:
    def __init__(self, status: int, document: dict[str, str]) -> None:
        self.status_code = status
        self.ok = status == 200
        self._document = document

    def json(self) -> dict[str, str]:
        return self._document


@pytest.fixture
def exchanged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str]]]:
    calls: list[tuple[str, dict[str, str]]] = []

    def post(url: str, data: dict[str, str], timeout: float) -> Answer:
        calls.append((url, data))
        return Answer(200, {"refresh_token": "of-the-registry"})

    monkeypatch.setattr(requests, "post", post)
    return calls


def test_hands_docker_a_token_of_the_registry_and_not_on_the_command_line(
    exchanged: list[tuple[str, dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[list[str], Any]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **o: ran.append((command, o["input"])))

    real_sign_in(SERVER, "of-azure")

    assert exchanged == [
        (
            f"https://{SERVER}/oauth2/exchange",
            {"grant_type": "access_token", "service": SERVER, "access_token": "of-azure"},
        )
    ]
    ((command, password),) = ran
    assert command[:3] == ["docker", "login", SERVER]
    assert password == "of-the-registry"
    assert "of-the-registry" not in command


def test_an_identity_that_may_not_push_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "post", lambda *_, **__: Answer(401, {}))
    with pytest.raises(SignInError, match=r"answered 401 .* needs the role AcrPush"):
        _registry_token(SERVER, "of-azure")


def test_without_docker_it_is_one_sentence(
    exchanged: list[tuple[str, dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    with pytest.raises(SignInError, match="The command docker is missing"):
        real_sign_in(SERVER, "of-azure")
