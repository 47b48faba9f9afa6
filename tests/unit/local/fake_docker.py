"""A Docker daemon in memory: as much of docker-py's client as container groups use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast

import docker
import requests
from docker.errors import APIError, ImageNotFound, NotFound

ZERO_TIME = "0001-01-01T00:00:00Z"
STARTED = "2026-01-02T03:04:05.123456789Z"
FINISHED = "2026-01-02T03:05:06.987654321Z"


def refusal(status: HTTPStatus, explanation: str) -> APIError:
    """The exception that docker-py raises for an answer of the daemon."""
    response = requests.Response()
    response.status_code = status
    return APIError(explanation, response, explanation)


@dataclass
class FakeContainer:
    """A container; ``options`` is what it was created with."""

    daemon: FakeDocker
    name: str
    image: str
    labels: Mapping[str, str]
    options: Mapping[str, Any]
    status: str = "created"
    exit_code: int = 0
    oom_killed: bool = False
    restarts: int = 0
    log_queries: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def attrs(self) -> dict[str, Any]:
        state = {
            "Status": self.status,
            "Running": self.status in ("running", "restarting"),
            "ExitCode": self.exit_code,
            "OOMKilled": self.oom_killed,
            "StartedAt": ZERO_TIME if self.status == "created" else STARTED,
            "FinishedAt": FINISHED if self.status == "exited" else ZERO_TIME,
        }
        return {"State": state, "RestartCount": self.restarts}

    def start(self) -> None:
        if self.image in self.daemon.unstartable:
            raise refusal(HTTPStatus.BAD_REQUEST, "exec: no such file")
        self.daemon.calls.append(f"start {self.name}")
        self.status = "running"

    def stop(self, timeout: int) -> None:
        self.daemon.calls.append(f"stop {self.name}")
        self.end(exit_code=143)

    def restart(self, timeout: int) -> None:
        self.daemon.calls.append(f"restart {self.name}")
        self.status = "running"

    def end(self, exit_code: int = 0) -> None:
        """Let the process end by itself."""
        self.status, self.exit_code = "exited", exit_code

    def remove(self, *, force: bool, v: bool) -> None:
        if self.daemon.removal_error is not None:
            raise self.daemon.removal_error
        if self.name not in self.daemon.by_name:
            raise NotFound("No such container")
        del self.daemon.by_name[self.name]
        self.daemon.calls.append(f"remove {self.name}")

    def logs(self, **query: Any) -> bytes:
        self.log_queries.append(query)
        return b"first\nsecond \xff\n"


@dataclass
class FakeDocker:
    """The daemon.

    Args:
        images: the images that it has.
        pullable: the images that a registry has.
        unstartable: images whose containers can't be started.
        removal_error: what each removal of a container is refused with.
        calls: what was done, in order.
    """

    images_here: set[str] = field(default_factory=set)
    pullable: set[str] = field(default_factory=set)
    unstartable: set[str] = field(default_factory=set)
    removal_error: APIError | None = None
    machine: dict[str, Any] = field(
        default_factory=lambda: {"NCPU": 2, "CpuCfsQuota": True, "MemoryLimit": True}
    )
    by_name: dict[str, FakeContainer] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    @property
    def client(self) -> docker.DockerClient:
        return cast(docker.DockerClient, _Client(self))

    def only(self) -> FakeContainer:
        (container,) = self.by_name.values()
        return container


class _Client:
    def __init__(self, daemon: FakeDocker) -> None:
        self.containers = _Containers(daemon)
        self.images = _Images(daemon)
        self.info = lambda: daemon.machine


class _Containers:
    def __init__(self, daemon: FakeDocker) -> None:
        self._daemon = daemon

    def create(
        self, image: str, *, name: str, labels: Mapping[str, str], **options: Any
    ) -> FakeContainer:
        if name in self._daemon.by_name:
            raise refusal(HTTPStatus.CONFLICT, f"The name {name} is already in use.")
        container = FakeContainer(self._daemon, name, image, labels, options)
        self._daemon.by_name[name] = container
        return container

    def list(
        self,
        all: bool,  # noqa: A002 - docker-py's name
        filters: Mapping[str, Sequence[str]],
        ignore_removed: bool,
    ) -> list[FakeContainer]:
        wanted = [label.split("=", 1) for label in filters["label"]]
        return [
            each
            for each in self._daemon.by_name.values()
            if all and ignore_removed and all_labels(each, wanted)
        ]


def all_labels(container: FakeContainer, wanted: Sequence[Sequence[str]]) -> bool:
    return all(container.labels.get(key) == value for key, value in wanted)


class _Images:
    def __init__(self, daemon: FakeDocker) -> None:
        self._daemon = daemon

    def get(self, image: str) -> None:
        if image not in self._daemon.images_here:
            raise ImageNotFound(f"No such image: {image}")

    def pull(self, image: str) -> None:
        if image not in self._daemon.pullable:
            raise refusal(HTTPStatus.NOT_FOUND, f"manifest for {image} not found.")
        self._daemon.calls.append(f"pull {image}")
        self._daemon.images_here.add(image)
