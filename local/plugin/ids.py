"""Ids of Azure resources, and the stable GUIDs of what Azure would generate.

An id is the resource's path in Azure Resource Manager. The paths below are those of the types that
this project uses or is likely to; a type that is not listed gets a path of the usual form from the
names in the installed package, so its id may differ from the one it has in Azure.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from local.plugin.schema import RESOURCE_GROUP, ResourceSchema

SUBSCRIPTION_ID = "00000000-0000-4000-8000-000000000001"
"""The one subscription of local Azure."""

_SUBSCRIPTION = "/subscriptions/{subscriptionId}"
_GROUP = f"{_SUBSCRIPTION}/resourceGroups/{{resourceGroupName}}"
_AUTHORIZATION = "providers/Microsoft.Authorization"
_INSIGHTS = f"{_GROUP}/providers/Microsoft.Insights"
_NETWORK = f"{_GROUP}/providers/Microsoft.Network"
_VAULT = f"{_GROUP}/providers/Microsoft.KeyVault/vaults/{{vaultName}}"
_IDENTITY = f"{_GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{{resourceName}}"
_REGISTRY = f"{_GROUP}/providers/Microsoft.ContainerRegistry/registries/{{registryName}}"
_ACCOUNT = f"{_GROUP}/providers/Microsoft.Storage/storageAccounts/{{accountName}}"
_SITE = f"{_GROUP}/providers/Microsoft.Web/sites/{{name}}"

_PATHS = {
    "applicationinsights:Component": f"{_INSIGHTS}/components/{{resourceName}}",
    "authorization:ManagementLockAtResourceGroupLevel": f"{_GROUP}/{_AUTHORIZATION}/locks/"
    "{lockName}",
    "authorization:ManagementLockByScope": f"/{{scope}}/{_AUTHORIZATION}/locks/{{lockName}}",
    "authorization:RoleAssignment": f"/{{scope}}/{_AUTHORIZATION}/roleAssignments/"
    "{roleAssignmentName}",
    "authorization:RoleDefinition": f"/{{scope}}/{_AUTHORIZATION}/roleDefinitions/"
    "{roleDefinitionId}",
    "consumption:Budget": "/{scope}/providers/Microsoft.Consumption/budgets/{budgetName}",
    "containerinstance:ContainerGroup": f"{_GROUP}/providers/Microsoft.ContainerInstance/"
    "containerGroups/{containerGroupName}",
    "containerregistry:Registry": _REGISTRY,
    "keyvault:Secret": f"{_VAULT}/secrets/{{secretName}}",
    "keyvault:Vault": _VAULT,
    "managedidentity:FederatedIdentityCredential": f"{_IDENTITY}/federatedIdentityCredentials/"
    "{federatedIdentityCredentialResourceName}",
    "managedidentity:UserAssignedIdentity": _IDENTITY,
    "monitor:ActionGroup": f"{_INSIGHTS}/actionGroups/{{actionGroupName}}",
    "monitor:DiagnosticSetting": "/{resourceUri}/providers/Microsoft.Insights/diagnosticSettings/"
    "{name}",
    "monitor:MetricAlert": f"{_INSIGHTS}/metricAlerts/{{ruleName}}",
    "monitor:ScheduledQueryRule": f"{_INSIGHTS}/scheduledQueryRules/{{ruleName}}",
    "network:NatGateway": f"{_NETWORK}/natGateways/{{natGatewayName}}",
    "network:NetworkSecurityGroup": f"{_NETWORK}/networkSecurityGroups/"
    "{networkSecurityGroupName}",
    "network:PrivateDnsZoneGroup": f"{_NETWORK}/privateEndpoints/{{privateEndpointName}}/"
    "privateDnsZoneGroups/{privateDnsZoneGroupName}",
    "network:PrivateEndpoint": f"{_NETWORK}/privateEndpoints/{{privateEndpointName}}",
    "network:PublicIPAddress": f"{_NETWORK}/publicIPAddresses/{{publicIpAddressName}}",
    "network:Subnet": f"{_NETWORK}/virtualNetworks/{{virtualNetworkName}}/subnets/{{subnetName}}",
    "network:VirtualNetwork": f"{_NETWORK}/virtualNetworks/{{virtualNetworkName}}",
    "operationalinsights:Workspace": f"{_GROUP}/providers/Microsoft.OperationalInsights/workspaces/"
    "{workspaceName}",
    "privatedns:PrivateZone": f"{_NETWORK}/privateDnsZones/{{privateZoneName}}",
    "privatedns:VirtualNetworkLink": f"{_NETWORK}/privateDnsZones/{{privateZoneName}}/"
    "virtualNetworkLinks/{virtualNetworkLinkName}",
    "resources:ResourceGroup": _GROUP,
    "storage:BlobContainer": f"{_ACCOUNT}/blobServices/default/containers/{{containerName}}",
    "storage:BlobServiceProperties": f"{_ACCOUNT}/blobServices/{{blobServicesName}}",
    "storage:ManagementPolicy": f"{_ACCOUNT}/managementPolicies/{{managementPolicyName}}",
    "storage:Queue": f"{_ACCOUNT}/queueServices/default/queues/{{queueName}}",
    "storage:StorageAccount": _ACCOUNT,
    "storage:Table": f"{_ACCOUNT}/tableServices/default/tables/{{tableName}}",
    "storage:TableServiceProperties": f"{_ACCOUNT}/tableServices/{{tableServiceName}}",
    "web:AppServicePlan": f"{_GROUP}/providers/Microsoft.Web/serverfarms/{{name}}",
    "web:WebApp": _SITE,
    "web:WebAppApplicationSettings": f"{_SITE}/config/appsettings",
    "web:WebAppAuthSettingsV2": f"{_SITE}/config/authsettingsV2",
    "web:WebAppFtpAllowed": f"{_SITE}/basicPublishingCredentialsPolicies/ftp",
    "web:WebAppScmAllowed": f"{_SITE}/basicPublishingCredentialsPolicies/scm",
}

_SCOPES = frozenset({"resourceId", "resourceUri", "scope"})
"""Parameters of a path that are ids themselves."""


def path_template(schema: ResourceSchema) -> str:
    """The path of a type's resources, with the inputs that it is made of in braces."""
    return _PATHS.get(f"{schema.module}:{schema.type_name}") or _generic_path(schema)


