"""Ids of Azure resources, and the stable GUIDs of what Azure would generate.

An id is the resource's path in Azure Resource Manager. The paths below are those of the types that
this project uses; a type that is not listed gets a path of the same form from its module's name.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from local.plugin.schema import RESOURCE_GROUP, ResourceSchema

SUBSCRIPTION_ID = "00000000-0000-4000-8000-000000000001"
"""The one subscription of local Azure."""

_GROUP = "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}"
_INSIGHTS = f"{_GROUP}/providers/Microsoft.Insights"
_ACCOUNT = f"{_GROUP}/providers/Microsoft.Storage/storageAccounts/{{accountName}}"

_PATHS = {
    "applicationinsights:Component": f"{_INSIGHTS}/components/{{resourceName}}",
    "authorization:RoleAssignment": "/{scope}/providers/Microsoft.Authorization/roleAssignments/"
    "{roleAssignmentName}",
    "authorization:RoleDefinition": "/{scope}/providers/Microsoft.Authorization/roleDefinitions/"
    "{roleDefinitionId}",
    "consumption:Budget": "/{scope}/providers/Microsoft.Consumption/budgets/{budgetName}",
    "containerinstance:ContainerGroup": f"{_GROUP}/providers/Microsoft.ContainerInstance/"
    "containerGroups/{containerGroupName}",
    "containerregistry:Registry": f"{_GROUP}/providers/Microsoft.ContainerRegistry/registries/"
    "{registryName}",
    "managedidentity:UserAssignedIdentity": f"{_GROUP}/providers/Microsoft.ManagedIdentity/"
    "userAssignedIdentities/{resourceName}",
    "monitor:ActionGroup": f"{_INSIGHTS}/actionGroups/{{actionGroupName}}",
    "monitor:DiagnosticSetting": "/{resourceUri}/providers/Microsoft.Insights/diagnosticSettings/"
    "{name}",
    "monitor:MetricAlert": f"{_INSIGHTS}/metricAlerts/{{ruleName}}",
    "monitor:ScheduledQueryRule": f"{_INSIGHTS}/scheduledQueryRules/{{ruleName}}",
    "operationalinsights:Workspace": f"{_GROUP}/providers/Microsoft.OperationalInsights/workspaces/"
    "{workspaceName}",
    "resources:ResourceGroup": _GROUP,
    "storage:BlobContainer": f"{_ACCOUNT}/blobServices/default/containers/{{containerName}}",
    "storage:BlobServiceProperties": f"{_ACCOUNT}/blobServices/{{blobServicesName}}",
    "storage:ManagementPolicy": f"{_ACCOUNT}/managementPolicies/{{managementPolicyName}}",
    "storage:StorageAccount": _ACCOUNT,
    "storage:Table": f"{_ACCOUNT}/tableServices/default/tables/{{tableName}}",
    "web:AppServicePlan": f"{_GROUP}/providers/Microsoft.Web/serverfarms/{{name}}",
    "web:WebApp": f"{_GROUP}/providers/Microsoft.Web/sites/{{name}}",
}


def resource_id(
    schema: ResourceSchema, inputs: Mapping[str, Any], *, logical_name: str, subscription_id: str
) -> str:
    """Id of the resource with these inputs, in which no secrets are wrapped."""
    template = _PATHS.get(f"{schema.module}:{schema.type_name}") or _generic_path(schema)
    values = {"subscriptionId": subscription_id, "logicalName": logical_name, **inputs}
    # A scope is an id itself, so it already begins with a slash.
    return re.sub(r"\{(\w+)\}", lambda match: str(values[match.group(1)]).strip("/"), template)


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
    group = _GROUP if RESOURCE_GROUP in schema.path else "/subscriptions/{subscriptionId}"
    namespace = f"/providers/Microsoft.{schema.module[0].upper()}{schema.module[1:]}"
    parents = "".join(
        f"/{name.removesuffix('Name')}s/{{{name}}}" for name in sorted(schema.parents)
    )
    collection = f"{schema.type_name[0].lower()}{schema.type_name[1:]}s"
    return f"{group}{namespace}{parents}/{collection}/{{{schema.own_name or 'logicalName'}}}"
