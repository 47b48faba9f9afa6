"""What keeps a stack closed, property by property.

`make mutation` turns each of these properties in turn, and expects a test to fail.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.images import REPOSITORY
from infra.roles import LAKE_WRITER, folder_condition
from tests.unit.infra import stacks
from tests.unit.infra.engine import SUBSCRIPTION, Declared, Engine, run_program

ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
BLOB_DATA_OWNER = "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"
KEY_VAULT_SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
MONITORING_METRICS_PUBLISHER = "3913510d-42f4-4e42-8a64-420c390055eb"
TABLE_DATA_CONTRIBUTOR = "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"

STACK_FILES = sorted(set(REPOSITORY.glob("Pulumi.*.yaml")) - {REPOSITORY / "Pulumi.local.yaml"})

OUTSIDE_GROUPS = ("ManagementLockByScope", "ResourceGroup", "RoleAssignment", "RoleDefinition")
"""Types whose place is a scope, and the group itself."""


@pytest.fixture
def engine() -> Engine:
    """A stack with all that makes it safer."""
    return run_program(stacks.everything())


@pytest.fixture
def container_engine() -> Engine:
    """A stack whose scheduler is a container group."""
    return run_program(stacks.with_container_scheduler())


def id_of(kind: str, name: str) -> str:
    """The id that the mocks give a resource."""
    return f"/subscriptions/{SUBSCRIPTION}/azure-native/{kind}/{name}"


GROUP = id_of("resources/ResourceGroup", "pipelines-dev")


def built_in(role: str) -> str:
    provider = "providers/Microsoft.Authorization/roleDefinitions"
    return f"/subscriptions/{SUBSCRIPTION}/{provider}/{role}"


def defined(role: str) -> str:
    return id_of("authorization/RoleDefinition", role)


def chosen(resource: Declared, *defaults: str) -> dict[str, Any]:
    """The inputs that the program decides on; not tags, group and the package's own defaults."""
    left_out = {"resourceGroupName", "tags", *defaults}
    return {key: value for key, value in resource.inputs.items() if key not in left_out}


# Place


def test_everything_is_in_the_stacks_resource_group(engine: Engine) -> None:
    assert engine.one("resources:ResourceGroup").inputs["resourceGroupName"] == "pipelines-dev"
    elsewhere = {
        each.name
        for each in engine.declared
        if each.type.startswith("azure-native:")
        and not each.type.endswith(OUTSIDE_GROUPS)
        and each.inputs.get("resourceGroupName") != "pipelines-dev"
    }
    assert elsewhere == set()


def test_whose_a_resource_is_can_be_seen(engine: Engine, container_engine: Engine) -> None:
    for each in [*engine.declared, *container_engine.declared]:
        if (
            each.type.startswith("azure-native:")
            and each.type.rpartition(":")[2] not in stacks.WITHOUT_TAGS
        ):
            assert each.inputs.get("tags") == {"project": "pipelines", "stack": "dev"}, each.name
            assert each.inputs.get("resourceGroupName") == "pipelines-dev"


# Who may do what


def weathers_roles() -> dict[str, tuple[str, str]]:
    table = built_in(TABLE_DATA_CONTRIBUTOR)
    return {
        "registry": (
            built_in(ACR_PULL),
            id_of("containerregistry/Registry", "registry1a2b3c4d"),
        ),
        "lake": (defined("lake-writer"), id_of("storage/BlobContainer", "raw")),
        "monitoring": (
            built_in(MONITORING_METRICS_PUBLISHER),
            id_of("applicationinsights/Component", "monitoring1a2b3c4d"),
        ),
        "table-jobs": (table, id_of("storage/Table", "jobs")),
        "table-runs": (table, id_of("storage/Table", "runs")),
        "secret-weather-key": (
            built_in(KEY_VAULT_SECRETS_USER),
            id_of("keyvault/Vault", "vault1a2b3c4d/secrets/weather-key"),
        ),
    }


