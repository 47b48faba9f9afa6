"""Managed identities: a token endpoint as App Service offers it, and the check of its tokens.

A container asks ``IDENTITY_ENDPOINT`` for a token, with the stack's secret in the header
``X-IDENTITY-HEADER``; azure-identity does so unmodified. Any client id gets a token: local Azure
checks who calls, and knows no role assignments.

Protocol: https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

from __future__ import annotations

import os
import secrets
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.settings import Settings

TENANT_ID = str(uuid.uuid5(uuid.NAMESPACE_DNS, "tenant.local-azure"))
ISSUER = f"https://sts.windows.net/{TENANT_ID}/"
AUTHORIZATION_URI = f"https://login.microsoftonline.com/{TENANT_ID}/oauth2/authorize"

STORAGE_AUDIENCES = ("https://storage.azure.com",)
MANAGEMENT_AUDIENCES = ("https://management.azure.com", "https://management.core.windows.net")

TOKEN_PATH = "/identity/token"  # noqa: S105 - the path, not a token
TOKEN_LIFETIME_S = 3600

_API_VERSION = "2019-08-01"
_ALGORITHM = "HS256"


class AuthenticationError(Exception):
    """A request without a valid bearer token; answered with 401 and a challenge.

    Args:
        reason: one sentence for the caller.
        audience: the resource that a token has to be for.
    """

    def __init__(self, reason: str, audience: str) -> None:
        super().__init__(reason)
        self.audience = audience

    @property
    def challenge(self) -> str:
        """The ``WWW-Authenticate`` header, in the form that the storage clients parse."""
        return f'Bearer authorization_uri="{AUTHORIZATION_URI}" resource_id="{self.audience}"'


@dataclass(frozen=True)
class Principal:
    """Who a valid token speaks for.

    Args:
        client_id: of the managed identity.
        object_id: of its service principal.
        audience: the resource the token is for.
    """

    client_id: str
    object_id: str
    audience: str


@dataclass(frozen=True)
class TokenAuthority:
    """Issues and checks the tokens of one local stack.

    Args:
        key: signs the tokens; at least 32 bytes.
        secret: what a caller of the token endpoint has to present.
    """

    key: str
    secret: str

    @classmethod
    def of(cls, settings: Settings) -> TokenAuthority:
        """The authority of the stack; its secrets are created on first use."""
        return cls(
            key=_secret_file(settings.state / "identity-key"), secret=identity_header(settings)
        )

    def issue(self, resource: str, client_id: str, *, now: int) -> str:
        """A token for ``resource``, valid from ``now`` (seconds since 1970) for an hour."""
        claims = {
            "aud": resource,
            "iss": ISSUER,
            "iat": now,
            "nbf": now,
            "exp": now + TOKEN_LIFETIME_S,
            "appid": client_id,
            "oid": object_id(client_id),
            "tid": TENANT_ID,
            "ver": "1.0",
        }
        return jwt.encode(claims, self.key, algorithm=_ALGORITHM)

    def verify(self, token: str, audiences: Collection[str]) -> Principal:
        """The principal of ``token``.

        Raises:
            jwt.InvalidTokenError: forged, expired, or for another resource.
        """
        claims: dict[str, Any] = jwt.decode(
            token,
            self.key,
            algorithms=[_ALGORITHM],
            issuer=ISSUER,
            # Clients ask for an audience with or without its final slash.
            audience=[form for each in audiences for form in (each, f"{each}/")],
            options={"require": ["exp", "aud", "iss"]},
        )
        return Principal(
            client_id=claims["appid"], object_id=claims["oid"], audience=claims["aud"].rstrip("/")
        )


def object_id(client_id: str) -> str:
    """The object id of the service principal with that client id: the same one every time."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, client_id.lower()))


def identity_header(settings: Settings) -> str:
    """The value of ``IDENTITY_HEADER`` for the stack's containers; created on first use."""
    return _secret_file(settings.state / "identity-header")


def authorize(request: Request, audiences: Collection[str]) -> Principal:
    """Check a request's bearer token.

    Args:
        request: a request to an application whose ``state.authority`` is a ``TokenAuthority``.
        audiences: the resources that a token may be for; the first one is named in a challenge.

    Raises:
        AuthenticationError: no token, or not a valid one for these resources.
    """
    audience = next(iter(audiences))
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise AuthenticationError(
            "The request has no bearer token in its Authorization header.", audience
        )
    authority: TokenAuthority = request.app.state.authority
    try:
        return authority.verify(token.strip(), audiences)
    except jwt.InvalidTokenError as error:
        raise AuthenticationError(f"The bearer token was refused: {error}.", audience) from error


def routes() -> list[Route]:
    """The token endpoint."""
    return [Route(TOKEN_PATH, _token)]


async def _token(request: Request) -> Response:
    authority: TokenAuthority = request.app.state.authority
    presented = request.headers.get("x-identity-header", "")
    if not secrets.compare_digest(presented.encode(), authority.secret.encode()):
        return _refusal(401, "The header X-IDENTITY-HEADER is missing or is not this stack's.")
    query = request.query_params
    if query.get("api-version") != _API_VERSION:
        return _refusal(400, f"The parameter api-version must be {_API_VERSION}.")
    for name in ("resource", "client_id"):
        if not query.get(name):
            # A user-assigned identity has to be named: local containers have no other.
            return _refusal(400, f"The parameter {name} is missing.")
    now = int(time.time())
    return JSONResponse(
        {
            "access_token": authority.issue(query["resource"], query["client_id"], now=now),
            "client_id": query["client_id"],
            "expires_in": str(TOKEN_LIFETIME_S),
            "expires_on": str(now + TOKEN_LIFETIME_S),
            "not_before": str(now),
            "resource": query["resource"],
            "token_type": "Bearer",
        },
        headers={"Cache-Control": "no-store"},
    )


def _refusal(status: int, message: str) -> Response:
    return JSONResponse({"statusCode": status, "message": message}, status_code=status)


def _secret_file(path: Path) -> str:
    """The secret kept in ``path``, readable by its owner alone; created when absent.

    Two processes may ask at once. Each writes a file of its own and links it to the name, which
    works for one of them, so that both read the same complete secret.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass  # the other process was first
        finally:
            draft.unlink()
    return path.read_text()
