"""The container registry that holds the images."""

from __future__ import annotations

import pulumi
from pulumi_azure_native import containerregistry

from infra.stack import StackProps


class Registry(pulumi.ComponentResource):
    """A registry for identities of this directory alone: no admin user, no anonymous pull.

    Attributes:
        login_server: host name under which images are pushed and pulled.
        id: id of the registry, the scope of the role ``AcrPull``.
    """

    def __init__(
        self, name: str, props: StackProps, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("pipelines:infra:Registry", name, None, opts)
        registry = containerregistry.Registry(
            name,
            resource_group_name=props.resource_group_name,
            sku=containerregistry.SkuArgs(name=containerregistry.SkuName.BASIC),
            admin_user_enabled=False,
            anonymous_pull_enabled=False,
            tags=props.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.id: pulumi.Output[str] = registry.id
        self.login_server: pulumi.Output[str] = registry.login_server
        self.register_outputs({"loginServer": self.login_server})