def schedulers_roles() -> dict[str, tuple[str, str]]:
    of_weather = weathers_roles()
    shared = ("registry", "monitoring", "table-jobs", "table-runs")
    return {
        **{name: of_weather[name] for name in shared},
        "table-audit": (of_weather["table-jobs"][0], id_of("storage/Table", "audit")),
        "containers": (defined("container-starter"), GROUP),
        "host": (built_in(BLOB_DATA_OWNER), id_of("storage/StorageAccount", "state1a2b3c4d")),
    }


def test_these_are_all_roles_that_anybody_is_given(engine: Engine) -> None:
    given = {
        each.name: (
            each.inputs.get("principalId"),
            each.inputs.get("principalType"),
            each.inputs.get("roleDefinitionId"),
            each.inputs.get("scope"),
        )
        for each in engine.all("authorization:RoleAssignment")
    }
    expected = {
        f"{identity}-{purpose}": (f"principal-of-{identity}1a2b3c4d", "ServicePrincipal", *grant)
        for identity, grants in {
            "weather-identity": weathers_roles(),
            "scheduler-identity": schedulers_roles(),
        }.items()
        for purpose, grant in grants.items()
    }
    assert given == expected


def test_only_the_lakes_role_is_bound_to_folders(engine: Engine) -> None:
    conditions = {
        each.name: (each.inputs["condition"], each.inputs.get("conditionVersion"))
        for each in engine.all("authorization:RoleAssignment")
        if "condition" in each.inputs
    }
    folders = folder_condition(["weather", "_staging/weather"])
    assert conditions == {"weather-identity-lake": (folders, "2.0")}


def test_roles_are_defined_for_the_stacks_group_alone(engine: Engine) -> None:
    roles = {each.name: each.inputs for each in engine.all("authorization:RoleDefinition")}
    assert set(roles) == {"container-starter", "lake-writer"}
    for role in roles.values():
        assert role["scope"] == GROUP
        assert role["assignableScopes"] == [GROUP]
        # Names are unique in a directory, which other stacks share.
        assert role["roleName"].startswith("pipelines-dev ")


def test_the_lakes_role_touches_blobs_and_nothing_around_them(engine: Engine) -> None:
    role = engine.one("authorization:RoleDefinition", "lake-writer").inputs
    assert role["permissions"] == [{"actions": [], "dataActions": list(LAKE_WRITER.data_actions)}]
    blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/"
    verbs = [action.removeprefix(blobs) for action in LAKE_WRITER.data_actions]
    assert verbs == ["read", "write", "add/action", "move/action", "delete"]


def test_there_is_one_identity_for_each_program_that_runs(engine: Engine) -> None:
    identities = {each.name for each in engine.all("managedidentity:UserAssignedIdentity")}
    assert identities == {"weather-identity", "scheduler-identity"}


# Storage


@pytest.mark.parametrize(("name", "hierarchical"), [("lake", True), ("state", False)])
def test_an_account_is_closed_but_to_tokens_and_the_network(
    engine: Engine, name: str, hierarchical: bool
) -> None:
    assert chosen(engine.one("storage:StorageAccount", name)) == {
        "allowBlobPublicAccess": False,
        "allowCrossTenantReplication": False,
        "allowSharedKeyAccess": False,
        "defaultToOAuthAuthentication": True,
        "enableHttpsTrafficOnly": True,
        "isHnsEnabled": hierarchical,
        "kind": "StorageV2",
        "minimumTlsVersion": "TLS1_2",
        "publicNetworkAccess": "Disabled",
        "sku": {"name": "Standard_LRS"},
    }


def test_the_file_system_is_private(engine: Engine) -> None:
    assert chosen(engine.one("storage:BlobContainer")) == {
        "accountName": "lake1a2b3c4d",
        "containerName": "raw",
        "publicAccess": "None",
    }


