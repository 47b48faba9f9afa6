"""What Azure adds to a resource's inputs, worked out from its id: the same each time."""

from __future__ import annotations

import base64
import hashlib
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from pulumi import _types as sdk_types
from pulumi.runtime.rpc import UNKNOWN, wrap_rpc_secret

from local.azure.identity import TENANT_ID, object_id
from local.azure.vault import PREFIX as VAULTS_PREFIX
from local.plugin.bodies import Resource
from local.plugin.ids import guid, resource_type
from local.plugin.schema import ResourceSchema
from local.plugin.values import has_unknown, is_secret, plain
from local.settings import HOST_ALIAS, Settings

_KEY_BYTES = 64
"""Length of a workspace's shared key."""

_ADDRESSES = 254
"""How many public addresses there are: a range that documents may use and that leads nowhere."""


def previewed_outputs(schema: ResourceSchema, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of a resource that is still to be created.

    What the program set is known, also within an object; all else that Azure answers with is not.

    Args:
        schema: the resource's type.
        inputs: what the program set, with secrets in their wrappers.
    """
    return {
        **dict.fromkeys(schema.outputs, UNKNOWN),
        **{name: _previewed(value, schema.outputs.get(name)) for name, value in inputs.items()},
    }


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


def _previewed(value: Any, annotation: Any) -> Any:
    if is_secret(value):
        return wrap_rpc_secret(_previewed(plain(value), annotation))
    collection = typing.get_origin(annotation)
    if isinstance(value, list) and collection is Mapping:
        # A list of ids, which Azure answers with a map of what it knows of each.
        return UNKNOWN if has_unknown(value) else dict.fromkeys(value, UNKNOWN)
    if isinstance(value, list) and collection is Sequence:
        (element,) = typing.get_args(annotation)
        return [_previewed(item, element) for item in value]
    if isinstance(value, dict) and sdk_types.is_output_type(annotation):
        types = sdk_types.output_type_types(annotation)
        return {
            **dict.fromkeys(types, UNKNOWN),
            **{name: _previewed(item, types.get(name)) for name, item in value.items()},
        }
    return value


def _assigned_identity(resource: Resource) -> dict[str, Any]:
    """The identity that a resource runs as.

    A program lists the user-assigned identities; Azure answers with a map of what it knows of them.
    """
    identity = resource.inputs.get("identity")
    if not isinstance(identity, dict):
        return {}
    completed = dict(identity)
    assigned = identity.get("userAssignedIdentities")
    if assigned is not None:
        completed["userAssignedIdentities"] = (
            UNKNOWN if has_unknown(assigned) else {one: _principal(one) for one in assigned}
        )
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
        # There is nothing to send to on this machine: containers write their log to stdout alone.
        "connectionString": "",
        "instrumentationKey": key,
        "tenantId": TENANT_ID,
    }


def _identity(resource: Resource, _settings: Settings) -> dict[str, Any]:
    return {**_principal(resource.id), "tenantId": TENANT_ID}


def _public_address(resource: Resource, _settings: Settings) -> dict[str, Any]:
    number = 1 + UUID(guid(resource.id, "ipAddress")).int % _ADDRESSES
    return {"ipAddress": f"203.0.113.{number}"}


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


def _vault(resource: Resource, settings: Settings) -> dict[str, Any]:
    properties = resource.inputs["properties"]
    if not isinstance(properties, dict):
        return {}
    # A container uses the address, so the host is named as it sees it.
    address = f"{settings.azure_url(HOST_ALIAS)}{VAULTS_PREFIX}{resource.name}/"
    return {"properties": {**properties, "vaultUri": address}}


def _virtual_network(resource: Resource, _settings: Settings) -> dict[str, Any]:
    subnets = resource.inputs.get("subnets", [])
    if has_unknown(subnets):
        return {}
    return {
        "subnets": [
            {**subnet, "id": f"{resource.id}/subnets/{subnet['name']}"} for subnet in subnets
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
    "azure-native:network:PublicIPAddress": _public_address,
    "azure-native:network:VirtualNetwork": _virtual_network,
    "azure-native:operationalinsights:Workspace": _workspace,
    "azure-native:storage:StorageAccount": _storage_account,
    "azure-native:web:WebApp": _web_app,
}
