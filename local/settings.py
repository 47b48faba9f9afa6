"""Where a local stack keeps its files and which ports it listens on.

Two local stacks can run side by side (the one of ``make up`` and the one of the integration
tests): they share tools and the container engine, and have state and ports of their own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = (REPOSITORY / ".local").resolve()
"""Git-ignored folder of tools and state. Clones may share one by a link."""

HOST_ALIAS = "host.docker.internal"
"""The name under which a container reaches the services of its host."""

DEFAULT_PORT_BASE = 15000


@dataclass(frozen=True)
class Settings:
    """One local stack on this machine.

    Args:
        name: name of the Pulumi stack and of its state folder.
        port_base: first of the six consecutive TCP ports that the stack listens on.
    """

    name: str = "local"
    port_base: int = DEFAULT_PORT_BASE

    @classmethod
    def from_environment(cls) -> Settings:
        """Read ``LOCAL_STACK`` and ``LOCAL_PORT_BASE``, as child processes get them."""
        return cls(
            name=os.environ.get("LOCAL_STACK", "local"),
            port_base=int(os.environ.get("LOCAL_PORT_BASE", DEFAULT_PORT_BASE)),
        )

    def environment(self) -> dict[str, str]:
        """The variables from which a child process reads these settings again."""
        return {"LOCAL_STACK": self.name, "LOCAL_PORT_BASE": str(self.port_base)}

    # Ports: the first is the only one that speaks TLS.
    @property
    def azure_port(self) -> int:
        """Local Azure: Resource Manager, Data Lake, blobs and tables, over HTTPS."""
        return self.port_base

    @property
    def registry_port(self) -> int:
        """OCI registry (Distribution), over HTTP on loopback."""
        return self.port_base + 1

    @property
    def platform_port(self) -> int:
        """What a cloud machine offers its containers over HTTP: tokens; and weather data."""
        return self.port_base + 2

    @property
    def blob_port(self) -> int:
        """Azurite's blob service, on loopback."""
        return self.port_base + 3

    @property
    def queue_port(self) -> int:
        """Azurite's queue service, on loopback (unused, but Azurite always opens it)."""
        return self.port_base + 4

    @property
    def table_port(self) -> int:
        """Azurite's table service, on loopback."""
        return self.port_base + 5

    # Folders.
    @property
    def state(self) -> Path:
        """Everything that belongs to this stack alone; ``make down`` deletes it."""
        return SHARED / "stacks" / self.name

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def certificates(self) -> Path:
        """The local certificate authority, the server's certificate and the bundle for clients."""
        return self.state / "certificates"

    @property
    def certificate_bundle(self) -> Path:
        """This machine's trusted authorities and the local one, in PEM."""
        return self.certificates / "bundle.pem"

    @property
    def secrets(self) -> Path:
        """Values of the key vault's secrets, which a developer writes; it outlives the stack."""
        return SHARED / "secrets" / f"{self.name}.yaml"

    # Shared by all local stacks.
    @property
    def tools(self) -> Path:
        return SHARED / "tools"

    @property
    def engine(self) -> Path:
        """State of the container engine started by us, where the machine runs none."""
        return SHARED / "engine"

    # Addresses.
    @property
    def registry(self) -> str:
        """Host and port of the registry, as image references name it."""
        return f"127.0.0.1:{self.registry_port}"

    def azure_url(self, host: str = "127.0.0.1") -> str:
        """Base URL of local Azure, from the host, or from a container with ``HOST_ALIAS``."""
        return f"https://{host}:{self.azure_port}"

    def platform_url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.platform_port}"
