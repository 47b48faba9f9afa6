"""What every component of a stack needs to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi


@dataclass(frozen=True)
class StackProps:
    """The stack's place in Azure.

    Args:
        resource_group_name: group of all resources.
        resource_group_id: its id, the scope of roles that reach over several resources.
        tags: tags of every resource that takes tags.
        protected: whether Pulumi refuses to replace or delete what holds data.
    """

    resource_group_name: pulumi.Input[str]
    resource_group_id: pulumi.Input[str]
    tags: Mapping[str, str]
    protected: bool
