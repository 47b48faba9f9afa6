"""The reference of the stack's configuration in docs/configuration.md, from its JSON Schema.

``make schema`` writes it between two comments of the page; what is around them is written by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.config import NAMESPACE
from infra.policies import POLICIES
from infra.schema import stack_schema

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
BEGIN = "<!-- Written by `make schema` from infra/config.py; what you change here is lost. -->"
END = "<!-- The end of what `make schema` writes. -->"

Schema = Mapping[str, Any]

_WORDS = {
    "boolean": "true or false",
    "date-time": "time",
    "duration": "duration",
    "integer": "whole number",
    "number": "number",
    "object": "object",
    "string": "text",
    "uuid": "UUID",
}
"""What people call the schema's types and formats."""

_HEAD = ("key", "type", "default", "allowed", "meaning")


def page(text: str) -> str:
    """The page's text with the reference of today."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{reference()}\n{rules()}\n{END}{after}"


def reference() -> str:
    """A section for each object of the configuration, with a row for each of its keys."""
    schema = stack_schema()
    config = schema["properties"]["config"]
    own = {
        key.removeprefix(f"{NAMESPACE}:"): value
        for key, value in config["properties"].items()
        if key.startswith(f"{NAMESPACE}:")
    }
    required = [key.removeprefix(f"{NAMESPACE}:") for key in config["required"]]
    top = {"properties": own, "required": required}
    return "\n".join(_Reference(schema["$defs"]).section("", top))


def rules() -> str:
    """A row for each policy, with its source."""
    rows = [
        f"| [{each.name}]({each.source}) | `{each.type}` | `{each.path or 'publicNetworkAccess'}` "
        f"| {each.wanted} |"
        for each in POLICIES
    ]
    head = ["## Policies", "", "| policy | resource | property | allowed |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, ""])


class _Reference:
    """Renders objects of a schema.

    Args:
        definitions: what its references lead to.
    """

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions

    def section(self, path: str, schema: Schema) -> Iterator[str]:
        """The lines of an object at a path, and of those within it."""
        yield f"## `{NAMESPACE}:{path}`" if path else "## All keys"
        yield ""
        yield f"| {' | '.join(_HEAD)} |"
        yield f"|{'---|' * len(_HEAD)}"
        inner: dict[str, Schema] = {}
        for key, value in schema["properties"].items():
            resolved = self._resolved(value)
            yield self._row(key, resolved, required=key in schema.get("required", []))
            inner |= self._objects(f"{path}.{key}" if path else key, resolved)
        yield ""
        if choice := schema.get("oneOf"):
            keys = [f"`{each['required'][0]}`" for each in choice]
            yield f"Exactly one of {', '.join(keys[:-1])} and {keys[-1]} is required."
            yield ""
        for each, value in inner.items():
            yield from self.section(each, value)

    def _row(self, key: str, schema: Schema, *, required: bool) -> str:
        cells = (
            f"`{key}`",
            self._type(schema),
            "required" if required else _default(schema),
            self._allowed(schema),
            self._meaning(schema),
        )
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    def _resolved(self, schema: Schema) -> Schema:
        """A schema with what its reference leads to; of a value or nothing, the value."""
        if "anyOf" in schema:
            value = next(each for each in schema["anyOf"] if each != {"type": "null"})
            return {**self._resolved(value), **_own(schema)}
        if "$ref" in schema:
            definition = self._definitions[schema["$ref"].rpartition("/")[2]]
            name = schema["$ref"].rpartition("/")[2]
            return {**definition, **_own(schema), "name": name}
        return schema

    def _objects(self, path: str, schema: Schema) -> dict[str, Schema]:
        """The objects with known keys that a value is or holds, by their paths."""
        if "properties" in schema:
            return {path: schema}
        held = self._resolved(schema.get("additionalProperties") or {})
        return {f"{path}.<name>": held} if "properties" in held else {}

    def _type(self, schema: Schema) -> str:
        if "items" in schema:
            return f"list of {self._type(self._resolved(schema['items']))}s"
        if isinstance(schema.get("additionalProperties"), dict):
            held = self._resolved(schema["additionalProperties"])
            return f"{self._type(held)}s by name"
        if "enum" in schema:
            return "time zone" if schema["name"] == "TimeZone" else "choice"
        return _WORDS[schema.get("format", schema["type"])]

    def _allowed(self, schema: Schema) -> str:
        """What is allowed beside what the type says."""
        rules = [*_numbers(schema)]
        if "name" in schema and schema["name"] == "TimeZone":
            rules.append("an IANA time zone such as `UTC` or `Europe/Berlin`")
        elif "enum" in schema:
            rules.append(", ".join(f"`{each}`" for each in schema["enum"]))
        if "patternErrorMessage" in schema:
            rules.append(_rule(schema))
        if "not" in schema and schema.get("format") == "duration":
            rules.append("above zero")
        if names := schema.get("propertyNames"):
            rules.append(f"names: {_rule(names)}")
        for held in (schema.get("items"), schema.get("additionalProperties")):
            if isinstance(held, dict):
                rules += filter(None, [self._allowed(self._resolved(held))])
        return "; ".join(rules)

    def _meaning(self, schema: Schema) -> str:
        text = str(schema["description"]).rstrip(".") + "."
        choices = zip(schema.get("enum", []), schema.get("enumDescriptions", []), strict=False)
        return "<br>".join([text, *(f"`{value}`: {meaning}" for value, meaning in choices)])


def _own(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key not in ("anyOf", "$ref")}


def _default(schema: Schema) -> str:
    if "properties" in schema or isinstance(schema.get("default"), dict):
        return ""
    default = schema.get("default")
    return "" if default in (None, []) else f"`{_written(default)}`"


def _written(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _numbers(schema: Schema) -> Iterator[str]:
    match schema:
        case {"minimum": low, "maximum": high}:
            yield f"{low:g} to {high:g}"
        case {"minimum": low}:
            yield f"at least {low:g}"
        case {"maximum": high}:
            yield f"at most {high:g}"
    if "multipleOf" in schema:
        yield f"a multiple of {schema['multipleOf']:g}"


def _rule(schema: Schema) -> str:
    return str(schema.get("patternErrorMessage", "")).removeprefix("allowed is ")
