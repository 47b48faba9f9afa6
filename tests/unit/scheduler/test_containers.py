"""What is made of the answers of Azure Container Instances."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from azure.core.exceptions import AzureError, HttpResponseError, ServiceRequestError
from azure.core.pipeline.transport import HttpResponse
from azure.mgmt.containerinstance import models

from extractor.runtime.records import Failure
from scheduler.containers import AzureContainerGroups
from scheduler.ports import BusyError, ContainersError, GroupState

NOW = datetime(2026, 1, 1, 7, tzinfo=UTC)


def groups(**answers: Any) -> AzureContainerGroups:
    client = mock.Mock()
    client.container_groups.configure_mock(**answers)
    return AzureContainerGroups(client, "group")


def refusal(status: int, code: str = "Code", **headers: str) -> HttpResponseError:
    response = mock.Mock(spec=HttpResponse, status_code=status, reason="Reason", headers=headers)
    response.text.return_value = json.dumps({"error": {"code": code, "message": "What Azure says"}})
    return HttpResponseError(response=response)


@pytest.mark.parametrize(
    ("error", "failure", "retry_after"),
    [
        (refusal(409, "ContainerGroupTransitioning"), Failure.TRANSITIONING, None),
        (refusal(404, "ResourceNotFound"), Failure.TRANSITIONING, None),
        (refusal(403, "AuthorizationFailed"), Failure.UNAVAILABLE, None),
        (refusal(429), Failure.THROTTLED, None),
        (refusal(429, **{"Retry-After": "17"}), Failure.THROTTLED, 17),
        (refusal(409, "ContainerGroupQuotaReached"), Failure.THROTTLED, None),
        (refusal(503, **{"Retry-After": "5"}), Failure.UNAVAILABLE, 5),
        (ServiceRequestError("no route"), Failure.UNAVAILABLE, None),
    ],
)
def test_what_may_go_well_later(
    error: AzureError, failure: Failure, retry_after: int | None
) -> None:
    with pytest.raises(BusyError) as caught:
        groups(**{"begin_start.side_effect": error}).start("weather")
    assert caught.value.failure is failure
    expected = None if retry_after is None else timedelta(seconds=retry_after)
    assert caught.value.retry_after == expected
    assert "\n" not in str(caught.value)


def test_what_is_refused() -> None:
    with pytest.raises(ContainersError, match="What Azure says"):
        groups(**{"begin_start.side_effect": refusal(400)}).start("weather")


def group(state: dict[str, Any], *events: tuple[str, str]) -> Any:
    view = {
        "currentState": state,
        "events": [
            {
                "name": name,
                "message": message,
                "lastTimestamp": f"2026-01-01T07:0{minute}:00Z",
            }
            for minute, (name, message) in enumerate(events)
        ],
    }
    container = {
        "name": "weather",
        "properties": {"image": "image", "resources": {}, "instanceView": view},
    }
    return models.ContainerGroup.deserialize({"properties": {"containers": [container]}})


PULLING = ("Pulling", "pulling image 'weather@sha256:1'")
FAILED = ("Failed", "Failed to pull image 'weather@sha256:1': not found")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            group({"state": "Terminated", "exitCode": 137, "startTime": "2026-01-01T07:00:00Z"}),
            GroupState(terminated=True, exit_code=137, started_at=NOW),
        ),
        (group({"state": "Running"}), GroupState(terminated=False)),
        (
            group({"state": "Waiting"}, PULLING, FAILED),
            GroupState(False, pull_error=FAILED[1], pull_failed_at=NOW + timedelta(minutes=1)),
        ),
        (group({"state": "Waiting"}, FAILED, PULLING), GroupState(terminated=False)),
        (
            group({"state": "Waiting"}, ("Failed", "Error: the command was not found")),
            GroupState(terminated=False),
        ),
    ],
)
def test_what_a_container_does(answer: Any, expected: GroupState) -> None:
    assert groups(**{"get.return_value": answer}).state("weather") == expected
