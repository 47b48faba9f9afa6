"""The token endpoint, and which tokens it and the services accept."""

from __future__ import annotations

import stat
import time
from pathlib import Path
from unittest import mock

import jwt
import pytest
from starlette.applications import Starlette

from local import settings as settings_module
from local.azure.identity import (
    MANAGEMENT_AUDIENCES,
    STORAGE_AUDIENCES,
    TOKEN_LIFETIME_S,
    TOKEN_PATH,
    TokenAuthority,
    identity_header,
    object_id,
    routes,
)
from local.settings import Settings
from tests.unit.local.azure.asgi import get

CLIENT_ID = "6d1c9ce0-5a6c-4b1e-9c52-0d5a3c1b7a10"
STORAGE = "https://storage.azure.com"
SECRET = "the secret"
HEADERS = {"X-IDENTITY-HEADER": SECRET}
QUERY = {"resource": STORAGE, "client_id": CLIENT_ID, "api-version": "2019-08-01"}


@pytest.fixture
def authority() -> TokenAuthority:
    return TokenAuthority(key="k" * 32, secret=SECRET)


@pytest.fixture
def application(authority: TokenAuthority) -> Starlette:
    application = Starlette(routes=routes())
    application.state.authority = authority
    return application


def test_a_token_names_its_identity_and_resource(
    application: Starlette, authority: TokenAuthority
) -> None:
    before = int(time.time())
    body = get(application, TOKEN_PATH, params=QUERY, headers=HEADERS).json()

    principal = authority.verify(body["access_token"], STORAGE_AUDIENCES)
    assert (principal.client_id, principal.audience) == (CLIENT_ID, STORAGE)
    assert principal.object_id == object_id(CLIENT_ID)
    assert body["resource"] == STORAGE
    assert int(body["expires_in"]) == TOKEN_LIFETIME_S
    assert before <= int(body["expires_on"]) - TOKEN_LIFETIME_S <= time.time()


@pytest.mark.parametrize("header", [None, "", "another secret"])
def test_a_wrong_identity_header_is_refused(application: Starlette, header: str | None) -> None:
    headers = {} if header is None else {"X-IDENTITY-HEADER": header}
    answer = get(application, TOKEN_PATH, params=QUERY, headers=headers)
    assert answer.status_code == 401
    assert "access_token" not in answer.json()


@pytest.mark.parametrize("missing", ["resource", "client_id", "api-version"])
def test_a_missing_parameter_is_named(application: Starlette, missing: str) -> None:
    query = {name: value for name, value in QUERY.items() if name != missing}
    answer = get(application, TOKEN_PATH, params=query, headers=HEADERS)
    assert answer.status_code == 400
    assert missing in answer.json()["message"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_an_audience_counts_with_and_without_its_final_slash(
    authority: TokenAuthority, slash: str
) -> None:
    token = authority.issue(MANAGEMENT_AUDIENCES[0] + slash, CLIENT_ID, now=int(time.time()))
    assert authority.verify(token, MANAGEMENT_AUDIENCES).audience == MANAGEMENT_AUDIENCES[0]


def test_tokens_of_another_resource_stack_or_time_are_refused(authority: TokenAuthority) -> None:
    now = int(time.time())
    other = TokenAuthority(key="x" * 32, secret="")
    refused = {
        "resource": authority.issue("https://vault.azure.net", CLIENT_ID, now=now),
        "stack": other.issue(STORAGE, CLIENT_ID, now=now),
        "expired": authority.issue(STORAGE, CLIENT_ID, now=now - TOKEN_LIFETIME_S - 1),
        "unsigned": jwt.encode({"aud": STORAGE, "exp": now + 60}, "", algorithm="none"),
    }
    for token in refused.values():
        with pytest.raises(jwt.InvalidTokenError):
            authority.verify(token, STORAGE_AUDIENCES)


def test_the_identity_header_is_created_once_and_private(tmp_path: Path) -> None:
    with mock.patch.object(settings_module, "SHARED", tmp_path):
        stack = Settings(name="unit")
        first = identity_header(stack)
        assert identity_header(stack) == first
        assert identity_header(Settings(name="other")) != first
        file = stack.state / "identity-header"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert [path.name for path in stack.state.iterdir()] == ["identity-header"]
