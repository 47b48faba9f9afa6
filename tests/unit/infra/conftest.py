from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra import images, sign_in
from tests.unit.infra import stacks


@pytest.fixture(autouse=True)
def staging(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep staged build contexts out of the repository."""
    # One for all tests: its path is an input of the images.
    folder = tmp_path_factory.getbasetemp() / "staging"
    monkeypatch.setattr(images, "STAGING", folder)
    return folder


@pytest.fixture(autouse=True)
def signed_in(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The servers that Docker was signed in to, with the tokens, instead of doing so."""
    calls: list[tuple[str, str]] = []
    monkeypatch.setattr(sign_in, "sign_in", lambda *arguments: calls.append(arguments))
    return calls


@pytest.fixture
def config() -> dict[str, Any]:
    """A stack with the weather extractor, all options at their defaults."""
    return stacks.minimal()
