"""Azure's limits on names, and the names that are derived from the stack: pure functions.

Source of the rules: *Naming rules and restrictions for Azure resources*,
https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules.
"""

from __future__ import annotations

import re

CONTAINER_GROUP_MAX = 63
"""Most characters of a container group's name."""

CONTAINER_GROUP_RULE = (
    f"1 to {CONTAINER_GROUP_MAX} lower-case letters, digits and hyphens, "
    "with no hyphen at an end and no two in a row"
)

RESOURCE_GROUP_MAX = 90
"""Most characters of a resource group's name."""

FILE_SYSTEM_RULE = (
    "3 to 63 lower-case letters, digits and hyphens, with no hyphen at an end and no two in a row"
)

VAULT_ENTRY_RULE = "1 to 127 letters, digits and hyphens"

ENVIRONMENT_NAME_RULE = "letters, digits and underscores, not beginning with a digit"

CONTAINER_GROUP_PATTERN = rf"^(?=.{{1,{CONTAINER_GROUP_MAX}}}$)[a-z0-9]+(-[a-z0-9]+)*$"
ENVIRONMENT_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
FILE_SYSTEM_PATTERN = r"^(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*$"
VAULT_ENTRY_PATTERN = r"^[A-Za-z0-9-]{1,127}$"
"""The rules as regular expressions that Python and JSON Schema read alike."""


def is_container_group_name(name: str) -> bool:
    """Whether Azure Container Instances accepts the name, for a group and for a container."""
    return _matches(CONTAINER_GROUP_PATTERN, name)


def is_file_system_name(name: str) -> bool:
    """Whether Azure Storage accepts the name for a blob container, which a file system is."""
    return _matches(FILE_SYSTEM_PATTERN, name)


def is_secret_name(name: str) -> bool:
    """Whether Azure Key Vault accepts the name for a secret."""
    return _matches(VAULT_ENTRY_PATTERN, name)


def is_environment_name(name: str) -> bool:
    """Whether a container accepts the name for an environment variable."""
    return _matches(ENVIRONMENT_NAME_PATTERN, name)


def _matches(pattern: str, name: str) -> bool:
    # In Python alone, "$" also matches before a line feed at the end.
    return not name.endswith("\n") and bool(re.match(pattern, name))


def resource_group(project: str, stack: str) -> str:
    """Name of the stack's resource group.

    Raises:
        ValueError: it would be longer than Azure allows.
    """
    name = f"{project}-{stack}"
    if len(name) > RESOURCE_GROUP_MAX:
        raise ValueError(
            f'The stack\'s name is "{stack}"; allowed is one with which the resource group '
            f'"{name}" has at most {RESOURCE_GROUP_MAX} characters.'
        )
    return name


def repository(job: str) -> str:
    """Name of the registry's repository that holds a job's image."""
    return f"extractor/{job}"


SCHEDULER_REPOSITORY = "scheduler"
