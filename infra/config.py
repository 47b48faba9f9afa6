"""The stack's configuration as one typed model.

Everything under ``pipelines:`` in ``Pulumi.<stack>.yaml`` is read here, once, before any resource
is declared; so a mistake ends a preview with a sentence and nothing has changed.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

import pulumi
import pydantic
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import ErrorDetails

from infra import naming
from scheduler.declaration import Declaration, JobDeclaration, JobOptions

NAMESPACE = "pipelines"
"""Prefix of the configuration's keys, and the project's name."""

EXTRACTORS_FOLDER = Path(__file__).resolve().parents[1] / "extractor"

MAX_CPU = 4
MAX_MEMORY_GB = 16
"""Largest container group in every region that has Azure Container Instances without a request for
more: https://learn.microsoft.com/azure/container-instances/container-instances-resource-and-quota-limits.
"""

MIN_CPU = 1
MIN_MEMORY_GB = 1
"""Smallest container group: less is refused for a group, and here each has one container."""

RESERVED_ENVIRONMENT = frozenset(
    {
        "AZURE_CLIENT_ID",
        "IMAGE_DIGEST",
        "JOB_NAME",
        "LAKE_ENDPOINT",
        "LAKE_FILE_SYSTEM",
        "TABLES_ENDPOINT",
    }
)
"""Variables that the deployment sets itself in an extractor's container."""

_RESERVED_FOLDERS = frozenset({"runtime", naming.SCHEDULER_REPOSITORY})


class ConfigurationError(Exception):
    """The configuration is wrong; the text has one sentence for each mistake."""


def _environment_name(name: str) -> str:
    if not naming.is_environment_name(name):
        raise ValueError(f"a name of {naming.ENVIRONMENT_NAME_RULE}")
    if name in RESERVED_ENVIRONMENT:
        raise ValueError(
            "any name but those which the deployment sets itself: "
            + ", ".join(sorted(RESERVED_ENVIRONMENT))
        )
    return name


def _extractor_name(name: str) -> str:
    if not naming.is_container_group_name(name):
        raise ValueError(
            f"a name that Azure Container Instances accepts: {naming.CONTAINER_GROUP_RULE}"
        )
    if name in _RESERVED_FOLDERS:
        raise ValueError(f"any name but {' and '.join(sorted(_RESERVED_FOLDERS))}")
    return name


def _file_system(name: str) -> str:
    if not naming.is_file_system_name(name):
        raise ValueError(f"a name that Azure Storage accepts: {naming.FILE_SYSTEM_RULE}")
    return name


class ExtractorConfig(JobOptions):
    """An extractor: how it is scheduled (see :class:`JobOptions`) and what its container gets.

    Args:
        cpu: cores.
        memory: memory in GB, in steps of 0.1 as Azure takes it.
        environment: variables of the container. Nothing secret: whoever may read the container
            group sees them.
    """

    cpu: Annotated[float, Field(ge=MIN_CPU, le=MAX_CPU)] = 1.0
    memory: Annotated[float, Field(ge=MIN_MEMORY_GB, le=MAX_MEMORY_GB, multiple_of=0.1)] = 1.5
    environment: Mapping[Annotated[str, AfterValidator(_environment_name)], str] = Field(
        default_factory=dict
    )

    def declaration(self, name: str) -> JobDeclaration:
        """What the scheduler is told of the job; its container group is called like the job."""
        options = self.model_dump(include=set(JobOptions.model_fields), exclude_unset=True)
        return JobDeclaration(name=name, container_group=name, **options)


class SchedulerHost(StrEnum):
    """Where the scheduler runs. The code that ticks is the same."""

    FUNCTION = "function"
    """An Azure Function in a container of its own, on an App Service plan."""
    CONTAINER = "container"
    """A container group that always runs."""


