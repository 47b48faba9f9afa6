"""The policies refuse each resource that breaks one, in the table and in the program."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pytest
from pulumi.output import Unknown
from pulumi_azure_native import containerregistry

import infra.__main__ as program
from infra.config import PoliciesConfig
from infra.policies import POLICIES, UNTAGGED, violations
from infra.registry import Registry
from tests.unit.infra.engine import Declared, Engine, run_program
from tests.unit.infra.stacks import Config

PRIVATE = PoliciesConfig(public_network=False, required_tags=["owner"])

REMOVED = object()
UNKNOWN = Unknown()  # type: ignore[no-untyped-call] # Pulumi gives it no types


@pytest.fixture
def prod(config: Config) -> Config:
    """A stack with one of everything that policies look at."""
    weather = {**config["pipelines:extractors"]["weather"], "secrets": {"API_KEY": "weather-key"}}
    return {
        **config,
        "pipelines:extractors": {"weather": weather},
        "pipelines:network": {"isolated": True, "deployerAddresses": ["203.0.113.7"]},
        "pipelines:policies": {"publicNetwork": False, "requiredTags": ["owner"]},
        "pipelines:tags": {"owner": "data"},
    }


def found(engine: Engine, config: PoliciesConfig = PRIVATE) -> list[str]:
    return [
        sentence
        for each in engine.declared
        for sentence in violations(config, each.type, each.name, each.inputs)
    ]


def changed(inputs: Mapping[str, Any], path: str, value: object) -> dict[str, Any]:
    """The inputs with one property changed or, for ``REMOVED``, left out."""
    result = copy.deepcopy(dict(inputs))
    *parents, last = path.split(".")
    holder: Any = result
    for part in parents:
        holder = holder[int(part)] if part.isdigit() else holder.setdefault(part, {})
    if value is REMOVED:
        holder.pop(last, None)
    else:
        holder[last] = value
    return result


ACCOUNT, REGISTRY = "storage:StorageAccount", "containerregistry:Registry"
GROUP, APP = "containerinstance:ContainerGroup", "web:WebApp"
RULES, SUBNET = "network:NetworkSecurityGroup", "network:Subnet"


@dataclass(frozen=True)
class Breach:
    """One property of one resource of the program, changed so that it breaks a policy."""

    policy: str
    kind: str
    name: str | None
    path: str
    value: object

    def resource(self, engine: Engine) -> Declared:
        return engine.one(self.kind, self.name)

    def inputs(self, engine: Engine) -> dict[str, Any]:
        return changed(self.resource(engine).inputs, self.path, self.value)


BREACHES = [
    Breach("no-shared-key", ACCOUNT, "lake", "allowSharedKeyAccess", True),
    Breach("no-shared-key", ACCOUNT, "state", "allowSharedKeyAccess", REMOVED),
    Breach(
        "no-shared-key", "operationalinsights:Workspace", None, "features.disableLocalAuth", False
    ),
    Breach("no-shared-key", "applicationinsights:Component", None, "disableLocalAuth", REMOVED),
    Breach(
        "no-key-in-settings",
        GROUP,
        None,
        "containers.0.environmentVariables.0.value",
        "AccountKey=x",
    ),
    Breach(
        "no-key-in-settings", APP, None, "siteConfig.appSettings.0.value", "a;SharedAccessKey=x"
    ),
    Breach("no-admin-user", REGISTRY, None, "adminUserEnabled", True),
    Breach("no-anonymous-access", REGISTRY, None, "anonymousPullEnabled", True),
    Breach("no-anonymous-access", ACCOUNT, "lake", "allowBlobPublicAccess", True),
    Breach("no-anonymous-access", ACCOUNT, "lake", "allowBlobPublicAccess", REMOVED),
    Breach("no-anonymous-access", "storage:BlobContainer", None, "publicAccess", "Blob"),
    Breach("tls-1.2", ACCOUNT, "lake", "minimumTlsVersion", "TLS1_1"),
    Breach("tls-1.2", ACCOUNT, "lake", "minimumTlsVersion", REMOVED),
    Breach("tls-1.2", ACCOUNT, "lake", "enableHttpsTrafficOnly", False),
    Breach("tls-1.2", APP, None, "siteConfig.minTlsVersion", "1.1"),
    Breach("tls-1.2", APP, None, "httpsOnly", False),
    Breach("image-by-digest", GROUP, None, "containers.0.image", "r.azurecr.io/weather:latest"),
    Breach("image-by-digest", APP, None, "siteConfig.linuxFxVersion", "DOCKER|r.azurecr.io/s:1"),
    Breach("no-public-network", ACCOUNT, "lake", "publicNetworkAccess", "Enabled"),
    Breach("no-public-network", ACCOUNT, "lake", "publicNetworkAccess", REMOVED),
    Breach(
        "no-public-network", "keyvault:Vault", None, "properties.publicNetworkAccess", "Enabled"
    ),
    Breach("no-public-network", REGISTRY, None, "networkRuleSet.defaultAction", "Allow"),
    Breach("no-public-network", REGISTRY, None, "networkRuleSet", REMOVED),
    Breach(
        "no-public-network",
        REGISTRY,
        None,
        "networkRuleSet.ipRules.0.iPAddressOrRange",
        "0.0.0.0/0",
    ),
    Breach("no-public-network", GROUP, None, "subnetIds", REMOVED),
    Breach("no-public-network", GROUP, None, "ipAddress.type", "Public"),
    Breach("no-public-network", RULES, "network-endpoints", "securityRules.1.access", "Allow"),
    Breach(
        "no-public-network",
        RULES,
        "network-endpoints",
        "securityRules.0.sourceAddressPrefixes",
        ["10.0.0.0/8", "8.8.8.8"],
    ),
    Breach(
        "no-public-network",
        RULES,
        "network-endpoints",
        "securityRules.0.sourceAddressPrefix",
        "Internet",
    ),
    Breach("no-public-network", SUBNET, "network-app", "networkSecurityGroup", REMOVED),
    Breach("no-public-network", SUBNET, "network-app", "defaultOutboundAccess", REMOVED),
    Breach("tags", ACCOUNT, "lake", "tags", REMOVED),
    Breach("tags", ACCOUNT, "lake", "tags.project", ""),
    Breach("tags", GROUP, None, "tags.owner", REMOVED),
]


def test_the_program_breaks_no_policy(prod: Config, config: Config) -> None:
    assert found(run_program(prod)) == []
    assert found(run_program(config), PoliciesConfig()) == []


@pytest.mark.parametrize(
    "breach", BREACHES, ids=lambda each: f"{each.name or each.kind}.{each.path}"
)
def test_a_resource_that_breaks_a_policy_is_refused(prod: Config, breach: Breach) -> None:
    engine = run_program(prod)
    resource, inputs = breach.resource(engine), breach.inputs(engine)
    (sentence,) = violations(PRIVATE, resource.type, resource.name, inputs)
    assert sentence.startswith(f"{resource.name} has ")
    assert "; allowed is " in sentence
    assert f"(policy {breach.policy}, https://learn.microsoft.com/azure/" in sentence


def test_every_policy_has_a_resource_that_breaks_it() -> None:
    broken = {(each.policy, each.kind) for each in BREACHES}
    assert {(each.name, each.type) for each in POLICIES} <= broken


@pytest.mark.parametrize(
    "breach", BREACHES, ids=lambda each: f"{each.name or each.kind}.{each.path}"
)
def test_what_a_preview_does_not_know_passes(prod: Config, breach: Breach) -> None:
    resource = breach.resource(run_program(prod))
    whole = breach.path.split(".", maxsplit=1)[0]
    for unknown in (breach.path, whole):
        inputs = changed(resource.inputs, unknown, UNKNOWN)
        assert list(violations(PRIVATE, resource.type, resource.name, inputs)) == []


@pytest.mark.parametrize(
    "breach", BREACHES, ids=lambda each: f"{each.name or each.kind}.{each.path}"
)
def test_a_public_network_is_refused_only_where_the_stack_says_so(
    prod: Config, breach: Breach
) -> None:
    engine = run_program(prod)
    resource, inputs = breach.resource(engine), breach.inputs(engine)
    sentences = list(violations(PoliciesConfig(), resource.type, resource.name, inputs))
    expected = breach.policy != "no-public-network" and breach.path != "tags.owner"
    assert bool(sentences) is expected


def test_a_secret_is_not_repeated(prod: Config) -> None:
    group = run_program(prod).one(GROUP)
    path = "containers.0.environmentVariables.0.value"
    inputs = changed(group.inputs, path, "AccountKey=hunter2")
    (sentence,) = violations(PRIVATE, group.type, group.name, inputs)
    assert "hunter2" not in sentence


def test_what_takes_no_tags_needs_none(prod: Config) -> None:
    untagged = {
        each.type.removeprefix("azure-native:")
        for each in run_program(prod).declared
        if each.type.startswith("azure-native:") and "tags" not in each.inputs
    }
    assert untagged <= UNTAGGED


def test_other_packages_are_left_alone() -> None:
    assert list(violations(PRIVATE, "docker-build:index:Image", "image", {})) == []


# In the program


class CarelessRegistry(Registry):
    """Someone's change: a second registry with an admin user."""

    def __init__(self, name: str, *arguments: Any, **options: Any) -> None:
        super().__init__(name, *arguments, **options)
        containerregistry.Registry(
            f"{name}-careless",
            resource_group_name="group",
            sku=containerregistry.SkuArgs(name="Basic"),
            # Known only later, and beside something that a preview does not know at all.
            admin_user_enabled=pulumi.Output.from_input(True),
            zone_redundancy=self.id,
            tags={"project": "p", "stack": "s"},
        )


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr(program, "Registry", CarelessRegistry)


