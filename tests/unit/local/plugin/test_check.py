"""Wrong inputs of resources, and what a person is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pulumi.runtime.rpc import UNKNOWN, wrap_rpc_secret

from local.plugin.check import check
from local.plugin.schema import resource_schema

GROUP = "azure-native:containerinstance:ContainerGroup"
ACCOUNT = "azure-native:storage:StorageAccount"


def container(**changes: Any) -> dict[str, Any]:
    return {
        "name": "weather",
        "image": "registry/weather@sha256:0",
        "resources": {"requests": {"cpu": 1, "memoryInGB": 1.5}},
        **changes,
    }


def container_group(**changes: Any) -> dict[str, Any]:
    return {
        "resourceGroupName": "pipelines",
        "containerGroupName": "weather",
        "osType": "Linux",
        "restartPolicy": "Never",
        "tags": {"job": "weather"},
        "containers": [container()],
        **changes,
    }


def reasons(token: str, inputs: Mapping[str, Any]) -> list[str]:
    return [failure.reason for failure in check(resource_schema(token), inputs)]


def test_right_inputs_pass() -> None:
    assert reasons(GROUP, container_group()) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"resourceGroupName": None}, "resourceGroupName is missing, and it is required"),
        ({"containerGroupName": None}, "containerGroupName is missing, and it is required"),
        ({"tags": "weather"}, 'tags is "weather"; allowed is a map'),
        ({"tags": {"a b": 1}}, 'tags["a b"] is 1; allowed is a string'),
        ({"containers": {"name": "a"}}, 'containers is {"name": "a"}; allowed is a list'),
        ({"containers": ["a"]}, 'containers[0] is "a"; allowed is an object'),
        ({"dnsConfig": []}, "dnsConfig is []; allowed is an object"),
        ({"zones": [1]}, "zones[0] is 1; allowed is a string"),
    ],
)
def test_a_wrong_property_is_named_with_what_is_allowed(
    changes: dict[str, Any], reason: str
) -> None:
    assert reasons(GROUP, container_group(**changes)) == [reason]


@pytest.mark.parametrize(
    ("requests", "reason"),
    [
        ({"cpu": "1", "memoryInGB": 1}, '.cpu is "1"; allowed is a number'),
        ({"cpu": True, "memoryInGB": 1}, ".cpu is true; allowed is a number"),
        ({"memoryInGB": 1}, ".cpu is missing, and it is required"),
        ({"cpu": 0, "memoryInGB": 1}, ".cpu is 0; allowed is a number above 0"),
        ({"cpu": 1, "memoryInGB": -0.5}, ".memoryInGB is -0.5; allowed is a number above 0"),
        (
            {"cpu": 1, "memoryInGB": 1, "memoryInGb": 1},
            ".memoryInGb is not a property; did you mean memoryInGB?",
        ),
    ],
)
def test_a_mistake_deep_inside_has_its_path(requests: dict[str, Any], reason: str) -> None:
    inputs = container_group(containers=[container(), container(name="b")])
    inputs["containers"][1]["resources"] = {"requests": requests}
    assert reasons(GROUP, inputs) == [f"containers[1].resources.requests{reason}"]


@pytest.mark.parametrize(
    ("wrong", "meant"), [("restartPolcy", "restartPolicy"), ("restart_polcy", "restart_policy")]
)
def test_a_misspelt_property_is_told_in_the_spelling_that_was_meant(wrong: str, meant: str) -> None:
    inputs = container_group(**{wrong: "Never"})
    assert reasons(GROUP, inputs) == [f"{wrong} is not a property; did you mean {meant}?"]


def test_a_property_unlike_any_other_is_told_the_known_ones() -> None:
    inputs = container_group(containers=[container(ports=[{"number_of_it": 1, "port": 80}])])
    assert reasons(GROUP, inputs) == [
        "containers[0].ports[0].number_of_it is not a property; known are port, protocol"
    ]


def test_a_text_outside_an_enumeration_is_told_its_values() -> None:
    assert reasons(GROUP, container_group(restartPolicy="never")) == [
        'restartPolicy is "never"; allowed is one of "Always", "OnFailure", "Never"'
    ]


def test_an_enumeration_that_the_sdk_takes_as_text_alone_is_checked_too() -> None:
    inputs = {"accountName": "lake", "resourceGroupName": "g", "sku": {"name": "Standard_LRS"}}
    assert reasons(ACCOUNT, {**inputs, "kind": "StorageV2"}) == []
    assert reasons(ACCOUNT, {**inputs, "kind": "StorageV3"}) == [
        (
            'kind is "StorageV3"; allowed is one of "Storage", "StorageV2", "BlobStorage", '
            '"FileStorage", "BlockBlobStorage"'
        )
    ]


@pytest.mark.parametrize("count", [3, 3.0])
def test_a_whole_number_is_one_however_it_is_written(count: float) -> None:
    plan = {"name": "plan", "resourceGroupName": "g", "targetWorkerCount": count}
    assert reasons("azure-native:web:AppServicePlan", plan) == []


def test_a_part_of_one_is_not_a_whole_number() -> None:
    plan = {"name": "plan", "resourceGroupName": "g", "targetWorkerCount": 1.5}
    assert reasons("azure-native:web:AppServicePlan", plan) == [
        "targetWorkerCount is 1.5; allowed is a whole number"
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"containers": UNKNOWN},
        {"restartPolicy": UNKNOWN},
        {"containerGroupName": UNKNOWN},
        {"containers": [UNKNOWN]},
        {"containers": [container(image=UNKNOWN, resources=UNKNOWN, name=UNKNOWN)]},
        {"containers": wrap_rpc_secret([container(image=UNKNOWN)])},
        {"tags": wrap_rpc_secret(UNKNOWN)},
    ],
)
def test_what_is_not_known_yet_is_taken_to_be_right(changes: dict[str, Any]) -> None:
    assert reasons(GROUP, container_group(**changes)) == []


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"containerGroupName": wrap_rpc_secret("S3CRET")}, "containerGroupName"),
        ({"restartPolicy": wrap_rpc_secret("S3CRET")}, "restartPolicy"),
        ({"tags": wrap_rpc_secret("S3CRET")}, "tags"),
        ({"zones": wrap_rpc_secret("S3CRET")}, "zones"),
        ({"containers": wrap_rpc_secret([container(image=["S3CRET"])])}, "containers[0].image"),
        ({"containers": wrap_rpc_secret([container(name="S3CRET")])}, "containers[0].name"),
        ({"tags": wrap_rpc_secret({"a": ["S3CRET"]})}, 'tags["a"]'),
    ],
)
def test_a_wrong_secret_is_named_and_not_shown(changes: dict[str, Any], path: str) -> None:
    (failure,) = check(resource_schema(GROUP), container_group(**changes))
    assert failure.path == path
    assert failure.reason.startswith(f"{path} is a secret of another kind; allowed is ")
    assert "S3CRET" not in failure.reason


def test_a_long_value_is_cut() -> None:
    (reason,) = reasons(GROUP, container_group(osType="x" * 1000))
    assert len(reason) < 200


@pytest.mark.parametrize(
    ("count", "wrong"),
    [(1, []), ("1", ['criteria.failedLocationCount is "1"; allowed is a number'])],
)
def test_of_several_types_the_nearest_is_the_one_that_was_meant(
    count: Any, wrong: list[str]
) -> None:
    criteria = {
        "odataType": "Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria",
        "componentId": "component",
        "failedLocationCount": count,
        "webTestId": "test",
    }
    rule = {
        "resourceGroupName": "g",
        "ruleName": "late",
        "criteria": criteria,
        "enabled": True,
        "evaluationFrequency": "PT1M",
        "scopes": ["component"],
        "severity": 1,
        "windowSize": "PT5M",
    }
    assert reasons("azure-native:monitor:MetricAlert", rule) == wrong


def test_files_are_left_to_the_engine() -> None:
    blob = {
        "resourceGroupName": "g",
        "accountName": "lake",
        "containerName": "raw",
        "blobName": "b",
        "source": {"4dabf18193072939515e22adb298388d": "c44067f5952c0a294b673a41bacd8c17"},
    }
    assert reasons("azure-native:storage:Blob", blob) == []


@pytest.mark.parametrize(("operator", "wrong"), [("LessThan", False), ("lt", True)])
def test_an_alert_s_operator_is_azure_s_and_not_the_package_s(operator: str, wrong: bool) -> None:
    rule = {
        "resourceGroupName": "pipelines",
        "ruleName": "no-tick",
        "scopes": ["workspace"],
        "criteria": {"allOf": [{"operator": operator}]},
    }
    found = reasons("azure-native:monitor:ScheduledQueryRule", rule)
    assert [reason.partition(" ")[0] for reason in found] == (
        ["criteria.allOf[0].operator"] if wrong else []
    )
