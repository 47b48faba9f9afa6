"""What happens locally when a resource is created, updated or deleted.

Most types are stored only: the engine keeps their inputs and outputs in its state. A type with a
local counterpart has a body of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local.azure.identity import TENANT_ID, object_id
from local.containers import (
    Container,
    ContainerGroups,
    Group,
    GroupNotFoundError,
    Kind,
    RestartPolicy,
    container_group,
)
from local.plugin.errors import RefusedError
from local.plugin.ids import guid, resource_type
from local.plugin.schema import ResourceSchema
from local.plugin.storage import LocalStorage
from local.settings import HOST_ALIAS, Settings

_IMAGE_PREFIX = "DOCKER|"
"""What App Service writes before the image in ``linuxFxVersion``."""


@dataclass(frozen=True)
class Resource:
    """A resource of the program.

    Args:
        schema: its type.
        id: its Azure id.
        inputs: what the program set, by the names on the wire, without secrets' wrappers.
    """

    schema: ResourceSchema
    id: str
    inputs: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.id.rpartition("/")[2]


class LocalServices:
    """The services that bodies use; each is connected to when it is first needed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @functools.cached_property
    def groups(self) -> ContainerGroups:
        return ContainerGroups.connect(self.settings)

    @functools.cached_property
    def storage(self) -> LocalStorage:
        return LocalStorage(self.settings)


class Body:
    """A type that is stored only, and the base of those that are more."""

    def __init__(self, services: LocalServices) -> None:
        self._services = services

    def create(self, resource: Resource) -> None:
        """Make the resource."""

    def update(self, resource: Resource, old_inputs: Mapping[str, Any]) -> None:
        """Change the resource to its new inputs."""

    def delete(self, resource: Resource) -> None:
        """Remove the resource; one that is gone already is no error."""

    def exists(self, resource: Resource) -> bool:  # noqa: ARG002
        """Whether the resource is still there: one that is stored only always is."""
        return True


class ContainerGroupBody(Body):
    """A group of Azure Container Instances: its containers start when it is created."""

    def create(self, resource: Resource) -> None:
        self._services.groups.create(container_group(resource.id, resource.inputs))

    def update(self, resource: Resource, old_inputs: Mapping[str, Any]) -> None:
        changed = _changed(old_inputs, resource.inputs)
        if changed <= {"tags"}:
            return
        try:
            terminated = self._services.groups.get(resource.id).terminated
        except GroupNotFoundError as error:
            raise RefusedError(f"{error} Run `pulumi refresh` first.") from error
        if terminated:
            raise RefusedError(
                f'The container group "{resource.name}" is terminated, and Azure does not update a '
                f"terminated group ({', '.join(sorted(changed))} changed); name these properties "
                "in replace_on_changes, so that it is replaced."
            )
        self.delete(resource)
        self.create(resource)

    def delete(self, resource: Resource) -> None:
        self._services.groups.delete(resource.id)

    def exists(self, resource: Resource) -> bool:
        return self._services.groups.exists(resource.id)


class WebAppBody(Body):
    """An App Service app: its image runs as one container that is always restarted."""

    def create(self, resource: Resource) -> None:
        self._services.groups.create(self._group(resource))

    def update(self, resource: Resource, old_inputs: Mapping[str, Any]) -> None:
        if _changed(old_inputs, resource.inputs) <= {"tags"}:
            return
        self.delete(resource)
        self.create(resource)

    def delete(self, resource: Resource) -> None:
        self._services.groups.delete(resource.id)

    def exists(self, resource: Resource) -> bool:
        return self._services.groups.exists(resource.id)

    def _group(self, resource: Resource) -> Group:
        site = resource.inputs.get("siteConfig", {})
        image = site.get("linuxFxVersion", "")
        if not image.startswith(_IMAGE_PREFIX):
            raise RefusedError(
                f'siteConfig.linuxFxVersion of the web app "{resource.name}" is "{image}"; '
                f'locally allowed is "{_IMAGE_PREFIX}<image>".'
            )
        settings = {one["name"]: one.get("value", "") for one in site.get("appSettings", [])}
        manager = self._services.settings.azure_url(HOST_ALIAS)
        container = Container(
            name=resource.name,
            image=image.removeprefix(_IMAGE_PREFIX),
            environment={**settings, "AZURE_RESOURCE_MANAGER_ENDPOINT": manager},
        )
        return Group(
            id=resource.id,
            kind=Kind.WEB_APP,
            containers=[container],
            restart=RestartPolicy.UNLESS_STOPPED,
        )


