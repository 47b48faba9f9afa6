"""Container groups and web apps of a local stack, as Docker containers.

Docker's own labels are the only record: whoever asks, the Pulumi plugin or local Resource Manager,
sees the containers that there are. Each container belongs to one group, named by its Azure id.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container as DockerContainer
from docker.types import LogConfig

from extractor.runtime.telemetry import SWITCH as TELEMETRY
from local.azure.identity import TOKEN_PATH, identity_header
from local.settings import HOST_ALIAS, Settings

CA_PATH = "/etc/local-azure/ca.pem"
"""Where a container finds the authorities that it trusts, the local one among them."""

_STOP_SECONDS = 10
"""How long a stopped container may take to end by itself before it is killed."""

_LOG_SIZE = "4m"
"""What Azure Container Instances keeps of a running container's log."""

_STARTING_S = 1.0
"""How long before the time that Docker reports as its start a container may have begun to write:
Docker takes the time once the process runs, and one that ends at once has written all by then."""

_BYTES_PER_GB = 1024**3
_NANO = 1_000_000_000
_NO_TIME = "0001-01-01T00:00:00Z"
"""What Docker reports for a time that has not come."""

_LABEL = "local-azure"
_STACK, _KIND, _ID, _RESOURCE_GROUP, _CONTAINER, _DESCRIPTION = (
    f"{_LABEL}.{name}"
    for name in ("stack", "kind", "id", "resource-group", "container", "description")
)
STACK_LABEL = _STACK
"""On each container of a group: the name of its local stack."""

# Ids and names of resource groups are compared without regard to case, so they are labels in lower
# case; the description holds them as they were given.


class ContainersError(Exception):
    """A request that can't be met; the text is one sentence that says what and why."""


class GroupNotFoundError(ContainersError):
    """There is no such group, or no such container in it."""


class GroupExistsError(ContainersError):
    """A group is to be created under the id of one that exists."""


class GroupTransitioningError(ContainersError):
    """The group is still being created."""


class Kind(StrEnum):
    """What a group is in Azure."""

    CONTAINER_GROUP = "container-group"
    """A group of Azure Container Instances."""
    WEB_APP = "web-app"
    """An App Service app that runs a container image."""


class RestartPolicy(StrEnum):
    """When Docker starts an ended container again, in Docker's words."""

    NEVER = "no"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"
    UNLESS_STOPPED = "unless-stopped"


class ContainerState(StrEnum):
    """State of one container, in the words of Azure Container Instances."""

    WAITING = "Waiting"
    """Created, and not started yet."""
    RUNNING = "Running"
    TERMINATED = "Terminated"
    """Ended by itself, stopped or killed."""


@dataclass(frozen=True)
class Container:
    """A container to be run.

    Args:
        name: unique within its group.
        image: reference that the Docker daemon can pull, best with a digest.
        environment: variables, beside those of the platform.
        command: replaces the image's entry point, as in Azure.
        cpu: number of cores at most.
        memory_gb: memory in GiB at most.
    """

    name: str
    image: str
    environment: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] | None = None
    cpu: float | None = None
    memory_gb: float | None = None


@dataclass(frozen=True)
class Group:
    """Containers that are created, started, stopped and deleted together.

    Args:
        id: Azure id; its last segment is the group's name.
        kind: what it is in Azure.
        containers: at least one.
        restart: what happens when a container ends.
        description: what Resource Manager says of the group beside its state, without secrets.
    """

    id: str
    kind: Kind
    containers: Sequence[Container]
    restart: RestartPolicy
    description: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.id.rpartition("/")[2]

    @property
    def resource_group(self) -> str:
        return self.id.split("/")[4]


@dataclass(frozen=True)
class ContainerView:
    """A container as it is now.

    Args:
        name: unique within its group.
        state: see :class:`ContainerState`.
        detail: why it is in its state, in one word.
        exit_code: of a terminated container.
        started_at: when it was last started, as an ISO 8601 text in UTC.
        finished_at: when it ended.
        restarts: how often Docker restarted it by its restart policy.
    """

    name: str
    state: ContainerState
    detail: str
    exit_code: int | None
    started_at: str | None
    finished_at: str | None
    restarts: int