@pytest.mark.parametrize("preview", [True, False])
def test_the_program_ends_where_a_resource_breaks_a_policy(
    config: Config, careless: Callable[[], None], preview: bool
) -> None:
    careless()
    tags = {"run": f"careless-{preview}"}
    with pytest.raises(pulumi.RunError) as caught:
        run_program({**config, "pipelines:tags": tags}, preview=preview)
    (sentence,) = str(caught.value).splitlines()
    assert sentence.startswith(
        "registry-careless has adminUserEnabled true; allowed is false: an admin user is one "
        "password for everybody (policy no-admin-user, https://"
    )


@pytest.mark.parametrize("preview", [True, False])
def test_the_program_is_checked_as_the_table_is(prod: Config, preview: bool) -> None:
    # Nothing in it breaks a rule, though every rule for a private network holds.
    assert run_program(prod, preview=preview).all("keyvault:Vault")


def test_a_stack_without_public_network_has_to_be_isolated(prod: Config) -> None:
    prod["pipelines:network"] = {}
    with pytest.raises(pulumi.RunError, match=r"policy no-public-network"):
        run_program(prod)


def test_a_tag_that_everything_needs(prod: Config) -> None:
    del prod["pipelines:tags"]
    with pytest.raises(pulumi.RunError, match=r"has no tag owner; allowed is .*pipelines:tags"):
        run_program(prod)
