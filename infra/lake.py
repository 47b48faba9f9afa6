"""The data lake: a storage account with a hierarchical namespace and one file system."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import authorization, storage

from infra.config import LakeConfig
from infra.network import Network, PrivateService
from infra.stack import StackProps
from infra.storage import storage_account


@dataclass(frozen=True)
class LakeProps:
    """Arguments of :class:`Lake`.

    Args:
        stack: the stack.
        config: what the stack's configuration says of the lake.
        network: the stack's network; ``None`` where the lake may be reached from outside.
    """

    stack: StackProps
    config: LakeConfig
    network: Network | None


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
        account = storage_account(
            name,
            props.stack,
            self,
            hierarchical=True,
            network=props.network,
            services=(PrivateService.DFS, PrivateService.BLOB),
        )
        file_system = storage.BlobContainer(
            f"{name}-{props.config.file_system}",
            resource_group_name=props.stack.resource_group_name,
            account_name=account.name,
            container_name=props.config.file_system,
            public_access=storage.PublicAccess.NONE,
            opts=pulumi.ResourceOptions(parent=self, protect=props.stack.protected),
        )
        self._keep(name, props, account)
        self.account_name: pulumi.Output[str] = account.name
        self.endpoint: pulumi.Output[str] = account.primary_endpoints.apply(lambda each: each.dfs)
        self.file_system: pulumi.Output[str] = file_system.name
        self.file_system_id: pulumi.Output[str] = file_system.id
        self.register_outputs({"endpoint": self.endpoint, "fileSystem": self.file_system})

    def _keep(self, name: str, props: LakeProps, account: storage.StorageAccount) -> None:
        """What keeps data from being lost, and cheap to keep."""
        parent = pulumi.ResourceOptions(parent=self)
        deleted = storage.DeleteRetentionPolicyArgs(
            enabled=True, days=props.config.soft_delete_days
        )
        storage.BlobServiceProperties(
            f"{name}-retention",
            resource_group_name=props.stack.resource_group_name,
            account_name=account.name,
            blob_services_name="default",
            delete_retention_policy=deleted,
            container_delete_retention_policy=deleted,
            opts=parent,
        )
        if props.config.cool_after_days is not None:
            _lifecycle(f"{name}-lifecycle", props, account, props.config.cool_after_days, parent)
        if props.config.locked:
            authorization.ManagementLockByScope(
                f"{name}-lock",
                lock_name="keep-the-lake",
                scope=account.id,
                level=authorization.LockLevel.CAN_NOT_DELETE,
                notes="The lake of this stack; unlock it in the stack's configuration.",
                opts=parent,
            )


def _lifecycle(
    name: str,
    props: LakeProps,
    account: storage.StorageAccount,
    cool_after_days: int,
    opts: pulumi.ResourceOptions,
) -> None:
    unchanged = storage.DateAfterModificationArgs(
        days_after_modification_greater_than=cool_after_days
    )
    storage.ManagementPolicy(
        name,
        resource_group_name=props.stack.resource_group_name,
        account_name=account.name,
        management_policy_name="default",
        policy=storage.ManagementPolicySchemaArgs(
            rules=[
                storage.ManagementPolicyRuleArgs(
                    name="cool",
                    enabled=True,
                    type=storage.RuleType.LIFECYCLE,
                    definition=storage.ManagementPolicyDefinitionArgs(
                        filters=storage.ManagementPolicyFilterArgs(
                            blob_types=["blockBlob"],
                            prefix_match=[f"{props.config.file_system}/"],
                        ),
                        actions=storage.ManagementPolicyActionArgs(
                            base_blob=storage.ManagementPolicyBaseBlobArgs(tier_to_cool=unchanged)
                        ),
                    ),
                )
            ]
        ),
        opts=opts,
    )
