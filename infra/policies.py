"""What no stack may declare, whoever changes the program: checked on every resource at preview.

The rules are plain data over a resource's type and its inputs as the engine gets them. What a
preview does not know yet passes, and is checked when it is known. The same table runs in the unit
tests; Pulumi's own policy packs would need a plugin and a service beside the program.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.output import Unknown
from pulumi.runtime import register_stack_transformation, rpc
from pydantic.alias_generators import to_camel

from infra.config import PoliciesConfig

_LEARN = "https://learn.microsoft.com/azure/"
_STORAGE_KEYS = _LEARN + "storage/common/shared-key-authorization-prevent"
_STORAGE_TLS = _LEARN + "storage/common/transport-layer-security-configure-minimum-version"
_STORAGE_HTTPS = _LEARN + "storage/common/storage-require-secure-transfer"
_STORAGE_PUBLIC = _LEARN + "storage/blobs/anonymous-read-access-prevent"
_STORAGE_NETWORK = _LEARN + "storage/common/storage-network-security"
_REGISTRY_ADMIN = _LEARN + "container-registry/container-registry-authentication#admin-account"
_REGISTRY_ANONYMOUS = _LEARN + "container-registry/anonymous-pull-access"
_REGISTRY_NETWORK = _LEARN + "container-registry/container-registry-private-link"
_REGISTRY_DIGEST = _LEARN + "container-registry/container-registry-image-tag-version"
_MONITOR_KEYS = _LEARN + "azure-monitor/app/azure-ad-authentication"
_VAULT_NETWORK = _LEARN + "key-vault/general/network-security"
_GROUP_NETWORK = _LEARN + "container-instances/container-instances-virtual-network-concepts"
_SUBNET_OUTBOUND = _LEARN + "virtual-network/ip-services/default-outbound-access"
_SUBNET_RULES = _LEARN + "virtual-network/network-security-groups-overview"
_APP_TLS = _LEARN + "app-service/configure-ssl-bindings#enforce-tls-versions"
_TAGS = _LEARN + "cloud-adoption-framework/ready/azure-best-practices/resource-tagging"
_SECRETS = _LEARN + "security/fundamentals/secrets-best-practices"

_KEY = re.compile(r"(AccountKey|SharedAccessKey|SharedAccessSignature|sig|password|pwd)=", re.I)
"""What connection strings call their secret part."""

UNTAGGED = frozenset(
    {
        "authorization:ManagementLockByScope",
        "authorization:RoleAssignment",
        "authorization:RoleDefinition",
        "network:PrivateDnsZoneGroup",
        "network:Subnet",
        "storage:BlobContainer",
        "storage:BlobServiceProperties",
        "storage:ManagementPolicy",
        "storage:Table",
        "web:WebAppAuthSettingsV2",
        "web:WebAppFtpAllowed",
        "web:WebAppScmAllowed",
    }
)
"""Types that take no tags: https://learn.microsoft.com/azure/azure-resource-manager/management/tag-support."""

_PACKAGE = "azure-native:"


@dataclass(frozen=True)
class Policy:
    """A rule on one property of one type of resource.

    Args:
        name: what people call it.
        type: the type without its package; ``*`` for every one.
        path: the property, with dots between its parts and ``*`` for each item of a list; empty for
            all of the inputs. A property that is left out is ``None``.
        allowed: whether a value is.
        wanted: what is, in words, and why.
        source: Azure's document on it.
        private: whether it holds only where no public network is allowed.
    """

    name: str
    type: str
    path: str
    allowed: Callable[[Any], bool]
    wanted: str
    source: str
    private: bool = False


def _one_of(*values: object) -> Callable[[Any], bool]:
    return lambda value: value in values


def _by_digest(image: Any) -> bool:
    return isinstance(image, str) and "@sha256:" in image


def _without_key(text: Any) -> bool:
    return not (isinstance(text, str) and _KEY.search(text))


def _is_unknown(value: Any) -> bool:
    return isinstance(value, Unknown)


def _closed_registry(inputs: Any) -> bool:
    """Closed altogether, or to all but the named addresses, none of which is everybody."""
    if inputs.get("publicNetworkAccess") == "Disabled":
        return True
    rules = inputs.get("networkRuleSet") or {}
    if _is_unknown(rules) or any(map(_is_unknown, (*inputs.values(), *rules.values()))):
        return True
    addresses = [each.get("iPAddressOrRange") for each in rules.get("ipRules") or []]
    return rules.get("defaultAction") == "Deny" and "0.0.0.0/0" not in addresses


