"""What Azure refuses although its types allow it, as far as it is documented and known beforehand.

Names: https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.plugin.values import is_unknown, unwrap

IMAGE_PREFIX = "DOCKER|"
"""What App Service writes before the image in ``linuxFxVersion``."""


@dataclass(frozen=True)
class Violation:
    """A value that breaks a rule.

    Args:
        path: the property.
        value: its value, in its wrapper if it is a secret; ``None`` where one is missing.
        allowed: what Azure takes.
    """

    path: str
    value: Any
    allowed: str


@dataclass(frozen=True)
class _NameRule:
    pattern: str
    allowed: str

    def accepts(self, name: Any) -> bool:
        bare = unwrap(name)
        # A name of another type is reported as that.
        return not isinstance(bare, str) or is_unknown(bare) or bool(self._match(bare))

    def _match(self, name: str) -> re.Match[str] | None:
        return re.fullmatch(self.pattern, name)


def _without(characters: str) -> _NameRule:
    return _NameRule(
        rf"[^{re.escape(characters)}\x00-\x1f\x7f]{{1,260}}(?<![ .])",
        f"1 to 260 characters other than {' '.join(characters)}, not ending in a space or a point",
    )


def _network_name(shortest: int, longest: int) -> _NameRule:
    return _NameRule(
        rf"(?=.{{{shortest},{longest}}}$)[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?",
        f"{shortest} to {longest} letters, digits, underscores, points and hyphens, beginning with "
        "a letter or digit and not ending in a point or hyphen",
    )


_CONTAINER_NAME = _NameRule(
    r"(?=.{1,63}$)[a-z0-9]+(?:-[a-z0-9]+)*",
    "1 to 63 lower-case letters, digits and single hyphens, without a hyphen at either end",
)
_DEFAULT = _NameRule("default", '"default"')
_GUID = _NameRule(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", "a GUID")
_STORAGE_PART = _NameRule(
    r"(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*",
    "3 to 63 lower-case letters, digits and single hyphens, without a hyphen at either end",
)

_NAMES = {
    "applicationinsights:Component": _without("%&\\?/"),
    "authorization:ManagementLockAtResourceGroupLevel": _NameRule(
        r"[A-Za-z0-9_.()-]{0,89}[A-Za-z0-9_()-]",
        "1 to 90 letters, digits, points, underscores, hyphens and parentheses, not ending in "
        "a point",
    ),
    "authorization:RoleAssignment": _GUID,
    "authorization:RoleDefinition": _GUID,
    "containerinstance:ContainerGroup": _CONTAINER_NAME,
    "containerregistry:Registry": _NameRule(r"[A-Za-z0-9]{5,50}", "5 to 50 letters and digits"),
    "keyvault:Secret": _NameRule(r"[A-Za-z0-9-]{1,127}", "1 to 127 letters, digits and hyphens"),
    "keyvault:Vault": _NameRule(
        r"(?=.{3,24}$)[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*",
        "3 to 24 letters, digits and single hyphens, beginning with a letter and not ending in "
        "a hyphen",
    ),
    "managedidentity:UserAssignedIdentity": _NameRule(
        r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}",
        "3 to 128 letters, digits, hyphens and underscores, beginning with a letter or digit",
    ),
    "monitor:ActionGroup": _without(":<>+/&%\\?"),
    "monitor:MetricAlert": _without("*#&+:<>?@%{}\\/"),
    "monitor:ScheduledQueryRule": _without("*<>%{}&:\\?/#"),
    "network:NatGateway": _network_name(1, 80),
    "network:NetworkSecurityGroup": _network_name(1, 80),
    "network:PrivateEndpoint": _network_name(2, 64),
    "network:PublicIPAddress": _network_name(1, 80),
    "network:Subnet": _network_name(1, 80),
    "network:VirtualNetwork": _network_name(2, 64),
    "operationalinsights:Workspace": _NameRule(
        r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]",
        "4 to 63 letters, digits and hyphens, without a hyphen at either end",
    ),
    "privatedns:PrivateZone": _NameRule(
        r"(?=.{1,63}$)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){1,33}",
        "2 to 34 labels of letters, digits, underscores and hyphens, separated by points, of 63 "
        "characters at most together",
    ),
    "privatedns:VirtualNetworkLink": _network_name(1, 80),
    "resources:ResourceGroup": _NameRule(
        r"[\w().-]{0,89}[\w()-]",
        "1 to 90 letters, digits, underscores, hyphens, parentheses and points, not ending in "
        "a point",
    ),
    "storage:BlobContainer": _STORAGE_PART,
    "storage:BlobServiceProperties": _DEFAULT,
    "storage:ManagementPolicy": _DEFAULT,
    "storage:Queue": _STORAGE_PART,
    "storage:StorageAccount": _NameRule(r"[a-z0-9]{3,24}", "3 to 24 lower-case letters and digits"),
    "storage:Table": _NameRule(
        r"[A-Za-z][A-Za-z0-9]{2,62}", "3 to 63 letters and digits, beginning with a letter"
    ),
    "storage:TableServiceProperties": _DEFAULT,
    "web:AppServicePlan": _NameRule(r"(?:[^\W_]|-){1,60}", "1 to 60 letters, digits and hyphens"),
    "web:WebApp": _NameRule(
        r"[^\W_](?:[^\W_]|-){0,58}[^\W_]",
        "2 to 60 letters, digits and hyphens, without a hyphen at either end",
    ),
}
_NAMES["authorization:ManagementLockByScope"] = _NAMES[
    "authorization:ManagementLockAtResourceGroupLevel"
]


def has_name_rule(kind: str) -> bool:
    """Whether the names of a type are checked by the rule that Azure documents."""
    return kind in _NAMES


def violations(kind: str, own_name: str | None, inputs: Mapping[str, Any]) -> Iterator[Violation]:
    """The rules that a resource breaks; unknown values break none.

    Args:
        kind: module and type, such as ``storage:Table``.
        own_name: the input that names the resource.
        inputs: what the program set, with secrets in their wrappers.
    """
    rule = _NAMES.get(kind)
    if rule and own_name and not rule.accepts(inputs.get(own_name)):
        yield Violation(own_name, inputs[own_name], rule.allowed)
    further = _FURTHER.get(kind)
    if further:
        yield from further(inputs)
    yield from _tags(kind, inputs.get("tags"))


_TAGS_MAX = 50
_TAGS_MAX_PRIVATE_DNS = 15
_TAG_NAME = _NameRule(
    r"[^<>%&\\?/]{1,512}", "a name of 1 to 512 characters other than < > % & \\ ? /"
)
_TAG_NAME_OF_STORAGE = _NameRule(
    r"[^<>%&\\?/]{1,128}", "a name of 1 to 128 characters other than < > % & \\ ? /"
)
_TAG_VALUE = _NameRule(r"(?s:.){0,256}", "at most 256 characters")


def _tags(kind: str, value: Any) -> Iterator[Violation]:
    """What Azure takes as tags.

    Source: https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources#limitations
    """
    tags = _map(value)
    most = _TAGS_MAX_PRIVATE_DNS if kind.startswith("privatedns:") else _TAGS_MAX
    if len(tags) > most:
        yield Violation("tags", len(tags), f"at most {most}")
    rule = _TAG_NAME_OF_STORAGE if kind == "storage:StorageAccount" else _TAG_NAME
    for name, text in tags.items():
        if not rule.accepts(name):
            yield Violation("tags", name, rule.allowed)
        if not _TAG_VALUE.accepts(text):
            yield Violation(f'tags["{name}"]', text, _TAG_VALUE.allowed)


def _action_group(inputs: Mapping[str, Any]) -> Iterator[Violation]:
    """Source: https://learn.microsoft.com/azure/azure-monitor/alerts/action-groups"""
    rule = _NameRule(r".{1,12}", "1 to 12 characters")
    if not rule.accepts(inputs.get("groupShortName")):
        yield Violation("groupShortName", inputs["groupShortName"], rule.allowed)


