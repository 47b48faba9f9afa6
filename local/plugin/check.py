"""Checks a resource's inputs against the types of the installed ``pulumi_azure_native`` package.

The Python SDK refuses an unknown keyword argument; nothing refuses a misspelt key in a dictionary,
a value of a wrong type, or a text where Azure knows a few values only. Such mistakes are found
here, at preview, before anything is created.
"""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import pulumi
from pulumi import _types as sdk_types

from local.plugin.rules import violations
from local.plugin.schema import ObjectShape, ResourceSchema, object_shape
from local.plugin.values import is_secret, is_unknown, unwrap

_SHOWN_CHARACTERS = 60
"""How much of a wrong value a message repeats."""


@dataclass(frozen=True)
class Failure:
    """A wrong input.

    Args:
        path: the property, such as ``containers[0].resources.requests.cpu``.
        reason: one clause that begins with the path, with the value and what is allowed.
    """

    path: str
    reason: str


def check(schema: ResourceSchema, inputs: Mapping[str, Any]) -> list[Failure]:
    """Everything that is wrong with a resource's inputs; unknown values are taken to be right."""
    return [
        *_check_object(inputs, _shape(schema), ""),
        *(
            _wrong(one.path, one.value, one.allowed)
            for one in violations(f"{schema.module}:{schema.type_name}", schema.own_name, inputs)
        ),
    ]


def _shape(schema: ResourceSchema) -> ObjectShape:
    """The resource's inputs once it has its name, which a program may leave out."""
    if schema.own_name is None:
        return schema.inputs
    return replace(schema.inputs, required=schema.inputs.required | {schema.own_name})


def _check_object(inputs: Mapping[str, Any], shape: ObjectShape, path: str) -> Iterator[Failure]:
    prefix = f"{path}." if path else ""
    for name, value in inputs.items():
        if name in shape.types:
            yield from _check_value(value, shape.types[name], f"{prefix}{name}")
        elif value is not None:
            yield Failure(
                f"{prefix}{name}", f"{prefix}{name} is not a property{_suggestion(name, shape)}"
            )
    for name in sorted(shape.required):
        if inputs.get(name) is None:
            yield Failure(f"{prefix}{name}", f"{prefix}{name} is missing, and it is required")


def _suggestion(name: str, shape: ObjectShape) -> str:
    # A program spells a property in one of two ways; the nearer one is what was meant.
    candidates = {*shape.python_names, *shape.python_names.values()}
    nearest = difflib.get_close_matches(name, sorted(candidates), n=1)
    if nearest:
        return f"; did you mean {nearest[0]}?"
    return f"; known are {', '.join(sorted(shape.python_names.values()))}"


def _check_value(value: Any, annotation: Any, path: str) -> list[Failure]:
    bare = unwrap(value)
    options = list(_alternatives(annotation))
    if bare is None or is_unknown(bare) or Any in options:
        return []
    enumerations = [option for option in options if _is_enumeration(option)]
    if enumerations:
        return _check_enumeration(value, enumerations, path)
    results = [_check_type(value, option, path) for option in options]
    # Of several types that are allowed, the one that fits best is the one that was meant.
    return min(results, key=len, default=[])


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The types that a value may have once it is known, out of unions, options and outputs."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        for option in typing.get_args(annotation):
            yield from _alternatives(option)
    elif annotation is not type(None) and origin not in (Awaitable, pulumi.Output):
        yield annotation


def _is_enumeration(option: Any) -> bool:
    return isinstance(option, type) and issubclass(option, Enum)


def _check_enumeration(value: Any, enumerations: Sequence[type[Enum]], path: str) -> list[Failure]:
    allowed = [member.value for enumeration in enumerations for member in enumeration]
    if unwrap(value) in allowed:
        return []
    return [_wrong(path, value, "one of " + ", ".join(json.dumps(one) for one in allowed))]


def _check_type(value: Any, option: Any, path: str) -> list[Failure]:
    bare = unwrap(value)
    if isinstance(option, type) and sdk_types.is_input_type(option):
        return _check_nested(value, option, path)
    if typing.get_origin(option) is Sequence:
        return _check_list(value, option, path)
    if typing.get_origin(option) is Mapping:
        return _check_map(value, option, path)
    if option in _SCALARS:
        allowed, fits = _SCALARS[option]
        return [] if fits(bare) else [_wrong(path, value, allowed)]
    return []


def _check_nested(value: Any, arguments: type, path: str) -> list[Failure]:
    bare = unwrap(value)
    if not isinstance(bare, dict):
        return [_wrong(path, value, "an object")]
    return list(_check_object(bare, object_shape(arguments), path))


def _check_list(value: Any, option: Any, path: str) -> list[Failure]:
    bare = unwrap(value)
    if not isinstance(bare, list):
        return [_wrong(path, value, "a list")]
    (element,) = typing.get_args(option)
    return [
        failure
        for index, item in enumerate(bare)
        for failure in _check_value(item, element, f"{path}[{index}]")
    ]


def _check_map(value: Any, option: Any, path: str) -> list[Failure]:
    bare = unwrap(value)
    if not isinstance(bare, dict):
        return [_wrong(path, value, "a map")]
    _, element = typing.get_args(option)
    return [
        failure
        for key, item in bare.items()
        for failure in _check_value(item, element, f'{path}["{key}"]')
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_SCALARS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    str: ("a string", lambda value: isinstance(value, str)),
    bool: ("true or false", lambda value: isinstance(value, bool)),
    int: ("a whole number", lambda value: _is_number(value) and value == int(value)),
    float: ("a number", _is_number),
}


def _wrong(path: str, value: Any, allowed: str) -> Failure:
    return Failure(path, f"{path} is {_shown(value)}; allowed is {allowed}")


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    if is_secret(value):
        return "a secret of another kind"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
