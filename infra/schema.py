"""The stack's configuration as a JSON Schema, for editors: completion, checks and explanations.

``make schema`` writes it (see :mod:`infra.write`); each ``Pulumi.<stack>.yaml`` names it in its
first line. It says what :mod:`infra.config` says, from the same types and docstrings. What no
schema can tell, such as whether an extractor has a folder, is checked at preview.
"""

from __future__ import annotations

import json
import re
from enum import Enum
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import docstring_parser
from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from infra.config import NAMESPACE, StackConfig

FILE = Path(__file__).resolve().parents[1] / "Pulumi.schema.json"

DURATION_PATTERN = (
    r"^P(?=.)(\d+W)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?$"  # no years, no months
)
OFFSET_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$"

_ENGINE_KEYS = ("encryptedkey", "encryptionsalt", "environment", "secretsprovider")
"""What the engine itself writes beside ``config``: https://www.pulumi.com/docs/iac/concepts/projects/stack-settings-file/."""

# Else editors would answer a typing error with all of the names.
_TIME_ZONE = {"errorMessage": "allowed is an IANA time zone such as UTC or Europe/Berlin"}

_SEE = re.compile(r"see :class:`~?[\w.]+`\.?\s*")
_ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`")
_CODE = re.compile(r"``([^`]+)``")


def stack_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a file ``Pulumi.<stack>.yaml``."""
    model = _with_time_zones(StackConfig.model_json_schema(schema_generator=_Generator))
    keys = {f"{NAMESPACE}:{key}": value for key, value in model["properties"].items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of a stack",
        "type": "object",
        "properties": {
            **dict.fromkeys(_ENGINE_KEYS, True),
            "config": {
                "type": "object",
                "properties": {
                    "azure-native:location": {
                        "description": "Azure region of all resources, such as westeurope.",
                        "type": "string",
                    },
                    **keys,
                },
                "propertyNames": {
                    "anyOf": [{"enum": [*keys]}, {"not": {"pattern": f"^{NAMESPACE}:"}}]
                },
                "required": [f"{NAMESPACE}:{key}" for key in model["required"]],
            },
        },
        "required": ["config"],
        "additionalProperties": False,
        "$defs": model["$defs"] | {"TimeZone": _TIME_ZONE | {"enum": time_zones()}},
    }


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """What the docstrings of a model and its bases say of each field, by the field's name."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        for parameter in docstring_parser.parse(each.__doc__ or "").params:
            found[parameter.arg_name] = parameter.description or ""
    return {
        name: _plain(_resolved(found[name], field))
        for name, field in model.model_fields.items()
        if name in found
    }


def member_descriptions(enumeration: type[Enum]) -> list[str]:
    """What stands below each member of an enumeration, in their order."""
    documented = docstring_parser.parse_from_object(enumeration).params
    texts = {each.arg_name: _plain(each.description or "") for each in documented}
    return [texts.get(member.name, "") for member in enumeration]


class _Generator(GenerateJsonSchema):
    """Adds to pydantic's schema what the model's docstrings and this project's types say."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        result = super().model_schema(schema)
        model = schema["cls"]
        result["description"] = _summary(model)
        for name, text in descriptions(model).items():
            key = model.model_fields[name].alias or name
            result["properties"][key]["description"] = text
        return result

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        result = super().enum_schema(schema)
        result["description"] = _summary(schema["cls"])
        texts = member_descriptions(schema["cls"])
        return result | ({"enumDescriptions": texts} if any(texts) else {})

    def timedelta_schema(self, schema: core_schema.TimedeltaSchema) -> JsonSchemaValue:
        return super().timedelta_schema(schema) | {
            "pattern": DURATION_PATTERN,
            "patternErrorMessage": "allowed is an ISO 8601 duration such as PT10M or P1D",
        }

    def datetime_schema(self, schema: core_schema.DatetimeSchema) -> JsonSchemaValue:
        return super().datetime_schema(schema) | {
            "pattern": OFFSET_PATTERN,
            "patternErrorMessage": "allowed is a time with an offset such as 2024-01-01T00:00:00Z",
        }

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        result = super().float_schema(schema)
        # Editors divide binary fractions, and refuse 3.7 as no multiple of 0.1.
        result.pop("multipleOf", None)
        return result

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        names = self.generate_inner(schema["keys_schema"]).copy() if "keys_schema" in schema else {}
        names.pop("type", None)
        result = super().dict_schema({**schema, "keys_schema": core_schema.str_schema()})
        return result | ({"propertyNames": names} if names else {})

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's name
        return False


def _with_time_zones(schema: Any) -> Any:
    """Let texts of the format ``time-zone`` refer to the one list of them."""
    match schema:
        case {"format": "time-zone", "type": _, **rest}:
            return {**rest, "$ref": "#/$defs/TimeZone"}
        case dict():
            return {key: _with_time_zones(value) for key, value in schema.items()}
        case list():
            return [_with_time_zones(each) for each in schema]
        case _:
            return schema


def _resolved(text: str, field: FieldInfo) -> str:
    """Put the summary of a class where a description only points to it."""
    target = class_within(field.annotation)
    return _SEE.sub(lambda _: f"{_summary(target)} ", text).strip() if target else text


def class_within(annotation: Any) -> type[BaseModel] | type[Enum] | None:
    """The model or enumeration that an annotation is, or holds as a value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if found := class_within(argument):
            return found
    return None


def _summary(documented: type) -> str:
    return _plain(docstring_parser.parse(documented.__doc__ or "").description or "")


def _plain(text: str) -> str:
    """A docstring's text without its markup, on one line; keys as configuration writes them."""
    text = _ROLE.sub(r"\1", " ".join(text.split()))
    text = _CODE.sub(lambda match: f"`{_as_key(match[1])}`", text)
    return text[:1].upper() + text[1:]


def _as_key(code: str) -> str:
    return to_camel(code) if code in _field_names(StackConfig) else code


@cache
def _field_names(model: type[BaseModel]) -> frozenset[str]:
    """Names of the fields of a model and of the models within it."""
    within = (class_within(field.annotation) for field in model.model_fields.values())
    models = [each for each in within if each and issubclass(each, BaseModel)]
    return frozenset(model.model_fields).union(*map(_field_names, models))


def time_zones() -> list[str]:
    """Names of the time zones of the pinned package tzdata, the same on every machine."""
    return sorted((resources.files("tzdata") / "zones").read_text().split())


def rendered() -> str:
    """The file's content."""
    return json.dumps(stack_schema(), indent=2, ensure_ascii=False) + "\n"
