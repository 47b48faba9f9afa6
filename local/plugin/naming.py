"""Names of resources whose program gives none, by the rules of the cloud's plugin.

A resource directly below a resource group or a scope is called like its logical name with eight
random hexadecimal digits; a resource within another one is called like its logical name; a role
assignment or definition is a UUID. The name is chosen once: later checks keep the one in the state.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from local.plugin.ids import path_template
from local.plugin.schema import ResourceSchema

CREATE_BEFORE_DELETE = "__createBeforeDelete"
"""Input that the plugin adds where it chose a random name, so that a replacement can be created
while the resource still exists. The cloud's plugin uses the same one."""

_RANDOM_DIGITS = 8

_UUID_NAMES = frozenset({"roleAssignmentName", "roleDefinitionId"})


class Mode(Enum):
    """What the stack's configuration ``pulumi:autonaming`` asks for."""

    PROPOSE = auto()
    """Use the proposed name, where the type takes a text."""
    ENFORCE = auto()
    """Use exactly the proposed name."""
    DISABLE = auto()
    """The program has to name every resource."""


@dataclass(frozen=True)
class Proposal:
    """A name that the engine worked out from the stack's configuration."""

    name: str
    mode: Mode


def with_name(
    schema: ResourceSchema,
    inputs: Mapping[str, Any],
    *,
    old_inputs: Mapping[str, Any],
    logical_name: str,
    seed: bytes,
    proposal: Proposal | None = None,
) -> dict[str, Any]:
    """The inputs, with a name where the program left it out.

    Args:
        schema: type of the resource.
        inputs: what the program set.
        old_inputs: the inputs in the state; empty for a resource that is new or being replaced.
        logical_name: name of the resource in the program.
        seed: the engine's random bytes, the same at preview and at the update that follows.
        proposal: what the stack's configuration says on names, if anything.
    """
    key = schema.own_name
    if key is None or inputs.get(key) is not None:
        return dict(inputs)
    if key in old_inputs:
        kept = {
            name: old_inputs[name] for name in (key, CREATE_BEFORE_DELETE) if name in old_inputs
        }
        return {**inputs, **kept}
    if proposal and proposal.mode is Mode.DISABLE:
        return dict(inputs)
    if proposal and (proposal.mode is Mode.ENFORCE or key not in _UUID_NAMES):
        return {**inputs, key: proposal.name, CREATE_BEFORE_DELETE: True}
    name, is_random = _choose(schema, key, logical_name, seed)
    return {**inputs, key: name, **({CREATE_BEFORE_DELETE: True} if is_random else {})}


def _choose(schema: ResourceSchema, key: str, logical_name: str, seed: bytes) -> tuple[str, bool]:
    """A name, and whether it is a new one for each resource."""
    digest = hashlib.sha256(seed + logical_name.encode()).digest()
    if key in _UUID_NAMES:
        return str(uuid.UUID(bytes=digest[:16], version=4)), True
    if _is_within_another(schema):
        return logical_name, False
    return f"{logical_name}{digest.hex()[:_RANDOM_DIGITS]}", True


def _is_within_another(schema: ResourceSchema) -> bool:
    _, found, below = path_template(schema).rpartition("/providers/")
    return bool(found) and below.count("{") > 1
