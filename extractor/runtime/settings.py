"""Settings from environment variables, checked before anything is done with them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Json,
    SecretStr,
    UrlConstraints,
    ValidationError,
)
from pydantic_core import Url

from extractor.runtime import secrets

_SHOWN_CHARACTERS = 100

HttpsUrl = Annotated[Url, UrlConstraints(allowed_schemes=["https"], host_required=True)]
"""Azure's clients send a token over HTTPS only."""


class SettingError(ValueError):
    """An environment variable is missing or wrong; the text is one sentence for its author."""


class Settings(BaseModel):
    """Base of an extractor's settings: the field ``stations`` is the variable ``STATIONS``.

    A name under ``secrets`` in the stack's configuration is read in the same way, from the key
    vault in place of the environment. Declare such a field as ``SecretStr``, which is never shown.

    Give each field a ``description`` that completes "it must be …": it is what a person reads when
    the variable is wrong.
    """

    model_config = ConfigDict(frozen=True, alias_generator=str.upper, extra="ignore")

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read and check all fields. An empty variable counts as one that is not set.

        Args:
            environment: in place of the process's own and the run's secrets.

        Raises:
            SettingError: names the first variable that is wrong, its value and what is allowed.
        """
        if environment is None:
            environment = {**os.environ, **secrets.held()}
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
        kind = "secret" if variable in secrets.held() else "environment variable"
        value = environment.get(variable)
        if not value:
            return f"The {kind} {variable} is not set; {allowed}."
        shown = secrets.MASK if field.annotation is SecretStr else repr(_shortened(value))
        place = f"{'.'.join(inner)}: " if inner else ""
        detail = first["msg"].removeprefix("Value error, ")
        return secrets.mask(f"The {kind} {variable} is {shown}; {allowed} ({place}{detail}).")


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
        key_vault_url: of the vault with the extractor's secrets; without it, settings are read from
            the environment alone.
        secrets: names in the vault, by the names under which the extractor asks for them.
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
    key_vault_url: HttpsUrl | None = Field(
        default=None, description="the https address of the stack's key vault"
    )
    secrets: Json[Mapping[str, str]] = Field(
        default_factory=dict, description="a JSON object of names in the vault by those of settings"
    )
