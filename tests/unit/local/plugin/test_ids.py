"""Ids are the paths that Azure Resource Manager has for the types."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import pytest

from local.plugin.ids import guid, path_template, resource_id, resource_type
from local.plugin.schema import resource_schema

GROUP = "/subscriptions/sub/resourceGroups/pipelines"
ACCOUNT = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/lake"
NETWORK = f"{GROUP}/providers/Microsoft.Network"
SITE = f"{GROUP}/providers/Microsoft.Web/sites/scheduler"

CASES: list[tuple[str, Mapping[str, str], str]] = [
    ("resources:ResourceGroup", {}, GROUP),
    (
        "containerinstance:ContainerGroup",
        {"containerGroupName": "weather"},
        f"{GROUP}/providers/Microsoft.ContainerInstance/containerGroups/weather",
    ),
    (
        "containerregistry:Registry",
        {"registryName": "images"},
        f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/images",
    ),
    (
        "managedidentity:UserAssignedIdentity",
        {"resourceName": "weather"},
        f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/weather",
    ),
    (
        "managedidentity:FederatedIdentityCredential",
        {"resourceName": "ci", "federatedIdentityCredentialResourceName": "github"},
        (
            f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/ci/"
            "federatedIdentityCredentials/github"
        ),
    ),
    ("storage:StorageAccount", {"accountName": "lake"}, ACCOUNT),
    (
        "storage:BlobContainer",
        {"accountName": "lake", "containerName": "raw"},
        f"{ACCOUNT}/blobServices/default/containers/raw",
    ),
    (
        "storage:Table",
        {"accountName": "lake", "tableName": "runs"},
        f"{ACCOUNT}/tableServices/default/tables/runs",
    ),
    (
        "storage:Queue",
        {"accountName": "lake", "queueName": "q"},
        f"{ACCOUNT}/queueServices/default/queues/q",
    ),
    (
        "storage:BlobServiceProperties",
        {"accountName": "lake", "blobServicesName": "default"},
        f"{ACCOUNT}/blobServices/default",
    ),
    (
        "storage:ManagementPolicy",
        {"accountName": "lake", "managementPolicyName": "default"},
        f"{ACCOUNT}/managementPolicies/default",
    ),
    (
        "network:VirtualNetwork",
        {"virtualNetworkName": "net"},
        f"{NETWORK}/virtualNetworks/net",
    ),
    (
        "network:Subnet",
        {"virtualNetworkName": "net", "subnetName": "aci"},
        f"{NETWORK}/virtualNetworks/net/subnets/aci",
    ),
    (
        "network:PrivateEndpoint",
        {"privateEndpointName": "lake"},
        f"{NETWORK}/privateEndpoints/lake",
    ),
    (
        "network:PrivateDnsZoneGroup",
        {"privateEndpointName": "lake", "privateDnsZoneGroupName": "default"},
        f"{NETWORK}/privateEndpoints/lake/privateDnsZoneGroups/default",
    ),
    (
        "network:NatGateway",
        {"natGatewayName": "out"},
        f"{NETWORK}/natGateways/out",
    ),
    (
        "network:PublicIPAddress",
        {"publicIpAddressName": "out"},
        f"{NETWORK}/publicIPAddresses/out",
    ),
    (
        "network:NetworkSecurityGroup",
        {"networkSecurityGroupName": "aci"},
        f"{NETWORK}/networkSecurityGroups/aci",
    ),
    (
        "privatedns:PrivateZone",
        {"privateZoneName": "privatelink.dfs.core.windows.net"},
        f"{NETWORK}/privateDnsZones/privatelink.dfs.core.windows.net",
    ),
    (
        "privatedns:VirtualNetworkLink",
        {"privateZoneName": "a.b", "virtualNetworkLinkName": "net"},
        f"{NETWORK}/privateDnsZones/a.b/virtualNetworkLinks/net",
    ),
    (
        "keyvault:Vault",
        {"vaultName": "secrets"},
        f"{GROUP}/providers/Microsoft.KeyVault/vaults/secrets",
    ),
    (
        "keyvault:Secret",
        {"vaultName": "secrets", "secretName": "key"},
        f"{GROUP}/providers/Microsoft.KeyVault/vaults/secrets/secrets/key",
    ),
    (
        "monitor:ActionGroup",
        {"actionGroupName": "people"},
        f"{GROUP}/providers/Microsoft.Insights/actionGroups/people",
    ),
    (
        "monitor:ScheduledQueryRule",
        {"ruleName": "late"},
        f"{GROUP}/providers/Microsoft.Insights/scheduledQueryRules/late",
    ),
    (
        "monitor:MetricAlert",
        {"ruleName": "late"},
        f"{GROUP}/providers/Microsoft.Insights/metricAlerts/late",
    ),
    (
        "monitor:DiagnosticSetting",
        {"resourceUri": ACCOUNT, "name": "logs"},
        f"{ACCOUNT}/providers/Microsoft.Insights/diagnosticSettings/logs",
    ),
    (
        "operationalinsights:Workspace",
        {"workspaceName": "logs"},
        f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/logs",
    ),
    (
        "applicationinsights:Component",
        {"resourceName": "app"},
        f"{GROUP}/providers/Microsoft.Insights/components/app",
    ),
    (
        "authorization:RoleAssignment",
        {"scope": ACCOUNT, "roleAssignmentName": "g"},
        f"{ACCOUNT}/providers/Microsoft.Authorization/roleAssignments/g",
    ),
    (
        "authorization:RoleDefinition",
        {"scope": GROUP, "roleDefinitionId": "g"},
        f"{GROUP}/providers/Microsoft.Authorization/roleDefinitions/g",
    ),
    (
        "authorization:ManagementLockByScope",
        {"scope": ACCOUNT, "lockName": "keep"},
        f"{ACCOUNT}/providers/Microsoft.Authorization/locks/keep",
    ),
    (
        "authorization:ManagementLockAtResourceGroupLevel",
        {"lockName": "keep"},
        f"{GROUP}/providers/Microsoft.Authorization/locks/keep",
    ),
    (
        "consumption:Budget",
        {"scope": GROUP, "budgetName": "month"},
        f"{GROUP}/providers/Microsoft.Consumption/budgets/month",
    ),
    (
        "web:AppServicePlan",
        {"name": "plan"},
        f"{GROUP}/providers/Microsoft.Web/serverfarms/plan",
    ),
    ("web:WebApp", {"name": "scheduler"}, SITE),
    ("web:WebAppAuthSettingsV2", {"name": "scheduler"}, f"{SITE}/config/authsettingsV2"),
    ("web:WebAppApplicationSettings", {"name": "scheduler"}, f"{SITE}/config/appsettings"),
    # Not listed: a path of the usual form.
    (
        "network:RouteTable",
        {"routeTableName": "routes"},
        f"{NETWORK}/routeTables/routes",
    ),
    (
        "network:Route",
        {"routeTableName": "routes", "routeName": "out"},
        f"{NETWORK}/routeTables/routes/routes/out",
    ),
    (
        "eventgrid:EventSubscription",
        {"scope": ACCOUNT, "eventSubscriptionName": "new"},
        f"{ACCOUNT}/providers/Microsoft.Eventgrid/eventSubscriptions/new",
    ),
]


@pytest.mark.parametrize(("kind", "names", "identifier"), CASES, ids=[case[0] for case in CASES])
def test_ids(kind: str, names: Mapping[str, str], identifier: str) -> None:
    schema = resource_schema(f"azure-native:{kind}")
    inputs = {"resourceGroupName": "pipelines", **names}
    assert resource_id(schema, inputs, logical_name="logical", subscription_id="sub") == identifier


@pytest.mark.parametrize("kind", [case[0] for case in CASES])
def test_the_parts_of_an_id_are_inputs_of_the_type(kind: str) -> None:
    schema = resource_schema(f"azure-native:{kind}")
    parts = set(path_template(schema).replace("}", "{").split("{")[1::2]) - {"subscriptionId"}
    assert parts == schema.path


@pytest.mark.parametrize(
    ("identifier", "azure_type"),
    [
        (GROUP, "Microsoft.Resources/resourceGroups"),
        (ACCOUNT, "Microsoft.Storage/storageAccounts"),
        (
            f"{ACCOUNT}/blobServices/default/containers/raw",
            "Microsoft.Storage/storageAccounts/blobServices/containers",
        ),
        (
            f"{ACCOUNT}/providers/Microsoft.Authorization/locks/keep",
            "Microsoft.Authorization/locks",
        ),
    ],
)
def test_types(identifier: str, azure_type: str) -> None:
    assert resource_type(identifier) == azure_type


def test_a_guid_depends_on_the_resource_and_its_purpose_and_on_no_case() -> None:
    assert guid(ACCOUNT, "a") == guid(ACCOUNT.upper(), "a") == str(uuid.UUID(guid(ACCOUNT, "a")))
    assert len({guid(ACCOUNT, "a"), guid(ACCOUNT, "b"), guid(SITE, "a")}) == 3
