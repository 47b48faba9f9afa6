"""What the storage account answers without Azurite, and what it changes on the way to it."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from starlette.applications import Starlette

from local import settings as settings_module
from local.azure.application import azure_application
from local.azure.azurite import end_to_end
from local.azure.storage import azurite_batch
from local.settings import Settings
from tests.unit.local.azure.asgi import get


@pytest.fixture
def application(tmp_path: Path) -> Starlette:
    with mock.patch.object(settings_module, "SHARED", tmp_path):
        return azure_application(Settings(name="unit"))


def test_health_needs_no_token(application: Starlette) -> None:
    assert get(application, "/health").status_code == 200


@pytest.mark.parametrize("authorization", [None, "Bearer x.y.z", "SharedKey account:key"])
@pytest.mark.parametrize("path", ["/account/lake/file", "/tables/account/Tables", "/account"])
def test_a_request_without_a_valid_token_gets_a_challenge(
    application: Starlette, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = get(application, path, headers=headers)
    assert answer.status_code == 401
    assert 'resource_id="https://storage.azure.com"' in answer.headers["WWW-Authenticate"]


def test_a_refusal_has_the_form_of_its_service(application: Starlette) -> None:
    blob = get(application, "/account/lake/file")
    assert b"<Code>InvalidAuthenticationInfo</Code>" in blob.content
    assert blob.headers["x-ms-error-code"] == "InvalidAuthenticationInfo"
    table = get(application, "/tables/account/Tables")
    assert table.json()["odata.error"]["code"] == "InvalidAuthenticationInfo"


def test_credentials_and_headers_of_one_connection_are_not_passed_on() -> None:
    headers = [
        ("authorization", "Bearer t"),
        ("host", "h"),
        ("connection", "keep-alive"),
        ("Transfer-Encoding", "chunked"),
        ("if-match", '"1"'),
        ("x-ms-version", "2026-10-06"),
    ]
    assert end_to_end(headers) == {"if-match": '"1"', "x-ms-version": "2026-10-06"}


def test_the_operations_of_a_batch_are_addressed_to_azurite() -> None:
    body = (
        b"--changeset\r\n\r\nPATCH https://127.0.0.1:15000/tables/account/runs(PartitionKey='a')"
        b' HTTP/1.1\r\n\r\n{"url": "https://127.0.0.1:15000/tables/account/"}\r\n'
    )
    rewritten = azurite_batch(body, "account")
    assert b"PATCH https://127.0.0.1:15000/devstoreaccount1/runs(Part" in rewritten
    assert b'{"url": "https://127.0.0.1:15000/tables/account/"}' in rewritten
