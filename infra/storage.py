"""What the two storage accounts have in common: no keys, no public blobs, TLS 1.2."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_azure_native import storage

from infra.network import Network, PrivateService
from infra.stack import StackProps


def storage_account(
    name: str,
    props: StackProps,
    parent: pulumi.Resource,
    *,
    hierarchical: bool,
    network: Network | None,
    services: Sequence[PrivateService],
) -> storage.StorageAccount:
    """A general-purpose account that accepts tokens of Microsoft Entra ID only.

    Args:
        name: at most 16 lower-case letters and digits: Azure allows 24, and 8 more are appended to
            make the name unique in the world.
        props: the stack.
        parent: the component that the account belongs to.
        hierarchical: whether blobs have real folders, which make a rename one atomic step.
        network: the stack's network; ``None`` where the account may be reached from outside.
        services: what of the account is reached through the network.
    """
    account = storage.StorageAccount(
        name,
        resource_group_name=props.resource_group_name,
        kind=storage.Kind.STORAGE_V2,
        sku=storage.SkuArgs(name=storage.SkuName.STANDARD_LRS),
        is_hns_enabled=hierarchical,
        allow_shared_key_access=False,
        default_to_o_auth_authentication=True,
        allow_blob_public_access=False,
        allow_cross_tenant_replication=False,
        enable_https_traffic_only=True,
        minimum_tls_version=storage.MinimumTlsVersion.TLS1_2,
        public_network_access=(
            storage.PublicNetworkAccess.DISABLED if network else storage.PublicNetworkAccess.ENABLED
        ),
        tags=props.tags,
        opts=pulumi.ResourceOptions(parent=parent, protect=props.protected),
    )
    if network:
        for service in services:
            network.private_endpoint(name, account.id, service)
    return account
