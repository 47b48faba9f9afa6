"""The program of ``infra/`` as the real engine runs it for a stack in Azure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from infra.__main__ import deploy
from local import tools, versions
from local.plugin.launcher import install
from local.settings import Settings
from tests.integration.azure.builder import PLUGIN
from tests.integration.azure.recorder import REQUESTS
from tests.integration.pulumi_engine import Engine

SETTINGS = Settings(name="azure-program")

PROJECT = "pipelines"

_HERE = "tests.integration.azure"
_BUILDER = "pulumi-resource-docker-build"


@dataclass(frozen=True)
class Request:
    """What would be sent to Azure.

    Args:
        method: ``create``, ``update`` or ``delete``.
        type: the resource's type, such as ``azure-native:storage:Table``.
        id: its id.
        inputs: what the program set, by the names on the wire.
    """

    method: str
    type: str
    id: str
    inputs: Mapping[str, Any]


class AzureProgram(Engine):
    """A stack of the program.

    Args:
        folder: an empty folder.
        stack: name of the stack.
        config: its configuration by full key; objects and lists as they are.
        proxy: address to which the engine and its plugins would send what is not for this machine.
    """

    def __init__(self, folder: Path, stack: str, config: Mapping[str, Any], proxy: str) -> None:
        self._requests = folder / "requests"
        self._requests.touch()
        variables = {
            REQUESTS: str(self._requests),
            PLUGIN: str(_docker_build()),
            # No Docker answers, and none is asked whether it can build.
            "DOCKER_HOST": f"unix://{folder / 'no-docker.sock'}",
            "DOCKER_BUILDKIT": "1",
            "HTTP_PROXY": proxy,
            "HTTPS_PROXY": proxy,
            "NO_PROXY": "127.0.0.1,localhost",
        }
        super().__init__(folder, SETTINGS, variables, project=PROJECT, stack=stack)
        self.set_config(config)

    def _install(self, folder: Path) -> Path:
        install(folder, f"{_HERE}.builder", _BUILDER)
        return install(folder, f"{_HERE}.recorder").parent

    def set_config(self, config: Mapping[str, Any]) -> None:
        """Replace the stack's configuration."""
        file = self._project / f"Pulumi.{self._names[1]}.yaml"
        written = yaml.safe_load(file.read_text()) if file.exists() else {}
        file.write_text(yaml.safe_dump({**written, "config": dict(config)}))

    def preview_program(self) -> dict[str, int]:
        return self.preview(deploy)

    def deploy(self) -> dict[str, int]:
        return self.up(deploy)

    def requests(self) -> Iterator[Request]:
        """All requests since the stack was made."""
        return (Request(**json.loads(line)) for line in self._requests.read_text().splitlines())


def _docker_build() -> Path:
    """Where Pulumi keeps the real plugin for images once it is installed."""
    name = f"resource-docker-build-v{versions.DOCKER_BUILD}"
    return tools.pulumi_home(SETTINGS) / "plugins" / name / _BUILDER
