"""Settings from environment variables, checked before anything is done with them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, UrlConstraints, ValidationError
from pydantic_core import Url

_SHOWN_CHARACTERS = 100

HttpsUrl = Annotated[Url, UrlConstraints(allowed_schemes=["https"], host_required=True)]
"""Azure's clients send a token over HTTPS only."""


class SettingError(ValueError):
    """An environment variable is missing or wrong; the text is one sentence for its author."""


class Settings(BaseModel):
    """Base of an extractor's settings: the field ``stations`` is the variable ``STATIONS``.

    Give each field a ``description`` that completes "it must be …": it is what a person reads when
    the variable is wrong. A field of type ``SecretStr`` is never shown.
    """

    model_config = ConfigDict(frozen=True, alias_generator=str.upper, extra="ignore")

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read and check all fields. An empty variable counts as one that is not set.

        Raises:
            SettingError: names the first variable that is wrong, its value and what is allowed.
        """
        try:
            return cls.model_validate({name: value for name, value in environment.items() if value})
        except ValidationError as error:
            raise SettingError(cls._sentence(error, environment)) from None

    @classmethod
    def _sentence(cls, error: ValidationError, environment: Mapping[str, str]) -> str:
        first = error.errors(include_url=False, include_context=False)[0]
        variable, *inner = (str(part) for part in first["loc"])
        field = cls.model_fields[variable.lower()]
        allowed = f"it must be {field.description or 'set'}"
        value = environment.get(variable)
        if not value:
            return f"The environment variable {variable} is not set; {allowed}."
        shown = "***" if field.annotation is SecretStr else repr(_shortened(value))
        place = f"{'.'.join(inner)}: " if inner else ""
        detail = first["msg"].removeprefix("Value error, ")
        return f"The environment variable {variable} is {shown}; {allowed} ({place}{detail})."


def _shortened(value: str) -> str:
    return value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"


class RuntimeSettings(Settings):
    """What the deployment tells every extractor.

    Args:
        job_name: name of its job, and of its folder in the lake.
        image_digest: of the image that runs, for the manifest and the run's row.
        tables_endpoint: of the storage account's tables.
        lake_endpoint: of the storage account's Data Lake.
        lake_file_system: where the data goes.
        azure_client_id: of the container's user-assigned identity; without it, azure-identity
            looks for credentials where developers have them.
    """

    job_name: str = Field(
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$",
        max_length=63,
        description="lower-case letters and digits, with single hyphens between, at most 63",
    )
    image_digest: str = Field(
        pattern=r"^sha256:[0-9a-f]{64}$", description="'sha256:' and 64 hexadecimal digits"
    )
    tables_endpoint: HttpsUrl = Field(description="the https address of the account's tables")
    lake_endpoint: HttpsUrl = Field(description="the https address of the account's Data Lake")
    lake_file_system: str = Field(description="the name of the lake's file system")
    azure_client_id: str | None = Field(
        default=None, description="the client id of a user-assigned identity"
    )
