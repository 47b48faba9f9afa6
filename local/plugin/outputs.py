"""What Azure adds to a resource's inputs, worked out from its id: the same each time."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from local.azure.identity import TENANT_ID, object_id
from local.plugin.bodies import Resource
from local.plugin.ids import guid, resource_type
from local.plugin.values import has_unknown
from local.settings import HOST_ALIAS, Settings

_KEY_BYTES = 64
"""Length of a workspace's shared key."""


def outputs_of(resource: Resource, settings: Settings) -> dict[str, Any]:
    """The outputs of a resource beside its inputs, and those inputs which Azure completes."""
    known = {
        "name": resource.name,
        "type": resource_type(resource.id),
        "provisioningState": "Succeeded",
    }
    common = {
        name: value
        for name, value in known.items()
        if name in resource.schema.outputs and name not in resource.inputs
    }
    specific = _OUTPUTS.get(resource.schema.token, _no_outputs)
    return common | _assigned_identity(resource) | specific(resource, settings)


def workspace_keys(resource_group: str, workspace: str) -> dict[str, Any]:
    """Keys of a Log Analytics workspace; they open nothing, for local Azure has no such service."""
    return {
        f"{rank}SharedKey": base64.b64encode(
            hashlib.shake_256(f"{resource_group}/{workspace}/{rank}".encode()).digest(_KEY_BYTES)
        ).decode()
        for rank in ("primary", "secondary")
    }


def _assigned_identity(resource: Resource) -> dict[str, Any]:
    """The identity that a resource runs as.

    A program lists the user-assigned identities; Azure answers with a map of what it knows of them.
    """
    identity = resource.inputs.get("identity")
    if not isinstance(identity, dict) or has_unknown(identity):
        return {}
    completed = dict(identity)
    if "userAssignedIdentities" in identity:
        completed["userAssignedIdentities"] = {
            one: _principal(one) for one in identity["userAssignedIdentities"]
        }
    if "SystemAssigned" in identity.get("type", ""):
        completed |= {"principalId": _principal(resource.id)["principalId"], "tenantId": TENANT_ID}
    return {"identity": completed}


def _principal(identity_id: str) -> dict[str, str]:
    client_id = guid(identity_id, "clientId")
    return {"clientId": client_id, "principalId": object_id(client_id)}


def _no_outputs(_resource: Resource, _settings: Settings) -> dict[str, Any]:
    return {}


def _component(resource: Resource, _settings: Settings) -> dict[str, Any]:
    key = guid(resource.id, "instrumentationKey")
    return {
        "appId": guid(resource.id, "appId"),
        "applicationId": resource.name,
        "connectionString": f"InstrumentationKey={key}",
        "instrumentationKey": key,
        "tenantId": TENANT_ID,
    }


def _identity(resource: Resource, _settings: Settings) -> dict[str, Any]:
    return {**_principal(resource.id), "tenantId": TENANT_ID}


def _registry(_resource: Resource, settings: Settings) -> dict[str, Any]:
    return {"loginServer": settings.registry}


def _storage_account(resource: Resource, settings: Settings) -> dict[str, Any]:
    # Containers use the addresses, so the host is named as they see it.
    origin = settings.azure_url(HOST_ALIAS)
    lake = f"{origin}/{resource.name}/"
    return {
        "primaryEndpoints": {
            "blob": lake,
            "dfs": lake,
            "table": f"{origin}/tables/{resource.name}/",
        },
        "primaryLocation": resource.inputs.get("location"),
        "statusOfPrimary": "available",
    }


def _vault(resource: Resource, _settings: Settings) -> dict[str, Any]:
    address = {"vaultUri": f"https://{resource.name}.vault.azure.net/"}
    return {"properties": {**resource.inputs["properties"], **address}}


def _virtual_network(resource: Resource, _settings: Settings) -> dict[str, Any]:
    return {
        "subnets": [
            {**subnet, "id": f"{resource.id}/subnets/{subnet['name']}"}
            for subnet in resource.inputs.get("subnets", [])
            if not has_unknown(subnet)
        ]
    }


def _web_app(resource: Resource, _settings: Settings) -> dict[str, Any]:
    host = f"{resource.name}.azurewebsites.net"
    return {"defaultHostName": host, "hostNames": [host], "state": "Running"}


def _workspace(resource: Resource, _settings: Settings) -> dict[str, Any]:
    return {"customerId": guid(resource.id, "customerId")}


_OUTPUTS: Mapping[str, Callable[[Resource, Settings], dict[str, Any]]] = {
    "azure-native:applicationinsights:Component": _component,
    "azure-native:containerregistry:Registry": _registry,
    "azure-native:keyvault:Vault": _vault,
    "azure-native:managedidentity:UserAssignedIdentity": _identity,
    "azure-native:network:VirtualNetwork": _virtual_network,
    "azure-native:operationalinsights:Workspace": _workspace,
    "azure-native:storage:StorageAccount": _storage_account,
    "azure-native:web:WebApp": _web_app,
}
