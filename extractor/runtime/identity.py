"""Who this process is, to Azure."""

from __future__ import annotations

from azure.identity import DefaultAzureCredential, ManagedIdentityCredential


def credential_of(client_id: str | None) -> ManagedIdentityCredential | DefaultAzureCredential:
    """The user-assigned identity; without one, what azure-identity finds on the machine."""
    return ManagedIdentityCredential(client_id=client_id) if client_id else DefaultAzureCredential()