class BlobContainerBody(Body):
    """A file system of the data lake."""

    def create(self, resource: Resource) -> None:
        self._services.storage.create_file_system(_account(resource), resource.name)

    def delete(self, resource: Resource) -> None:
        self._services.storage.delete_file_system(_account(resource), resource.name)

    def exists(self, resource: Resource) -> bool:
        return self._services.storage.has_file_system(_account(resource), resource.name)


class TableBody(Body):
    """A table of the storage account."""

    def create(self, resource: Resource) -> None:
        self._services.storage.create_table(_account(resource), resource.name)

    def delete(self, resource: Resource) -> None:
        self._services.storage.delete_table(_account(resource), resource.name)

    def exists(self, resource: Resource) -> bool:
        return self._services.storage.has_table(_account(resource), resource.name)


_BODIES: Mapping[str, type[Body]] = {
    "azure-native:containerinstance:ContainerGroup": ContainerGroupBody,
    "azure-native:storage:BlobContainer": BlobContainerBody,
    "azure-native:storage:Table": TableBody,
    "azure-native:web:WebApp": WebAppBody,
}


def body_of(schema: ResourceSchema, services: LocalServices) -> Body:
    """The body of a type."""
    return _BODIES.get(schema.token, Body)(services)


def outputs_of(resource: Resource, settings: Settings) -> dict[str, Any]:
    """What Azure adds to a resource's inputs; the same each time it is asked for."""
    known = {
        "name": resource.name,
        "type": resource_type(resource.id),
        "provisioningState": "Succeeded",
    }
    common = {name: value for name, value in known.items() if name in resource.schema.outputs}
    specific = _OUTPUTS.get(resource.schema.token, _no_outputs)
    return common | specific(resource, settings)


def _no_outputs(_resource: Resource, _settings: Settings) -> dict[str, Any]:
    return {}


def _component(resource: Resource, _settings: Settings) -> dict[str, Any]:
    key = guid(resource.id, "instrumentationKey")
    return {
        "appId": guid(resource.id, "appId"),
        "applicationId": resource.name,
        "connectionString": f"InstrumentationKey={key}",
        "instrumentationKey": key,
        "tenantId": TENANT_ID,
    }


def _identity(resource: Resource, _settings: Settings) -> dict[str, Any]:
    client_id = guid(resource.id, "clientId")
    return {
        "clientId": client_id,
        "principalId": object_id(client_id),
        "tenantId": TENANT_ID,
    }


def _registry(_resource: Resource, settings: Settings) -> dict[str, Any]:
    return {"loginServer": settings.registry}


def _storage_account(resource: Resource, settings: Settings) -> dict[str, Any]:
    # Containers use the addresses, so the host is named as they see it.
    origin = settings.azure_url(HOST_ALIAS)
    lake = f"{origin}/{resource.name}/"
    return {
        "primaryEndpoints": {
            "blob": lake,
            "dfs": lake,
            "queue": f"{origin}/queues/{resource.name}/",
            "table": f"{origin}/tables/{resource.name}/",
        },
        "primaryLocation": resource.inputs.get("location"),
        "statusOfPrimary": "available",
    }


def _web_app(resource: Resource, _settings: Settings) -> dict[str, Any]:
    host = f"{resource.name}.azurewebsites.net"
    return {"defaultHostName": host, "hostNames": [host], "state": "Running"}


def _workspace(resource: Resource, _settings: Settings) -> dict[str, Any]:
    return {"customerId": guid(resource.id, "customerId")}


_OUTPUTS: Mapping[str, Callable[[Resource, Settings], dict[str, Any]]] = {
    "azure-native:applicationinsights:Component": _component,
    "azure-native:containerregistry:Registry": _registry,
    "azure-native:managedidentity:UserAssignedIdentity": _identity,
    "azure-native:operationalinsights:Workspace": _workspace,
    "azure-native:storage:StorageAccount": _storage_account,
    "azure-native:web:WebApp": _web_app,
}


def _account(resource: Resource) -> str:
    return str(resource.inputs["accountName"])


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
