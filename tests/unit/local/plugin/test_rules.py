"""Azure's rules for names, and what it wants of a container group and an app."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.runtime.rpc import UNKNOWN, wrap_rpc_secret

from local.plugin.rules import violations

NAMES = [
    ("applicationinsights:Component", ["app insights", "x" * 260], ["a/b", "end.", "x" * 261]),
    ("authorization:ManagementLockByScope", ["lock", "a.(b)"], ["end.", "a/b", "x" * 91, ""]),
    (
        "authorization:RoleAssignment",
        ["3a1b0b7e-3f0f-4d56-9b34-0d4f7d3a8f10"],
        ["pull", "3a1b0b7e3f0f4d569b340d4f7d3a8f10"],
    ),
    (
        "containerinstance:ContainerGroup",
        ["a", "weather-2", "x" * 63],
        ["", "Weather", "a_b", "-a", "a-", "a--b", "x" * 64, "a\n"],
    ),
    ("containerregistry:Registry", ["Abc12", "x" * 50], ["abcd", "a-bcde", "x" * 51]),
    ("keyvault:Secret", ["Api-Key", "1"], ["api_key", "x" * 128]),
    (
        "keyvault:Vault",
        ["abc", "My-vault-1", "x" * 24],
        ["ab", "1abc", "a--b", "abc-", "x" * 25],
    ),
    (
        "managedidentity:UserAssignedIdentity",
        ["abc", "1_a-", "x" * 128],
        ["ab", "-abc", "a.bc", "x" * 129],
    ),
    ("monitor:ActionGroup", ["on call"], ["a:b", "a?", "end ", "tab\t", ""]),
    ("monitor:MetricAlert", ["late"], ["a#b", "a@b", "{a}"]),
    ("monitor:ScheduledQueryRule", ["job failed"], ["a*", "a#", "a/b"]),
    ("network:NatGateway", ["a", "x" * 80], ["-a", "x" * 81]),
    ("network:NetworkSecurityGroup", ["a", "x" * 80], ["a-", "x" * 81]),
    ("network:PublicIPAddress", ["a", "x" * 80], ["a b", "x" * 81]),
    ("network:PrivateEndpoint", ["ab", "a.b_"], ["a", "_ab", "ab-", "x" * 65]),
    ("network:Subnet", ["a", "x" * 80], ["a b", "a.", "x" * 81]),
    ("network:VirtualNetwork", ["net-1"], ["n", "net-", "é1"]),
    ("operationalinsights:Workspace", ["logs", "x" * 63], ["log", "-logs", "logs-", "lo_gs"]),
    (
        "privatedns:PrivateZone",
        ["privatelink.blob.core.windows.net", "a.b"],
        ["single", "a..b", "a." + "x" * 62, "a b.c"],
    ),
    ("resources:ResourceGroup", ["pipelines (dev)_é.1".replace(" ", "")], ["a.", "a b", "x" * 91]),
    ("storage:BlobContainer", ["raw", "x" * 63], ["ab", "Raw", "a--b", "-raw", "raw-", "r_aw"]),
    ("storage:ManagementPolicy", ["default"], ["lifecycle"]),
    ("storage:BlobServiceProperties", ["default"], ["blobs"]),
    ("storage:StorageAccount", ["abc", "1" * 24], ["ab", "Abc", "a-bc", "x" * 25]),
    ("storage:Table", ["runs", "x" * 63], ["ab", "1abc", "a-bc", "x" * 64]),
    ("web:AppServicePlan", ["plan-1", "x" * 60], ["a_b", "x" * 61, ""]),
    ("web:WebApp", ["ab", "x" * 60], ["a", "-ab", "ab-", "a_b", "x" * 61]),
]

COMPLETE = {"containers": [], "osType": "Linux", "siteConfig": {"linuxFxVersion": "DOCKER|image"}}
"""What types with further rules want beside a name."""


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names, _ in NAMES for name in names]
)
def test_names_that_azure_takes(kind: str, name: str) -> None:
    inputs = {**COMPLETE, "ownName": name}
    assert list(violations(kind, "ownName", inputs)) == []


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, _, names in NAMES for name in names]
)
def test_names_that_azure_refuses(kind: str, name: str) -> None:
    inputs = {**COMPLETE, "ownName": name}
    (violation,) = violations(kind, "ownName", inputs)
    assert (violation.path, violation.value) == ("ownName", name)
    assert violation.allowed


def test_a_type_without_rules_takes_every_name() -> None:
    assert not list(violations("network:RouteTable", "routeTableName", {"routeTableName": "?"}))


def test_a_type_without_a_name_of_its_own_has_none_checked() -> None:
    assert not list(violations("web:WebAppAuthSettingsV2", None, {"name": "a_b"}))


def test_a_name_that_is_not_known_yet_breaks_no_rule() -> None:
    assert not list(violations("storage:Table", "tableName", {"tableName": UNKNOWN}))


def test_a_secret_name_is_checked_and_stays_in_its_wrapper() -> None:
    name = wrap_rpc_secret("a_b")
    (violation,) = violations("storage:Table", "tableName", {"tableName": name})
    assert violation.value == name


def paths(inputs: dict[str, Any], kind: str = "containerinstance:ContainerGroup") -> list[str]:
    return [each.path for each in violations(kind, None, {"osType": "Linux", **inputs})]


def test_what_a_container_group_needs() -> None:
    assert paths({"osType": None}) == ["containers", "osType"]
    assert paths({"osType": UNKNOWN, "containers": UNKNOWN}) == []


@pytest.mark.parametrize(
    ("container", "wrong"),
    [
        ({"name": "a", "image": "i", "resources": {}}, []),
        ({"name": "a", "resources": {}}, ["containers[0].image"]),
        ({"name": "a", "image": "", "resources": {}}, ["containers[0].image"]),
        ({"name": "a", "image": "i"}, ["containers[0].resources"]),
        ({"name": "A", "image": "i", "resources": {}}, ["containers[0].name"]),
        ({"name": UNKNOWN, "image": UNKNOWN, "resources": UNKNOWN}, []),
    ],
)
def test_what_a_container_needs(container: dict[str, Any], wrong: list[str]) -> None:
    assert paths({"containers": [container]}) == wrong


def test_two_containers_of_one_name() -> None:
    container = {"name": "a", "image": "i", "resources": {}}
    assert paths({"containers": [container, container]}) == ["containers[1].name"]


@pytest.mark.parametrize("name", ["cpu", "memoryInGB"])
@pytest.mark.parametrize(("amount", "is_wrong"), [(0, True), (-1, True), (0.1, False)])
def test_a_container_asks_for_something(name: str, amount: float, is_wrong: bool) -> None:
    resources = {"requests": {"cpu": 1, "memoryInGB": 1, name: amount}}
    container = {"name": "a", "image": "i", "resources": resources}
    path = f"containers[0].resources.requests.{name}"
    assert paths({"containers": [container]}) == ([path] if is_wrong else [])


@pytest.mark.parametrize(
    ("site", "is_wrong"),
    [
        ({"linuxFxVersion": "DOCKER|image"}, False),
        ({"linuxFxVersion": UNKNOWN}, False),
        (UNKNOWN, False),
        ({"linuxFxVersion": "PYTHON|3.11"}, True),
        ({}, True),
        (None, True),
    ],
)
def test_an_app_runs_an_image(site: Any, is_wrong: bool) -> None:
    wrong = ["siteConfig.linuxFxVersion"] if is_wrong else []
    assert paths({"siteConfig": site}, "web:WebApp") == wrong


@pytest.mark.parametrize(
    ("kind", "inputs", "path"),
    [
        ("network:VirtualNetwork", {"tags": {str(n): "" for n in range(50)}}, None),
        ("network:VirtualNetwork", {"tags": {str(n): "" for n in range(51)}}, "tags"),
        ("privatedns:PrivateZone", {"tags": {str(n): "" for n in range(16)}}, "tags"),
        ("network:VirtualNetwork", {"tags": {"a/b": ""}}, "tags"),
        ("network:VirtualNetwork", {"tags": {"x" * 129: "y" * 256}}, None),
        ("storage:StorageAccount", {"tags": {"x" * 129: ""}}, "tags"),
        ("network:VirtualNetwork", {"tags": {"a": "x" * 257}}, 'tags["a"]'),
        ("network:VirtualNetwork", {"tags": UNKNOWN}, None),
        ("monitor:ActionGroup", {"groupShortName": "x" * 12}, None),
        ("monitor:ActionGroup", {"groupShortName": "x" * 13}, "groupShortName"),
        ("authorization:ManagementLockByScope", {"notes": "x" * 512}, None),
        ("authorization:ManagementLockByScope", {"notes": "x" * 513}, "notes"),
        ("keyvault:Vault", {"properties": {"softDeleteRetentionInDays": 90}}, None),
        (
            "keyvault:Vault",
            {"properties": {"softDeleteRetentionInDays": 91}},
            "properties.softDeleteRetentionInDays",
        ),
    ],
)
def test_limits_that_azure_documents(kind: str, inputs: dict[str, Any], path: str | None) -> None:
    assert [each.path for each in violations(kind, None, inputs)] == ([path] if path else [])
