"""The base image's recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from local import base_image
from local.settings import Settings


def test_it_has_the_name_under_which_buildkit_asks_a_mirror() -> None:
    assert base_image.reference(Settings()) == "127.0.0.1:15001/library/python:3.11-slim"


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ("https://pypi.example.com/simple", "https://pypi.example.com/simple"),
        ("https://user:secret@pypi.example.com/simple", None),
        ("file:///opt/wheels", None),
        ("/opt/wheels", None),
        ("", None),
    ],
)
def test_the_machines_index_is_used_where_a_build_can_reach_it(
    index: str, expected: str | None
) -> None:
    variables = base_image.image_environment({"PIP_INDEX_URL": index, "PIP_FIND_LINKS": "/opt"})
    assert variables.get("PIP_INDEX_URL") == expected
    assert "PIP_FIND_LINKS" not in variables


def test_it_is_made_anew_when_the_machine_trusts_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authorities = tmp_path / "ca.pem"
    authorities.write_text("one")
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
    first = base_image._archive(Settings())
    assert base_image._archive(Settings(name="other")) == first
    authorities.write_text("two")
    assert base_image._archive(Settings()) != first
