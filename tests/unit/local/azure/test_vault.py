"""The key vaults of local Azure: who gets which secret, and what a wrong file says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import httpx
import pytest
from starlette.applications import Starlette

from local import settings as settings_module
from local.azure.application import azure_application
from local.azure.vault import SecretsFileError, read
from local.settings import Settings
from tests.unit.local.azure.asgi import get

AUDIENCE = "https://docker.internal:15000"
HOST = {"Host": "host.docker.internal:15000"}


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Starlette]:
    with mock.patch.object(settings_module, "SHARED", tmp_path):
        yield azure_application(Settings(name="unit"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secrets" / "unit.yaml"
    path.parent.mkdir()
    path.write_text("weather-key: hunter2\npin: 0012\n")
    return path


def ask(application: Starlette, name: str, audience: str = AUDIENCE) -> httpx.Response:
    token = application.state.authority.issue(audience, "client", now=int(time.time()))
    headers = {**HOST, "Authorization": f"Bearer {token}"}
    return get(application, f"/vaults/vault1/secrets/{name}/", headers=headers)


@pytest.mark.usefixtures("file")
def test_a_secret_is_what_the_file_says_of_it(application: Starlette) -> None:
    answer = ask(application, "weather-key")
    assert answer.json()["value"] == "hunter2"
    assert answer.json()["id"].startswith("https://vault1.vault.azure.net/secrets/weather-key/")
    assert answer.headers["cache-control"] == "no-store"
    assert ask(application, "pin").json()["value"] == "0012"


def test_a_changed_file_needs_no_restart(application: Starlette, file: Path) -> None:
    ask(application, "weather-key")
    file.write_text("weather-key: changed")
    assert ask(application, "weather-key").json()["value"] == "changed"


@pytest.mark.usefixtures("file")
def test_a_secret_that_is_not_there_names_the_file(application: Starlette) -> None:
    answer = ask(application, "other")
    assert answer.status_code == 404
    assert answer.json() == {
        "error": {
            "code": "SecretNotFound",
            "message": ".local/secrets/unit.yaml has no line for it",
        }
    }


@pytest.mark.usefixtures("file")
def test_without_a_token_for_the_vault_there_is_a_challenge_and_no_secret(
    application: Starlette,
) -> None:
    without = get(application, "/vaults/vault1/secrets/weather-key/", headers=HOST)
    other = ask(application, "weather-key", "https://storage.azure.com")
    for answer in (without, other):
        assert answer.status_code == 401
        assert f'resource="{AUDIENCE}"' in answer.headers["www-authenticate"]
        assert "hunter2" not in answer.text


@pytest.mark.parametrize("content", ["- hunter2", "key: [hunter2]", "key: {a: hunter2", "hunter2"])
def test_a_file_of_another_form_is_one_sentence_without_its_content(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "unit.yaml"
    path.write_text(content)
    with pytest.raises(SecretsFileError) as caught:
        read(path)
    assert str(caught.value) == (
        ".local/secrets/unit.yaml must have lines of the form name: value."
    )


def test_no_file_and_an_empty_one_have_no_secrets(tmp_path: Path) -> None:
    path = tmp_path / "unit.yaml"
    assert read(path) == {}
    path.touch()
    assert read(path) == {}