def test_deleted_files_are_kept_and_the_lake_is_locked(engine: Engine) -> None:
    kept = {"enabled": True, "days": 7}
    assert chosen(engine.one("storage:BlobServiceProperties")) == {
        "accountName": "lake1a2b3c4d",
        "blobServicesName": "default",
        "containerDeleteRetentionPolicy": kept,
        "deleteRetentionPolicy": kept,
    }
    lock = engine.one("authorization:ManagementLockByScope").inputs
    assert lock["level"] == "CanNotDelete"
    assert lock["scope"] == id_of("storage/StorageAccount", "lake1a2b3c4d")


def test_the_lifecycle_only_moves_files_to_the_cool_tier(engine: Engine) -> None:
    policy = engine.one("storage:ManagementPolicy").inputs
    assert policy["accountName"] == "lake1a2b3c4d"
    assert policy["managementPolicyName"] == "default"
    (rule,) = policy["policy"]["rules"]
    assert rule["type"] == "Lifecycle"
    assert rule["definition"] == {
        "actions": {"baseBlob": {"tierToCool": {"daysAfterModificationGreaterThan": 90}}},
        "filters": {"blobTypes": ["blockBlob"], "prefixMatch": ["raw/"]},
    }


# Registry, vault, logs


def test_the_registry_is_closed_but_to_the_network_and_azures_pulls(engine: Engine) -> None:
    assert chosen(engine.one("containerregistry:Registry"), "zoneRedundancy") == {
        "adminUserEnabled": False,
        "anonymousPullEnabled": False,
        "networkRuleBypassOptions": "AzureServices",
        "networkRuleSet": {"defaultAction": "Deny", "ipRules": []},
        "publicNetworkAccess": "Disabled",
        "sku": {"name": "Premium"},
    }


def test_the_vault_is_closed_but_to_roles_and_the_network(engine: Engine) -> None:
    assert engine.one("keyvault:Vault").inputs["properties"] == {
        "enablePurgeProtection": True,
        "enableRbacAuthorization": True,
        "enableSoftDelete": True,
        "enabledForDeployment": False,
        "enabledForDiskEncryption": False,
        "enabledForTemplateDeployment": False,
        "publicNetworkAccess": "Disabled",
        "sku": {"family": "A", "name": "standard"},
        "softDeleteRetentionInDays": 90,
        "tenantId": "t",
    }


def test_logs_go_to_one_workspace_and_no_key_opens_it(engine: Engine) -> None:
    workspace = engine.one("operationalinsights:Workspace").inputs
    assert workspace["features"] == {"disableLocalAuth": True}
    assert workspace["sku"] == {"name": "PerGB2018"}
    component = engine.one("applicationinsights:Component").inputs
    assert component["disableLocalAuth"] is True
    assert component["ingestionMode"] == "LogAnalytics"
    assert component["workspaceResourceId"] == id_of(
        "operationalinsights/Workspace", "monitoring1a2b3c4d"
    )


# Container groups


def hardened(group: Declared, repository: str) -> None:
    """Assert what every container group has in common."""
    name = group.name
    identity = id_of("managedidentity/UserAssignedIdentity", f"{name}-identity1a2b3c4d")
    server = "registry1a2b3c4d.azurecr.io"
    assert group.inputs["containerGroupName"] == name
    assert group.inputs["osType"] == "Linux"
    assert group.inputs["identity"] == {
        "type": "UserAssigned",
        "userAssignedIdentities": [identity],
    }
    assert group.inputs["imageRegistryCredentials"] == [{"server": server, "identity": identity}]
    (container,) = group.inputs["containers"]
    assert container["name"] == name
    assert container["image"] == f"{server}/{repository}@sha256:{name}-image"
    # Nothing listens, nothing is mounted, nothing has more rights than a process.
    assert set(container) == {"environmentVariables", "image", "name", "resources"}
    assert set(group.inputs) - {"subnetIds"} == {
        "containerGroupName",
        "containers",
        "identity",
        "imageRegistryCredentials",
        "osType",
        "resourceGroupName",
        "restartPolicy",
        "tags",
    }
    assert group.delete_before_replace
    assert group.replace_on_changes == ["*"]


