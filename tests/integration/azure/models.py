"""What Azure's own SDK says of the body of a request: the models of the ``azure-mgmt`` packages.

They are generated from Azure's API specifications, in two styles. The older one lists the place of
each attribute in the body and the rules on its value; the newer one follows the body's structure
and knows types and what is required, but no rules on lengths and patterns.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any

import isodate

Model = Any
"""One of the packages' classes, which have no common base and no types."""


@dataclass(frozen=True)
class Field:
    """A property of a body.

    Args:
        path: its place in the body, such as ``("properties", "osType")``.
        names: what it is called, also by those who flatten the body, in lower case and without
            underscores.
        annotation: its type.
        required: whether it may not be left out where what holds it is there.
        read_only: whether only Azure sets it.
        rules: arguments of the SDK's own check of values, such as ``max_length``.
    """

    path: tuple[str, ...]
    names: frozenset[str]
    annotation: Any
    required: bool
    read_only: bool
    rules: Mapping[str, Any]


@dataclass
class Findings:
    """What came out of checking one body.

    Args:
        problems: one clause each, which begins with the property.
        listed: properties whose value has to be one of a list.
        ruled: properties with a rule on their length, pattern or range.
        required: properties that may not be left out.
        checked: properties, objects and elements of lists whose type was checked.
    """

    problems: list[str] = field(default_factory=list)
    listed: set[str] = field(default_factory=set)
    ruled: set[str] = field(default_factory=set)
    required: set[str] = field(default_factory=set)
    checked: set[str] = field(default_factory=set)


def body(inputs: Mapping[str, Any], model: Model, findings: Findings, path: str = "") -> Any:
    """The body that holds a resource's inputs, which is flatter than Azure's API.

    Args:
        inputs: by their names on the wire, without those that are part of the URL.
        model: of the body, or of an object within it.
        findings: is filled in.
        path: of the object, for the findings.
    """
    known = fields(model)
    result: dict[str, Any] = {}
    for name, value in inputs.items():
        place = f"{path}.{name}" if path else name
        found = _find(known, name)
        if found is None:
            findings.problems.append(f"{place} is not a property of {model.__name__}")
        elif found.read_only:
            findings.problems.append(f"{place} is read-only")
        else:
            _put(result, found.path, _value(value, found, model, findings, place))
    for each in known:
        if each.required and not each.read_only:
            _require(each, result, findings, path)
    return result


def _require(each: Field, result: Mapping[str, Any], findings: Findings, path: str) -> None:
    place = f"{path}.{each.path[-1]}" if path else each.path[-1]
    inside: Any = result
    for name in each.path:
        inside = inside.get(name) if isinstance(inside, Mapping) else None
    findings.required.add(place)
    if inside is None:
        findings.problems.append(f"{place} is missing")


def _find(known: list[Field], name: str) -> Field | None:
    candidates = [each for each in known if _bare(name) in each.names]
    return min(candidates, key=lambda each: len(each.path), default=None)