def _closed_rule(rule: Any) -> bool:
    """Lets nothing in but from private addresses and from the network itself."""
    if rule.get("access") != "Allow" or rule.get("direction") != "Inbound":
        return True
    sources = [rule.get("sourceAddressPrefix"), *_values(rule, ["sourceAddressPrefixes", "*"])]
    return all(map(_is_within, sources))


def _is_within(source: Any) -> bool:
    if source in (None, "VirtualNetwork") or _is_unknown(source):
        return True
    try:
        return ipaddress.IPv4Network(source).is_private
    except ValueError:
        return False


POLICIES: tuple[Policy, ...] = (
    Policy(
        "no-shared-key",
        "storage:StorageAccount",
        "allowSharedKeyAccess",
        _one_of(False),
        "false: a key has all rights, belongs to nobody and does not expire",
        _STORAGE_KEYS,
    ),
    Policy(
        "no-shared-key",
        "operationalinsights:Workspace",
        "features.disableLocalAuth",
        _one_of(True),
        "true: logs are sent by identities, not with a key",
        _MONITOR_KEYS,
    ),
    Policy(
        "no-shared-key",
        "applicationinsights:Component",
        "disableLocalAuth",
        _one_of(True),
        "true: logs are sent by identities, not with a key",
        _MONITOR_KEYS,
    ),
    Policy(
        "no-key-in-settings",
        "containerinstance:ContainerGroup",
        "containers.*.environmentVariables.*.value",
        _without_key,
        "a value without a key or a password: whoever may read the group would see it",
        _SECRETS,
    ),
    Policy(
        "no-key-in-settings",
        "web:WebApp",
        "siteConfig.appSettings.*.value",
        _without_key,
        "a value without a key or a password: whoever may read the app would see it",
        _SECRETS,
    ),
    Policy(
        "no-admin-user",
        "containerregistry:Registry",
        "adminUserEnabled",
        _one_of(False, None),
        "false: an admin user is one password for everybody",
        _REGISTRY_ADMIN,
    ),
    Policy(
        "no-anonymous-access",
        "containerregistry:Registry",
        "anonymousPullEnabled",
        _one_of(False, None),
        "false: everybody could pull the images",
        _REGISTRY_ANONYMOUS,
    ),
    Policy(
        "no-anonymous-access",
        "storage:StorageAccount",
        "allowBlobPublicAccess",
        _one_of(False),
        "false: a container could be opened to everybody",
        _STORAGE_PUBLIC,
    ),
    Policy(
        "no-anonymous-access",
        "storage:BlobContainer",
        "publicAccess",
        _one_of("None", None),
        '"None": everybody could read the files',
        _STORAGE_PUBLIC,
    ),
    Policy(
        "tls-1.2",
        "storage:StorageAccount",
        "minimumTlsVersion",
        _one_of("TLS1_2", "TLS1_3"),
        '"TLS1_2" or "TLS1_3"',
        _STORAGE_TLS,
    ),
    Policy(
        "tls-1.2",
        "storage:StorageAccount",
        "enableHttpsTrafficOnly",
        _one_of(True),
        "true: nothing is sent in the clear",
        _STORAGE_HTTPS,
    ),
    Policy(
        "tls-1.2",
        "web:WebApp",
        "siteConfig.minTlsVersion",
        _one_of("1.2", "1.3"),
        '"1.2" or "1.3"',
        _APP_TLS,
    ),
    Policy(
        "tls-1.2",
        "web:WebApp",
        "httpsOnly",
        _one_of(True),
        "true: nothing is sent in the clear",
        _APP_TLS,
    ),
    Policy(
        "image-by-digest",
        "containerinstance:ContainerGroup",
        "containers.*.image",
        _by_digest,
        "an image by its digest (…@sha256:…): what a tag means can change between two starts",
        _REGISTRY_DIGEST,
    ),
    Policy(
        "image-by-digest",
        "web:WebApp",
        "siteConfig.linuxFxVersion",
        _by_digest,
        "an image by its digest (…@sha256:…): what a tag means can change between two starts",
        _REGISTRY_DIGEST,
    ),
    Policy(
        "no-public-network",
        "storage:StorageAccount",
        "publicNetworkAccess",
        _one_of("Disabled"),
        '"Disabled" in a stack without public network',
        _STORAGE_NETWORK,
        private=True,
    ),
    Policy(
        "no-public-network",
        "keyvault:Vault",
        "properties.publicNetworkAccess",
        _one_of("Disabled"),
        '"Disabled" in a stack without public network',
        _VAULT_NETWORK,
        private=True,
    ),
    Policy(
        "no-public-network",
        "containerregistry:Registry",
        "",
        _closed_registry,
        'publicNetworkAccess "Disabled", or named addresses alone, in a stack without public '
        "network",
        _REGISTRY_NETWORK,
        private=True,
    ),
    Policy(
        "no-public-network",
        "containerinstance:ContainerGroup",
        "subnetIds",
        bool,
        "a subnet of the stack in a stack without public network",
        _GROUP_NETWORK,
        private=True,
    ),
    Policy(
        "no-public-network",
        "containerinstance:ContainerGroup",
        "ipAddress.type",
        _one_of("Private", None),
        "no public address in a stack without public network",
        _GROUP_NETWORK,
        private=True,
    ),
    Policy(
        "no-public-network",
        "network:NetworkSecurityGroup",
        "securityRules.*",
        _closed_rule,
        "private addresses as sources in a stack without public network",
        _SUBNET_RULES,
        private=True,
    ),
    Policy(
        "no-public-network",
        "network:Subnet",
        "networkSecurityGroup.id",
        bool,
        "a security group in a stack without public network",
        _SUBNET_RULES,
        private=True,
    ),
    Policy(
        "no-public-network",
        "network:Subnet",
        "defaultOutboundAccess",
        _one_of(False),
        "false in a stack without public network: Azure would pick the address",
        _SUBNET_OUTBOUND,
        private=True,
    ),
)


