"""Azure Resource Manager's interface to container groups, as azure-mgmt-containerinstance calls it.

Groups are read, listed, started, stopped and restarted, and their logs read. They are created and
deleted by the Pulumi program alone. Answers and errors have the form of API version 2023-05-01, see
https://learn.microsoft.com/rest/api/container-instances/container-groups.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import requests
from docker.errors import DockerException
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.azure.identity import MANAGEMENT_AUDIENCES, authorize
from local.containers import (
    ContainerGroups,
    ContainersError,
    ContainerState,
    ContainerView,
    GroupNotFoundError,
    GroupTransitioningError,
    GroupView,
)
from local.settings import Settings

_TYPE = "Microsoft.ContainerInstance/containerGroups"
_GROUPS = f"/subscriptions/{{subscription}}/resourceGroups/{{resource_group}}/providers/{_TYPE}"
_GROUP = f"{_GROUPS}/{{group}}"

_NO_CONTENT = 204

_Handler = Callable[[Request], Awaitable[Response]]


def routes(settings: Settings) -> list[Route]:
    """The routes of Resource Manager.

    Every request needs a bearer token of this stack's identity service. Docker is only reached
    for when a request needs it, so local Azure starts without it.
    """
    manager = _Manager(settings)
    return [
        Route(_GROUPS, manager.answer(manager.list_groups), methods=["GET"]),
        Route(_GROUP, manager.answer(manager.get), methods=["GET"]),
        Route(f"{_GROUP}/start", manager.answer(manager.start), methods=["POST"]),
        Route(f"{_GROUP}/stop", manager.answer(manager.stop), methods=["POST"]),
        Route(f"{_GROUP}/restart", manager.answer(manager.restart), methods=["POST"]),
        Route(
            f"{_GROUP}/containers/{{container}}/logs", manager.answer(manager.logs), methods=["GET"]
        ),
    ]


class _Manager:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._groups: ContainerGroups | None = None

    @property
    def groups(self) -> ContainerGroups:
        if self._groups is None:
            self._groups = ContainerGroups.connect(self._settings)
        return self._groups

    def answer(self, handle: Callable[[Request], Response]) -> _Handler:
        async def endpoint(request: Request) -> Response:
            authorize(request, MANAGEMENT_AUDIENCES)
            try:
                return await run_in_threadpool(handle, request)
            except GroupNotFoundError as error:
                return _error(404, "ResourceNotFound", error)
            except GroupTransitioningError as error:
                return _error(409, "ContainerGroupTransitioning", error)
            except (ContainersError, DockerException, requests.RequestException) as error:
                return _error(500, "InternalServerError", error)

        return endpoint

    def list_groups(self, request: Request) -> Response:
        groups = self.groups.list_groups(request.path_params["resource_group"])
        # Azure leaves the instance view out of a list.
        return JSONResponse({"value": [_document(group, instance=False) for group in groups]})

    def get(self, request: Request) -> Response:
        return JSONResponse(_document(self.groups.get(_group_id(request)), instance=True))

    def start(self, request: Request) -> Response:
        self.groups.start(_group_id(request))
        return Response(status_code=_NO_CONTENT)

    def stop(self, request: Request) -> Response:
        self.groups.stop(_group_id(request))
        return Response(status_code=_NO_CONTENT)

    def restart(self, request: Request) -> Response:
        self.groups.restart(_group_id(request))
        return Response(status_code=_NO_CONTENT)

    def logs(self, request: Request) -> Response:
        tail = request.query_params.get("tail")
        if tail is not None and not tail.isdecimal():
            message = f'tail is "{tail}"; allowed is a whole number of lines.'
            return _error(400, "InvalidTail", ValueError(message))
        content = self.groups.logs(
            _group_id(request), request.path_params["container"], int(tail) if tail else None
        )
        return JSONResponse({"content": content})


def _group_id(request: Request) -> str:
    return _GROUP.format(**request.path_params)


def _error(status: int, code: str, error: Exception) -> Response:
    return JSONResponse({"error": {"code": code, "message": str(error)}}, status_code=status)


def _document(group: GroupView, *, instance: bool) -> dict[str, Any]:
    """A group as Resource Manager describes it."""
    views = {view.name: view for view in group.containers}
    properties: dict[str, Any] = {
        "provisioningState": "Succeeded",
        "osType": group.description.get("osType", "Linux"),
        "restartPolicy": group.description.get("restartPolicy", "Always"),
        "containers": [
            _container_document(container, views.get(container["name"]) if instance else None)
            for container in group.description["containers"]
        ],
    }
    if instance:
        properties["instanceView"] = {"events": [], "state": group.state}
    return {
        "id": group.id,
        "name": group.name,
        "type": _TYPE,
        "location": group.description.get("location"),
        "tags": group.description.get("tags", {}),
        "identity": _identity(group.description.get("identity")),
        "properties": properties,
    }


def _identity(identity: dict[str, Any] | None) -> dict[str, Any] | None:
    if identity is None:
        return None
    # The program lists the identities; Resource Manager maps each to what it knows of it.
    assigned: dict[str, Any] = {one: {} for one in identity.get("userAssignedIdentities", [])}
    return {**identity, "userAssignedIdentities": assigned}


def _container_document(container: dict[str, Any], view: ContainerView | None) -> dict[str, Any]:
    properties = {name: value for name, value in container.items() if name != "name"}
    if view is not None:
        properties["instanceView"] = {
            "restartCount": view.restarts,
            "currentState": _state(view),
            "events": [],
        }
    return {"name": container["name"], "properties": properties}


def _state(view: ContainerView) -> dict[str, Any]:
    state: dict[str, Any] = {"state": view.state.value, "detailStatus": view.detail}
    if view.started_at is not None:
        state["startTime"] = view.started_at
    if view.state is ContainerState.TERMINATED:
        state |= {"exitCode": view.exit_code, "finishTime": view.finished_at}
    return state
