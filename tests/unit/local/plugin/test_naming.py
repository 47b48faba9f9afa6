"""Names that the plugin chooses: as the cloud's plugin does, and only once."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest

from local.plugin.naming import CREATE_BEFORE_DELETE, Mode, Proposal, with_name
from local.plugin.schema import resource_schema

SEED = b"seed"


def named(kind: str, **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "inputs": {},
        "old_inputs": {},
        "logical_name": "lake",
        "seed": SEED,
        **changes,
    }
    return with_name(resource_schema(f"azure-native:{kind}"), **arguments)


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("storage:StorageAccount", "accountName"),
        ("resources:ResourceGroup", "resourceGroupName"),
        ("web:WebApp", "name"),
        ("authorization:ManagementLockByScope", "lockName"),
        ("monitor:DiagnosticSetting", "name"),
    ],
)
def test_a_name_at_the_top_gets_eight_random_digits(kind: str, key: str) -> None:
    inputs = named(kind)
    assert re.fullmatch(r"lake[0-9a-f]{8}", inputs[key])
    assert inputs[CREATE_BEFORE_DELETE] is True


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("storage:Table", "tableName"),
        ("network:Subnet", "subnetName"),
        ("privatedns:VirtualNetworkLink", "virtualNetworkLinkName"),
        # Azure takes "default" alone, and the cloud's plugin does not know it: see the rules.
        ("storage:ManagementPolicy", "managementPolicyName"),
    ],
)
def test_a_name_within_another_resource_is_the_logical_one(kind: str, key: str) -> None:
    assert named(kind) == {key: "lake"}


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("authorization:RoleAssignment", "roleAssignmentName"),
        ("authorization:RoleDefinition", "roleDefinitionId"),
    ],
)
def test_roles_are_called_by_a_uuid(kind: str, key: str) -> None:
    name = named(kind)[key]
    assert str(uuid.UUID(name)) == name
    assert name != named(kind, logical_name="other")[key]


def test_the_engine_s_seed_decides_the_random_part() -> None:
    first = named("storage:StorageAccount")
    assert first == named("storage:StorageAccount")
    assert first != named("storage:StorageAccount", seed=b"another")


@pytest.mark.parametrize("flag", [{}, {CREATE_BEFORE_DELETE: True}])
def test_a_name_in_the_state_is_kept(flag: dict[str, bool]) -> None:
    old = {"accountName": "lake1", "kind": "Storage", **flag}
    inputs = named("storage:StorageAccount", old_inputs=old, inputs={"kind": "StorageV2"})
    assert inputs == {"accountName": "lake1", "kind": "StorageV2", **flag}


def test_a_program_s_own_name_is_kept() -> None:
    inputs = {"accountName": "mine"}
    old = {"accountName": "old1", CREATE_BEFORE_DELETE: True}
    assert named("storage:StorageAccount", inputs=inputs, old_inputs=old) == inputs


def test_a_type_without_a_name_gets_none() -> None:
    assert named("web:WebAppAuthSettingsV2", inputs={"name": "app"}) == {"name": "app"}


@pytest.mark.parametrize(
    ("mode", "kind", "key", "is_proposed"),
    [
        (Mode.PROPOSE, "storage:StorageAccount", "accountName", True),
        (Mode.PROPOSE, "storage:Table", "tableName", True),
        (Mode.PROPOSE, "authorization:RoleAssignment", "roleAssignmentName", False),
        (Mode.ENFORCE, "authorization:RoleAssignment", "roleAssignmentName", True),
        (Mode.ENFORCE, "storage:StorageAccount", "accountName", True),
    ],
)
def test_the_stack_s_configuration_of_names(
    mode: Mode, kind: str, key: str, is_proposed: bool
) -> None:
    inputs = named(kind, proposal=Proposal("proposed", mode))
    assert (inputs[key] == "proposed") is is_proposed
    assert inputs[CREATE_BEFORE_DELETE] is True


def test_a_stack_without_names_of_the_plugin_s() -> None:
    assert named("storage:StorageAccount", proposal=Proposal("", Mode.DISABLE)) == {}
