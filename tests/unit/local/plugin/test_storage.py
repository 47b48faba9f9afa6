"""The token by which the plugin reaches the lake and the tables."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from local import settings as settings_module
from local.azure.identity import STORAGE_AUDIENCES, TOKEN_LIFETIME_S, TokenAuthority
from local.plugin.storage import PlatformCredential
from local.settings import Settings


def test_local_azure_accepts_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_module, "SHARED", tmp_path)
    settings = Settings(name="unit")
    token = PlatformCredential(settings).get_token("https://storage.azure.com/.default")
    principal = TokenAuthority.of(settings).verify(token.token, STORAGE_AUDIENCES)
    assert principal.audience == "https://storage.azure.com"
    assert 0 <= token.expires_on - TOKEN_LIFETIME_S - time.time() + 5 <= 5
