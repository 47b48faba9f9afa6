"""Runs the program against mocks that answer as the engine and Azure do.

Resources get ids and, where the program leaves them out, names; outputs that only Azure knows are
unknown in a preview.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.stack import register_stack_transformation

from infra.__main__ import deploy

SUBSCRIPTION = "11111111-2222-4333-8444-555555555555"

ACCESS_TOKEN = "token-of-the-deployer"

_TOP_LEVEL_NAMES = {
    "azure-native:applicationinsights:Component": "resourceName",
    "azure-native:containerregistry:Registry": "registryName",
    "azure-native:keyvault:Vault": "vaultName",
    "azure-native:managedidentity:UserAssignedIdentity": "resourceName",
    "azure-native:network:NatGateway": "natGatewayName",
    "azure-native:network:NetworkSecurityGroup": "networkSecurityGroupName",
    "azure-native:network:PublicIPAddress": "publicIpAddressName",
    "azure-native:network:VirtualNetwork": "virtualNetworkName",
    "azure-native:operationalinsights:Workspace": "workspaceName",
    "azure-native:storage:StorageAccount": "accountName",
    "azure-native:web:AppServicePlan": "name",
    "azure-native:web:WebApp": "name",
}
"""Where the program leaves the name to the plugin, which appends eight digits."""

_GIVEN_NAMES = (
    "containerGroupName",
    "containerName",
    "tableName",
    "roleAssignmentName",
    "roleDefinitionId",
)


@dataclass(frozen=True)
class Declared:
    """A resource that the program registered; inputs by their names on the wire."""

    type: str
    name: str
    inputs: Mapping[str, Any]
    parent: str
    depends_on: Sequence[str]
    replace_on_changes: Sequence[str]
    delete_before_replace: bool
    protect: bool


@dataclass
class Engine(mocks.Mocks):
    """The mocks; ``declared`` fills up as the program runs."""

    preview: bool = False
    declared: list[Declared] = field(default_factory=list)

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        if not args.custom:
            return "", dict(args.inputs)
        name = self._name(args)
        outputs = {**_echo(args.inputs), **_known_outputs(name), **self._late_outputs(args, name)}
        return ("" if self.preview else _id(args, name)), outputs

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]]]:
        if args.token == "azure-native:authorization:getClientToken":
            return {"token": ACCESS_TOKEN}, []
        assert args.token == "azure-native:authorization:getClientConfig", args.token
        answer = {"subscriptionId": SUBSCRIPTION, "tenantId": "t", "clientId": "c", "objectId": "o"}
        return answer, []

    def one(self, kind: str, name: str | None = None) -> Declared:
        """The one resource of a type, such as ``storage:Table``, and of a name if given."""
        found = [each for each in self.all(kind) if name in (None, each.name)]
        assert len(found) == 1, f"{kind} {name}: {[each.name for each in found]}"
        return found[0]

    def all(self, kind: str) -> list[Declared]:
        return [each for each in self.declared if each.type.endswith(f":{kind}")]

    def _name(self, args: mocks.MockResourceArgs) -> str:
        if args.typ in _TOP_LEVEL_NAMES:
            return str(args.inputs.get(_TOP_LEVEL_NAMES[args.typ]) or f"{args.name}1a2b3c4d")
        if args.typ == "azure-native:resources:ResourceGroup":
            return str(args.inputs["resourceGroupName"])
        given = (args.inputs.get(key) for key in _GIVEN_NAMES)
        return str(next(filter(None, given), args.name))

    def _late_outputs(self, args: mocks.MockResourceArgs, name: str) -> dict[str, Any]:
        """What only exists once the resource does."""
        outputs = _LATE.get(args.typ, lambda _: {})(name)
        if not self.preview:
            return dict(outputs)
        # Of an image that is to be built again, its provider previews empty texts.
        unknown: Any = "" if args.typ == "docker-build:index:Image" else rpc.UNKNOWN
        return dict.fromkeys(outputs, unknown)


def _echo(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs as Azure returns them: it maps each assigned identity to what it knows of it."""
    identity = inputs.get("identity")
    if not isinstance(identity, dict):
        return dict(inputs)
    ids = identity.get("userAssignedIdentities", [])
    known = all(isinstance(each, str) for each in ids)
    assigned = {each: {} for each in ids} if known else rpc.UNKNOWN
    return {**inputs, "identity": {**identity, "userAssignedIdentities": assigned}}


