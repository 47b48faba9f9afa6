"""Signs Docker in to an Azure container registry without a password of the registry."""

from __future__ import annotations

import subprocess

import requests

AZURE_RESOURCE_MANAGER = "https://management.azure.com/"
AZURE_REGISTRIES = ".azurecr.io"

NO_USER = "00000000-0000-0000-0000-000000000000"
"""The user name that says that the password is a token."""

_TIMEOUT_S = 60


class SignInError(Exception):
    """Docker could not be signed in; the text is one sentence that says why."""


def sign_in(server: str, access_token: str) -> None:
    """Exchange a token for Azure for one of the registry, and hand that to Docker.

    Args:
        server: the registry's login server.
        access_token: for Azure Resource Manager, of an identity that may push.

    Raises:
        SignInError: the registry or Docker refused.

    Source: https://learn.microsoft.com/azure/container-registry/container-registry-authentication.
    """
    password = _registry_token(server, access_token)
    command = ["docker", "login", server, "--username", NO_USER, "--password-stdin"]
    try:
        subprocess.run(
            command, input=password, text=True, capture_output=True, check=True, timeout=_TIMEOUT_S
        )
    except FileNotFoundError:
        raise SignInError("The command docker is missing; install Docker to push images.") from None
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SignInError(f"Docker could not sign in to {server}: {reason}") from None


def _registry_token(server: str, access_token: str) -> str:
    answer = requests.post(
        f"https://{server}/oauth2/exchange",
        data={"grant_type": "access_token", "service": server, "access_token": access_token},
        timeout=_TIMEOUT_S,
    )
    if not answer.ok:
        raise SignInError(
            f"{server} answered {answer.status_code} to this Azure identity; it needs the role "
            "AcrPush or Contributor on the registry."
        )
    return str(answer.json()["refresh_token"])
