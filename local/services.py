"""The services of a local stack: starting, asking and ending them.

Azurite and local Azure are processes of this machine. The registry and BuildKit are containers from
Docker Hub or, on a machine that can't reach it, processes as well: Debian's registry and a BuildKit
built from source. Docker and BuildKit serve all stacks of this clone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import ssl
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import docker
import httpx
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container

from local import base_image, certificates, engine, tools, versions
from local.azure.__main__ import addresses
from local.console import SetupError, step
from local.containers import STACK_LABEL, ContainerGroups
from local.machine import (
    accepts,
    exclusive,
    install_packages,
    is_linux,
    is_root,
    reachable,
    require_disk,
    require_free_ports,
    run_folder,
    wait_until,
)
from local.plugin import launcher
from local.settings import HOST_ALIAS, REPOSITORY, SHARED, Settings
from local.supervisor import Program, Supervisor

AZURE, AZURITE, REGISTRY, BUILDKIT = "azure", "azurite", "registry", "buildkit"

_DOCKER_HUB = "https://registry-1.docker.io/v2/"
_LABEL = "data-pipelines.stack"
_START_S = 60.0
_PROBE_S = 2.0
IMAGES_GB = 3.0
"""Free disk for the images of a stack: their layers in BuildKit, in the registry and in Docker."""

_BUILD_CACHE = "5GB"


class Source(StrEnum):
    """Where a stack's registry and BuildKit come from; decided once in the life of a stack."""

    CONTAINERS = "containers"
    """Docker Hub."""
    PROCESSES = "processes"
    """Debian and the Go module proxy."""


@dataclass(frozen=True)
class Service:
    """A service as it is now.

    Args:
        name: of the service.
        running: whether it runs.
        address: where it listens.
        log: its log, where it is a file.
    """

    name: str
    running: bool
    address: str
    log: Path | None = None


def start(settings: Settings) -> None:
    """Set up what is missing and start what does not run.

    Fails without a trace: what this call started, it ends.

    Raises:
        SetupError: something is missing that can't be had, a port is taken, or a service failed.
    """
    with exclusive():
        before = running(settings)
        try:
            if not _keeper(settings).running():
                _keeper(settings).sweep()
                require_free_ports(_ports(settings), addresses())
                require_disk(SHARED, IMAGES_GB, "The local stack")
            _start(settings)
        except BaseException:
            if not before:
                _halt(settings)
            raise


def exists(settings: Settings) -> bool:
    """Whether :func:`start` was called for the stack, and :func:`stop` was not since."""
    return settings.state.exists()


def running(settings: Settings) -> bool:
    """Whether all services of the stack run."""
    return all(each.running for each in status(settings))


def status(settings: Settings) -> list[Service]:
    """The services, whether or not they run."""
    keeper = _keeper(settings)
    states = keeper.states()

    def process(name: str, address: str) -> Service:
        return Service(name, states.get(name) == "RUNNING", address, keeper.log(name))

    found = engine.find(settings)
    registry_log = keeper.log(REGISTRY) if _source(settings) is Source.PROCESSES else None
    return [
        Service("docker", found is not None, found or engine.own_host()),
        Service(REGISTRY, _registry_answers(settings), settings.registry, registry_log),
        process(AZURITE, f"http://127.0.0.1:{settings.blob_port}"),
        process(AZURE, settings.azure_url()),
    ]


def stop(settings: Settings) -> None:
    """End and delete all of the stack: containers, volumes, images, processes and state.

    With the last stack, Docker and BuildKit end as well where they were started here. Tools and the
    cache of a BuildKit that runs as a process stay. Without a stack, do nothing.

    Raises:
        SetupError: the machine's Docker, which has the stack's containers, does not answer.
    """
    with exclusive():
        found = engine.find(settings)
        if found is None and _source(settings) and not engine.is_own(settings):
            raise SetupError("Docker does not answer; start it, so that containers can be deleted.")
        if found is not None:
            with _docker(found) as client:
                ContainerGroups(settings, client).remove_all()
                _remove_images(settings, client)
                _remove_services(settings, client)
        _halt(settings)
        if not _other_stacks(settings):
            engine.delete(settings)
        shutil.rmtree(settings.state, ignore_errors=True)


