"""What can be wrong with a declared resource: mutants, derived from what the program declares.

Each changes one thing of one resource, as a slip in `infra/` would: a switch is turned, a value is
another one that Azure accepts, a property, an element or the whole resource is missing, a role
reaches further. Beside those that are derived, ``ADDED`` lists what the program leaves to Azure's
safe default.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from local.plugin.errors import NotFoundError
from local.plugin.schema import object_shape, resource_schema
from tests.unit.infra.engine import SUBSCRIPTION, Declared

Step = str | int
Path = tuple[Step, ...]
"""Keys of objects, positions in lists, and names of elements that have one."""

_MISSING = object()
_SUBSCRIPTION_ID = f"/subscriptions/{SUBSCRIPTION}"


@dataclass(frozen=True)
class Mutant:
    """One wrong thing.

    Args:
        type: the resource's type.
        name: its name.
        path: where in its inputs, such as ``siteConfig.ftpsState``; empty for the whole resource.
        what: what is wrong there, such as ``= True``.
        apply: returns what is declared instead; itself where the mutant changes nothing.
    """

    type: str
    name: str
    path: str
    what: str
    apply: Callable[[Declared], list[Declared]]

    def __str__(self) -> str:
        return " ".join(filter(None, (self.type, self.name, self.path, self.what)))


def mutants(declared: Iterable[Declared]) -> list[Mutant]:
    """Every mutant of some resources, each once."""
    found: dict[str, Mutant] = {}
    for resource in declared:
        for mutant in _of(resource):
            found.setdefault(str(mutant), mutant)
    return list(found.values())


def _of(resource: Declared) -> Iterator[Mutant]:
    if ":" not in resource.type or resource.type.startswith("pipelines:"):
        return  # a component is nothing in Azure

    def mutant(path: str, what: str, apply: Callable[[Declared], list[Declared]]) -> Mutant:
        return Mutant(resource.type, resource.name, path, what, apply)

    yield mutant("", "missing", lambda _: [])
    for path, value in _values(resource.inputs):
        yield mutant(_shown(path), "missing", _setting(path, _MISSING))
        for wrong in _wrong(resource.type, path, value):
            yield mutant(_shown(path), f"= {wrong!r}", _setting(path, wrong))
    for path, wrong in ADDED.get(resource.type, {}).items():
        yield mutant(_shown(path), f"= {wrong!r}", _setting(path, wrong))
    for what, change in _options_of(resource).items():
        yield mutant("", what, _instead(change))
    if resource.type.endswith(":UserAssignedIdentity"):
        yield mutant("", "is Contributor of the group", lambda each: [each, _contributor(each)])


def _instead(change: Callable[[Declared], Declared]) -> Callable[[Declared], list[Declared]]:
    return lambda each: [change(each)]


def _shown(path: Path) -> str:
    return ".".join(map(str, path))


def _not_waiting_for(type_name: str) -> Callable[[Declared], Declared]:
    def change(resource: Declared) -> Declared:
        kept = [urn for urn in resource.depends_on if f":{type_name}::" not in urn]
        return replace(resource, depends_on=kept)

    return change


def _options_of(resource: Declared) -> Mapping[str, Callable[[Declared], Declared]]:
    wrong: dict[str, Callable[[Declared], Declared]] = {
        "waits for no role": _not_waiting_for("RoleAssignment"),
        "is updated in place": lambda each: replace(each, replace_on_changes=[]),
        "is replaced before it is deleted": lambda each: replace(each, delete_before_replace=False),
    }
    if resource.type.endswith(":Subnet"):
        wrong["waits for no subnet"] = _not_waiting_for("Subnet")
    return wrong


def _contributor(identity: Declared) -> Declared:
    """An assignment of a role that reaches further than any that the program needs."""
    role = "b24988ac-6180-42a0-ab88-20f7382dd24c"
    provider = "providers/Microsoft.Authorization/roleDefinitions"
    return replace(
        identity,
        type="azure-native:authorization:RoleAssignment",
        name=f"{identity.name}-contributor",
        inputs={
            "principalId": f"principal-of-{identity.name}1a2b3c4d",
            "principalType": "ServicePrincipal",
            "roleDefinitionId": f"{_SUBSCRIPTION_ID}/{provider}/{role}",
            "scope": f"{_SUBSCRIPTION_ID}/resourceGroups/pipelines-dev",
        },
    )


# Where values are


def _values(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Everything within a value, objects and lists included."""
    for step, inner in _children(value):
        yield (*path, step), inner
        yield from _values(inner, (*path, step))


