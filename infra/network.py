"""The stack's own network, for stacks that are isolated from the internet."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import pulumi
from pulumi_azure_native import network, privatedns

from infra.config import NetworkConfig
from infra.stack import StackProps

_SUBNET_PREFIX = 26


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

    Attributes:
        containers_subnet_id: subnet of the container groups.
        app_subnet_id: subnet of the scheduler's app.
        deployer_addresses: public addresses that may push images.
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
        containers, app, endpoints = list(space.subnets(new_prefix=_SUBNET_PREFIX))[:3]
        first = self._subnet(
            "containers", containers, "Microsoft.ContainerInstance/containerGroups"
        )
        # Azure changes one subnet of a network at a time.
        second = self._subnet("app", app, "Microsoft.Web/serverFarms", after=first)
        third = self._subnet("endpoints", endpoints, after=second)
        self.containers_subnet_id: pulumi.Output[str] = first.id
        self.app_subnet_id: pulumi.Output[str] = second.id
        self._endpoints_subnet_id = third.id
        self.register_outputs({})

    def _subnet(
        self,
        purpose: str,
        addresses: ipaddress.IPv4Network,
        delegated_to: str | None = None,
        after: pulumi.Resource | None = None,
    ) -> network.Subnet:
        return network.Subnet(
            f"{self._name}-{purpose}",
            resource_group_name=self._stack.resource_group_name,
            virtual_network_name=self._network.name,
            address_prefix=str(addresses),
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
