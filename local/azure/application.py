"""The two applications of local Azure: one for HTTPS, one for plain HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from local.azure import arm, identity, storage, vault, weather
from local.azure.azurite import Azurite
from local.azure.datalake import DataLake
from local.azure.identity import AuthenticationError, TokenAuthority
from local.settings import Settings

SUBSCRIPTIONS_PREFIX = "/subscriptions"


class _AccountConvertor(StringConvertor):
    """The name of a storage account: 3 to 24 lower-case letters and digits."""

    regex = "[a-z0-9]{3,24}"


register_url_convertor("account", _AccountConvertor())


def azure_application(settings: Settings) -> Starlette:
    """Azure Resource Manager, key vaults and the storage account; every call needs a token."""

    @asynccontextmanager
    async def lifespan(application: Starlette) -> AsyncIterator[None]:
        azurite = Azurite(settings)
        application.state.azurite = azurite
        application.state.lake = DataLake(azurite)
        yield
        await azurite.close()

    application = Starlette(
        routes=[_health_route(), *arm.routes(settings), *vault.routes(settings), *storage.routes()],
        lifespan=lifespan,
        exception_handlers={
            AuthenticationError: _unauthorized,
            httpx.TransportError: _storage_unavailable,
        },
    )
    # A slash at the end is part of a storage path; a redirect would lose the request's body.
    application.router.redirect_slashes = False
    application.state.authority = TokenAuthority.of(settings)
    return application


def platform_application(settings: Settings) -> Starlette:
    """Identity tokens and weather."""
    application = Starlette(routes=[_health_route(), *identity.routes(), *weather.routes()])
    application.state.authority = TokenAuthority.of(settings)
    return application


def _health_route() -> Route:
    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Route("/health", health)


async def _unauthorized(request: Request, error: Exception) -> Response:
    assert isinstance(error, AuthenticationError)  # noqa: S101 - what the handler is registered for
    if request.url.path.startswith(vault.PREFIX):
        return vault.unauthorized(error)
    if not request.url.path.startswith(SUBSCRIPTIONS_PREFIX):
        return storage.unauthorized(request, error)
    return JSONResponse(
        {"error": {"code": "AuthenticationFailed", "message": str(error)}},
        status_code=401,
        headers={"WWW-Authenticate": error.challenge},
    )


async def _storage_unavailable(_: Request, error: Exception) -> Response:
    # Clients try a 503 again, as they do when the service itself restarts.
    return JSONResponse(
        {"error": {"code": "ServerBusy", "message": f"Azurite does not answer: {error}"}},
        status_code=503,
        headers={"x-ms-error-code": "ServerBusy"},
    )