def _children(value: Any) -> list[tuple[Step, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, list):
        return [(_step(each, number), each) for number, each in enumerate(value)]
    return []


def _step(element: Any, number: int) -> Step:
    # Positions of variables and settings differ between configurations, their names don't.
    name = element.get("name") if isinstance(element, Mapping) else None
    return name if isinstance(name, str) else number


def _setting(path: Path, wrong: Any) -> Callable[[Declared], list[Declared]]:
    def apply(resource: Declared) -> list[Declared]:
        inputs = copy.deepcopy(dict(resource.inputs))
        _set(inputs, path, wrong)
        return [replace(resource, inputs=inputs)]

    return apply


def _set(value: Any, path: Path, wrong: Any) -> None:
    """Set what is at a path, in place; nothing where the path leads nowhere."""
    step, *rest = path
    at = _position(value, step)
    if at is _MISSING and (rest or not isinstance(value, dict)):
        return
    if rest:
        _set(value[at], tuple(rest), wrong)
    elif wrong is not _MISSING:
        value[step if at is _MISSING else at] = wrong
    elif at is not _MISSING:
        del value[at]


def _position(value: Any, step: Step) -> Any:
    if isinstance(value, dict):
        return step if step in value else _MISSING
    if isinstance(value, list):
        steps = [_step(each, number) for number, each in enumerate(value)]
        return steps.index(step) if step in steps else _MISSING
    return _MISSING


# What is wrong instead


def _wrong(resource_type: str, path: Path, value: Any) -> Sequence[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [0, value + 1]
    if isinstance(value, str):
        return _wrong_text(resource_type, path, value)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return [[*value, "*"]]
    return []


def _wrong_text(resource_type: str, path: Path, value: str) -> Sequence[str]:
    if value.startswith("/subscriptions/"):
        return [_SUBSCRIPTION_ID, value + "-other"]
    if "@sha256:" in value:
        return [value.partition("@")[0] + ":latest"]
    others = [each for each in _accepted(resource_type, path) if each != value]
    return others or [value + "-other"]


def _accepted(resource_type: str, path: Path) -> list[str]:
    """The values of a property that is one of an enumeration; none of any other."""
    try:
        hint: Any = resource_schema(resource_type).inputs.types.get(str(path[0]))
    except NotFoundError:
        return []
    for step in path[1:]:
        hint = _within(hint, step)
    return [
        str(member.value)
        for option in _options(hint)
        if isinstance(option, type) and issubclass(option, Enum)
        for member in option
    ]


def _within(hint: Any, step: Step) -> Any:
    for option in _options(hint):
        if isinstance(option, type) and option.__name__.endswith("Args"):
            return object_shape(option).types.get(str(step))
    return next((each for each in _options(hint)), None)


def _options(hint: Any) -> Iterator[Any]:
    """The classes that a hint such as ``Sequence[Input[SkuArgs]] | None`` is made of."""
    if isinstance(hint, type) and not getattr(hint, "__args__", ()):
        yield hint
    for inner in getattr(hint, "__args__", ()):
        yield from _options(inner)


ADDED: Mapping[str, Mapping[Path, Any]] = {
    "azure-native:containerinstance:ContainerGroup": {
        ("ipAddress",): {"type": "Public", "ports": [{"port": 80}]},
        ("volumes",): [{"name": "v", "azureFile": {"storageAccountKey": "k"}}],
        ("diagnostics",): {"logAnalytics": {"workspaceId": "w", "workspaceKey": "k"}},
        ("imageRegistryCredentials", 0, "password"): "p",
        ("containers", "weather", "securityContext"): {"privileged": True},
        ("containers", "weather", "ports"): [{"port": 80}],
        ("containers", "scheduler", "securityContext"): {"privileged": True},
        ("containers", "scheduler", "ports"): [{"port": 80}],
    },
    "azure-native:keyvault:Vault": {
        ("properties", "accessPolicies"): [
            {"objectId": "o", "tenantId": "t", "permissions": {"secrets": ["all"]}}
        ],
    },
    "azure-native:storage:StorageAccount": {
        ("isLocalUserEnabled",): True,
        ("isSftpEnabled",): True,
        ("isNfsV3Enabled",): True,
    },
    "azure-native:web:WebApp": {
        ("siteConfig", "remoteDebuggingEnabled"): True,
        ("siteConfig", "cors"): {"allowedOrigins": ["*"]},
        ("siteConfig", "connectionStrings"): [{"name": "c", "connectionString": "AccountKey=k"}],
        ("siteConfig", "scmMinTlsVersion"): "1.0",
    },
    "azure-native:web:WebAppAuthSettingsV2": {
        ("globalValidation", "redirectToProvider"): "google",
    },
    "docker-build:index:Image": {
        ("registries",): [{"address": "a", "username": "u", "password": "p"}],
        ("secrets",): {"token": "t"},
    },
}
"""Properties that the program leaves out, with a value that would open something."""