def halt(settings: Settings) -> None:
    """End everything of the stack that runs, and keep what it wrote for the next :func:`start`."""
    with exclusive():
        _halt(settings)


def environment(settings: Settings) -> dict[str, str]:
    """What the Pulumi engine and the clients of a running stack need, beside ``os.environ``.

    Raises:
        SetupError: Docker does not answer.
    """
    bundle = str(settings.certificate_bundle)
    path = f"{_plugins(settings)}{os.pathsep}{tools.search_path(settings)}"
    return {
        **settings.environment(),
        "PATH": path,
        "DOCKER_HOST": engine.host(settings),
        # The folder holds one builder: the docker-build provider takes the first that it can reach
        # and that is not Docker's own.
        "BUILDX_CONFIG": str(_buildx(settings)),
        "PULUMI_HOME": str(tools.pulumi_home(settings)),
        "PULUMI_BACKEND_URL": f"file://{_backend(settings)}",
        "PULUMI_CONFIG_PASSPHRASE": _passphrase(settings),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "REQUESTS_CA_BUNDLE": bundle,
        "SSL_CERT_FILE": bundle,
        **_without_proxy(os.environ),
    }


def _start(settings: Settings) -> None:
    tools.ensure_pulumi(settings)
    tools.ensure_docker_build(settings)
    tools.ensure_azurite(settings)
    docker_host = engine.ensure(settings)
    with _docker(docker_host) as client:
        source = _decide(settings, client)
        if source is Source.PROCESSES:
            _ensure_processes(settings)
        certificates.ensure(settings, addresses())
        launcher.install(_plugins(settings))
        _apply(settings, source, docker_host)
        if source is Source.CONTAINERS:
            _ensure_registry(settings, client)
            _ensure_buildkit(client)
        _wait(settings, source, client)
        _write_builder(settings, source)
        if source is Source.PROCESSES:
            base_image.ensure(settings, docker_host)
        _revive(settings, client)


# Where the registry and BuildKit come from.


def _marker(settings: Settings) -> Path:
    return settings.state / "source"


def _source(settings: Settings) -> Source | None:
    marker = _marker(settings)
    return Source(marker.read_text()) if marker.exists() else None


def _decide(settings: Settings, client: docker.DockerClient) -> Source:
    """Containers where Docker has their images or can fetch them.

    It must not change while a stack lives: the images that were built are in one of the two.
    """
    source = _source(settings)
    if source is None:
        images = (versions.REGISTRY_IMAGE, versions.BUILDKIT_IMAGE)
        present = all(_has_image(client, image) for image in images)
        source = Source.CONTAINERS if present or reachable(_DOCKER_HUB) else Source.PROCESSES
        settings.state.mkdir(parents=True, exist_ok=True)
        _marker(settings).write_text(source.value)
    return source


def _ensure_processes(settings: Settings) -> None:
    if not (is_linux() and is_root()):
        raise SetupError(
            "Docker Hub can't be reached, and without it only root on Linux can run the registry "
            "and BuildKit; connect this machine to the internet or run make as root."
        )
    if not shutil.which("docker-registry"):
        install_packages(["docker-registry"], "Debian's docker-registry")
    tools.ensure_buildkitd(settings)
    engine.share(settings, _buildkitd(settings))
    keeper = engine.supervisor(settings)
    keeper.wait(BUILDKIT, lambda: accepts(_buildkit_socket()), timeout_s=_START_S)


# Processes.


def _keeper(settings: Settings) -> Supervisor:
    return Supervisor(
        socket=run_folder() / f"{settings.name}.sock",
        state=settings.state / "supervisor",
        logs=settings.logs,
    )


def _apply(settings: Settings, source: Source, docker_host: str) -> None:
    programs = [_azurite(settings), _azure(settings, docker_host)]
    if source is Source.PROCESSES:
        programs.append(_registry(settings))
    _keeper(settings).apply(programs)