def _lock(inputs: Mapping[str, Any]) -> Iterator[Violation]:
    """Source: https://learn.microsoft.com/rest/api/resources/management-locks"""
    rule = _NameRule(r"(?s:.){0,512}", "at most 512 characters")
    if not rule.accepts(inputs.get("notes")):
        yield Violation("notes", inputs["notes"], rule.allowed)


def _vault(inputs: Mapping[str, Any]) -> Iterator[Violation]:
    """Source: https://learn.microsoft.com/azure/key-vault/general/soft-delete-overview"""
    days = _map(inputs.get("properties")).get("softDeleteRetentionInDays")
    if isinstance(unwrap(days), int) and not 7 <= unwrap(days) <= 90:  # noqa: PLR2004
        yield Violation("properties.softDeleteRetentionInDays", days, "7 to 90")


def _container_group(inputs: Mapping[str, Any]) -> Iterator[Violation]:
    # All of these are optional in the SDK, for groups and containers from a profile, which are not
    # supported here.
    yield from _missing(inputs, ("containers", "osType"), "")
    names: list[Any] = []
    for index, container in enumerate(_list(inputs.get("containers"))):
        members = unwrap(container)
        if isinstance(members, dict):
            yield from _container(members, f"containers[{index}]")
            name = unwrap(members.get("name"))
            if name in names and not is_unknown(name):
                allowed = "a name of its own in the group"
                yield Violation(f"containers[{index}].name", members["name"], allowed)
            names.append(name)


def _container(members: Mapping[str, Any], path: str) -> Iterator[Violation]:
    yield from _missing(members, ("image", "resources"), f"{path}.")
    if not _CONTAINER_NAME.accepts(members.get("name")):
        yield Violation(f"{path}.name", members["name"], _CONTAINER_NAME.allowed)
    requests = _map(_map(members.get("resources")).get("requests"))
    for name in ("cpu", "memoryInGB"):
        amount = unwrap(requests.get(name))
        if isinstance(amount, int | float) and amount <= 0:
            yield Violation(f"{path}.resources.requests.{name}", requests[name], "a number above 0")


def _missing(inputs: Mapping[str, Any], names: Sequence[str], prefix: str) -> Iterator[Violation]:
    for name in names:
        if unwrap(inputs.get(name)) in (None, ""):
            yield Violation(f"{prefix}{name}", None, "a value, which Azure requires")


def _web_app(inputs: Mapping[str, Any]) -> Iterator[Violation]:
    site = inputs.get("siteConfig")
    version = _map(site).get("linuxFxVersion")
    if is_unknown(unwrap(site)) or is_unknown(unwrap(version)):
        return
    if not str(unwrap(version)).startswith(IMAGE_PREFIX):
        yield Violation(
            "siteConfig.linuxFxVersion", version, f'"{IMAGE_PREFIX}<image>" on a local stack'
        )


_FURTHER: Mapping[str, Callable[[Mapping[str, Any]], Iterator[Violation]]] = {
    "authorization:ManagementLockByScope": _lock,
    "containerinstance:ContainerGroup": _container_group,
    "keyvault:Vault": _vault,
    "monitor:ActionGroup": _action_group,
    "web:WebApp": _web_app,
}


# A value of another type is reported by the check of types.
def _map(value: Any) -> Mapping[str, Any]:
    bare = unwrap(value)
    return bare if isinstance(bare, dict) else {}


def _list(value: Any) -> list[Any]:
    bare = unwrap(value)
    return bare if isinstance(bare, list) else []
