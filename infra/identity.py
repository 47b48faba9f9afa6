"""Identities of the containers, and the roles that they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import authorization, managedidentity

from infra.roles import CONDITION_VERSION, BuiltInRole
from infra.stack import StackProps


@dataclass(frozen=True)
class Grant:
    """A role on a scope.

    Args:
        role: a built-in role, or the id of a definition.
        scope: id of the resource on which it is held.
        condition: narrows it down further; see :func:`infra.roles.folder_condition`.
    """

    role: BuiltInRole | pulumi.Output[str]
    scope: pulumi.Input[str]
    condition: str | None = None


@dataclass(frozen=True)
class IdentityProps:
    """Arguments of :class:`Identity`.

    Args:
        stack: the stack.
        subscription_id: subscription of the built-in roles' definitions.
        grants: what the identity may do, each under a name that stays the same.
    """

    stack: StackProps
    subscription_id: pulumi.Input[str]
    grants: Mapping[str, Grant]


class Identity(pulumi.ComponentResource):
    """A user-assigned identity with its roles.

    It exists before the container that uses it, so that every role is in place when the container
    first starts; an identity that comes with a container could not even pull the image.

    Attributes:
        id: id of the identity.
        client_id: what the container names to get this identity's tokens.
        assignments: the role assignments, for what has to wait for them.
    """

    def __init__(
        self, name: str, props: IdentityProps, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("pipelines:infra:Identity", name, None, opts)
        self._name = name
        self._subscription_id = pulumi.Output.from_input(props.subscription_id)
        self._identity = managedidentity.UserAssignedIdentity(
            name,
            resource_group_name=props.stack.resource_group_name,
            tags=props.stack.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.id: pulumi.Output[str] = self._identity.id
        self.client_id: pulumi.Output[str] = self._identity.client_id
        self.assignments: Sequence[pulumi.Resource] = [
            self._assign(purpose, grant) for purpose, grant in props.grants.items()
        ]
        self.register_outputs({"clientId": self.client_id})

    def _assign(self, purpose: str, grant: Grant) -> authorization.RoleAssignment:
        role = grant.role
        return authorization.RoleAssignment(
            f"{self._name}-{purpose}",
            principal_id=self._identity.principal_id,
            # Without the type, Azure looks the new principal up and may not find it yet.
            principal_type=authorization.PrincipalType.SERVICE_PRINCIPAL,
            role_definition_id=(
                self._subscription_id.apply(role.definition_id)
                if isinstance(role, BuiltInRole)
                else role
            ),
            scope=grant.scope,
            condition=grant.condition,
            condition_version=CONDITION_VERSION if grant.condition else None,
            opts=pulumi.ResourceOptions(parent=self),
        )
