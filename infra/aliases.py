"""Leaves out those former names of azure-native's types that no state of this program can have."""

from __future__ import annotations

import re

import pulumi
from pulumi.runtime import register_stack_transformation

_VERSIONED = re.compile(r"azure-native:\w+/v\w+:\w+")


def leave_out_versions() -> None:
    """Let resources that are declared from now on have no alias of a type with an API version.

    azure-native gives every resource an alias for each API version that its type ever had. This
    program names no version in its types, so none of them can be in its state; and the SDK takes
    two fifths of a preview to work them out. Aliases by which a type moved to another module stay:
    a new version of azure-native must not replace what is there.
    """
    register_stack_transformation(_without_versions)


def _without_versions(
    resource: pulumi.ResourceTransformationArgs,
) -> pulumi.ResourceTransformationResult:
    aliases = [each for each in resource.opts.aliases or [] if not _is_versioned(each)]
    resource.opts.aliases = aliases or None
    return pulumi.ResourceTransformationResult(resource.props, resource.opts)


def _is_versioned(alias: pulumi.Input[str | pulumi.Alias]) -> bool:
    return isinstance(alias, pulumi.Alias) and bool(_VERSIONED.fullmatch(str(alias.type_)))
