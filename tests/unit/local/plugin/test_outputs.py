"""What a program reads of its resources, before and after they exist."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import pytest
from pulumi.runtime.rpc import UNKNOWN, wrap_rpc_secret

from local.azure.identity import TENANT_ID, object_id
from local.plugin.bodies import Resource
from local.plugin.outputs import outputs_of, previewed_outputs, workspace_keys
from local.plugin.schema import resource_schema
from local.settings import Settings

GROUP = "/subscriptions/sub/resourceGroups/pipelines/providers/"
IDENTITY = f"{GROUP}Microsoft.ManagedIdentity/userAssignedIdentities/weather"


def outputs(kind: str, path: str, inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    schema = resource_schema(f"azure-native:{kind}")
    return outputs_of(Resource(schema, f"{GROUP}{path}", inputs or {}), Settings())


def previewed(kind: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return previewed_outputs(resource_schema(f"azure-native:{kind}"), inputs)


class TestOutputs:
    def test_what_every_resource_has(self) -> None:
        found = outputs("network:PrivateEndpoint", "Microsoft.Network/privateEndpoints/lake")
        assert found == {
            "name": "lake",
            "type": "Microsoft.Network/privateEndpoints",
            "provisioningState": "Succeeded",
        }

    def test_a_name_that_is_an_input_too(self) -> None:
        path = "Microsoft.Network/virtualNetworks/net/subnets/aci"
        assert outputs("network:Subnet", path)["name"] == "aci"
        assert "name" not in outputs("network:Subnet", path, {"name": "other"})

    def test_the_addresses_of_a_storage_account_are_those_that_containers_use(self) -> None:
        path = "Microsoft.Storage/storageAccounts/lake"
        found = outputs("storage:StorageAccount", path, {"location": "westeurope"})
        assert found["primaryEndpoints"] == {
            "blob": "https://host.docker.internal:15000/lake/",
            "dfs": "https://host.docker.internal:15000/lake/",
            "table": "https://host.docker.internal:15000/tables/lake/",
        }
        assert found["primaryLocation"] == "westeurope"

    def test_a_registry_is_the_one_on_this_machine(self) -> None:
        found = outputs("containerregistry:Registry", "Microsoft.ContainerRegistry/registries/r")
        assert found["loginServer"] == "127.0.0.1:15001"

    def test_an_identity_has_the_ids_that_its_tokens_have(self) -> None:
        path = "Microsoft.ManagedIdentity/userAssignedIdentities/weather"
        found = outputs("managedidentity:UserAssignedIdentity", path)
        assert found["principalId"] == object_id(found["clientId"])
        assert found["tenantId"] == TENANT_ID

    @pytest.mark.parametrize(
        ("kind", "path"),
        [
            (
                "containerinstance:ContainerGroup",
                "Microsoft.ContainerInstance/containerGroups/weather",
            ),
            ("web:WebApp", "Microsoft.Web/sites/scheduler"),
            ("storage:StorageAccount", "Microsoft.Storage/storageAccounts/lake"),
        ],
    )
    def test_assigned_identities_are_answered_with_their_ids(self, kind: str, path: str) -> None:
        user = outputs(
            "managedidentity:UserAssignedIdentity",
            "Microsoft.ManagedIdentity/userAssignedIdentities/weather",
        )
        identity = {"type": "UserAssigned", "userAssignedIdentities": [IDENTITY]}
        assert outputs(kind, path, {"identity": identity})["identity"] == {
            "type": "UserAssigned",
            "userAssignedIdentities": {
                IDENTITY: {"clientId": user["clientId"], "principalId": user["principalId"]}
            },
        }

    def test_a_system_assigned_identity_has_a_principal(self) -> None:
        path = "Microsoft.Web/sites/scheduler"
        found = outputs("web:WebApp", path, {"identity": {"type": "SystemAssigned"}})["identity"]
        assert found.keys() == {"type", "principalId", "tenantId"}

    def test_identities_that_are_not_known_yet(self) -> None:
        path = "Microsoft.Web/sites/scheduler"
        identity = {"type": "UserAssigned", "userAssignedIdentities": [UNKNOWN]}
        found = outputs("web:WebApp", path, {"identity": identity})["identity"]
        assert found == {"type": "UserAssigned", "userAssignedIdentities": UNKNOWN}
        assert "identity" not in outputs("web:WebApp", path, {"identity": UNKNOWN})

    def test_containers_have_nowhere_to_send_telemetry_to(self) -> None:
        found = outputs("applicationinsights:Component", "Microsoft.Insights/components/app")
        assert found["connectionString"] == ""

    def test_a_vault_has_an_address(self) -> None:
        path = "Microsoft.KeyVault/vaults/secrets"
        found = outputs("keyvault:Vault", path, {"properties": {"tenantId": "t"}})
        assert found["properties"] == {
            "tenantId": "t",
            "vaultUri": "https://host.docker.internal:15000/vaults/secrets/",
        }
        assert "properties" not in outputs("keyvault:Vault", path, {"properties": UNKNOWN})

    def test_a_public_address_is_one_that_leads_nowhere(self) -> None:
        path = "Microsoft.Network/publicIPAddresses/"
        first, other = (outputs("network:PublicIPAddress", path + name) for name in ("a", "b"))
        assert first["ipAddress"].startswith("203.0.113.")
        assert first["ipAddress"] != other["ipAddress"]

    def test_the_subnets_of_a_network_have_ids(self) -> None:
        path = "Microsoft.Network/virtualNetworks/net"
        found = outputs("network:VirtualNetwork", path, {"subnets": [{"name": "aci"}]})
        assert found["subnets"] == [{"name": "aci", "id": f"{GROUP}{path}/subnets/aci"}]
        unknown = outputs("network:VirtualNetwork", path, {"subnets": [{"name": UNKNOWN}]})
        assert "subnets" not in unknown

    def test_an_app_has_a_host_name(self) -> None:
        found = outputs("web:WebApp", "Microsoft.Web/sites/scheduler")
        assert found["defaultHostName"] == "scheduler.azurewebsites.net"

    @pytest.mark.parametrize(
        ("kind", "path", "names"),
        [
            (
                "operationalinsights:Workspace",
                "Microsoft.OperationalInsights/workspaces/logs",
                {"customerId"},
            ),
            (
                "applicationinsights:Component",
                "Microsoft.Insights/components/app",
                {"appId", "instrumentationKey"},
            ),
        ],
    )
    def test_generated_ids_are_stable_and_known_to_the_type(
        self, kind: str, path: str, names: set[str]
    ) -> None:
        found = outputs(kind, path)
        assert names <= found.keys() <= resource_schema(f"azure-native:{kind}").outputs.keys()
        assert found == outputs(kind, path)
        assert all(outputs(kind, f"{path}2")[name] != found[name] for name in names)

    def test_the_keys_of_a_workspace(self) -> None:
        keys = workspace_keys("pipelines", "logs")
        assert keys == workspace_keys("pipelines", "logs")
        assert keys.keys() == {"primarySharedKey", "secondarySharedKey"}
        assert {len(base64.b64decode(key)) for key in keys.values()} == {64}
        assert len({*keys.values(), *workspace_keys("pipelines", "other").values()}) == 4


class TestPreview:
    def test_what_azure_adds_is_unknown_and_what_the_program_set_is_not(self) -> None:
        found = previewed("storage:StorageAccount", {"kind": "StorageV2", "tags": {"a": "b"}})
        assert (found["kind"], found["tags"]) == ("StorageV2", {"a": "b"})
        assert (found["primaryEndpoints"], found["name"]) == (UNKNOWN, UNKNOWN)

    def test_what_azure_adds_to_an_object_is_unknown_as_well(self) -> None:
        found = previewed("keyvault:Vault", {"properties": {"tenantId": "t"}})["properties"]
        assert (found["tenantId"], found["vaultUri"]) == ("t", UNKNOWN)

    def test_and_to_the_objects_of_a_list(self) -> None:
        (subnet,) = previewed("network:VirtualNetwork", {"subnets": [{"name": "aci"}]})["subnets"]
        assert (subnet["name"], subnet["etag"]) == ("aci", UNKNOWN)

    def test_assigned_identities_become_a_map(self) -> None:
        for assigned, expected in ([IDENTITY], {IDENTITY: UNKNOWN}), ([UNKNOWN], UNKNOWN):
            identity = {"type": "UserAssigned", "userAssignedIdentities": assigned}
            found = previewed("web:WebApp", {"identity": identity})["identity"]
            assert found["userAssignedIdentities"] == expected

    def test_secrets_stay_wrapped(self) -> None:
        secret = wrap_rpc_secret({"tenantId": "t"})
        found = previewed("keyvault:Vault", {"properties": secret, "tags": wrap_rpc_secret({})})
        assert found["tags"] == wrap_rpc_secret({})
        assert found["properties"]["value"]["tenantId"] == "t"
        assert found["properties"]["value"]["vaultUri"] == UNKNOWN

    def test_unknown_inputs_stay_unknown(self) -> None:
        assert previewed("keyvault:Vault", {"properties": UNKNOWN})["properties"] == UNKNOWN
