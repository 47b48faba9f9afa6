"""The container registry that holds the images."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import authorization, containerregistry

from infra import sign_in
from infra.network import Network, PrivateService
from infra.stack import StackProps


@dataclass(frozen=True)
class RegistryProps:
    """Arguments of :class:`Registry`.

    Args:
        stack: the stack.
        network: the stack's network; ``None`` where the registry may be reached from outside.
    """

    stack: StackProps
    network: Network | None


class Registry(pulumi.ComponentResource):
    """A registry for identities of this directory alone: no admin user, no anonymous pull.

    Attributes:
        login_server: host name under which images are pulled.
        push_server: the same, once Docker is signed in to it.
        id: id of the registry, the scope of the role ``AcrPull``.
    """

    def __init__(
        self, name: str, props: RegistryProps, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("pipelines:infra:Registry", name, None, opts)
        registry = containerregistry.Registry(
            name,
            resource_group_name=props.stack.resource_group_name,
            sku=containerregistry.SkuArgs(name=_sku(props.network)),
            admin_user_enabled=False,
            anonymous_pull_enabled=False,
            public_network_access=_public_access(props.network),
            network_rule_set=_network_rules(props.network),
            # Azure Container Instances pulls as a trusted service: it has no address of its own.
            network_rule_bypass_options=containerregistry.NetworkRuleBypassOptions.AZURE_SERVICES,
            tags=props.stack.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        if props.network:
            props.network.private_endpoint(name, registry.id, PrivateService.REGISTRY)
        self.id: pulumi.Output[str] = registry.id
        self.login_server: pulumi.Output[str] = registry.login_server
        self.push_server: pulumi.Output[str] = _signed_in(registry.login_server)
        self.register_outputs({"loginServer": self.login_server})


def _signed_in(server: pulumi.Output[str]) -> pulumi.Output[str]:
    """The login server, after Docker was signed in to it as whoever deploys.

    The credential goes into Docker's own configuration, as with ``az acr login``. As an argument of
    the images it would end up in the state.
    """
    token = authorization.get_client_token_output(endpoint=sign_in.AZURE_RESOURCE_MANAGER).token

    def enter(values: list[str]) -> str:
        name, access_token = values
        # A preview builds nothing; and a registry that is not Azure's has no such exchange.
        if not pulumi.runtime.is_dry_run() and name.endswith(sign_in.AZURE_REGISTRIES):
            sign_in.sign_in(name, access_token)
        return name

    return pulumi.Output.unsecret(pulumi.Output.all(server, token).apply(enter))


def _sku(network: Network | None) -> containerregistry.SkuName:
    # Private endpoints and rules by address come with the largest only.
    return containerregistry.SkuName.PREMIUM if network else containerregistry.SkuName.BASIC


def _public_access(network: Network | None) -> containerregistry.PublicNetworkAccess:
    closed = network is not None and not network.deployer_addresses
    access = containerregistry.PublicNetworkAccess
    return access.DISABLED if closed else access.ENABLED


def _network_rules(network: Network | None) -> containerregistry.NetworkRuleSetArgs | None:
    if network is None:
        return None
    return containerregistry.NetworkRuleSetArgs(
        default_action=containerregistry.DefaultAction.DENY,
        ip_rules=[
            containerregistry.IPRuleArgs(
                i_p_address_or_range=address, action=containerregistry.Action.ALLOW
            )
            for address in network.deployer_addresses
        ],
    )
