"""The key vault of the extractors' secrets.

People put the values in; the deployment knows only the names, so no secret is in its state.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import keyvault

from infra.network import Network, PrivateService
from infra.stack import StackProps

_SOFT_DELETE_DAYS = 90


@dataclass(frozen=True)
class VaultProps:
    """Arguments of :class:`Vault`.

    Args:
        stack: the stack.
        tenant_id: the directory whose identities may hold roles on the vault.
        network: the stack's network; ``None`` where the vault may be reached from outside.
    """

    stack: StackProps
    tenant_id: pulumi.Input[str]
    network: Network | None


class Vault(pulumi.ComponentResource):
    """A vault whose secrets are read by role, each extractor its own.

    Attributes:
        id: id of the vault.
        url: its address.
    """

    def __init__(
        self, name: str, props: VaultProps, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("pipelines:infra:Vault", name, None, opts)
        vault = keyvault.Vault(
            name,
            resource_group_name=props.stack.resource_group_name,
            properties=keyvault.VaultPropertiesArgs(
                tenant_id=props.tenant_id,
                sku=keyvault.SkuArgs(family=keyvault.SkuFamily.A, name=keyvault.SkuName.STANDARD),
                enable_rbac_authorization=True,
                enable_soft_delete=True,
                enable_purge_protection=True,
                soft_delete_retention_in_days=_SOFT_DELETE_DAYS,
                public_network_access="Disabled" if props.network else "Enabled",
            ),
            tags=props.stack.tags,
            opts=pulumi.ResourceOptions(parent=self, protect=props.stack.protected),
        )
        if props.network:
            props.network.private_endpoint(name, vault.id, PrivateService.VAULT)
        self.id: pulumi.Output[str] = vault.id
        self.url: pulumi.Output[str] = vault.properties.apply(lambda each: each.vault_uri)
        self.register_outputs({"url": self.url})

    def secret_id(self, name: str) -> pulumi.Output[str]:
        """Id of a secret, the scope of a role that reads it alone."""
        return pulumi.Output.concat(self.id, "/secrets/", name)
