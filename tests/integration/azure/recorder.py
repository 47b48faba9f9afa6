"""An azure-native plugin that notes what it would send to Azure, and answers as Azure does.

It checks, names and compares resources as the local plugin does. The difference is in what stands
in for Azure: no type has a local counterpart, and addresses are those that Azure would give.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.plugin.bodies import Body, LocalServices, Resource
from local.plugin.schema import ResourceSchema
from local.plugin.server import serve
from local.plugin.servicer import Provider
from local.settings import Settings
from tests.integration.azure.offline import refuse_connections

REQUESTS = "AZURE_REQUESTS"
"""Variable with the file to which requests are appended: a line of JSON each."""


class Log:
    """The requests, in the order in which they would reach Azure."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()

    def add(self, method: str, resource: Resource) -> None:
        request = {
            "method": method,
            "type": resource.schema.token,
            "id": resource.id,
            # What begins so is the plugin's own.
            "inputs": {k: v for k, v in resource.inputs.items() if not k.startswith("__")},
        }
        with self._lock, self._file.open("a") as file:
            file.write(json.dumps(request) + "\n")


class Recorded(Body):
    """A type of which nothing but its requests is known."""

    def __init__(self, services: LocalServices, log: Log) -> None:
        super().__init__(services)
        self._log = log

    def create(self, resource: Resource) -> None:
        self._log.add("create", resource)

    def update(self, resource: Resource, old_inputs: Mapping[str, Any]) -> None:
        self._log.add("update", resource)

    def delete(self, resource: Resource) -> None:
        self._log.add("delete", resource)


class Recorder(Provider):
    """The plugin."""

    def __init__(self, settings: Settings, log: Log) -> None:
        services = LocalServices(settings)
        super().__init__(services)
        self._body = Recorded(services, log)

    def body(self, schema: ResourceSchema) -> Body:
        return self._body

    def azure_outputs(self, resource: Resource) -> dict[str, Any]:
        return {**super().azure_outputs(resource), **_addresses(resource)}

    def token(self, audience: str) -> str:
        return f"token for {audience}"


def _addresses(resource: Resource) -> dict[str, Any]:
    match resource.schema.token:
        case "azure-native:containerregistry:Registry":
            return {"loginServer": f"{resource.name}.azurecr.io"}
        case "azure-native:storage:StorageAccount":
            services = ("blob", "dfs", "file", "queue", "table", "web")
            addresses = {
                each: f"https://{resource.name}.{each}.core.windows.net/" for each in services
            }
            return {"primaryEndpoints": addresses}
        case _:
            return {}


if __name__ == "__main__":
    sys.addaudithook(refuse_connections)
    serve(Recorder(Settings.from_environment(), Log(Path(os.environ[REQUESTS]))))
