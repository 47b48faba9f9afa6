"""What happens locally when a resource is created, updated or deleted.

Most types are stored only: the engine keeps their inputs and outputs in its state. A type with a
local counterpart has a body of its own.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from local.containers import (
    Container,
    ContainerGroups,
    Group,
    GroupNotFoundError,
    Kind,
    RestartPolicy,
    container_group,
)
from local.plugin.diff import compare
from local.plugin.errors import RefusedError
from local.plugin.rules import IMAGE_PREFIX
from local.plugin.schema import ResourceSchema
from local.plugin.storage import LocalStorage
from local.settings import Settings


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
        """Start the group anew, with the changes that Azure allows.

        Rules: https://learn.microsoft.com/azure/container-instances/container-instances-update

        Raises:
            RefusedError: the group has ended, or a change needs another group.
        """
        changes = compare(resource.schema, old_inputs, resource.inputs).changes
        lasting = [path for path in changes if _LASTING.match(path)]
        if lasting:
            raise RefusedError(
                f"Azure does not change {_listed(lasting)} of the container group "
                f'"{resource.name}" once it exists; {_REPLACE_INSTEAD}'
            )
        try:
            terminated = self._services.groups.get(resource.id).terminated
        except GroupNotFoundError as error:
            raise RefusedError(f"{error} Run `pulumi refresh` first.") from error
        if terminated:
            raise RefusedError(
                f'The container group "{resource.name}" is terminated, and Azure does not update a '
                f"terminated group ({_listed(changes)} changed); {_REPLACE_INSTEAD}"
            )
        self._services.groups.replace(container_group(resource.id, resource.inputs))

    def delete(self, resource: Resource) -> None:
        self._services.groups.delete(resource.id)

    def exists(self, resource: Resource) -> bool:
        return self._services.groups.exists(resource.id)


_LASTING = re.compile(
    r"(osType|restartPolicy|subnetIds|zones|containers\[\d+\]\.resources)(?![A-Za-z])"
)
"""Properties for whose change Azure wants the group deleted first."""

_REPLACE_INSTEAD = (
    "name these properties in replace_on_changes and set delete_before_replace, so that the group "
    "is replaced."
)


def _listed(paths: Iterable[str]) -> str:
    return ", ".join(sorted(paths))


class WebAppBody(Body):
    """An App Service app: its image runs as one container that is always restarted."""

    def create(self, resource: Resource) -> None:
        self._services.groups.create(self._group(resource))

    def update(self, resource: Resource, old_inputs: Mapping[str, Any]) -> None:
        # Azure restarts an app for its settings and image alone.
        if resource.inputs["siteConfig"] != old_inputs.get("siteConfig"):
            self._services.groups.replace(self._group(resource))

    def delete(self, resource: Resource) -> None:
        self._services.groups.delete(resource.id)

    def exists(self, resource: Resource) -> bool:
        return self._services.groups.exists(resource.id)

    def _group(self, resource: Resource) -> Group:
        site = resource.inputs["siteConfig"]
        container = Container(
            name=resource.name,
            image=site["linuxFxVersion"].removeprefix(IMAGE_PREFIX),
            environment={one["name"]: one.get("value", "") for one in site.get("appSettings", [])},
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


def _account(resource: Resource) -> str:
    return str(resource.inputs["accountName"])
