"""The local plugin under the real Pulumi engine, with types that are stored only: no Docker."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi_azure_native import (
    authorization,
    containerinstance,
    keyvault,
    managedidentity,
    monitor,
    network,
    operationalinsights,
    privatedns,
    resources,
    storage,
    web,
)

from local.settings import REPOSITORY, Settings
from tests.integration.pulumi_engine import Engine, EngineError

SETTINGS = Settings(name="plugin-engine")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path, SETTINGS)


def group() -> resources.ResourceGroup:
    return resources.ResourceGroup("group", location="West Europe")


def account(parent: resources.ResourceGroup, **changes: Any) -> storage.StorageAccount:
    arguments = {"kind": "StorageV2", "sku": {"name": "Standard_LRS"}, **changes}
    return storage.StorageAccount("lake", resource_group_name=parent.name, **arguments)


def lake(**changes: Any) -> Callable[[], None]:
    def program() -> None:
        account(group(), **changes)

    return program


def test_a_resource_is_created_kept_updated_replaced_and_deleted(engine: Engine) -> None:
    assert engine.preview(lake()) == {"create": 2}
    assert engine.up(lake()) == {"create": 2}
    before = engine.state()["lake"]
    assert engine.up(lake()) == {"same": 2}
    assert engine.refresh() == {"same": 2}

    assert engine.up(lake(tags={"a": "1"})) == {"same": 1, "update": 1}
    assert engine.state()["lake"]["id"] == before["id"]

    assert engine.preview(lake(is_hns_enabled=True)) == {"same": 1, "replace": 1}
    assert engine.up(lake(is_hns_enabled=True)) == {"same": 1, "replace": 1}
    # A random name is a new one, so the new resource could be made before the old one was deleted.
    assert engine.state()["lake"]["id"] != before["id"]

    assert engine.destroy() == {"delete": 2}


def everything() -> None:
    """The types of a whole deployment, each with a value that is known after another exists."""
    parent = group()
    inside: dict[str, Any] = {"resource_group_name": parent.name}
    client = authorization.get_client_config_output()
    identity = managedidentity.UserAssignedIdentity("identity", **inside)
    assigned = account(
        parent,
        identity=storage.IdentityArgs(type="UserAssigned", user_assigned_identities=[identity.id]),
    )
    storage.ManagementPolicy(
        "lifecycle",
        account_name=assigned.name,
        management_policy_name="default",
        policy=storage.ManagementPolicySchemaArgs(rules=[]),
        **inside,
    )
    storage.BlobServiceProperties(
        "blobs", account_name=assigned.name, blob_services_name="default", **inside
    )
    authorization.ManagementLockByScope("lock", scope=assigned.id, level="CanNotDelete")
    role = authorization.RoleDefinition(
        "role",
        role_name="starter",
        scope=parent.id,
        assignable_scopes=[parent.id],
        permissions=[authorization.PermissionArgs(actions=["*/read"])],
    )
    authorization.RoleAssignment(
        "assignment",
        principal_id=identity.principal_id,
        principal_type="ServicePrincipal",
        role_definition_id=role.id,
        scope=assigned.id,
    )
    net = network.VirtualNetwork(
        "net", address_space=network.AddressSpaceArgs(address_prefixes=["10.0.0.0/16"]), **inside
    )
    subnet = network.Subnet(
        "subnet", virtual_network_name=net.name, address_prefix="10.0.1.0/24", **inside
    )
    endpoint = network.PrivateEndpoint(
        "endpoint",
        subnet=network.SubnetArgs(id=subnet.id),
        private_link_service_connections=[
            network.PrivateLinkServiceConnectionArgs(
                name="lake", private_link_service_id=assigned.id, group_ids=["dfs"]
            )
        ],
        **inside,
    )
    zone = privatedns.PrivateZone(
        "zone", private_zone_name="privatelink.dfs.core.windows.net", location="global", **inside
    )
    privatedns.VirtualNetworkLink(
        "link",
        private_zone_name=zone.name,
        location="global",
        registration_enabled=False,
        virtual_network=privatedns.SubResourceArgs(id=net.id),
        **inside,
    )
    network.PrivateDnsZoneGroup(
        "zone-group",
        private_endpoint_name=endpoint.name,
        private_dns_zone_configs=[
            network.PrivateDnsZoneConfigArgs(name="dfs", private_dns_zone_id=zone.id)
        ],
        **inside,
    )
    vault = keyvault.Vault(
        "vault",
        properties=keyvault.VaultPropertiesArgs(
            tenant_id=client.tenant_id,
            sku=keyvault.SkuArgs(family="A", name=keyvault.SkuName.STANDARD),
        ),
        **inside,
    )
    logs = operationalinsights.Workspace("logs", **inside)
    keys = operationalinsights.get_shared_keys_output(workspace_name=logs.name, **inside)
    people = monitor.ActionGroup(
        "people", group_short_name="people", enabled=True, location="global", **inside
    )
    monitor.ScheduledQueryRule(
        "late",
        scopes=[logs.id],
        severity=2,
        enabled=True,
        evaluation_frequency="PT5M",
        window_size="PT5M",
        actions=monitor.ActionsArgs(action_groups=[people.id]),
        criteria=monitor.ScheduledQueryRuleCriteriaArgs(all_of=[]),
        **inside,
    )
    plan = web.AppServicePlan(
        "plan", kind="linux", reserved=True, sku=web.SkuDescriptionArgs(name="B1"), **inside
    )
    for name, value in {
        "dfs": assigned.primary_endpoints.dfs,
        "identities": assigned.identity.apply(
            lambda identity: list((identity and identity.user_assigned_identities) or {})
        ),
        "key": pulumi.Output.secret(keys.primary_shared_key),
        "plan": plan.id,
        "subnet": subnet.name,
        "vault": vault.properties.vault_uri,
    }.items():
        pulumi.export(name, value)


def test_a_whole_deployment_is_previewed_made_and_the_same_the_second_time(engine: Engine) -> None:
    assert engine.preview(everything) == {"create": 19}
    assert engine.up(everything) == {"create": 19}
    first = {name: output.value for name, output in engine.outputs().items()}
    identity = str(engine.state()["identity"]["id"])
    vault = str(engine.state()["vault"]["id"]).rpartition("/")[2]
    assert first["dfs"].startswith("https://host.docker.internal:15000/lake")
    assert first["identities"] == [identity]
    assert first["plan"] == engine.state()["plan"]["id"]
    assert first["subnet"] == "subnet"
    assert first["vault"] == f"https://host.docker.internal:15000/vaults/{vault}/"

    assert engine.up(everything) == {"same": 19}
    assert {name: output.value for name, output in engine.outputs().items()} == first
    assert engine.refresh() == {"same": 19}
    assert engine.destroy() == {"delete": 19}


def containers(container: dict[str, Any], **changes: Any) -> Callable[[], None]:
    def program() -> None:
        arguments: dict[str, Any] = {
            "resource_group_name": group().name,
            "container_group_name": "weather",
            "os_type": "Linux",
            "restart_policy": "Never",
            "containers": [{"name": "weather", "image": "i", **container}],
            **changes,
        }
        containerinstance.ContainerGroup("weather-group", **arguments)

    return program


REQUESTS = {"resources": {"requests": {"cpu": 1, "memory_in_gb": 1}}}

WRONG = {
    "property": (
        containers({**REQUESTS, "imagee": "i"}),
        "containers[0].imagee",
        "is not a property; did you mean image?",
    ),
    "type": (
        containers({"resources": {"requests": {"cpu": "one", "memory_in_gb": 1}}}),
        "containers[0].resources.requests.cpu",
        'is "one"; allowed is a number',
    ),
    "missing": (
        containers({}),
        "containers[0].resources",
        "is missing; allowed is a value, which Azure requires",
    ),
    "enumeration": (
        containers(REQUESTS, restart_policy="never"),
        "restartPolicy",
        'is "never"; allowed is one of "Always", "OnFailure", "Never"',
    ),
    "name": (
        containers(REQUESTS, container_group_name="Weather"),
        "containerGroupName",
        'is "Weather"; allowed is 1 to 63 lower-case letters, digits and single hyphens',
    ),
}
"""By what is wrong: a program, the property's path, and what is said of it."""


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_names_the_resource_and_the_property(engine: Engine, mistake: str) -> None:
    program, path, reason = WRONG[mistake]
    for operation in (engine.preview, engine.up):
        with pytest.raises(EngineError) as caught:
            operation(program)
        assert f"resource 'weather-group' has a problem: {path} {reason}" in str(caught.value)
    assert "weather-group" not in engine.state()


