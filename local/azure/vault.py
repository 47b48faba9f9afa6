"""Key vaults: their secrets are what a developer has written into the stack's file.

``.local/secrets/<stack>.yaml`` has a line for each secret, by its name in the vault:

    weather-key: the value

All vaults of a stack have the same secrets, each in one version. The file is read anew for each
request. Protocol: https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import yaml
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.azure.identity import AUTHORIZATION_URI, AuthenticationError, authorize
from local.settings import Settings

PREFIX = "/vaults/"

_VERSION_CHARACTERS = 32


class SecretsFileError(Exception):
    """The developer's file has another form; the text is one sentence."""


def routes(settings: Settings) -> list[Route]:
    """The one call of Key Vault that extractors use: the latest version of a secret."""

    async def secret(request: Request) -> Response:
        authorize(request, (_resource(request),))
        return await run_in_threadpool(_secret, settings.secrets, request)

    path = f"{PREFIX}{{vault}}/secrets/{{name}}"
    return [Route(path, secret), Route(f"{path}/", secret)]


def unauthorized(error: AuthenticationError) -> Response:
    """The challenge from which the client learns what its token has to be for."""
    challenge = f'Bearer authorization="{AUTHORIZATION_URI}", resource="{error.audience}"'
    return _error(401, "Unauthorized", str(error), {"WWW-Authenticate": challenge})


def read(path: Path) -> Mapping[str, str]:
    """The secrets of a file; none where there is no file.

    Raises:
        SecretsFileError: it is not a list of names and texts.
    """
    if not path.exists():
        return {}
    wrong = SecretsFileError(f"{_shown(path)} must have lines of the form name: value.")
    try:
        # Without types: a password of digits stays a text, to its leading zeros.
        content = yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # noqa: S506 - only texts
    except yaml.YAMLError:
        # Its own text quotes the file.
        raise wrong from None
    if not content:
        return {}
    if not isinstance(content, dict) or not all(isinstance(each, str) for each in content.values()):
        raise wrong
    return content


def _resource(request: Request) -> str:
    """What a token must be for: the domain above the vault's host, as the client insists on."""
    return f"https://{request.url.netloc.partition('.')[2]}"


def _secret(path: Path, request: Request) -> Response:
    vault, name = request.path_params["vault"], request.path_params["name"]
    try:
        value = read(path).get(name)
    except SecretsFileError as error:
        return _error(400, "BadParameter", str(error))
    if value is None:
        return _error(404, "SecretNotFound", f"{_shown(path)} has no line for it")
    version = hashlib.sha256(value.encode()).hexdigest()[:_VERSION_CHARACTERS]
    address = f"https://{vault}.vault.azure.net/secrets/{name}/{version}"
    document = {"id": address, "value": value, "attributes": {"enabled": True}}
    return JSONResponse(document, headers={"Cache-Control": "no-store"})


def _shown(path: Path) -> str:
    return f".local/secrets/{path.name}"


def _error(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    body = {"error": {"code": code, "message": message}}
    return JSONResponse(body, status_code=status, headers=headers)
