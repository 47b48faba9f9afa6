"""The container groups of a resource group, on Azure Container Instances."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.mgmt.containerinstance import ContainerInstanceManagementClient

from extractor.runtime.records import Failure
from scheduler.ports import BusyError, ContainerGroups, ContainersError, GroupState
from scheduler.shared import PerThread

_log = logging.getLogger(__name__)

AZURE_RESOURCE_MANAGER = "https://management.azure.com"

_FORBIDDEN = 403
_NOT_FOUND = 404
_CONFLICT = 409
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500
_TERMINATED = "Terminated"
_PULL_FAILURES = ("Failed", "BackOff")


class AzureContainerGroups(ContainerGroups):
    """See :class:`~scheduler.ports.ContainerGroups`. The group's first container is the job's.

    Args:
        client: Azure Container Instances.
        resource_group: of the container groups.
    """

    def __init__(self, client: ContainerInstanceManagementClient, resource_group: str) -> None:
        self._client = client
        self._resource_group = resource_group

    @classmethod
    def connect(
        cls, credential: TokenCredential, subscription_id: str, resource_group: str, endpoint: str
    ) -> AzureContainerGroups:
        """The groups of a resource group.

        Args:
            credential: of an identity that may read, start and stop them.
            subscription_id: of the resource group.
            resource_group: its name.
            endpoint: of Azure Resource Manager.
        """
        client = ContainerInstanceManagementClient(
            credential,
            subscription_id,
            base_url=endpoint,
            credential_scopes=[f"{AZURE_RESOURCE_MANAGER}/.default"],
            transport=PerThread(),
        )
        return cls(client, resource_group)

    def start(self, name: str) -> None:
        try:
            # Not waited for: the extractor's claim is the sign that it has started.
            self._client.container_groups.begin_start(self._resource_group, name, polling=False)
        except AzureError as error:
            raise _translated(error) from error

    def stop(self, name: str) -> None:
        try:
            self._client.container_groups.stop(self._resource_group, name)
        except AzureError as error:
            raise _translated(error) from error

    def state(self, name: str) -> GroupState | None:
        try:
            group: Any = self._client.container_groups.get(self._resource_group, name)
        except ResourceNotFoundError:
            return None
        except AzureError as error:
            raise _translated(error) from error
        return _state(group)

    def last_log_line(self, name: str) -> str | None:
        # Whatever happens to a log must never change what becomes of a run.
        try:
            logs: Any = self._client.containers.list_logs(self._resource_group, name, name, tail=1)
            lines = (logs.content or "").strip().splitlines()
        except AzureError as error:
            _log.info("no log of %s: %s", name, error)
            return None
        return lines[-1] if lines else None


def _state(group: Any) -> GroupState:
    view = group.containers[0].instance_view
    current = view.current_state if view else None
    if current is None or current.state != _TERMINATED:
        return _pull(view) if view else GroupState(terminated=False)
    started: datetime | None = current.start_time
    return GroupState(terminated=True, exit_code=current.exit_code, started_at=started)


def _pull(view: Any) -> GroupState:
    """Whether the last thing that was tried is to pull the image, and in vain."""
    events = sorted(view.events or (), key=lambda event: event.last_timestamp)
    last = events[-1] if events else None
    if last is None or last.name not in _PULL_FAILURES or "pull" not in last.message.lower():
        return GroupState(terminated=False)
    return GroupState(terminated=False, pull_error=last.message, pull_failed_at=last.last_timestamp)


def _translated(error: AzureError) -> Exception:
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if not isinstance(error, HttpResponseError) or error.status_code is None:
        return BusyError(text, Failure.UNAVAILABLE)
    quota = error.error is not None and "quota" in str(error.error.code).lower()
    if error.status_code == _TOO_MANY_REQUESTS or quota:
        return BusyError(text, Failure.THROTTLED, _retry_after(error))
    # A group that a deployment replaces is gone for a while.
    if error.status_code in (_CONFLICT, _NOT_FOUND):
        return BusyError(text, Failure.TRANSITIONING)
    # A role takes minutes after its assignment to be known everywhere.
    if error.status_code == _FORBIDDEN or error.status_code >= _SERVER_ERROR:
        return BusyError(text, Failure.UNAVAILABLE, _retry_after(error))
    return ContainersError(text)


def _retry_after(error: HttpResponseError) -> timedelta | None:
    """What the header says, which Azure Resource Manager writes in seconds."""
    headers: Mapping[str, str] = getattr(error.response, "headers", {})
    text = headers.get("Retry-After", "")
    return timedelta(seconds=int(text)) if text.isdecimal() else None
