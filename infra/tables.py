"""The tables of jobs, of runs and of what operators did.

They have an account of their own: the Functions host, which keeps its leases in the same account,
does not support one with a hierarchical namespace
(https://learn.microsoft.com/azure/azure-functions/storage-considerations#storage-account-requirements).
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import storage

from extractor.runtime.records import JOBS_TABLE, RUNS_TABLE
from infra.network import Network, PrivateService
from infra.stack import StackProps
from infra.storage import storage_account
from scheduler.audit import AUDIT_TABLE


@dataclass(frozen=True)
class TablesProps:
    """Arguments of :class:`Tables`.

    Args:
        stack: the stack.
        network: the stack's network; ``None`` where the tables may be reached from outside.
    """

    stack: StackProps
    network: Network | None


class Tables(pulumi.ComponentResource):
    """The tables ``jobs``, ``runs`` and ``audit``.

    Attributes:
        endpoint: address of the table service.
        account_name: name of the storage account.
        account_id: its id.
        table_ids: ids of the tables by name, the scopes of the roles that read and write them.
    """

    def __init__(
        self, name: str, props: TablesProps, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("pipelines:infra:Tables", name, None, opts)
        account = storage_account(
            name,
            props.stack,
            self,
            hierarchical=False,
            network=props.network,
            # The Functions host keeps its leases in blobs and may use queues.
            services=(PrivateService.TABLE, PrivateService.BLOB, PrivateService.QUEUE),
        )
        tables = {
            table: storage.Table(
                f"{name}-{table}",
                resource_group_name=props.stack.resource_group_name,
                account_name=account.name,
                table_name=table,
                opts=pulumi.ResourceOptions(parent=self, protect=props.stack.protected),
            )
            for table in (JOBS_TABLE, RUNS_TABLE, AUDIT_TABLE)
        }
        self.account_name: pulumi.Output[str] = account.name
        self.account_id: pulumi.Output[str] = account.id
        self.endpoint: pulumi.Output[str] = account.primary_endpoints.apply(lambda each: each.table)
        self.table_ids: dict[str, pulumi.Output[str]] = {
            table: resource.id for table, resource in tables.items()
        }
        self.register_outputs({"endpoint": self.endpoint})