def _azurite(settings: Settings) -> Program:
    folder = settings.state / "azurite"
    options = [
        f"--location={folder}",
        "--silent",
        # The clients ask for newer versions of the protocol than Azurite knows by name.
        "--skipApiVersionCheck",
        "--disableTelemetry",
    ]
    ports = {
        "blob": settings.blob_port,
        "queue": settings.queue_port,
        "table": settings.table_port,
    }
    for service, port in ports.items():
        options += [f"--{service}Host=127.0.0.1", f"--{service}Port={port}"]
    return Program(AZURITE, [*tools.azurite_command(settings), *options])


def _azure(settings: Settings, docker_host: str) -> Program:
    certificate = settings.certificates / "server.pem"
    variables = {
        "DOCKER_HOST": docker_host,
        "PYTHONUNBUFFERED": "1",
        # Read by nobody: a change of these files changes the program, which restarts it.
        "LOCAL_AZURE_VERSION": _digest([*(REPOSITORY / "local").rglob("*.py"), certificate]),
    }
    return Program(
        AZURE,
        [sys.executable, "-m", "local.azure"],
        settings.environment() | variables,
        folder=REPOSITORY,
    )


def _registry(settings: Settings) -> Program:
    configuration = settings.state / "registry.json"
    # JSON is YAML.
    configuration.write_text(json.dumps(registry_configuration(settings), indent=2))
    return Program(REGISTRY, ["docker-registry", "serve", str(configuration)])


def registry_configuration(settings: Settings) -> dict[str, Any]:
    """Configuration of Distribution: open to this machine alone."""
    return {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": str(settings.state / "registry")},
            "delete": {"enabled": True},
        },
        "http": {"addr": settings.registry},
    }


def _buildkitd(settings: Settings) -> Program:
    configuration = settings.engine / "buildkitd.toml"
    configuration.parent.mkdir(parents=True, exist_ok=True)
    # Of all stacks: they share the daemon, and any of their registries has the base image.
    registries = sorted({settings.registry, *_mirrors(configuration)})
    text = buildkit_configuration(
        root=settings.engine / engine.BUILD_CACHE, socket=_buildkit_socket(), mirrors=registries
    )
    configuration.write_text(text)
    command = [str(tools.buildkitd_command(settings)), f"--config={configuration}"]
    return Program(BUILDKIT, command, {"BUILDKIT_CONFIGURATION": _digest([configuration])})


def buildkit_configuration(root: Path, socket: Path, mirrors: list[str]) -> str:
    """Configuration of BuildKit in TOML, whose strings are written as in JSON.

    Args:
        root: folder of its cache.
        socket: where it listens.
        mirrors: registries to ask for the images of Docker Hub.
    """
    return "\n".join(
        [
            f"root = {json.dumps(str(root))}",
            "[grpc]",
            f"  address = [{json.dumps(f'unix://{socket}')}]",
            "[otel]",
            f"  socketPath = {json.dumps(str(socket.with_suffix('.otel')))}",
            "[worker.oci]",
            "  gc = true",
            f"  maxUsedSpace = {json.dumps(_BUILD_CACHE)}",
            '[registry."docker.io"]',
            f"  mirrors = {json.dumps(mirrors)}",
            "",
        ]
    )


def _mirrors(configuration: Path) -> list[str]:
    try:
        content = tomllib.loads(configuration.read_text())
    except (OSError, ValueError):
        return []
    mirrors: list[str] = content["registry"]["docker.io"]["mirrors"]
    return mirrors


def _buildkit_socket() -> Path:
    return run_folder() / "buildkit.sock"


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


# Containers.


def _ensure_registry(settings: Settings, client: docker.DockerClient) -> None:
    name = _registry_name(settings)
    _ensure_container(
        client,
        versions.REGISTRY_IMAGE,
        name,
        labels={_LABEL: settings.name},
        ports={"5000/tcp": ("127.0.0.1", settings.registry_port)},
        volumes={name: {"bind": "/var/lib/registry", "mode": "rw"}},
        environment={"OTEL_TRACES_EXPORTER": "none", "REGISTRY_LOG_LEVEL": "warn"},
    )