def test_a_wrong_secret_is_not_printed(engine: Engine) -> None:
    def program() -> None:
        account(group(), kind=pulumi.Output.secret("S3CRET"))

    with pytest.raises(EngineError) as caught:
        engine.up(program)
    assert "kind is a secret of another kind; allowed is one of" in str(caught.value)
    assert "S3CRET" not in str(caught.value)


def test_a_secret_is_encrypted_in_the_state(engine: Engine) -> None:
    def program() -> None:
        account(group(), tags={"a": pulumi.Output.secret("S3CRET")})

    engine.up(program)
    state = engine.state()["lake"]
    assert "S3CRET" not in json.dumps(state)
    assert "ciphertext" in json.dumps(state["inputs"])
    assert "ciphertext" in json.dumps(state["outputs"])


def net(prefix: str, **options: Any) -> Callable[[], None]:
    def program() -> None:
        network.VirtualNetwork(
            "net",
            resource_group_name=group().name,
            virtual_network_name="net",
            address_space=network.AddressSpaceArgs(address_prefixes=[prefix]),
            opts=pulumi.ResourceOptions(**options),
        )

    return program


def test_a_program_asks_for_a_replacement_of_what_azure_would_update(engine: Engine) -> None:
    engine.up(net("10.0.0.0/16"))
    assert engine.up(net("10.1.0.0/16")) == {"same": 1, "update": 1}
    options = {
        "replace_on_changes": ["addressSpace.addressPrefixes"],
        "delete_before_replace": True,
    }
    assert engine.up(net("10.1.0.0/16", **options)) == {"same": 2}
    assert engine.up(net("10.2.0.0/16", **options)) == {"same": 1, "replace": 1}
    assert [step for step in engine.steps if step[1] == "net"] == [
        ("delete-replaced", "net"),
        ("replace", "net"),
        ("create-replacement", "net"),
    ]


