"""What a change of inputs means: nothing, an update, or another resource."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.runtime.rpc import UNKNOWN, wrap_rpc_secret

from local.plugin.diff import Change, Difference, Kind, compare
from local.plugin.naming import CREATE_BEFORE_DELETE
from local.plugin.schema import resource_schema


def difference(kind: str, old: dict[str, Any], new: dict[str, Any]) -> Difference:
    return compare(resource_schema(f"azure-native:{kind}"), old, new)


def kinds(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Kind]:
    found = difference("containerinstance:ContainerGroup", old, new).changes
    return {path: change.kind for path, change in found.items()}


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ({"tags": {"a": "1"}}, {"tags": {"a": "1"}}, {}),
        ({}, {"tags": {"a": "1"}}, {"tags": Kind.ADD}),
        ({"tags": {"a": "1"}}, {}, {"tags": Kind.DELETE}),
        ({"tags": {"a": "1"}}, {"tags": {"a": "2"}}, {"tags.a": Kind.UPDATE}),
        (
            {"tags": {"a": "1"}},
            {"tags": {"b.c": "1"}},
            {"tags.a": Kind.DELETE, 'tags["b.c"]': Kind.ADD},
        ),
        ({"tags": {}}, {"tags": {'a"b': "1"}}, {'tags["a\\"b"]': Kind.ADD}),
        (
            {"containers": [{"image": "a"}, {"image": "b"}]},
            {"containers": [{"image": "c"}]},
            {"containers[0].image": Kind.UPDATE, "containers[1]": Kind.DELETE},
        ),
        ({"containers": []}, {"containers": [{"image": "a"}]}, {"containers[0]": Kind.ADD}),
        ({"containers": [{"image": "a"}]}, {"containers": UNKNOWN}, {"containers": Kind.UPDATE}),
        ({"sku": wrap_rpc_secret("a")}, {"sku": "a"}, {}),
        ({"sku": wrap_rpc_secret("a")}, {"sku": wrap_rpc_secret("b")}, {"sku": Kind.UPDATE}),
        ({"sku": 1}, {"sku": 1.0}, {}),
        ({"location": "West Europe"}, {"location": "westeurope"}, {}),
        ({"location": "westeurope"}, {"location": "northeurope"}, {"location": Kind.UPDATE}),
        ({"location": "westeurope"}, {"location": UNKNOWN}, {"location": Kind.UPDATE}),
        ({CREATE_BEFORE_DELETE: True}, {}, {}),
    ],
)
def test_changes_have_their_paths(
    old: dict[str, Any], new: dict[str, Any], changes: dict[str, Kind]
) -> None:
    assert kinds(old, new) == changes


REPLACING = [
    ("containerinstance:ContainerGroup", "containerGroupName"),
    ("containerinstance:ContainerGroup", "resourceGroupName"),
    ("storage:Table", "accountName"),
    ("storage:StorageAccount", "isHnsEnabled"),
    ("storage:StorageAccount", "location"),
    ("authorization:RoleAssignment", "scope"),
    ("authorization:RoleAssignment", "principalId"),
    ("network:NatGateway", "location"),
    ("network:NetworkSecurityGroup", "location"),
    ("network:PrivateEndpoint", "subnet"),
    ("network:PublicIPAddress", "location"),
    ("network:VirtualNetwork", "location"),
    ("resources:ResourceGroup", "location"),
    ("web:WebApp", "kind"),
]


@pytest.mark.parametrize(("kind", "name"), REPLACING)
def test_what_names_a_resource_or_is_set_once_replaces_it(kind: str, name: str) -> None:
    found = difference(kind, {name: "a"}, {name: "b"})
    assert found.changes == {name: Change(Kind.UPDATE, replace=True)}
    assert (found.replaces, found.properties) == ([name], [name])


def test_within_such_a_property_too() -> None:
    found = difference("network:PrivateEndpoint", {"subnet": {"id": "a"}}, {"subnet": {"id": "b"}})
    assert (list(found.changes), found.replaces) == (["subnet.id"], ["subnet"])


@pytest.mark.parametrize(
    ("kind", "name"),
    [("storage:StorageAccount", "tags"), ("containerinstance:ContainerGroup", "containers")],
)
def test_another_property_updates_it(kind: str, name: str) -> None:
    found = difference(kind, {name: {"a": "1"}}, {name: {"a": "2"}})
    assert (found.replaces, found.properties) == ([], [name])
    assert not found.delete_before_replace


@pytest.mark.parametrize(
    ("flag", "deleted_first"), [({}, True), ({CREATE_BEFORE_DELETE: True}, False)]
)
def test_a_name_of_the_program_s_is_free_only_after_the_deletion(
    flag: dict[str, Any], deleted_first: bool
) -> None:
    found = difference(
        "storage:StorageAccount", {"location": "a", **flag}, {"location": "b", **flag}
    )
    assert found.delete_before_replace is deleted_first