class SchedulerConfig(Declaration):
    """The central scheduler.

    Args:
        host: see :class:`SchedulerHost`.
        tick_seconds: seconds between two ticks of a ``container``; a ``function`` ticks once a
            minute.
    """

    host: SchedulerHost = SchedulerHost.FUNCTION
    tick_seconds: Annotated[int, Field(ge=1, le=60)] = 60


class LakeConfig(Declaration):
    """The data lake.

    Args:
        file_system: name of the file system into which every extractor writes.
    """

    file_system: Annotated[str, AfterValidator(_file_system)] = "raw"


class StackConfig(Declaration):
    """Everything under ``pipelines:``.

    Args:
        extractors: by name, which is that of the folder below ``extractor/``.
        base_image: what the images of extractors and of a ``container`` scheduler are built on.
        lake: see :class:`LakeConfig`.
        scheduler: see :class:`SchedulerConfig`.
        tags: put on every resource that takes tags, beside the project's and the stack's name.
    """

    extractors: dict[Annotated[str, AfterValidator(_extractor_name)], ExtractorConfig]
    base_image: Annotated[str, Field(min_length=1)] = "python:3.11-slim"
    lake: LakeConfig = LakeConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    tags: Mapping[str, str] = Field(default_factory=dict)

    @classmethod
    def load(cls) -> Self:
        """Read the configuration of the running stack.

        Raises:
            ConfigurationError: see :meth:`parse`.
        """
        prefix = f"{NAMESPACE}:"
        values = pulumi.runtime.config.CONFIG.get().items()  # pulumi.Config lists no keys
        return cls.parse(
            {key.removeprefix(prefix): value for key, value in values if key.startswith(prefix)}
        )

    @classmethod
    def parse(cls, values: Mapping[str, str], folder: Path = EXTRACTORS_FOLDER) -> Self:
        """Check configuration as the engine hands it over: objects and lists as JSON text.

        Args:
            values: by key, without the prefix ``pipelines:``.
            folder: where the extractors' folders are.

        Raises:
            ConfigurationError: a key is unknown or missing, or a value is not allowed.
        """
        try:
            config = cls.model_validate({key: _decoded(value) for key, value in values.items()})
        except pydantic.ValidationError as error:
            raise ConfigurationError(
                "\n".join(_sentence(cls, detail) for detail in error.errors())
            ) from None
        _check_folders(config.extractors, folder)
        return config


def _decoded(value: str) -> Any:
    # The engine writes an object or a list as JSON and everything else as its plain text.
    return json.loads(value) if value.startswith(("{", "[")) else value


def _check_folders(names: Iterable[str], folder: Path) -> None:
    missing = [name for name in names if not (folder / name / "Dockerfile").is_file()]
    if missing:
        raise ConfigurationError(
            "\n".join(
                f"{NAMESPACE}:extractors.{name} has no extractor/{name}/Dockerfile; allowed is the "
                f"name of a folder below extractor/ with a Dockerfile: {_found(folder)}."
                for name in missing
            )
        )


def _found(folder: Path) -> str:
    return ", ".join(sorted(path.parent.name for path in folder.glob("*/Dockerfile"))) or "none yet"


# Sentences


def _sentence(model: type[BaseModel], error: ErrorDetails) -> str:
    """One sentence that names the key, its value and what is allowed."""
    location = [part for part in error["loc"] if part != "[key]"]
    key = f"{NAMESPACE}:" + ".".join(str(part) for part in location)
    if error["type"] == "missing":
        return f"{key} is missing; it is required."
    if error["type"] == "extra_forbidden":
        return f"{key} is not a known key; {_known_keys(model, location)}."
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
    "string_too_short": "a text that is not empty",
    "string_type": "a text; put a number or a word such as true in quotes",
    "time_delta_parsing": "an ISO 8601 duration such as PT10M or P1D",
    "time_delta_type": "an ISO 8601 duration such as PT10M or P1D",
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
    return f"{suggestion} are {', '.join(known)}"


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
