"""What differs between a resource's inputs in the state and those of the program.

A change of what is part of the resource's id, and of a few listed properties, replaces the
resource; any other change updates it. A program asks for more with ``replace_on_changes``, which
the engine applies to the paths named here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from local.plugin.naming import CREATE_BEFORE_DELETE
from local.plugin.schema import ResourceSchema
from local.plugin.values import plain

_REPLACED_BY = {
    # What the cloud's plugin lists beside the parameters of the path, or takes from Azure's
    # specifications as being set at creation only.
    "azure-native:authorization:RoleAssignment": {"principalId", "scope"},
    "azure-native:containerregistry:Registry": {"location"},
    "azure-native:managedidentity:UserAssignedIdentity": {"location"},
    "azure-native:network:NatGateway": {"location"},
    "azure-native:network:NetworkSecurityGroup": {"location"},
    "azure-native:network:PrivateEndpoint": {"subnet"},
    "azure-native:network:PublicIPAddress": {"location"},
    "azure-native:network:VirtualNetwork": {"location"},
    "azure-native:operationalinsights:Workspace": {"location"},
    "azure-native:resources:ResourceGroup": {"location"},
    "azure-native:storage:StorageAccount": {"isHnsEnabled", "location"},
    "azure-native:web:AppServicePlan": {"location"},
    "azure-native:web:WebApp": {"kind", "location"},
}
"""Top-level properties, by type, that can't be changed once the resource exists."""

_PLAIN_KEY = re.compile(r"[A-Za-z_$][\w$]*")


class Kind(Enum):
    """What happened to a property."""

    ADD = "add"
    DELETE = "delete"
    UPDATE = "update"


@dataclass(frozen=True)
class Change:
    """A changed property, and whether the change replaces the resource."""

    kind: Kind
    replace: bool


@dataclass(frozen=True)
class Difference:
    """All changed properties, by path, and the order of a replacement."""

    changes: Mapping[str, Change]
    delete_before_replace: bool

    @property
    def replaces(self) -> list[str]:
        """Top-level properties whose change replaces the resource."""
        return sorted({_top_level(path) for path, one in self.changes.items() if one.replace})

    @property
    def properties(self) -> list[str]:
        """Top-level properties that changed."""
        return sorted({_top_level(path) for path in self.changes})


def compare(
    schema: ResourceSchema, old_inputs: Mapping[str, Any], inputs: Mapping[str, Any]
) -> Difference:
    """Compare a resource's inputs; a value that is not known yet counts as changed."""
    old, new = (_comparable(one) for one in (old_inputs, inputs))
    replacing = schema.path | _REPLACED_BY.get(schema.token, set())
    changes = {
        path: Change(kind, _top_level(path) in replacing)
        for path, kind in _object_changes(old, new, "")
    }
    return Difference(
        changes=changes,
        # Two resources can't have one name at the same time; a random name is a new one each time.
        delete_before_replace=any(change.replace for change in changes.values())
        and not old.get(CREATE_BEFORE_DELETE, False),
    )


def _comparable(inputs: Mapping[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = plain(dict(inputs))
    location = properties.get("location")
    if isinstance(location, str):
        # Azure takes "West Europe" and "westeurope" for the same region.
        properties["location"] = location.replace(" ", "").lower()
    return properties


def _object_changes(
    old: Mapping[str, Any], new: Mapping[str, Any], path: str
) -> Iterator[tuple[str, Kind]]:
    for key in sorted(old.keys() | new.keys()):
        if not path and key == CREATE_BEFORE_DELETE:
            continue
        yield from _value_changes(old.get(key), new.get(key), _child(path, key))


def _value_changes(old: Any, new: Any, path: str) -> Iterator[tuple[str, Kind]]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _object_changes(old, new, path)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            before = old[index] if index < len(old) else None
            after = new[index] if index < len(new) else None
            yield from _value_changes(before, after, f"{path}[{index}]")
    elif old is None:
        yield path, Kind.ADD
    elif new is None:
        yield path, Kind.DELETE
    else:
        yield path, Kind.UPDATE


def _child(path: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{json.dumps(key, ensure_ascii=False)}]"
    return f"{path}.{key}" if path else key


def _top_level(path: str) -> str:
    return re.split(r"[.\[]", path, maxsplit=1)[0]
