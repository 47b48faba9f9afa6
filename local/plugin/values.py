"""Property values as the engine sends them over gRPC, and as this plugin works with them.

A secret arrives wrapped, so that the engine can encrypt it in its state; a value that will only be
known once another resource exists arrives as a fixed text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.rpc import UNKNOWN, is_rpc_secret, unwrap_rpc_secret

Properties = dict[str, Any]


def from_struct(struct: Struct) -> Properties:
    """The properties as Python values; secrets stay wrapped."""
    properties: Properties = MessageToDict(struct)
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
    """The value, if it is a secret the one inside; what it contains is left as it is."""
    return unwrap_rpc_secret(value) if is_secret(value) else value


def plain(value: Any) -> Any:
    """The value with every secret in it unwrapped, at any depth."""
    value = unwrap(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
