"""Values as the engine sends them."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.runtime.rpc import UNKNOWN, wrap_rpc_secret

from local.plugin.values import (
    from_struct,
    has_secret,
    has_unknown,
    plain,
    to_struct,
    unwrap,
)

DEEP: dict[str, Any] = {"a": [1, {"b": wrap_rpc_secret({"c": 2.5})}], "d": None, "e": True}


def test_properties_survive_the_protocol() -> None:
    assert from_struct(to_struct(DEEP)) == DEEP


def test_a_whole_number_stays_one() -> None:
    assert repr(from_struct(to_struct({"cpu": 2, "memory": 1.5}))["cpu"]) == "2"


def test_secrets_are_unwrapped_at_any_depth_for_use() -> None:
    assert plain(DEEP) == {"a": [1, {"b": {"c": 2.5}}], "d": None, "e": True}


def test_what_is_inside_a_secret_stays_secret() -> None:
    assert unwrap(wrap_rpc_secret({"a": 1})) == {"a": wrap_rpc_secret(1)}
    assert unwrap(wrap_rpc_secret([1])) == [wrap_rpc_secret(1)]
    assert unwrap(wrap_rpc_secret(1)) == 1
    assert unwrap({"a": 1}) == {"a": 1}


def test_a_secret_within_a_secret_is_wrapped_once() -> None:
    nested = wrap_rpc_secret({"a": wrap_rpc_secret(1)})
    assert unwrap(nested) == {"a": wrap_rpc_secret(1)}


@pytest.mark.parametrize(("value", "expected"), [(DEEP, True), (plain(DEEP), False), (None, False)])
def test_has_secret(value: Any, expected: bool) -> None:
    assert has_secret(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (UNKNOWN, True),
        ({"a": [UNKNOWN]}, True),
        (wrap_rpc_secret({"a": UNKNOWN}), True),
        ({"a": [1, "b", None]}, False),
    ],
)
def test_has_unknown(value: Any, expected: bool) -> None:
    assert has_unknown(value) is expected
