"""The data lake's file systems and the tables of a local storage account.

They are created as a program in the cloud would create them, with Azure's own SDKs, over HTTPS and
with a token of this stack's identity service.
"""

from __future__ import annotations

from typing import Any

import requests
from azure.core.credentials import AccessToken
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.data.tables import TableServiceClient
from azure.storage.filedatalake import DataLakeServiceClient

from local.azure.identity import TOKEN_PATH, identity_header
from local.settings import Settings

_TOKEN_SECONDS = 10
"""How long the identity service may take; it runs on this machine."""


class PlatformCredential:
    """Tokens from the identity service of this stack, for the user of this machine."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def get_token(self, *scopes: str, **_options: Any) -> AccessToken:
        """Ask for a token; Azure's SDKs keep it until it expires.

        Raises:
            requests.RequestException: the identity service does not run.
        """
        answer = requests.get(
            f"{self._settings.platform_url()}{TOKEN_PATH}",
            params={"resource": scopes[0].removesuffix("/.default"), "api-version": "2019-08-01"},
            headers={"X-IDENTITY-HEADER": identity_header(self._settings)},
            timeout=_TOKEN_SECONDS,
        )
        answer.raise_for_status()
        document = answer.json()
        return AccessToken(document["access_token"], int(document["expires_on"]))


class LocalStorage:
    """File systems and tables, by the name of their account."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._credential = PlatformCredential(settings)

    def create_file_system(self, account: str, name: str) -> None:
        """Create a file system (a blob container); one that exists is taken over."""
        try:
            self._lake(account).create_file_system(name)
        except ResourceExistsError:
            return

    def has_file_system(self, account: str, name: str) -> bool:
        return self._lake(account).get_file_system_client(name).exists()

    def delete_file_system(self, account: str, name: str) -> None:
        """Delete a file system with all that is in it."""
        try:
            self._lake(account).delete_file_system(name)
        except ResourceNotFoundError:
            return

    def create_table(self, account: str, name: str) -> None:
        """Create a table; one that exists is taken over."""
        self._tables(account).create_table_if_not_exists(name)

    def has_table(self, account: str, name: str) -> bool:
        found = self._tables(account).query_tables("TableName eq @name", parameters={"name": name})
        return any(table.name == name for table in found)

    def delete_table(self, account: str, name: str) -> None:
        """Delete a table with all its rows."""
        self._tables(account).delete_table(name)

    def _lake(self, account: str) -> DataLakeServiceClient:
        return DataLakeServiceClient(
            f"{self._settings.azure_url()}/{account}",
            credential=self._credential,
            connection_verify=str(self._settings.certificate_bundle),
        )

    def _tables(self, account: str) -> TableServiceClient:
        return TableServiceClient(
            f"{self._settings.azure_url()}/tables/{account}",
            credential=self._credential,
            connection_verify=str(self._settings.certificate_bundle),
        )
