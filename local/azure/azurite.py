"""The connection to Azurite, which keeps the blobs and tables of a local stack.

Azurite listens on loopback and knows one account, a well-known one for development. The front calls
it with a shared access signature of that account, whatever account a client named.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import httpx
from azure.core.credentials import AzureNamedKeyCredential
from azure.data.tables import AccountSasPermissions as TablePermissions
from azure.data.tables import ResourceTypes as TableResourceTypes
from azure.data.tables import generate_account_sas as generate_table_sas
from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

from local.settings import Settings

ACCOUNT = "devstoreaccount1"
# Not a secret: every copy of Azurite has it, see
# https://learn.microsoft.com/azure/storage/common/storage-use-azurite#well-known-storage-account-and-key
_ACCOUNT_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

_SIGNATURE_LIFETIME = timedelta(hours=1)
_IDLE_CONNECTION_S = 2.0
"""Below the 5 s after which Node closes an idle connection: no request meets a closed one."""

_HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
        "transfer-encoding", "upgrade", "proxy-connection",
    }
)  # fmt: skip
"""Headers that concern one connection only (RFC 9110, section 7.6.1)."""

_NOT_FORWARDED = _HOP_BY_HOP | {"host", "authorization", "expect"}


class Service(StrEnum):
    """A service of the storage account."""

    BLOB = "blob"
    TABLE = "table"


class Azurite:
    """An HTTP client of the stack's Azurite. Close it after use."""

    def __init__(self, settings: Settings) -> None:
        self._ports = {Service.BLOB: settings.blob_port, Service.TABLE: settings.table_port}
        self._client = httpx.AsyncClient(
            trust_env=False,  # a proxy in the environment must not see loopback traffic
            timeout=httpx.Timeout(60.0),
            limits=httpx.Limits(max_connections=200, keepalive_expiry=_IDLE_CONNECTION_S),
        )
        # Azurite must see the headers of its caller and none of httpx's own.
        self._client.headers.clear()

    async def close(self) -> None:
        await self._client.aclose()

    def url(self, service: Service, path: str, query: str = "") -> httpx.URL:
        """A signed address.

        Args:
            service: blobs or tables.
            path: percent-encoded, below the account and without its leading slash.
            query: percent-encoded, or empty.
        """
        parameters = f"{query}&{_signature(service)}" if query else _signature(service)
        return httpx.URL(f"http://127.0.0.1:{self._ports[service]}/{ACCOUNT}/{path}?{parameters}")

    async def stream(
        self,
        method: str,
        service: Service,
        path: str,
        query: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
    ) -> httpx.Response:
        """Send a request and return the response with its body unread; the caller closes it.

        Raises:
            httpx.TransportError: Azurite does not answer.
        """
        request = self._client.build_request(
            method, self.url(service, path, query), headers=headers, content=content
        )
        return await self._client.send(request, stream=True)

    async def send(
        self,
        method: str,
        service: Service,
        path: str,
        query: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
    ) -> httpx.Response:
        """Like :meth:`stream`, with the body read."""
        response = await self.stream(method, service, path, query, headers=headers, content=content)
        await response.aread()
        await response.aclose()
        return response


def end_to_end(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers to pass on: without those of one connection and the credentials."""
    return {name: value for name, value in headers if name.lower() not in _NOT_FORWARDED}


def _signature(service: Service) -> str:
    expiry = datetime.now(UTC) + _SIGNATURE_LIFETIME
    if service is Service.TABLE:
        return generate_table_sas(
            AzureNamedKeyCredential(ACCOUNT, _ACCOUNT_KEY),
            TableResourceTypes(service=True, container=True, object=True),
            TablePermissions(
                read=True, write=True, delete=True, list=True, add=True, create=True, update=True
            ),
            expiry,
        )
    return generate_account_sas(
        ACCOUNT,
        _ACCOUNT_KEY,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions(
            read=True, write=True, delete=True, list=True, add=True, create=True, update=True
        ),
        expiry,
    )
