"""Secrets: where they go, and where they never do."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from types import SimpleNamespace
from urllib.parse import quote

import pyarrow as pa
import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from pydantic import Field, SecretStr

from extractor.runtime import SettingError, Settings, Window, azure, log, run, secrets
from extractor.runtime.records import Run, RunStatus
from extractor.runtime.runner import EXIT_FAILED, EXIT_OK, Extract
from extractor.runtime.secrets import mask
from extractor.runtime.settings import RuntimeSettings
from extractor.runtime.testing import MemoryLake, MemoryRunStore
from tests.unit.extractor.runtime.test_runner import WINDOW, day_table
from tests.unit.extractor.runtime.test_settings import ENVIRONMENT

VALUE = 'hunter2 & "more"'
VAULT = "https://vault.vault.azure.net"
VARIABLES = {
    **ENVIRONMENT,
    "AZURE_CLIENT_ID": "client",
    "KEY_VAULT_URL": f"{VAULT}/",
    "SECRETS": '{"API_KEY": "weather-key"}',
}

pytestmark = pytest.mark.usefixtures("restored_logging")


class ApiSettings(Settings):
    api_key: SecretStr = Field(description="a key of the API")


@pytest.fixture(autouse=True)
def held(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is held, for this test alone."""
    values: dict[str, str] = {}
    monkeypatch.setattr(secrets, "_held", values)
    monkeypatch.setattr("extractor.runtime.azure.time.sleep", lambda _: None)
    return values


def vault(monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, str | AzureError]) -> None:
    """Put a key vault in place that answers with these values and errors."""

    class Client:
        def __init__(self, vault_url: str, credential: object, **options: object) -> None:
            self.vault_url = vault_url.strip("/")

        def __enter__(self) -> Client:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def get_secret(self, name: str) -> SimpleNamespace:
            answer = answers[name]
            if isinstance(answer, AzureError):
                raise answer
            return SimpleNamespace(value=answer)

    monkeypatch.setattr(azure, "SecretClient", Client)


def asking(_: Window) -> Iterator[pa.Table]:
    """An extractor that needs its secret."""
    assert ApiSettings.read().api_key.get_secret_value() == VALUE
    yield day_table(WINDOW.start.date(), 1)


def container(
    monkeypatch: pytest.MonkeyPatch, extract: Extract = asking, *, started: bool = True
) -> tuple[int, Run | None]:
    """Start the container, until its exit: its exit code and its run."""
    store, lake = MemoryRunStore(), MemoryLake()
    if started:
        store.start(WINDOW, job=ENVIRONMENT["JOB_NAME"])
    monkeypatch.setattr(azure, "connect", lambda _: nullcontext((store, lake)))
    code = run(extract, VARIABLES)
    return code, next(iter(store.runs.values()), None)


def test_an_extractor_reads_its_secret_as_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    vault(monkeypatch, {"weather-key": VALUE})
    assert container(monkeypatch)[0] == EXIT_OK


def test_without_a_run_no_secret_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    vault(monkeypatch, {})
    assert container(monkeypatch, started=False) == (EXIT_OK, None)


def test_no_child_process_inherits_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    vault(monkeypatch, {"weather-key": VALUE})
    container(monkeypatch)
    assert not any(VALUE in each for each in os.environ.values())
    assert "API_KEY" not in os.environ


def test_without_a_vault_a_setting_is_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert azure.read_secrets(RuntimeSettings.read(ENVIRONMENT)) == {}
    monkeypatch.setenv("API_KEY", "of the developer")
    assert ApiSettings.read().api_key.get_secret_value() == "of the developer"


def refused(
    status: int, message: str = "Caller is not authorized.\r\nCaller: appid"
) -> HttpResponseError:
    error = HttpResponseError(message)
    error.status_code = status
    return error


REFUSED = (
    f"The secret weather-key in the key vault {VAULT} is refused to the identity client; it needs "
    "the role Key Vault Secrets User on it, and the vault must let this network in: "
)
UNREAD = f"The secret weather-key cannot be read from the key vault {VAULT}: "
MISSING = f"The secret weather-key is not in the key vault {VAULT}; put its value there: "


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ResourceNotFoundError("not found."), f"{MISSING}not found."),
        (refused(403), f"{REFUSED}Caller is not authorized."),
        (ClientAuthenticationError("no token"), f"{REFUSED}no token."),
        (refused(500), f"{UNREAD}Caller is not authorized."),
        (ServiceRequestError("no such host"), f"{UNREAD}no such host."),
    ],
)
def test_a_secret_that_cannot_be_read_is_the_reason_of_a_failed_run(
    monkeypatch: pytest.MonkeyPatch, error: AzureError, sentence: str
) -> None:
    vault(monkeypatch, {"weather-key": error})
    code, row = container(monkeypatch)
    assert code == EXIT_FAILED
    assert row is not None
    assert (row.status, row.reason) == (RunStatus.FAILED, sentence)


def test_a_secret_never_reaches_the_runs_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def telling(_: Window) -> Iterator[pa.Table]:
        yield day_table(WINDOW.start.date(), 1)
        raise ValueError(f"GET https://api/?key={quote(VALUE)} with {VALUE}")

    vault(monkeypatch, {"weather-key": VALUE})
    _, row = container(monkeypatch, telling)
    assert row is not None
    assert row.error == "ValueError: GET https://api/?key=*** with ***"


def test_a_wrong_secret_is_not_shown_even_where_its_field_is_a_plain_text(
    held: dict[str, str],
) -> None:
    class Careless(Settings):
        api_key: str = Field(pattern="^[a-z]+$", description="lower-case letters")

    held["API_KEY"] = VALUE
    with pytest.raises(SettingError) as caught:
        Careless.read()
    assert str(caught.value).startswith("The secret API_KEY is '***'; it must be lower-case")


def test_no_line_of_the_log_has_a_secret(
    capsys: pytest.CaptureFixture[str], held: dict[str, str]
) -> None:
    log.configure()
    held["API_KEY"] = VALUE
    try:
        int(VALUE)
    except ValueError:
        logging.getLogger("any").exception("key=%s %s", VALUE, log.facts(key=VALUE))
    logging.getLogger("any").info("all: %s", [VALUE])
    out = capsys.readouterr().out
    assert "hunter2" not in out
    assert "more" not in out
    assert out.count("***") == 4


def test_parts_of_several_lines_are_masked_and_braces_are_not(held: dict[str, str]) -> None:
    held["KEY"] = '{\n  "password": "correct horse",\n  "n": 1\n}'
    assert mask('{"a": 1} "password": horse') == '{"a": 1} *** horse'
    assert mask("nothing") == "nothing"


def test_the_longer_of_two_secrets_is_masked_whole(held: dict[str, str]) -> None:
    held.update(A="hunter", B="hunter2-and-more")
    assert mask("hunter2-and-more hunter") == "*** ***"
