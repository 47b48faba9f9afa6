"""Wrong requests, made from right ones: what a check of requests has to see."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import Enum
from typing import Any

from tests.integration.azure.program import Request

Path = tuple[str | int, ...]


class Wrong(Enum):
    """What is wrong."""

    TYPE = "of another type"
    TEXT = "no value that there is"
    NAME = "misspelt"
    MISSING = "left out"


def variants(request: Request) -> Iterator[tuple[str, Wrong, Request]]:
    """Requests in each of which one property, which is named, is wrong in one of these ways."""
    for path, value in _values(request.inputs):
        place = _place(path)
        yield place, Wrong.TYPE, _changed(request, path, _of_another_type(value))
        if isinstance(value, str):
            yield place, Wrong.TEXT, _changed(request, path, "no value")
        if isinstance(path[-1], str):
            yield place, Wrong.NAME, _renamed(request, path, f"{path[-1]}e")
            yield place, Wrong.MISSING, _renamed(request, path, None)


def _place(path: Path) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


def _values(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if path:
        yield path, value
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _values(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _values(item, (*path, index))


def _of_another_type(value: Any) -> Any:
    return 0.5 if isinstance(value, str | list | Mapping | bool) else [value]


def _changed(request: Request, path: Path, value: Any) -> Request:
    inputs = copy.deepcopy(dict(request.inputs))
    _holder(inputs, path)[path[-1]] = value
    return replace(request, inputs=inputs)


def _renamed(request: Request, path: Path, name: str | None) -> Request:
    inputs = copy.deepcopy(dict(request.inputs))
    holder = _holder(inputs, path)
    value = holder.pop(path[-1])
    if name is not None:
        holder[name] = value
    return replace(request, inputs=inputs)


def _holder(inputs: Any, path: Path) -> Any:
    for part in path[:-1]:
        inputs = inputs[part]
    return inputs
