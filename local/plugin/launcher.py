"""The command by which the Pulumi engine finds the local plugin."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from local.settings import REPOSITORY

COMMAND = "pulumi-resource-azure-native"
"""The engine looks for this name on PATH before it would download the cloud's plugin."""


def install(folder: Path, module: str = "local.plugin", name: str = COMMAND) -> Path:
    """Write the command into a folder, which is to be put on PATH of local stacks alone.

    Args:
        folder: is made if need be.
        module: the Python module that serves the plugin.
        name: the command's name, which says what plugin it is.

    Returns:
        The command's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = folder / name
    python, repository = shlex.quote(sys.executable), shlex.quote(str(REPOSITORY))
    command.write_text(f'#!/bin/sh\nPYTHONPATH={repository} exec {python} -m {module} "$@"\n')
    command.chmod(0o755)
    return command
