"""Container groups with one container, as extractors and the scheduler use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import containerinstance

from infra.identity import Identity
from infra.images import Image
from infra.network import Network
from infra.stack import StackProps


@dataclass(frozen=True)
class ContainerGroupProps:
    """Arguments of :func:`container_group`.

    Args:
        stack: the stack.
        registry_server: login server of the registry that the image is in.
        image: what runs.
        identity: what it runs as, and pulls the image with.
        cpu: cores.
        memory: memory in GB.
        environment: variables, none of them secret.
        restart_policy: what Azure does when the container ends.
        network: the network in which it runs; ``None`` for Azure's own.
        after: what has to be there before it starts, beside its identity's roles.
    """

    stack: StackProps
    registry_server: pulumi.Input[str]
    image: Image
    identity: Identity
    cpu: float
    memory: float
    environment: Mapping[str, pulumi.Input[str]]
    restart_policy: containerinstance.ContainerGroupRestartPolicy
    network: Network | None
    after: Sequence[pulumi.Resource] = ()


def container_group(
    name: str, props: ContainerGroupProps, parent: pulumi.Resource
) -> containerinstance.ContainerGroup:
    """A group called ``name`` whose one container is called the same.

    Azure starts a group whenever it creates or replaces it. It refuses to update one that has
    ended, so every change replaces the group, and as the name stays the old one goes first.
    """
    return containerinstance.ContainerGroup(
        name,
        container_group_name=name,
        resource_group_name=props.stack.resource_group_name,
        os_type=containerinstance.OperatingSystemTypes.LINUX,
        restart_policy=props.restart_policy,
        identity=containerinstance.ContainerGroupIdentityArgs(
            type=containerinstance.ResourceIdentityType.USER_ASSIGNED,
            user_assigned_identities=[props.identity.id],
        ),
        image_registry_credentials=[
            containerinstance.ImageRegistryCredentialArgs(
                server=props.registry_server, identity=props.identity.id
            )
        ],
        containers=[
            containerinstance.ContainerArgs(
                name=name,
                image=props.image.reference,
                resources=containerinstance.ResourceRequirementsArgs(
                    requests=containerinstance.ResourceRequestsArgs(
                        cpu=props.cpu, memory_in_gb=props.memory
                    )
                ),
                environment_variables=_variables(props.environment),
            )
        ],
        subnet_ids=[
            containerinstance.ContainerGroupSubnetIdArgs(id=props.network.containers_subnet_id)
        ]
        if props.network
        else None,
        tags=props.stack.tags,
        opts=pulumi.ResourceOptions(
            parent=parent,
            delete_before_replace=True,
            replace_on_changes=["*"],
            depends_on=[*props.identity.assignments, *props.after],
        ),
    )


def _variables(
    environment: Mapping[str, pulumi.Input[str]],
) -> Sequence[containerinstance.EnvironmentVariableArgs]:
    return [
        containerinstance.EnvironmentVariableArgs(name=name, value=value)
        for name, value in sorted(environment.items())
    ]