def _known_outputs(name: str) -> dict[str, Any]:
    # azure-native works the name out in its check, so even a preview knows it.
    return {"name": name}


_LATE: Mapping[str, Any] = {
    "azure-native:containerregistry:Registry": lambda name: {"loginServer": f"{name}.azurecr.io"},
    "azure-native:managedidentity:UserAssignedIdentity": lambda name: {
        "clientId": f"client-of-{name}",
        "principalId": f"principal-of-{name}",
    },
    "azure-native:storage:StorageAccount": lambda name: {
        "primaryEndpoints": {
            service: f"https://{name}.{service}.core.windows.net/"
            for service in ("blob", "dfs", "queue", "table")
        }
    },
    "azure-native:applicationinsights:Component": lambda name: {
        "connectionString": f"InstrumentationKey=key-of-{name}"
    },
    "azure-native:network:PublicIPAddress": lambda name: {"ipAddress": f"address-of-{name}"},
    "azure-native:keyvault:Vault": lambda name: {
        "properties": {"vaultUri": f"https://{name}.vault.azure.net/"}
    },
    "docker-build:index:Image": lambda name: {"digest": f"sha256:{name}", "ref": f"ref-{name}"},
}


def _id(args: mocks.MockResourceArgs, name: str) -> str:
    return f"/subscriptions/{SUBSCRIPTION}/{args.typ.replace(':', '/')}/{name}"


class Monitor(mocks.MockMonitor):
    """The mocks' monitor, which also notes the options of each resource."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._engine = engine

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        if request.type != "pulumi:pulumi:Stack":
            self._engine.declared.append(_declared(request))
        return _with_closed_loop(super().RegisterResource, request)

    def Invoke(self, request: Any) -> Any:  # noqa: N802
        return _with_closed_loop(super().Invoke, request)


def _with_closed_loop(method: Callable[[Any], Any], request: Any) -> Any:
    """Call a method of the monitor on its thread, where it would leave an open loop behind."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return method(request)
    finally:
        loop.close()
        asyncio.set_event_loop(None)


def _declared(request: resource_pb2.RegisterResourceRequest) -> Declared:
    return Declared(
        type=request.type,
        name=request.name,
        inputs=rpc.deserialize_properties(request.object),
        parent=request.parent,
        depends_on=list(request.dependencies),
        replace_on_changes=list(request.replaceOnChanges),
        delete_before_replace=request.deleteBeforeReplace,
        protect=request.protect,
    )


_ran: dict[str, Engine] = {}
"""What was declared, by configuration: most tests look at one and the same stack."""


def run_key(config: Mapping[str, Any], stack: str = "dev", preview: bool = False) -> str:
    """What tells one run of the program from another."""
    return json.dumps([config, stack, preview], sort_keys=True)


def run_program(
    config: Mapping[str, Any],
    *,
    stack: str = "dev",
    preview: bool = False,
    started: Callable[[Engine], None] = lambda _: None,
) -> Engine:
    """Run the program; a second time with the same arguments, only return what it declared.

    Args:
        config: the stack's configuration by full key; objects and lists as they are.
        stack: name of the stack.
        preview: whether outputs of resources that do not exist yet are unknown.
        started: is called with the engine before the program runs, for programs that fail.
    """
    key = run_key(config, stack, preview)
    if key in _ran:
        return _ran[key]
    engine = Engine(preview=preview)
    started(engine)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        pulumi.runtime.set_mocks(
            engine, project="pipelines", stack=stack, preview=preview, monitor=Monitor(engine)
        )
        # The stack outlives a run; the policies of the program that ran before must not.
        pulumi.runtime.get_root_resource()._transformations = []  # type: ignore[union-attr]
        pulumi.runtime.set_all_config({key: _text(value) for key, value in config.items()})
        pulumi.runtime.test(_deploy_without_aliases)()  # type: ignore[no-untyped-call] # Pulumi gives it no types
    finally:
        loop.close()
        asyncio.set_event_loop(None)
    _ran[key] = engine
    return engine


def _deploy_without_aliases() -> None:
    """Run the program, which takes a third of the time without azure-native's aliases.

    Each of its resources names dozens of older API versions; only stacks that were deployed with
    one of those need them.
    """
    register_stack_transformation(_without_aliases)
    deploy()


def _without_aliases(
    resource: pulumi.ResourceTransformationArgs,
) -> pulumi.ResourceTransformationResult:
    resource.opts.aliases = None
    return pulumi.ResourceTransformationResult(resource.props, resource.opts)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