def _ensure_buildkit(client: docker.DockerClient) -> None:
    if not shutil.which("docker"):
        raise SetupError(
            "The command docker is missing, through which images are built; install it."
        )
    name = _buildkit_name()
    _ensure_container(
        client,
        versions.BUILDKIT_IMAGE,
        name,
        labels={_LABEL: ""},
        privileged=True,
        # The registry is on the loopback of Docker's machine.
        network_mode="host",
        volumes={name: {"bind": "/var/lib/buildkit", "mode": "rw"}},
    )

    def serves() -> bool:
        container = client.containers.get(name)
        return bool(container.exec_run(["buildctl", "debug", "workers"]).exit_code == 0)

    wait_until(
        serves,
        timeout_s=_START_S,
        failure=lambda: _silence("BuildKit", client, name),
    )


def _registry_name(settings: Settings) -> str:
    return f"{settings.name}.registry"


def _buildkit_name() -> str:
    # One per clone.
    return f"{run_folder().name}.buildkit"


def _ensure_container(client: docker.DockerClient, image: str, name: str, **options: Any) -> None:
    """Run a container of that name, pulling its image first.

    Raises:
        SetupError: Docker can't.
    """
    try:
        try:
            container = client.containers.get(name)
        except NotFound:
            if not _has_image(client, image):
                with step(f"Pulling {image}"):
                    client.images.pull(image)
            # The type of docker's stubs leaves this policy out.
            restart: Any = {"Name": "unless-stopped"}
            container = client.containers.create(
                image, name=name, restart_policy=restart, **options
            )
        if container.status != "running":
            container.start()
    except APIError as error:
        raise SetupError(f"Docker can't run {image}: {error.explanation or error}.") from error


def _silence(what: str, client: docker.DockerClient, name: str) -> str:
    """One sentence on a container that does not serve: it is deleted before anybody can look."""
    log = client.containers.get(name).logs(tail=1).decode(errors="replace").strip()
    return f"{what} did not answer within {_START_S:g} s: {log or 'it wrote nothing'}."


def _containers(settings: Settings, client: docker.DockerClient) -> list[Container]:
    """The containers that the stack's program declared."""
    label = f"{STACK_LABEL}={settings.name}"
    return client.containers.list(all=True, filters={"label": label}, ignore_removed=True)


def _revive(settings: Settings, client: docker.DockerClient) -> None:
    """Start the containers that always run and were stopped by :func:`halt`."""
    for container in _containers(settings, client):
        policy = container.attrs["HostConfig"]["RestartPolicy"]["Name"]
        if policy in ("always", "unless-stopped") and container.status == "exited":
            container.start()


def _remove_container(client: docker.DockerClient, name: str) -> None:
    with contextlib.suppress(NotFound):
        client.containers.get(name).remove(force=True, v=True)


def _remove_services(settings: Settings, client: docker.DockerClient) -> None:
    """Remove the stack's registry and, with the last stack, BuildKit, with what they keep."""
    names = [_registry_name(settings)]
    if not _other_stacks(settings):
        names.append(_buildkit_name())
    for name in names:
        _remove_container(client, name)
        with contextlib.suppress(NotFound):
            client.volumes.get(name).remove(force=True)


def _remove_images(settings: Settings, client: docker.DockerClient) -> None:
    """Remove what Docker pulled from the stack's registry."""
    for image in client.images.list():
        for name in (*image.tags, *image.attrs.get("RepoDigests", [])):
            # By name: the image may have others, which are not ours.
            if name.startswith(f"{settings.registry}/"):
                with contextlib.suppress(APIError):
                    client.images.remove(name)


def _has_image(client: docker.DockerClient, image: str) -> bool:
    try:
        client.images.get(image)
    except ImageNotFound:
        return False
    return True


@contextlib.contextmanager
def _docker(address: str) -> Iterator[docker.DockerClient]:
    try:
        client = docker.DockerClient(base_url=address, timeout=300)
    except DockerException as error:
        raise SetupError(f"Docker at {address} does not answer: {error}.") from error
    with contextlib.closing(client):
        yield client


# Whether they serve.


def _wait(settings: Settings, source: Source, client: docker.DockerClient) -> None:
    if _serve(settings):
        return
    keeper = _keeper(settings)
    with step("Starting the registry, Azurite and local Azure"):
        if source is Source.PROCESSES:
            keeper.wait(REGISTRY, lambda: _registry_answers(settings), timeout_s=_START_S)
        else:
            wait_until(
                lambda: _registry_answers(settings),
                timeout_s=_START_S,
                failure=lambda: _silence("The registry", client, _registry_name(settings)),
            )
        keeper.wait(AZURITE, lambda: _azurite_answers(settings), timeout_s=_START_S)
        keeper.wait(AZURE, lambda: _azure_answers(settings), timeout_s=_START_S)