def _put(result: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    *above, last = path
    for name in above:
        result = result.setdefault(name, {})
    result[last] = value


def _value(value: Any, found: Field, model: Model, findings: Findings, place: str) -> Any:
    if found.rules:
        findings.ruled.add(place)
        broken = broken_rules(_serializer(model), value, found.rules)
        findings.problems += [f"{place} {one}" for one in broken]
    return _typed(value, found.annotation, _namespace(model), findings, place)


def _typed(value: Any, annotation: Any, models: Any, findings: Findings, place: str) -> Any:
    findings.checked.add(place)
    options = list(_options(annotation, models))
    enumerations = [one for one in options if isinstance(one, type) and issubclass(one, Enum)]
    if enumerations:
        findings.listed.add(place)
        allowed = [member.value for member in enumerations[0]]
        if value not in allowed:
            findings.problems.append(f"{place} is {value!r}; allowed is one of {allowed}")
        return value
    (option,) = options
    origin = typing.get_origin(option)
    if origin is list and isinstance(value, list):
        (item,) = typing.get_args(option)
        return [
            _typed(one, item, models, findings, f"{place}[{index}]")
            for index, one in enumerate(value)
        ]
    if origin is dict and isinstance(value, list):
        # A list of ids, for which Azure takes a map with nothing behind each.
        findings.problems += [
            f"{place} is {one!r}; allowed is an id" for one in value if not isinstance(one, str)
        ]
        value = {str(one): {} for one in value}
    if origin is dict and isinstance(value, dict):
        _, item = typing.get_args(option)
        return {
            key: _typed(one, item, models, findings, f'{place}["{key}"]')
            for key, one in value.items()
        }
    if _is_model(option) and isinstance(value, dict):
        return body(value, option, findings, place)
    if option not in _ACCEPTS or not _ACCEPTS[option](value):
        name = getattr(option, "__name__", str(option))
        findings.problems.append(f"{place} is {value!r}; allowed is a value of type {name}")
    return value


def _options(annotation: Any, models: Any) -> Iterator[Any]:
    """The types of a property, out of options, unions and names that are yet to be looked up."""
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        annotation = eval(annotation, {**vars(typing), "_models": models, "JSON": Any})  # noqa: S307
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        options = [
            one
            for option in typing.get_args(annotation)
            for one in _options(option, models)
            if one is not type(None)
        ]
        # Beside an enumeration or an object, text stands for values that are yet to come.
        yield from [one for one in options if one is not str] or options
    else:
        yield annotation


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parses(parse: Callable[[str], object]) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        try:
            parse(value)
        except (ValueError, TypeError, isodate.ISO8601Error):
            return False
        return True

    return accepts


_ACCEPTS: Mapping[Any, Callable[[Any], bool]] = {
    str: _is_text,
    bool: lambda value: isinstance(value, bool),
    int: lambda value: _is_number(value) and value == int(value),
    float: _is_number,
    datetime: _parses(isodate.parse_datetime),
    date: _parses(isodate.parse_date),
    timedelta: _parses(isodate.parse_duration),
    Any: lambda _: True,
}


def _is_model(option: Any) -> bool:
    # Each package brings a copy of their base.
    return isinstance(option, type) and any(base.__name__ == "Model" for base in option.__mro__)


def _namespace(model: Model) -> Any:
    """The module ``models`` of a model's package, by whose names annotations refer to others."""
    return sys.modules[model.__module__.rpartition(".")[0]]


def broken_rules(serializer: Any, value: Any, rules: Mapping[str, Any]) -> Iterator[str]:
    """What the SDK's rules have against a value, such as ``max_length is 24``.

    Args:
        serializer: the package's, which knows what the rules mean.
        value: what is sent.
        rules: limits by the rule's name; what is no rule is left out.
    """
    for name in rules.keys() & serializer.validation.keys():
        # A value of another type is reported as that.
        with contextlib.suppress(TypeError):
            if serializer.validation[name](value, rules[name]):
                yield f"is {value!r}, and its {name} is {rules[name]}"


def _serializer(model: Model) -> Any:
    """The package's copy of the SDK's serializer; the base of its models is beside it."""
    modules = map(inspect.getmodule, model.__mro__)
    return next(filter(None, (getattr(each, "Serializer", None) for each in modules)))


@functools.cache
def fields(model: Model) -> list[Field]:
    """The properties of a model, those of the object ``properties`` among them."""
    if hasattr(model, "_attribute_map"):
        return list(_older(model))
    return list(_newer(model))


def _older(model: Model) -> Iterator[Field]:
    annotations = {
        name: one.annotation for name, one in inspect.signature(model.__init__).parameters.items()
    }
    for attribute, place in model._attribute_map.items():
        path = tuple(one.replace("\\.", ".") for one in re.split(r"(?<!\\)\.", place["key"]))
        rules = dict(model._validation.get(attribute, {}))
        read_only = rules.pop("readonly", False)
        yield Field(
            path=path,
            names=frozenset({_bare(attribute), _bare(path[-1])}),
            annotation=annotations.get(attribute, Any),
            required=rules.pop("required", False),
            read_only=read_only,
            rules={name: rule for name, rule in rules.items() if name != "constant"},
        )


def _newer(model: Model) -> Iterator[Field]:
    model({})  # The fields are put together when the first is made.
    annotations: dict[str, Any] = {}
    for each in reversed(model.__mro__):
        annotations |= getattr(each, "__annotations__", {})
    for attribute, rest in model._attr_to_rest_field.items():
        annotation = annotations[attribute]
        name = rest._rest_name
        required = not _is_optional(annotation)
        yield Field(
            path=(name,),
            names=frozenset({_bare(attribute), _bare(name)}),
            annotation=annotation,
            required=required,
            read_only=rest._visibility == ["read"],
            rules={},
        )
        if name == "properties":
            (inner,) = _options(annotation, _namespace(model))
            for below in fields(inner):
                yield Field(
                    path=(name, *below.path),
                    names=below.names,
                    annotation=below.annotation,
                    required=below.required and required,
                    read_only=below.read_only,
                    rules=below.rules,
                )


def _is_optional(annotation: Any) -> bool:
    return type(None) in typing.get_args(annotation)


def _bare(name: str) -> str:
    return name.replace("_", "").lower()