def test_an_extractors_group_is_hardened_and_in_the_network(engine: Engine) -> None:
    group = engine.one("containerinstance:ContainerGroup", "weather")
    hardened(group, "extractor/weather")
    assert group.inputs["restartPolicy"] == "Never"
    assert group.inputs["subnetIds"] == [{"id": id_of("network/Subnet", "network-containers")}]
    (container,) = group.inputs["containers"]
    assert container["resources"] == {"requests": {"cpu": 1, "memoryInGB": 1.5}}


def test_a_container_schedulers_group_is_hardened(container_engine: Engine) -> None:
    group = container_engine.one("containerinstance:ContainerGroup", "scheduler")
    hardened(group, "scheduler")
    assert group.inputs["restartPolicy"] == "Always"
    (container,) = group.inputs["containers"]
    assert container["resources"] == {"requests": {"cpu": 1, "memoryInGB": 1}}


@pytest.mark.parametrize("identity", ["weather-identity", "scheduler-identity"])
def test_whatever_runs_waits_for_all_of_its_roles(
    engine: Engine, container_engine: Engine, identity: str
) -> None:
    runs = {
        "weather-identity": [("containerinstance:ContainerGroup", "weather")],
        "scheduler-identity": [
            ("web:WebApp", "scheduler"),
            ("containerinstance:ContainerGroup", "scheduler"),
        ],
    }
    for stack in (engine, container_engine):
        given = {
            each.name
            for each in stack.all("authorization:RoleAssignment")
            if each.name.startswith(identity)
        }
        for kind, name in runs[identity]:
            for each in stack.all(kind):
                if each.name == name:
                    assert given <= {urn.rpartition("::")[2] for urn in each.depends_on}


# The scheduler as a Function


def test_the_functions_app_has_its_identity_and_nothing_that_opens_it(engine: Engine) -> None:
    app = engine.one("web:WebApp").inputs
    identity = id_of("managedidentity/UserAssignedIdentity", "scheduler-identity1a2b3c4d")
    assert app["identity"] == {"type": "UserAssigned", "userAssignedIdentities": [identity]}
    assert app["serverFarmId"] == id_of("web/AppServicePlan", "scheduler-plan1a2b3c4d")
    assert app["virtualNetworkSubnetId"] == id_of("network/Subnet", "network-app")
    site = app["siteConfig"]
    assert site["healthCheckPath"] == "/api/health"
    assert site["http20Enabled"] is True
    assert set(site) == {
        "acrUseManagedIdentityCreds",
        "acrUserManagedIdentityID",
        "alwaysOn",
        "appSettings",
        "ftpsState",
        "healthCheckPath",
        "http20Enabled",
        "linuxFxVersion",
        "localMySqlEnabled",
        "minTlsVersion",
        "netFrameworkVersion",
    }


@pytest.mark.parametrize("config", [stacks.everything(), stacks.with_sign_in()])
def test_the_functions_require_a_sign_in_and_offer_no_other(config: stacks.Config) -> None:
    authentication = run_program(config).one("web:WebAppAuthSettingsV2").inputs
    assert authentication["name"] == "scheduler1a2b3c4d"
    assert authentication["platform"] == {"enabled": True}
    assert authentication["globalValidation"] == {
        "excludedPaths": ["/api/health"],
        "requireAuthentication": True,
        "unauthenticatedClientAction": "Return401",
    }
    assert set(authentication.get("identityProviders", {})) <= {"azureActiveDirectory"}


@pytest.mark.parametrize("way", ["Ftp", "Scm"])
def test_nobody_deploys_with_a_password(engine: Engine, way: str) -> None:
    policy = engine.one(f"web:WebApp{way}Allowed").inputs
    assert (policy["name"], policy["allow"]) == ("scheduler1a2b3c4d", False)


def test_those_who_sign_in_need_a_token_of_the_registration() -> None:
    authentication = run_program(stacks.with_sign_in()).one("web:WebAppAuthSettingsV2").inputs
    client = "aaaaaaaa-0000-4000-8000-000000000001"
    assert authentication["identityProviders"] == {
        "azureActiveDirectory": {
            "enabled": True,
            "registration": {
                "clientId": client,
                "openIdIssuer": "https://login.microsoftonline.com/t/v2.0",
            },
            "validation": {"allowedAudiences": [client, f"api://{client}"]},
        }
    }


