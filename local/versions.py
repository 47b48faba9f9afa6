"""Every version that the local stack pins outside ``requirements.txt``.

The versions of buildkitd and of what the Go builds consist of are those of
``local/toolchain/*/go.mod``; a test holds this file, those and ``requirements.txt`` together.
"""

from __future__ import annotations

PULUMI = "3.259.0"
"""The engine. A newer one of the same major version that is already installed serves as well."""

DOCKER_BUILD = "0.0.22"
"""Pulumi's provider that builds images."""

GO = "1.26.8"
"""Fetched for the Go builds where no Go of at least ``GO_MINIMUM`` is installed."""

GO_MINIMUM = (1, 21)
"""The first Go that fetches a newer toolchain by itself, as go.mod asks for."""

NODE_MINIMUM = 18
"""Major version of Node.js that Azurite needs."""

AZURITE = "3.35.0"

BUILDKIT_IMAGE = "moby/buildkit:v0.31.0"
REGISTRY_IMAGE = "registry:3.0.0"

BASE_IMAGE = "python:3.11-slim"
"""What the images of the extractors and the scheduler start from: the default of their
``BASE_IMAGE``."""

DEBIAN = "bookworm"
"""The Debian that offers ``BASE_IMAGE``'s Python, for machines that can't reach Docker Hub."""
