"""Mistakes in configuration and in requests as sentences for people, from pydantic's errors."""

from __future__ import annotations

import difflib
import json
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from scheduler.declaration import COMBINATION_ERROR


def sentence(namespace: str, model: type[BaseModel], error: ErrorDetails) -> str:
    """One sentence that names the key, its value and what is allowed.

    Args:
        namespace: what stands before the colon of the configuration's keys; none in a request.
        model: the model that did not accept the configuration or the request.
        error: one of pydantic's errors.
    """
    location = [part for part in error["loc"] if part != "[key]"]
    prefix = f"{namespace}:" if namespace else ""
    key = prefix + ".".join(str(part) for part in location)
    if error["type"] == "missing":
        return f"{key} is missing; it is required."
    if error["type"] == "extra_forbidden":
        return f"{key} is not a known key; {_known_keys(model, location)}."
    if error["type"] == COMBINATION_ERROR:
        return f"{key} {error['msg']}."
    value = location[-1] if "[key]" in error["loc"] else error["input"]
    return f"{key} is {json.dumps(value, default=str)}; allowed is {_allowed(error)}."


_ALLOWED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "datetime_from_date_parsing": "a time with an offset such as 2024-01-01T00:00:00Z",
    "datetime_parsing": "a time with an offset such as 2024-01-01T00:00:00Z",
    "datetime_type": "a time with an offset such as 2024-01-01T00:00:00Z",
    "dict_type": "an object of keys and values",
    "enum": "{expected}",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than_equal": "at most {le}",
    "model_type": "an object of keys and values",
    "multiple_of": "a multiple of {multiple_of}",
    "list_type": "a list",
    "sequence_str": "a list",
    "string_pattern_mismatch": "a mail address such as team@example.com",
    "string_too_short": "a text that is not empty",
    "string_type": "a text; put a number or a word such as true in quotes",
    "time_delta_parsing": "an ISO 8601 duration such as PT10M or P1D",
    "time_delta_type": "an ISO 8601 duration such as PT10M or P1D",
    "tuple_type": "a list",
    "uuid_parsing": "a UUID such as 00000000-0000-0000-0000-000000000000",
    "uuid_type": "a UUID such as 00000000-0000-0000-0000-000000000000",
    "timezone_aware": "a time with an offset such as 2024-01-01T00:00:00Z",
    "value_error": "{error}",
}
"""What is allowed, by pydantic's type of error; the words in braces are its context."""


def _allowed(error: ErrorDetails) -> str:
    template = _ALLOWED.get(error["type"])
    context = {name: _plain(value) for name, value in error.get("ctx", {}).items()}
    return template.format(**context) if template else error["msg"]


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _known_keys(model: type[BaseModel], location: list[int | str]) -> str:
    known = sorted(
        str(field.alias or name) for name, field in _owner(model, location).model_fields.items()
    )
    nearest = difflib.get_close_matches(str(location[-1]), known, n=1)
    suggestion = f'did you mean "{nearest[0]}"? Allowed' if nearest else "allowed"
    return f"{suggestion} are {', '.join(known) or 'none'}"


def _owner(model: type[BaseModel], location: list[int | str]) -> type[BaseModel]:
    """The model that the last part of a location is a key of."""
    for part in location[:-1]:
        for name, field in model.model_fields.items():
            if part in (name, field.alias):
                model = _model_within(field.annotation) or model
    return model


def _model_within(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation is, or holds as a list's or an object's values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    arguments: tuple[Any, ...] = getattr(annotation, "__args__", ())
    return next(filter(None, map(_model_within, arguments)), None)