def test_a_resource_with_a_name_of_the_program_s_is_deleted_before_the_new_one(
    engine: Engine,
) -> None:
    engine.up(lake(account_name="lake"))
    engine.up(lake(account_name="lake", is_hns_enabled=True))
    operations = [operation for operation, name in engine.steps if name == "lake"]
    assert operations.index("delete-replaced") < operations.index("create-replacement")


def test_the_region_can_be_configured(engine: Engine) -> None:
    def program() -> None:
        account(resources.ResourceGroup("group"))

    with pytest.raises(EngineError, match="location is missing"):
        engine.up(program)
    engine.configure("azure-native:location", "northeurope")
    engine.up(program)
    inputs = engine.state()["lake"]["inputs"]
    assert isinstance(inputs, dict)
    assert inputs["location"] == "northeurope"


def test_what_no_program_declared_is_refused_by_its_id(engine: Engine) -> None:
    def program() -> None:
        storage.StorageAccount.get("other", "/subscriptions/s/other")

    with pytest.raises(EngineError, match="/subscriptions/s/other can't be looked up"):
        engine.up(program)


def test_types_are_looked_up_from_many_threads_at_once() -> None:
    # In a process of its own: the package's modules are imported when they are first used.
    program = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from local.plugin.schema import resource_schema

kinds = ["authorization:RoleAssignment", "authorization:RoleDefinition", "network:Subnet"] * 8
together = Barrier(len(kinds))

def look_up(kind):
    together.wait()
    return resource_schema(f"azure-native:{kind}")

with ThreadPoolExecutor(len(kinds)) as threads:
    assert len(list(threads.map(look_up, kinds))) == len(kinds)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