# Images


@pytest.mark.parametrize("name", ["weather-image", "scheduler-image"])
def test_an_image_is_built_without_credentials_or_secrets(engine: Engine, name: str) -> None:
    image = engine.one("index:Image", name).inputs
    assert set(image) <= {
        "buildArgs",
        "buildOnPreview",
        "context",
        "dockerfile",
        "network",
        "platforms",
        "push",
        "tags",
        "target",
    }
    assert set(image["buildArgs"]) <= {"BASE_IMAGE"}
    shared = {"weather-image": {"runtime"}, "scheduler-image": set()}
    assert set(image["context"]["named"]) == shared[name]
    folder = {"weather-image": "extractor-weather", "scheduler-image": "scheduler"}[name]
    assert image["context"]["location"].endswith(f"/dev/{folder}")


# Network


def test_every_private_endpoint_leads_to_its_resource(engine: Engine) -> None:
    endpoints = {each.name: each.inputs for each in engine.all("network:PrivateEndpoint")}
    reached = {
        "lake-blob": id_of("storage/StorageAccount", "lake1a2b3c4d"),
        "lake-dfs": id_of("storage/StorageAccount", "lake1a2b3c4d"),
        "registry-registry": id_of("containerregistry/Registry", "registry1a2b3c4d"),
        "state-blob": id_of("storage/StorageAccount", "state1a2b3c4d"),
        "state-queue": id_of("storage/StorageAccount", "state1a2b3c4d"),
        "state-table": id_of("storage/StorageAccount", "state1a2b3c4d"),
        "vault-vault": id_of("keyvault/Vault", "vault1a2b3c4d"),
    }
    assert set(endpoints) == set(reached)
    for name, endpoint in endpoints.items():
        service = name.rpartition("-")[2]
        assert endpoint["subnet"]["id"] == id_of("network/Subnet", "network-endpoints")
        assert endpoint["privateLinkServiceConnections"] == [
            {"name": service, "privateLinkServiceId": reached[name], "groupIds": [service]}
        ]


def test_every_private_name_is_looked_up_in_the_network(engine: Engine) -> None:
    services = {"blob", "dfs", "queue", "registry", "table", "vault"}
    for each in engine.all("network:PrivateDnsZoneGroup"):
        service = each.name.rpartition("-")[2]
        zone = id_of("privatedns/PrivateZone", f"network-{service}")
        assert each.inputs["privateEndpointName"] == each.name
        assert each.inputs["privateDnsZoneConfigs"] == [{"name": service, "privateDnsZoneId": zone}]
    zones = {each.name: each.inputs for each in engine.all("privatedns:PrivateZone")}
    links = {each.name: each.inputs for each in engine.all("privatedns:VirtualNetworkLink")}
    assert set(zones) == set(links) == {f"network-{service}" for service in services}
    network = {"id": id_of("network/VirtualNetwork", "network1a2b3c4d")}
    for name, link in links.items():
        assert link["privateZoneName"] == name
        assert link["virtualNetwork"] == network
        assert link["registrationEnabled"] is False
        assert link["location"] == zones[name]["location"] == "global"


def test_the_subnets_are_in_the_stacks_own_network(engine: Engine) -> None:
    network = engine.one("network:VirtualNetwork").inputs
    assert network["addressSpace"] == {"addressPrefixes": ["10.90.0.0/22"]}
    subnets = engine.all("network:Subnet")
    assert {each.inputs["virtualNetworkName"] for each in subnets} == {"network1a2b3c4d"}
    first, second, third = (each.name for each in subnets)
    assert (first, second, third) == ("network-containers", "network-app", "network-endpoints")
    # Azure changes one subnet of a network at a time.
    assert any(urn.endswith(f"::{first}") for urn in subnets[1].depends_on)
    assert any(urn.endswith(f"::{second}") for urn in subnets[2].depends_on)