def _serve(settings: Settings) -> bool:
    answers = (_registry_answers, _azurite_answers, _azure_answers)
    return running(settings) and all(each(settings) for each in answers)


def _registry_answers(settings: Settings) -> bool:
    return _answers(f"http://{settings.registry}/v2/")


def _azurite_answers(settings: Settings) -> bool:
    ports = (settings.blob_port, settings.table_port)
    return all(_answers(f"http://127.0.0.1:{port}/") for port in ports)


def _azure_answers(settings: Settings) -> bool:
    context = ssl.create_default_context(cafile=settings.certificate_bundle)
    return _answers(settings.azure_url(), context) and _answers(settings.platform_url())


def _answers(url: str, verify: ssl.SSLContext | bool = True) -> bool:
    try:
        httpx.get(url, timeout=_PROBE_S, trust_env=False, verify=verify)
    except httpx.HTTPError:
        return False
    return True


# Ends.


def _halt(settings: Settings) -> None:
    found = engine.find(settings)
    if found is not None:
        with _docker(found) as client:
            for container in _containers(settings, client):
                container.stop()
            _remove_container(client, _registry_name(settings))
            if not _other_running(settings):
                _remove_container(client, _buildkit_name())
    _keeper(settings).stop()
    if not _other_running(settings):
        engine.stop(settings)


def _other_stacks(settings: Settings) -> list[Settings]:
    """The other stacks of this clone that were started and not deleted since."""
    folder = SHARED / "stacks"
    names = sorted(each.name for each in folder.iterdir()) if folder.exists() else []
    others = [Settings(name=name) for name in names if name != settings.name]
    return [each for each in others if _source(each) is not None]


def _other_running(settings: Settings) -> bool:
    return any(_keeper(each).running() for each in _other_stacks(settings))


# What the Pulumi engine needs.


def _plugins(settings: Settings) -> Path:
    """Folder of the command that stands in for the cloud's plugin."""
    return settings.state / "plugins"


def _backend(settings: Settings) -> Path:
    folder = settings.state / "pulumi"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _passphrase(settings: Settings) -> str:
    """The secret that encrypts the stack's state; made once."""
    path = settings.state / "passphrase"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(16))
    return path.read_text()


def _buildx(settings: Settings) -> Path:
    return settings.state / "buildx"


def _write_builder(settings: Settings, source: Source) -> None:
    """Describe BuildKit to the docker-build provider, as `buildx create --driver remote` does."""
    # The only one: without one that it can reach, the provider would make its own and keep it.
    shutil.rmtree(_buildx(settings), ignore_errors=True)
    path = _buildx(settings) / "instances" / settings.name
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(builder(settings.name, source)))


def builder(name: str, source: Source) -> dict[str, Any]:
    """The builder as buildx keeps it."""
    endpoints = {
        Source.CONTAINERS: f"docker-container://{_buildkit_name()}",
        Source.PROCESSES: f"unix://{_buildkit_socket()}",
    }
    node = {"Name": f"{name}0", "Endpoint": endpoints[source], "Platforms": None}
    return {
        "Name": name,
        "Driver": "remote",
        "Nodes": [node | {"DriverOpts": None, "Flags": None, "Files": None}],
        "Dynamic": False,
    }


def _without_proxy(variables: Mapping[str, str]) -> dict[str, str]:
    """Keep the machine's proxy away from the local stack; empty without a proxy."""
    if not any(name.lower().endswith("_proxy") for name in variables):
        return {}
    given = variables.get("no_proxy") or variables.get("NO_PROXY")
    hosts = ",".join(filter(None, [given, "127.0.0.1", "localhost", HOST_ALIAS]))
    return {"NO_PROXY": hosts, "no_proxy": hosts}


def _ports(settings: Settings) -> list[int]:
    return [
        settings.azure_port,
        settings.registry_port,
        settings.platform_port,
        settings.blob_port,
        settings.queue_port,
        settings.table_port,
    ]
