"""What lets many threads share Azure's clients."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

from azure.core.credentials import AccessToken, TokenCredential
from azure.core.pipeline.transport import HttpTransport, RequestsTransport


class PerThread(HttpTransport[Any, Any]):
    """A transport with connections of each thread's own.

    That of azure-core has one session, and says of itself that it is not safe for threads:
    https://learn.microsoft.com/python/api/azure-core/azure.core.pipeline.transport.requeststransport.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def send(self, request: Any, **options: Any) -> Any:
        return self._own.send(request, **options)

    def open(self) -> None:
        self._own.open()

    def close(self) -> None:
        """Close the calling thread's connections; those of others end with their threads."""
        self._own.close()

    def __enter__(self) -> PerThread:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.close()

    @property
    def _own(self) -> RequestsTransport:
        if not hasattr(self._local, "transport"):
            self._local.transport = RequestsTransport()
        transport: RequestsTransport = self._local.transport
        return transport


class OneAtATime(TokenCredential):
    """A credential that is asked by one thread at a time.

    Whoever had to wait gets what azure-identity has kept by then; else all threads whose token has
    expired would ask the identity's endpoint at once, which refuses what comes too fast.
    """

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential
        self._lock = threading.Lock()

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        with self._lock:
            return self._credential.get_token(*scopes, **options)