@dataclass(frozen=True)
class GroupView:
    """A group as it is now; ``description`` is what it was created with."""

    id: str
    description: Mapping[str, Any]
    containers: Sequence[ContainerView]

    @property
    def name(self) -> str:
        return self.id.rpartition("/")[2]

    @property
    def state(self) -> str:
        """State of the whole, in the words of Azure Container Instances."""
        states = {container.state for container in self.containers}
        if ContainerState.RUNNING in states:
            return "Running"
        if ContainerState.WAITING in states:
            return "Pending"
        succeeded = all(container.exit_code == 0 for container in self.containers)
        return "Succeeded" if succeeded else "Failed"

    @property
    def terminated(self) -> bool:
        """Whether no container runs or will by itself."""
        return all(one.state is ContainerState.TERMINATED for one in self.containers)


class ContainerGroups:
    """The groups of one local stack.

    Args:
        settings: the stack.
        client: connection to the Docker daemon.
    """

    def __init__(self, settings: Settings, client: docker.DockerClient) -> None:
        self._settings = settings
        self._client = client

    @classmethod
    def connect(cls, settings: Settings) -> ContainerGroups:
        """Connect to the Docker daemon that ``DOCKER_HOST`` names, or to the machine's own.

        Raises:
            ContainersError: there is none.
        """
        try:
            return cls(settings, docker.from_env())
        except DockerException as error:
            raise ContainersError(
                f"Docker does not answer ({_first_line(error)}); start it, or set DOCKER_HOST."
            ) from error

    def create(self, group: Group) -> None:
        """Pull the images, create the containers and start them.

        Raises:
            GroupExistsError: there is a group of this id.
            ContainersError: an image can't be pulled, or Docker refuses a container.
        """
        self._remove_unfinished(group.id)
        self._prepare(group)
        self._run(group)

    def replace(self, group: Group) -> None:
        """Put new containers in the place of the group's, which run on until the images are there.

        Raises:
            ContainersError: an image can't be pulled, or Docker refuses a container.
        """
        self._prepare(group)
        self.delete(group.id)
        self._run(group)

    def _prepare(self, group: Group) -> None:
        self._check_certificates()
        for container in group.containers:
            self._pull(container.image)

    def _run(self, group: Group) -> None:
        platform = platform_environment(self._settings)
        try:
            created = [
                self._create_container(group, container, platform) for container in group.containers
            ]
            for one in created:
                one.start()
        except APIError as error:
            self.delete(group.id)
            raise ContainersError(
                f'Docker can\'t run the container group "{group.name}": {_explanation(error)}.'
            ) from error

    def get(self, group_id: str) -> GroupView:
        """A group as it is now.

        Raises:
            GroupNotFoundError: it does not exist.
        """
        return _view(self._existing(group_id))

    def find(self, name: str) -> GroupView:
        """The container group of that name.

        Raises:
            GroupNotFoundError: there is none.
        """
        containers = self._containers({_KIND: Kind.CONTAINER_GROUP.value})
        wanted = [one for one in containers if _view([one]).name == name]
        if not wanted:
            raise GroupNotFoundError(f'There is no container group "{name}".')
        return _view(wanted)

    def exists(self, group_id: str) -> bool:
        return bool(self._containers({_ID: group_id.lower()}))

    def list_groups(
        self, resource_group: str, kind: Kind = Kind.CONTAINER_GROUP
    ) -> list[GroupView]:
        """The groups of a resource group, by name."""
        labels = {_RESOURCE_GROUP: resource_group.lower(), _KIND: kind.value}
        groups: dict[str, list[DockerContainer]] = {}
        for container in self._containers(labels):
            groups.setdefault(container.labels[_ID], []).append(container)
        return [_view(groups[group_id]) for group_id in sorted(groups)]

    def start(self, group_id: str) -> None:
        """Start the group's containers that have ended; one that runs is left alone, as in Azure.

        Raises:
            GroupNotFoundError: it does not exist.
            GroupTransitioningError: it is being created.
        """
        for container in self._settled(group_id):
            if container.status != "running":
                container.start()

    def stop(self, group_id: str) -> None:
        """Stop the group's containers; raises as :meth:`start`."""
        for container in self._settled(group_id):
            container.stop(timeout=_STOP_SECONDS)

    def kill(self, group_id: str) -> None:
        """End the containers without warning, as a lost host does; raises as :meth:`start`."""
        for container in self._settled(group_id):
            container.kill()

    def restart(self, group_id: str) -> None:
        """Stop and start the group's containers; raises as :meth:`start`."""
        for container in self._settled(group_id):
            container.restart(timeout=_STOP_SECONDS)

    def delete(self, group_id: str) -> None:
        """Remove the group's containers and their volumes; without one, do nothing."""
        _remove(self._containers({_ID: group_id.lower()}))

    def logs(self, group_id: str, container: str, tail: int | None = None) -> str:
        """What a container wrote since it was last started, and in the second before.

        Args:
            group_id: Azure id of the group.
            container: name of the container.
            tail: number of lines from the end; all without it.

        Raises:
            GroupNotFoundError: there is no such group or container.
        """
        for one in self._existing(group_id):
            if one.labels[_CONTAINER] == container:
                lines = one.logs(tail="all" if tail is None else tail, since=_log_start(one))
                return lines.decode(errors="replace")
        raise GroupNotFoundError(f'There is no container "{container}" in {group_id}.')

    def remove_all(self) -> list[str]:
        """Remove every container of the stack, of whatever kind, and return their names."""
        containers = self._containers({})
        names = sorted(str(container.name) for container in containers)
        _remove(containers)
        return names

    def _containers(self, labels: Mapping[str, str]) -> list[DockerContainer]:
        wanted = {_STACK: self._settings.name, **labels}
        filters: dict[str, str | list[str] | bool] = {
            "label": [f"{key}={value}" for key, value in wanted.items()]
        }
        # A container may vanish while the list is being made.
        found: list[DockerContainer] = self._client.containers.list(
            all=True, filters=filters, ignore_removed=True
        )
        return sorted(found, key=lambda one: str(one.name))

    def _existing(self, group_id: str) -> list[DockerContainer]:
        containers = self._containers({_ID: group_id.lower()})
        if not containers:
            raise GroupNotFoundError(f"There is no container group {group_id}.")
        return containers

    def _settled(self, group_id: str) -> list[DockerContainer]:
        containers = self._existing(group_id)
        if any(container.status == "created" for container in containers):
            raise GroupTransitioningError(
                f"The container group {group_id} is still being created; try again later."
            )
        return containers

    def _remove_unfinished(self, group_id: str) -> None:
        containers = self._containers({_ID: group_id.lower()})
        if containers and all(container.status != "created" for container in containers):
            raise GroupExistsError(f"The container group {group_id} already exists.")
        # A creation was killed half-way: not all of its containers were started.
        _remove(containers)

    def _pull(self, image: str) -> None:
        try:
            self._client.images.get(image)
        except ImageNotFound:
            try:
                self._client.images.pull(image)
            except APIError as error:
                raise ContainersError(
                    f'The image "{image}" can\'t be pulled: {_explanation(error)}.'
                ) from error

    def _check_certificates(self) -> None:
        bundle = self._settings.certificate_bundle
        # Docker would make a folder in the place of a file that it is to mount.
        if not bundle.is_file():
            raise ContainersError(
                f"The certificates of local Azure are missing ({bundle}); `make up` makes them."
            )

    def _create_container(
        self, group: Group, container: Container, platform: Mapping[str, str]
    ) -> DockerContainer:
        # The type of docker's stubs leaves out two of the four policies.
        restart: Any = {"Name": group.restart.value}
        return self._client.containers.create(
            container.image,
            name=f"{self._settings.name}.{group.name}.{container.name}",
            entrypoint=list(container.command) if container.command else None,
            environment={**container.environment, **platform},
            labels={
                _STACK: self._settings.name,
                _KIND: group.kind.value,
                _ID: group.id.lower(),
                _RESOURCE_GROUP: group.resource_group.lower(),
                _CONTAINER: container.name,
                _DESCRIPTION: json.dumps({"id": group.id, **group.description}),
            },
            restart_policy=restart,
            extra_hosts={HOST_ALIAS: "host-gateway"},
            volumes=[f"{self._settings.certificate_bundle}:{CA_PATH}:ro"],
            log_config=LogConfig(type=LogConfig.types.JSON, config={"max-size": _LOG_SIZE}),
            nano_cpus=self._nano_cpus(container),
            mem_limit=self._memory(container),
        )

    # A machine may not be able to limit a container; then the container runs without a limit.
    def _nano_cpus(self, container: Container) -> int | None:
        if container.cpu is None or not self._machine.get("CpuCfsQuota"):
            return None
        # Docker refuses more cores than there are.
        return int(min(container.cpu, self._machine["NCPU"]) * _NANO)

    def _memory(self, container: Container) -> int | None:
        if container.memory_gb is None or not self._machine.get("MemoryLimit"):
            return None
        return int(container.memory_gb * _BYTES_PER_GB)

    @functools.cached_property
    def _machine(self) -> dict[str, Any]:
        return self._client.info()


