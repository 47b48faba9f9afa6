"""The data lake: a storage account with a hierarchical namespace and one file system."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import storage

from infra.config import LakeConfig
from infra.stack import StackProps
from infra.storage import storage_account


@dataclass(frozen=True)
class LakeProps:
    """Arguments of :class:`Lake`."""

    stack: StackProps
    config: LakeConfig


class Lake(pulumi.ComponentResource):
    """Where the extractors write.

    Attributes:
        endpoint: address of the Data Lake interface.
        account_name: name of the storage account.
        file_system: name of the file system.
        file_system_id: its id, the scope of the extractors' role.
    """

    def __init__(
        self, name: str, props: LakeProps, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("pipelines:infra:Lake", name, None, opts)
        account = storage_account(name, props.stack, self, hierarchical=True)
        file_system = storage.BlobContainer(
            f"{name}-{props.config.file_system}",
            resource_group_name=props.stack.resource_group_name,
            account_name=account.name,
            container_name=props.config.file_system,
            public_access=storage.PublicAccess.NONE,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.account_name: pulumi.Output[str] = account.name
        self.endpoint: pulumi.Output[str] = account.primary_endpoints.apply(lambda each: each.dfs)
        self.file_system: pulumi.Output[str] = file_system.name
        self.file_system_id: pulumi.Output[str] = file_system.id
        self.register_outputs({"endpoint": self.endpoint, "fileSystem": self.file_system})
