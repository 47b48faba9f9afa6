"""Roles: those that Azure defines, those that this project defines, and a condition on one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import pulumi
from pulumi_azure_native import authorization

_PROVIDER = "Microsoft.Storage/storageAccounts/blobServices/containers"


class BuiltInRole(StrEnum):
    """Roles that Azure defines, by their id in every directory.

    Source: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles.
    """

    ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
    """Pull images of a registry."""
    BLOB_DATA_OWNER = "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"
    """Read, write and delete blobs and set permissions: what the Functions host asks for."""
    KEY_VAULT_SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
    """Read the values of secrets."""
    MONITORING_METRICS_PUBLISHER = "3913510d-42f4-4e42-8a64-420c390055eb"
    """Send logs and metrics to Application Insights."""
    TABLE_DATA_CONTRIBUTOR = "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"
    """Read, write and delete rows of tables."""

    def definition_id(self, subscription_id: str) -> str:
        """Id of the role's definition as an assignment names it."""
        provider = "providers/Microsoft.Authorization/roleDefinitions"
        return f"/subscriptions/{subscription_id}/{provider}/{self.value}"


@dataclass(frozen=True)
class CustomRole:
    """A role with exactly what is needed.

    Args:
        name: tells the project's roles apart.
        description: what it lets do, in one sentence.
        actions: on resources.
        data_actions: on data within them.
    """

    name: str
    description: str
    actions: Sequence[str] = ()
    data_actions: Sequence[str] = ()


CONTAINER_STARTER = CustomRole(
    name="container starter",
    description="Start and stop container groups, and read their state and logs.",
    actions=(
        "Microsoft.ContainerInstance/containerGroups/read",
        "Microsoft.ContainerInstance/containerGroups/start/action",
        "Microsoft.ContainerInstance/containerGroups/stop/action",
        "Microsoft.ContainerInstance/containerGroups/containers/logs/read",
    ),
)
"""All that the scheduler does in Azure Resource Manager."""

LAKE_WRITER = CustomRole(
    name="lake writer",
    description="Read, write, rename and delete files and folders of a file system.",
    data_actions=(
        f"{_PROVIDER}/blobs/read",
        f"{_PROVIDER}/blobs/write",
        f"{_PROVIDER}/blobs/add/action",
        f"{_PROVIDER}/blobs/move/action",
        f"{_PROVIDER}/blobs/delete",
    ),
)
"""What an extractor does in the lake. The built-in *Storage Blob Data Contributor* could delete the
file system itself, too."""


def define(
    role: CustomRole, scope: pulumi.Input[str], parent: pulumi.Resource
) -> authorization.RoleDefinition:
    """Define a role that can be assigned within ``scope``."""
    return authorization.RoleDefinition(
        role.name.replace(" ", "-"),
        # Names of roles are unique in a directory, which other stacks share.
        role_name=f"{pulumi.get_project()}-{pulumi.get_stack()} {role.name}",
        description=role.description,
        scope=scope,
        assignable_scopes=[scope],
        permissions=[
            authorization.PermissionArgs(
                actions=list(role.actions), data_actions=list(role.data_actions)
            )
        ],
        opts=pulumi.ResourceOptions(parent=parent),
    )


CONDITION_VERSION = "2.0"


def folder_condition(folders: Sequence[str]) -> str:
    """Condition that lets a role of the lake act within some folders only.

    A listing names its folder as the request's prefix, everything else as the resource's path.

    Args:
        folders: paths without a slash at either end.

    Source: https://learn.microsoft.com/azure/role-based-access-control/conditions-format and
    https://learn.microsoft.com/azure/storage/blobs/storage-auth-abac-attributes.
    """
    listing = f"ActionMatches{{'{_PROVIDER}/blobs/read'}} AND SubOperationMatches{{'Blob.List'}}"
    path = f"@Resource[{_PROVIDER}/blobs:path]"
    prefix = f"@Request[{_PROVIDER}/blobs:prefix]"
    acted = " AND ".join(f"!(ActionMatches{{'{action}'}})" for action in LAKE_WRITER.data_actions)
    return (
        f"((!({listing})) OR ({_within(prefix, folders)}))"
        f" AND (({acted}) OR ({listing}) OR ({_within(path, folders)}))"
    )


def _within(attribute: str, folders: Sequence[str]) -> str:
    return " OR ".join(
        f"{attribute} StringEquals '{folder}' OR {attribute} StringStartsWith '{folder}/'"
        for folder in folders
    )