def container_group(group_id: str, inputs: Mapping[str, Any]) -> Group:
    """The group that azure-native's ``containerinstance.ContainerGroup`` describes.

    Args:
        group_id: Azure id.
        inputs: the resource's inputs, by their names on the wire, without secrets' wrappers.
    """
    return Group(
        id=group_id,
        kind=Kind.CONTAINER_GROUP,
        containers=[_container(one) for one in inputs["containers"]],
        restart=_RESTART_POLICIES[inputs.get("restartPolicy", "Always")],
        description=_without_secrets(inputs),
    )


_RESTART_POLICIES = {
    "Always": RestartPolicy.ALWAYS,
    "Never": RestartPolicy.NEVER,
    "OnFailure": RestartPolicy.ON_FAILURE,
}


def _container(inputs: Mapping[str, Any]) -> Container:
    requests = inputs["resources"]["requests"]
    return Container(
        name=inputs["name"],
        image=inputs["image"],
        environment={
            variable["name"]: variable.get("secureValue", variable.get("value", ""))
            for variable in inputs.get("environmentVariables", [])
        },
        command=inputs.get("command"),
        cpu=requests["cpu"],
        memory_gb=requests["memoryInGB"],
    )


def _without_secrets(inputs: Mapping[str, Any]) -> dict[str, Any]:
    def shown(container: Mapping[str, Any]) -> dict[str, Any]:
        variables = [
            {name: value for name, value in variable.items() if name != "secureValue"}
            for variable in container.get("environmentVariables", [])
        ]
        return {**container, "environmentVariables": variables}

    kept = ("identity", "location", "osType", "restartPolicy", "sku", "tags")
    return {name: inputs[name] for name in kept if name in inputs} | {
        "containers": [shown(container) for container in inputs["containers"]]
    }


