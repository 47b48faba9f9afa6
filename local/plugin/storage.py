"""The data lake's file systems and the tables of a local storage account.

They are created with Azure's own clients, over HTTPS and with a token of this stack.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from azure.core.credentials import AccessToken
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

from local.azure.identity import TENANT_ID, TOKEN_LIFETIME_S, TokenAuthority
from local.plugin.ids import guid
from local.settings import Settings

# Each takes a part of a second, and the engine starts the plugin for every operation, of which few
# touch storage; so they are imported by who makes a client.
if TYPE_CHECKING:
    from azure.data.tables import TableServiceClient
    from azure.storage.filedatalake import DataLakeServiceClient


class PlatformCredential:
    """Tokens of this stack's identity service for the user of this machine, who owns its key."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def get_token(self, *scopes: str, **_options: Any) -> AccessToken:
        """A token for the resource of the first scope; Azure's clients keep it until it expires."""
        now = int(time.time())
        token = TokenAuthority.of(self._settings).issue(
            scopes[0].removesuffix("/.default"), guid(TENANT_ID, "user"), now=now
        )
        return AccessToken(token, now + TOKEN_LIFETIME_S)


class LocalStorage:
    """File systems and tables, by the name of their account."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._credential = PlatformCredential(settings)

    def create_file_system(self, account: str, name: str) -> None:
        """Create a file system (a blob container); one that exists is taken over."""
        with self._lake(account) as lake, contextlib.suppress(ResourceExistsError):
            lake.create_file_system(name)

    def has_file_system(self, account: str, name: str) -> bool:
        with self._lake(account) as lake:
            return lake.get_file_system_client(name).exists()

    def delete_file_system(self, account: str, name: str) -> None:
        """Delete a file system with all that is in it."""
        with self._lake(account) as lake, contextlib.suppress(ResourceNotFoundError):
            lake.delete_file_system(name)

    def create_table(self, account: str, name: str) -> None:
        """Create a table; one that exists is taken over."""
        with self._tables(account) as tables:
            tables.create_table_if_not_exists(name)

    def has_table(self, account: str, name: str) -> bool:
        with self._tables(account) as tables:
            found = tables.query_tables("TableName eq @name", parameters={"name": name})
            return any(table.name == name for table in found)

    def delete_table(self, account: str, name: str) -> None:
        """Delete a table with all its rows."""
        with self._tables(account) as tables:
            tables.delete_table(name)

    def _lake(self, account: str) -> DataLakeServiceClient:
        from azure.storage.filedatalake import DataLakeServiceClient  # noqa: PLC0415 - see above

        return DataLakeServiceClient(
            f"{self._settings.azure_url()}/{account}",
            credential=self._credential,
            connection_verify=str(self._settings.certificate_bundle),
        )

    def _tables(self, account: str) -> TableServiceClient:
        from azure.data.tables import TableServiceClient  # noqa: PLC0415 - see above

        return TableServiceClient(
            f"{self._settings.azure_url()}/tables/{account}",
            credential=self._credential,
            connection_verify=str(self._settings.certificate_bundle),
        )
