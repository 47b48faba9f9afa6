"""Property values as the engine sends them over gRPC, and as this plugin works with them.

A secret arrives wrapped, so that the engine can encrypt it in its state; a value that will only be
known once another resource exists arrives as a fixed text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.rpc import UNKNOWN, is_rpc_secret, unwrap_rpc_secret, wrap_rpc_secret

Properties = dict[str, Any]


def from_struct(struct: Struct) -> Properties:
    """The properties as Python values; secrets stay wrapped."""
    properties: Properties = _with_whole_numbers(MessageToDict(struct))
    return properties


def to_struct(properties: Mapping[str, Any]) -> Struct:
    """The inverse of :func:`from_struct`."""
    struct = Struct()
    struct.update(properties)
    return struct


def is_unknown(value: Any) -> bool:
    """Whether the value is one that the engine will only know after other resources exist."""
    return isinstance(value, str) and value == UNKNOWN


def is_secret(value: Any) -> bool:
    return bool(is_rpc_secret(value))


def unwrap(value: Any) -> Any:
    """The value, if it is a secret the one inside; what a secret list or map holds stays secret."""
    if not is_secret(value):
        return value
    inner = unwrap_rpc_secret(value)
    if isinstance(inner, dict):
        return {key: wrap_rpc_secret(item) for key, item in inner.items()}
    if isinstance(inner, list):
        return [wrap_rpc_secret(item) for item in inner]
    return inner


def plain(value: Any) -> Any:
    """The value with every secret in it unwrapped, at any depth."""
    value = unwrap(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def has_secret(value: Any) -> bool:
    """Whether the value, or one inside it at any depth, is a secret."""
    return bool(plain(value) != value)


def has_unknown(value: Any) -> bool:
    """Whether the value, or one inside it at any depth, is not known yet."""
    if isinstance(value, dict):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return is_unknown(value)


def _with_whole_numbers(value: Any) -> Any:
    """The protocol has one type for numbers; a person who wrote 2 should not read 2.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _with_whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_whole_numbers(item) for item in value]
    return value