def platform_environment(settings: Settings) -> dict[str, str]:
    """What tells a container where its platform is: identity tokens, Resource Manager, and the
    authorities to trust. In the cloud, the first is set by Azure and the others have one answer.
    ``TELEMETRY`` is passed on from whoever deploys.
    """
    telemetry = os.environ.get(TELEMETRY)
    return {
        **({TELEMETRY: telemetry} if telemetry else {}),
        "AZURE_RESOURCE_MANAGER_ENDPOINT": settings.azure_url(HOST_ALIAS),
        "IDENTITY_ENDPOINT": f"{settings.platform_url(HOST_ALIAS)}{TOKEN_PATH}",
        "IDENTITY_HEADER": identity_header(settings),
        "REQUESTS_CA_BUNDLE": CA_PATH,
        "SSL_CERT_FILE": CA_PATH,
    }


def _view(containers: Sequence[DockerContainer]) -> GroupView:
    labels = containers[0].labels
    description = json.loads(labels[_DESCRIPTION])
    return GroupView(
        id=description.pop("id"),
        description=description,
        containers=[_container_view(one) for one in containers],
    )


def _container_view(container: DockerContainer) -> ContainerView:
    state = container.attrs["State"]
    name = container.labels[_CONTAINER]
    restarts = int(container.attrs.get("RestartCount", 0))
    started = _time(state["StartedAt"])
    if state["Status"] == "created":
        return ContainerView(name, ContainerState.WAITING, "Creating", None, None, None, restarts)
    if state["Status"] == "restarting":
        return ContainerView(
            name, ContainerState.WAITING, "CrashLoopBackOff", None, started, None, restarts
        )
    if state["Running"]:
        return ContainerView(name, ContainerState.RUNNING, "", None, started, None, restarts)
    return ContainerView(
        name,
        ContainerState.TERMINATED,
        _end(state),
        int(state["ExitCode"]),
        started,
        _time(state["FinishedAt"]),
        restarts,
    )


def _log_start(container: DockerContainer) -> float | None:
    started = _time(container.attrs["State"]["StartedAt"])
    return datetime.fromisoformat(started).timestamp() - _STARTING_S if started else None


def _end(state: Mapping[str, Any]) -> str:
    if state.get("OOMKilled"):
        return "OOMKilled"
    return "Completed" if state["ExitCode"] == 0 else "Error"


def _time(text: str) -> str | None:
    return None if text == _NO_TIME else text


def _remove(containers: Iterable[DockerContainer]) -> None:
    for container in containers:
        try:
            container.remove(force=True, v=True)
        except NotFound:
            continue
        except APIError as error:
            # Somebody else is removing it at this moment.
            if error.status_code != HTTPStatus.CONFLICT:
                raise


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _explanation(error: APIError) -> str:
    return str(error.explanation or _first_line(error)).strip().rstrip(".")
