"""The stack's own network, for stacks that are isolated from the internet."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import pulumi
from pulumi_azure_native import network, privatedns

from infra.config import NetworkConfig
from infra.stack import StackProps

_SUBNET_PREFIX = 26
_FIRST, _LAST = 100, 4096
"""The first and the last place of a rule among those of a security group."""


class PrivateService(StrEnum):
    """What of a resource is reached through a private endpoint, in Azure's words, with the zone
    that its names are looked up in.

    Source: https://learn.microsoft.com/azure/private-link/private-endpoint-dns.
    """

    BLOB = "blob"
    DFS = "dfs"
    QUEUE = "queue"
    REGISTRY = "registry"
    TABLE = "table"
    VAULT = "vault"

    @property
    def zone(self) -> str:
        match self:
            case PrivateService.REGISTRY:
                return "privatelink.azurecr.io"
            case PrivateService.VAULT:
                return "privatelink.vaultcore.azure.net"
            case _:
                return f"privatelink.{self.value}.core.windows.net"


@dataclass(frozen=True)
class NetworkProps:
    """Arguments of :class:`Network`."""

    stack: StackProps
    config: NetworkConfig


class Network(pulumi.ComponentResource):
    """A virtual network with a subnet each for containers, for the scheduler's app and for the
    private endpoints of what they use.

    Containers and app reach the internet through a NAT gateway, the only way out of a network that
    Azure Container Instances supports; nothing is reached from the internet. No subnet has an
    outbound address that Azure picks.

    Sources:
        https://learn.microsoft.com/azure/container-instances/container-instances-virtual-network-concepts,
        https://learn.microsoft.com/azure/virtual-network/ip-services/default-outbound-access.

    Attributes:
        containers_subnet_id: subnet of the container groups.
        app_subnet_id: subnet of the scheduler's app.
        deployer_addresses: public addresses that may push images.
        outbound_address: the public address from which sources on the internet are read.
    """

    def __init__(
        self, name: str, props: NetworkProps, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("pipelines:infra:Network", name, None, opts)
        self._name = name
        self._stack = props.stack
        self._zones: dict[PrivateService, privatedns.PrivateZone] = {}
        self.deployer_addresses: Sequence[str] = props.config.deployer_addresses
        self._network = network.VirtualNetwork(
            name,
            resource_group_name=props.stack.resource_group_name,
            address_space=network.AddressSpaceArgs(address_prefixes=[props.config.address_space]),
            tags=props.stack.tags,
            # The subnets are resources of their own; without this each update would drop them.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["subnets"]),
        )
        space = ipaddress.IPv4Network(props.config.address_space)
        containers, app, endpoints = map(
            str, itertools.islice(space.subnets(new_prefix=_SUBNET_PREFIX), 3)
        )
        address, gateway = self._way_out()
        first = self._subnet(
            "containers",
            containers,
            _rules_of_containers(),
            gateway,
            delegated_to="Microsoft.ContainerInstance/containerGroups",
        )
        # Azure changes one subnet of a network at a time.
        second = self._subnet(
            "app",
            app,
            _rules_of_app(),
            gateway,
            delegated_to="Microsoft.Web/serverFarms",
            after=first,
        )
        clients = [containers, app, *props.config.client_addresses]
        third = self._subnet("endpoints", endpoints, _rules_of_endpoints(clients), after=second)
        self.outbound_address: pulumi.Output[str | None] = address.ip_address
        self.containers_subnet_id: pulumi.Output[str] = first.id
        self.app_subnet_id: pulumi.Output[str] = second.id
        self._endpoints_subnet_id = third.id
        self.register_outputs({})

    def _way_out(self) -> tuple[network.PublicIPAddress, network.NatGateway]:
        """A NAT gateway, and the address that the internet sees of what is behind it."""
        name = f"{self._name}-outbound"
        parent = pulumi.ResourceOptions(parent=self)
        address = network.PublicIPAddress(
            name,
            resource_group_name=self._stack.resource_group_name,
            sku=network.PublicIPAddressSkuArgs(name=network.PublicIPAddressSkuName.STANDARD),
            public_ip_allocation_method=network.IPAllocationMethod.STATIC,
            tags=self._stack.tags,
            opts=parent,
        )
        gateway = network.NatGateway(
            name,
            resource_group_name=self._stack.resource_group_name,
            sku=network.NatGatewaySkuArgs(name=network.NatGatewaySkuName.STANDARD),
            public_ip_addresses=[network.SubResourceArgs(id=address.id)],
            tags=self._stack.tags,
            opts=parent,
        )
        return address, gateway

    def _subnet(
        self,
        purpose: str,
        addresses: str,
        rules: Sequence[network.SecurityRuleArgs],
        gateway: network.NatGateway | None = None,
        *,
        delegated_to: str | None = None,
        after: pulumi.Resource | None = None,
    ) -> network.Subnet:
        """A subnet with a security group of its own.

        It names gateway and group, so it is made after them and deleted before them.
        """
        name = f"{self._name}-{purpose}"
        group = network.NetworkSecurityGroup(
            name,
            resource_group_name=self._stack.resource_group_name,
            security_rules=rules,
            tags=self._stack.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        policies = network.VirtualNetworkPrivateEndpointNetworkPolicies
        return network.Subnet(
            name,
            resource_group_name=self._stack.resource_group_name,
            virtual_network_name=self._network.name,
            address_prefix=addresses,
            default_outbound_access=False,
            nat_gateway=network.SubResourceArgs(id=gateway.id) if gateway else None,
            network_security_group=network.NetworkSecurityGroupArgs(id=group.id),
            # Without this, the group's rules do not hold for private endpoints:
            # https://learn.microsoft.com/azure/private-link/disable-private-endpoint-network-policy.
            private_endpoint_network_policies=policies.NETWORK_SECURITY_GROUP_ENABLED,
            delegations=[network.DelegationArgs(name=purpose, service_name=delegated_to)]
            if delegated_to
            else None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[after] if after else None),
        )

    def private_endpoint(
        self, name: str, target_id: pulumi.Input[str], service: PrivateService
    ) -> pulumi.Resource:
        """Give a resource an address in the network, and its public name that address within it.

        Args:
            name: of the resource that is reached.
            target_id: its id.
            service: what of it.

        Returns:
            What has to exist before the name leads to the address.
        """
        parent = pulumi.ResourceOptions(parent=self)
        endpoint = network.PrivateEndpoint(
            f"{name}-{service.value}",
            resource_group_name=self._stack.resource_group_name,
            subnet=network.SubnetArgs(id=self._endpoints_subnet_id),
            private_link_service_connections=[
                network.PrivateLinkServiceConnectionArgs(
                    name=service.value, private_link_service_id=target_id, group_ids=[service.value]
                )
            ],
            tags=self._stack.tags,
            opts=parent,
        )
        return network.PrivateDnsZoneGroup(
            f"{name}-{service.value}",
            resource_group_name=self._stack.resource_group_name,
            private_endpoint_name=endpoint.name,
            private_dns_zone_configs=[
                network.PrivateDnsZoneConfigArgs(
                    name=service.value, private_dns_zone_id=self._zone(service).id
                )
            ],
            opts=parent,
        )

    def _zone(self, service: PrivateService) -> privatedns.PrivateZone:
        """The zone of a service's private names, one for all endpoints."""
        if service not in self._zones:
            self._zones[service] = self._declare_zone(service)
        return self._zones[service]

    def _declare_zone(self, service: PrivateService) -> privatedns.PrivateZone:
        zone = privatedns.PrivateZone(
            f"{self._name}-{service.value}",
            private_zone_name=service.zone,
            resource_group_name=self._stack.resource_group_name,
            location="global",
            tags=self._stack.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        privatedns.VirtualNetworkLink(
            f"{self._name}-{service.value}",
            private_zone_name=zone.name,
            resource_group_name=self._stack.resource_group_name,
            location="global",
            registration_enabled=False,
            virtual_network=privatedns.SubResourceArgs(id=self._network.id),
            tags=self._stack.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return zone


def _rules_of_containers() -> Sequence[network.SecurityRuleArgs]:
    """Nothing from the internet. What is in the network has to be let in: Azure Container Instances
    wants that, and it is one of the rules that every group has.

    Sources:
        https://learn.microsoft.com/azure/container-instances/container-instances-virtual-network-concepts#other-limitations,
        https://learn.microsoft.com/azure/virtual-network/network-security-groups-overview#default-security-rules.
    """
    return [_deny("Internet")]


def _rules_of_app() -> Sequence[network.SecurityRuleArgs]:
    """Nothing at all: an app reaches out through its subnet and is not reached through it.

    Source: https://learn.microsoft.com/azure/app-service/overview-vnet-integration#network-security-groups.
    """
    return [_deny("*")]


def _rules_of_endpoints(clients: Sequence[str]) -> Sequence[network.SecurityRuleArgs]:
    """HTTPS from those who have business there, and nothing else.

    A rule has one range of ports, the most that holds for private endpoints.

    Source: https://learn.microsoft.com/azure/private-link/private-endpoint-overview#network-security-group.
    """
    allow = network.SecurityRuleArgs(
        name="allow-https",
        priority=_FIRST,
        direction=network.SecurityRuleDirection.INBOUND,
        access=network.SecurityRuleAccess.ALLOW,
        protocol=network.SecurityRuleProtocol.TCP,
        source_address_prefixes=clients,
        source_port_range="*",
        destination_address_prefix="*",
        destination_port_range="443",
    )
    return [allow, _deny("*")]


def _deny(source: str) -> network.SecurityRuleArgs:
    """A rule that lets nothing in from a service tag, such as ``Internet``, or from ``*``."""
    return network.SecurityRuleArgs(
        name="deny-inbound",
        priority=_LAST,
        direction=network.SecurityRuleDirection.INBOUND,
        access=network.SecurityRuleAccess.DENY,
        protocol=network.SecurityRuleProtocol.ASTERISK,
        source_address_prefix=source,
        source_port_range="*",
        destination_address_prefix="*",
        destination_port_range="*",
    )
