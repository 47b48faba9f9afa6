"""Waiting for access; the rest of ``azure.py`` is tested on the local stack's storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from extractor.runtime.azure import wait_for_access


def refused(status: int) -> HttpResponseError:
    error = HttpResponseError(f"status {status}")
    error.status_code = status
    return error


def failing(*errors: Exception) -> Callable[[], None]:
    """A probe that raises each of these, and nothing after them."""
    remaining: Iterator[Exception] = iter(errors)

    def probe() -> None:
        for error in remaining:
            raise error

    return probe


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr("extractor.runtime.azure.time.sleep", pauses.append)
    return pauses


def test_access_at_once_takes_no_pause(pauses: list[float]) -> None:
    wait_for_access(failing())
    assert pauses == []


def test_a_first_token_and_a_role_on_its_way_are_waited_for(pauses: list[float]) -> None:
    wait_for_access(failing(ClientAuthenticationError("no token"), refused(403)))
    assert pauses == [1, 2]


def test_access_that_never_comes_is_an_error_after_half_a_minute(pauses: list[float]) -> None:
    with pytest.raises(HttpResponseError, match="403"):
        wait_for_access(failing(*[refused(403)] * 6))
    assert sum(pauses) == 31


def test_another_error_is_not_waited_for(pauses: list[float]) -> None:
    with pytest.raises(HttpResponseError, match="400"):
        wait_for_access(failing(refused(400)))
    assert pauses == []
