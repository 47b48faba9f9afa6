"""The program of ``infra/`` as the real engine runs it for a stack in Azure."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from pulumi.automation.events import OpType

from infra import extractors, images, scheduler, sign_in
from infra.__main__ import deploy
from infra.config import EXTRACTORS_FOLDER, StackConfig
from local import tools, versions
from local.plugin.launcher import install
from local.settings import REPOSITORY, Settings
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


@dataclass(frozen=True)
class Step:
    """What the engine does, or would do, with one resource.

    Args:
        operation: ``same``, ``create``, ``update``, ``replace`` or ``delete``.
        kind: module and type, such as ``storage:Table``.
        name: the resource's name in the program.
    """

    operation: str
    kind: str
    name: str


_PACKAGES = re.compile(r"azure-native:|(?=docker-build:)")


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

    def planned(self) -> list[Step]:
        """The steps of the last preview or update, one for each resource that is deployed."""
        found = [
            event.resource_pre_event.metadata for event in self.events if event.resource_pre_event
        ]
        return [
            Step(
                str(OpType(each.op).value),
                _PACKAGES.sub("", each.type).replace(":index:", ":"),
                each.urn.rpartition("::")[2],
            )
            for each in found
            if _PACKAGES.match(each.type)
            # A replacement is announced by three steps, of which one says so.
            and each.op not in (OpType.CREATE_REPLACEMENT, OpType.DELETE_REPLACED)
        ]

    def requests(self) -> Iterator[Request]:
        """All requests since the stack was made."""
        return (Request(**json.loads(line)) for line in self._requests.read_text().splitlines())


def _docker_build() -> Path:
    """Where Pulumi keeps the real plugin for images once it is installed."""
    name = f"resource-docker-build-v{versions.DOCKER_BUILD}"
    return tools.pulumi_home(SETTINGS) / "plugins" / name / _BUILDER


@contextlib.contextmanager
def copies_of_weather(folder: Path, names: Iterable[str]) -> Iterator[None]:
    """Let the program find its sources in a folder, where each extractor is a copy of weather's.

    Args:
        folder: gets the folders ``extractor`` and ``scheduler``.
        names: of the extractors.
    """
    own = folder / "extractor"
    shutil.copytree(REPOSITORY / "scheduler", folder / "scheduler")
    shutil.copytree(EXTRACTORS_FOLDER, own, ignore=shutil.ignore_patterns("weather"))
    for name in names:
        shutil.copytree(EXTRACTORS_FOLDER / "weather", own / name)
    parse = functools.partial(StackConfig.parse, folder=own)
    with (
        mock.patch.object(StackConfig, "parse", parse),
        mock.patch.object(extractors, "EXTRACTORS_FOLDER", own),
        mock.patch.object(scheduler, "REPOSITORY", folder),
        mock.patch.object(images, "STAGING", folder / "staged"),
        mock.patch.object(sign_in, "sign_in"),
    ):
        yield