def test_what_is_in_the_subnets_reaches_out_from_one_address_of_the_stack(engine: Engine) -> None:
    address = engine.one("network:PublicIPAddress")
    assert chosen(address) == {"sku": {"name": "Standard"}, "publicIPAllocationMethod": "Static"}
    gateway = engine.one("network:NatGateway")
    assert chosen(gateway) == {
        "sku": {"name": "Standard"},
        "publicIpAddresses": [{"id": id_of("network/PublicIPAddress", "network-outbound1a2b3c4d")}],
    }
    behind = {each.name: each.inputs.get("natGateway") for each in engine.all("network:Subnet")}
    of_gateway = {"id": id_of("network/NatGateway", "network-outbound1a2b3c4d")}
    assert behind == {
        "network-containers": of_gateway,
        "network-app": of_gateway,
        "network-endpoints": None,
    }
    for each in engine.all("network:Subnet"):
        assert each.inputs["defaultOutboundAccess"] is False


def test_every_subnet_has_a_security_group_that_holds_for_private_endpoints(
    engine: Engine,
) -> None:
    for each in engine.all("network:Subnet"):
        group = id_of("network/NetworkSecurityGroup", f"{each.name}1a2b3c4d")
        assert each.inputs["networkSecurityGroup"] == {"id": group}
        assert each.inputs["privateEndpointNetworkPolicies"] == "NetworkSecurityGroupEnabled"


def denied(source: str) -> dict[str, Any]:
    return {
        "name": "deny-inbound",
        "priority": 4096,
        "direction": "Inbound",
        "access": "Deny",
        "protocol": "*",
        "sourceAddressPrefix": source,
        "sourcePortRange": "*",
        "destinationAddressPrefix": "*",
        "destinationPortRange": "*",
    }


def test_these_are_all_that_a_subnet_lets_in(engine: Engine) -> None:
    groups = {each.name: chosen(each) for each in engine.all("network:NetworkSecurityGroup")}
    https = {
        "name": "allow-https",
        "priority": 100,
        "direction": "Inbound",
        "access": "Allow",
        "protocol": "Tcp",
        "sourceAddressPrefixes": ["10.90.0.0/26", "10.90.0.64/26"],
        "sourcePortRange": "*",
        "destinationAddressPrefix": "*",
        "destinationPortRange": "443",
    }
    assert groups == {
        "network-containers": {"securityRules": [denied("Internet")]},
        "network-app": {"securityRules": [denied("*")]},
        "network-endpoints": {"securityRules": [https, denied("*")]},
    }


# The stacks of this repository


@pytest.mark.parametrize("file", STACK_FILES, ids=lambda file: file.name)
def test_a_stack_of_this_repository_is_deployed_whole(file: Path) -> None:
    config = yaml.safe_load(file.read_text())["config"]
    stack = file.name.split(".")[1]
    engine = run_program(config, stack=stack)
    assert len(engine.all("infra:Extractor")) == len(config["pipelines:extractors"])
    # A type that only such a stack declares has no test that looks at its properties.
    known = {
        each.type
        for covered in (stacks.everything(), stacks.with_container_scheduler())
        for each in run_program(covered).declared
    }
    assert {each.type for each in engine.declared} <= known


def test_prod_is_isolated_and_its_lake_locked() -> None:
    config = yaml.safe_load((REPOSITORY / "Pulumi.prod.yaml").read_text())["config"]
    engine = run_program(config, stack="prod")
    accounts = engine.all("storage:StorageAccount")
    assert {each.inputs["publicNetworkAccess"] for each in accounts} == {"Disabled"}
    assert engine.one("containerregistry:Registry").inputs["publicNetworkAccess"] == "Disabled"
    assert engine.one("authorization:ManagementLockByScope").inputs["level"] == "CanNotDelete"


# Alerts


def test_alerts_reach_people(engine: Engine) -> None:
    group = engine.one("monitor:ActionGroup").inputs
    assert group["enabled"] is True
    assert [each["emailAddress"] for each in group["emailReceivers"]] == ["team@example.com"]
