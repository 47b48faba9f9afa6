"""Who calls an HTTP function, as App Service authentication tells it.

Source: https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities. App
Service removes these headers from what callers send, and sets them itself once it has checked a
token; so they are worth nothing where its authentication is off.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping

ENABLED_SETTING = "WEBSITE_AUTH_ENABLED"
"""``True`` where App Service authentication is on; set by the platform, see
https://learn.microsoft.com/azure/app-service/reference-app-settings#authentication--authorization."""

_PRINCIPAL = "x-ms-client-principal"
_ID = "x-ms-client-principal-id"
_NAME = "x-ms-client-principal-name"

_ID_CLAIMS = ("http://schemas.microsoft.com/identity/claims/objectidentifier", "oid")


def caller(headers: Mapping[str, str], environment: Mapping[str, str]) -> str | None:
    """Name and object id of the caller; ``None`` where there is no proof of who it is.

    Args:
        headers: of the request; the case of their names does not matter.
        environment: of the process.
    """
    if environment.get(ENABLED_SETTING, "").lower() != "true":
        return None
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    claims = _claims(lower.get(_PRINCIPAL, ""))
    named_by_claims = next((claims[each] for each in _ID_CLAIMS if each in claims), None)
    object_id = lower.get(_ID) or named_by_claims
    if not object_id:
        return None
    name = lower.get(_NAME) or claims.get("")
    return f"{name} ({object_id})" if name and name != object_id else object_id


def _claims(principal: str) -> dict[str, str]:
    """The claims by type; under the empty type the one that App Service says is the name."""
    try:
        decoded = json.loads(base64.b64decode(principal, validate=True))
        claims = {str(each["typ"]): str(each["val"]) for each in decoded["claims"]}
        name = claims.get(str(decoded.get("name_typ")))
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return claims if name is None else {**claims, "": name}