def violations(
    config: PoliciesConfig, type_: str, name: str, inputs: Mapping[str, Any]
) -> Iterator[str]:
    """What a resource breaks, a sentence for each rule.

    Args:
        config: which rules hold in the stack.
        type_: the resource's type, such as ``azure-native:storage:StorageAccount``.
        name: its name in the program.
        inputs: its inputs by the names of the wire; :class:`pulumi.output.Unknown` stands for
            what a preview does not know.
    """
    if not type_.startswith(_PACKAGE):
        return
    kind = type_.removeprefix(_PACKAGE)
    for policy in POLICIES:
        if policy.type == kind and (not policy.private or not config.public_network):
            yield from _broken(policy, name, inputs)
    yield from _untagged(config, kind, name, inputs)


def _broken(policy: Policy, name: str, inputs: Mapping[str, Any]) -> Iterator[str]:
    for value in _values(inputs, policy.path.split(".") if policy.path else []):
        if not _is_unknown(value) and not policy.allowed(value):
            # A setting's value may be the very secret that it must not be.
            shown = "" if policy.allowed is _without_key else f" {_shown(policy, value)}"
            yield (
                f"{name} has {policy.path or 'an open network'}{shown}; "
                f"allowed is {policy.wanted} (policy {policy.name}, {policy.source})."
            )


def _untagged(
    config: PoliciesConfig, kind: str, name: str, inputs: Mapping[str, Any]
) -> Iterator[str]:
    tags = inputs.get("tags") or {}
    if kind in UNTAGGED or _is_unknown(tags):
        return
    missing = [tag for tag in ("project", "stack", *config.required_tags) if not tags.get(tag)]
    if missing:
        yield (
            f"{name} has no tag {' and no tag '.join(missing)}; allowed is a resource that says "
            f"whose it is: set pipelines:tags (policy tags, {_TAGS})."
        )


def _values(value: Any, path: list[str]) -> Iterator[Any]:
    """What is at a path; ``None`` for a part that is left out."""
    if not path or _is_unknown(value):
        yield value
    elif path[0] == "*":
        for item in value or []:
            yield from _values(item, path[1:])
    elif path[1:2] == ["*"]:
        yield from _values((value or {}).get(path[0]) or [], path[1:])
    else:
        yield from _values((value or {}).get(path[0]), path[1:])


def _shown(policy: Policy, value: Any) -> str:
    return json.dumps(value) if policy.path else f"({json.dumps(value.get('publicNetworkAccess'))})"


def enforce(config: PoliciesConfig) -> None:
    """Have every resource that the program declares from now on checked.

    A resource that breaks a rule ends the program with :class:`pulumi.RunError`, and so a preview,
    before anything has changed.
    """

    def check(args: pulumi.ResourceTransformationArgs) -> None:
        if args.type_.startswith(_PACKAGE):
            # An output, since the program does not end before all of its outputs are there.
            checked: pulumi.Input[bool] = _check(config, args)
            pulumi.Output.from_input(checked)

    register_stack_transformation(check)


async def _check(config: PoliciesConfig, args: pulumi.ResourceTransformationArgs) -> bool:
    """Whether a resource breaks no rule; it raises where one is broken."""
    # What is nested is translated by its own type.
    sent = await rpc.serialize_properties(args.props, {}, args.resource, to_camel)
    inputs, _ = rpc.deserialize_properties_unwrap_secrets(sent, keep_unknowns=True)
    broken = list(violations(config, args.type_, args.name, inputs))
    if broken:
        raise pulumi.RunError("\n".join(broken))
    return True