def resource_id(
    schema: ResourceSchema, inputs: Mapping[str, Any], *, logical_name: str, subscription_id: str
) -> str:
    """Id of the resource with these inputs, in which no secrets are wrapped."""
    values = {"subscriptionId": subscription_id, "logicalName": logical_name, **inputs}
    # A scope is an id itself, so it already begins with a slash.
    return re.sub(
        r"\{(\w+)\}", lambda match: str(values[match.group(1)]).strip("/"), path_template(schema)
    )


def resource_type(identifier: str) -> str:
    """Azure's name of the type, such as ``Microsoft.Web/sites``, from a resource's id."""
    _, found, below = identifier.rpartition("/providers/")
    if not found:
        return "Microsoft.Resources/resourceGroups"
    namespace, *segments = below.split("/")
    return "/".join([namespace, *segments[::2]])


def guid(identifier: str, purpose: str) -> str:
    """A GUID that is the same whenever it is asked for.

    Args:
        identifier: id of the resource that Azure would have generated it for.
        purpose: tells apart several GUIDs of one resource, such as ``principalId``.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{identifier.lower()}#{purpose}"))


def _generic_path(schema: ResourceSchema) -> str:
    """A path of the usual form, from the names of the module, the type and its parents."""
    scopes = sorted(schema.parents & _SCOPES)
    if scopes:
        base = f"/{{{scopes[0]}}}"
    else:
        base = _GROUP if RESOURCE_GROUP in schema.path else _SUBSCRIPTION
    namespace = f"/providers/Microsoft.{schema.module[0].upper()}{schema.module[1:]}"
    parents = "".join(
        f"/{name.removesuffix('Name')}s/{{{name}}}" for name in sorted(schema.parents - _SCOPES)
    )
    collection = f"{schema.type_name[0].lower()}{schema.type_name[1:]}s"
    return f"{base}{namespace}{parents}/{collection}/{{{schema.own_name or 'logicalName'}}}"
