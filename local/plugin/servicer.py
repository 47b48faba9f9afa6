"""The plugin's side of Pulumi's provider protocol, ``pulumirpc.ResourceProvider``."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import grpc
import requests
from azure.core.exceptions import AzureError
from docker.errors import DockerException
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc
from pulumi.runtime.rpc import UNKNOWN, wrap_rpc_secret

from local.azure.identity import MANAGEMENT_AUDIENCES, TENANT_ID, object_id
from local.containers import ContainersError
from local.plugin import naming
from local.plugin.bodies import Body, LocalServices, Resource, body_of
from local.plugin.check import Failure, check
from local.plugin.diff import Change, Difference, Kind, compare
from local.plugin.errors import NotFoundError, RefusedError
from local.plugin.ids import SUBSCRIPTION_ID, guid, resource_id
from local.plugin.outputs import outputs_of, previewed_outputs, workspace_keys
from local.plugin.schema import PACKAGE, RESOURCE_GROUP, ResourceSchema, resource_schema
from local.plugin.storage import PlatformCredential
from local.plugin.values import (
    from_struct,
    has_secret,
    is_unknown,
    plain,
    to_struct,
    unwrap,
)

_CLIENT_CONFIG = "azure-native:authorization:getClientConfig"
_CLIENT_TOKEN = "azure-native:authorization:getClientToken"  # noqa: S105 - a function's name
_WORKSPACE_KEYS = "azure-native:operationalinsights:getSharedKeys"
_RESOURCE_GROUP_TYPE = "azure-native:resources:ResourceGroup"

_Method = TypeVar("_Method", bound=Callable[..., Any])

_log = logging.getLogger(__name__)


def _reported(method: _Method) -> _Method:
    """Turn an exception into an error of the protocol: one sentence, which the engine prints."""

    @functools.wraps(method)
    def wrapper(self: Provider, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except NotFoundError as error:
            context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        except (RefusedError, ContainersError) as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        except (AzureError, DockerException, requests.RequestException, OSError) as error:
            context.abort(grpc.StatusCode.UNAVAILABLE, _unavailable(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the engine has to learn of it
            _log.exception("%s failed", method.__name__)
            text = f"The local azure-native plugin failed in {method.__name__}: {error!r}."
            context.abort(grpc.StatusCode.INTERNAL, text)

    return cast(_Method, wrapper)


def _unavailable(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return f"A service of the local stack failed ({line}); `make up` starts what does not run."


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """The azure-native provider of a local stack.

    Args:
        services: the services of the stack.
    """

    def __init__(self, services: LocalServices) -> None:
        self._settings = services.settings
        self._services = services
        self._subscription = SUBSCRIPTION_ID
        self._default_location: str | None = None
        self._locations: dict[str, str] = {}

    # What stands in for Azure; another cloud in its place overrides these three.
    def body(self, schema: ResourceSchema) -> Body:
        """What happens when a resource of a type is created, updated or deleted."""
        return body_of(schema, self._services)

    def azure_outputs(self, resource: Resource) -> dict[str, Any]:
        """What Azure adds to a resource's inputs."""
        return outputs_of(resource, self._settings)

    def token(self, audience: str) -> str:
        """An access token of whoever deploys."""
        return PlatformCredential(self._settings).get_token(audience).token

    # The plugin itself.
    def Handshake(  # noqa: N802
        self, _request: provider_pb2.ProviderHandshakeRequest, _context: grpc.ServicerContext
    ) -> provider_pb2.ProviderHandshakeResponse:
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True, supports_autonaming_configuration=True
        )

    def Attach(  # noqa: N802
        self, _request: plugin_pb2.PluginAttach, _context: grpc.ServicerContext
    ) -> Empty:
        return Empty()

    def Cancel(self, _request: Empty, _context: grpc.ServicerContext) -> Empty:  # noqa: N802
        return Empty()

    def GetPluginInfo(  # noqa: N802
        self, _request: Empty, _context: grpc.ServicerContext
    ) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi_azure_native"))

    def GetSchema(  # noqa: N802
        self, _request: provider_pb2.GetSchemaRequest, _context: grpc.ServicerContext
    ) -> provider_pb2.GetSchemaResponse:
        return provider_pb2.GetSchemaResponse(schema=f'{{"name": "{PACKAGE}"}}')

    # Its configuration.
    def CheckConfig(  # noqa: N802
        self, request: provider_pb2.CheckRequest, _context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(  # noqa: N802
        self, _request: provider_pb2.DiffRequest, _context: grpc.ServicerContext
    ) -> provider_pb2.DiffResponse:
        # The engine compares itself. Told of no difference, it would keep the old configuration.
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_UNKNOWN)

    def Configure(  # noqa: N802
        self, request: provider_pb2.ConfigureRequest, _context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        values = request.variables
        self._subscription = values.get(f"{PACKAGE}:config:subscriptionId") or SUBSCRIPTION_ID
        self._default_location = values.get(f"{PACKAGE}:config:location")
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    # Resources.
    @_reported
    def Check(  # noqa: N802
        self, request: provider_pb2.CheckRequest, _context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        schema = resource_schema(request.type)
        old_inputs = from_struct(request.olds)
        inputs = naming.with_name(
            schema,
            from_struct(request.news),
            old_inputs=old_inputs,
            logical_name=request.name,
            seed=request.randomSeed,
            proposal=_proposal(request),
        )
        failures = check(schema, {k: v for k, v in inputs.items() if not k.startswith("__")})
        failures += self._set_location(schema, inputs, old_inputs)
        return provider_pb2.CheckResponse(
            inputs=to_struct(inputs),
            # The path is part of the reason. Named apart, the engine would print the value as well,
            # and a secret in clear.
            failures=[provider_pb2.CheckFailure(reason=one.reason) for one in failures],
        )

    @_reported
    def Diff(  # noqa: N802
        self, request: provider_pb2.DiffRequest, _context: grpc.ServicerContext
    ) -> provider_pb2.DiffResponse:
        schema = resource_schema(request.type)
        return _diff(compare(schema, from_struct(request.old_inputs), from_struct(request.news)))

    @_reported
    def Create(  # noqa: N802
        self, request: provider_pb2.CreateRequest, _context: grpc.ServicerContext
    ) -> provider_pb2.CreateResponse:
        schema = resource_schema(request.type)
        inputs = from_struct(request.properties)
        if request.preview:
            properties = to_struct(previewed_outputs(schema, inputs))
            return provider_pb2.CreateResponse(properties=properties)
        resource = self._resource(schema, request.name, inputs)
        self.body(schema).create(resource)
        return provider_pb2.CreateResponse(
            id=resource.id, properties=self._outputs(resource, inputs)
        )

    @_reported
    def Read(  # noqa: N802
        self, request: provider_pb2.ReadRequest, _context: grpc.ServicerContext
    ) -> provider_pb2.ReadResponse:
        if not request.inputs.fields:
            raise RefusedError(
                f"{request.id} can't be looked up: the local stack knows the resources only that "
                "its program declares."
            )
        schema = resource_schema(request.type)
        resource = Resource(schema, request.id, plain(from_struct(request.inputs)))
        if not self.body(schema).exists(resource):
            # An empty id tells the engine that the resource is gone.
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(
            id=request.id, properties=request.properties, inputs=request.inputs
        )

    @_reported
    def Update(  # noqa: N802
        self, request: provider_pb2.UpdateRequest, _context: grpc.ServicerContext
    ) -> provider_pb2.UpdateResponse:
        schema = resource_schema(request.type)
        inputs = from_struct(request.news)
        resource = Resource(schema, request.id, plain(inputs))
        if not request.preview:
            old_inputs = plain(from_struct(request.old_inputs))
            self.body(schema).update(resource, old_inputs)
        return provider_pb2.UpdateResponse(properties=self._outputs(resource, inputs))

    @_reported
    def Delete(  # noqa: N802
        self, request: provider_pb2.DeleteRequest, _context: grpc.ServicerContext
    ) -> Empty:
        schema = resource_schema(request.type)
        inputs = plain(from_struct(request.old_inputs))
        self.body(schema).delete(Resource(schema, request.id, inputs))
        return Empty()

    @_reported
    def Invoke(  # noqa: N802
        self, request: provider_pb2.InvokeRequest, _context: grpc.ServicerContext
    ) -> provider_pb2.InvokeResponse:
        functions = {
            _CLIENT_CONFIG: self._client_config,
            _CLIENT_TOKEN: self._client_token,
            _WORKSPACE_KEYS: _workspace_keys,
        }
        if request.tok not in functions:
            raise NotFoundError(
                f'The function "{request.tok}" is not available on a local stack; '
                f"available are {', '.join(functions)}."
            )
        answer = functions[request.tok](plain(from_struct(request.args)))
        fields: dict[str, Any] = {"return": to_struct(answer)}  # a keyword of Python
        return provider_pb2.InvokeResponse(**fields)

    def _client_config(self, _arguments: Mapping[str, Any]) -> dict[str, Any]:
        client_id = guid(TENANT_ID, "user")
        return {
            "clientId": client_id,
            "objectId": object_id(client_id),
            "subscriptionId": self._subscription,
            "tenantId": TENANT_ID,
        }

    def _client_token(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        endpoint = arguments.get("endpoint") or MANAGEMENT_AUDIENCES[0]
        return {"token": self.token(endpoint)}

    def _resource(
        self, schema: ResourceSchema, logical_name: str, inputs: Mapping[str, Any]
    ) -> Resource:
        bare = plain(dict(inputs))
        identifier = resource_id(
            schema, bare, logical_name=logical_name, subscription_id=self._subscription
        )
        return Resource(schema, identifier, bare)

    def _outputs(self, resource: Resource, inputs: Mapping[str, Any]) -> Any:
        # What is a secret, or was made from one, stays one in the state.
        added = {
            name: wrap_rpc_secret(value) if has_secret(inputs.get(name)) else value
            for name, value in self.azure_outputs(resource).items()
        }
        return to_struct({**inputs, **added})

    def _set_location(
        self, schema: ResourceSchema, inputs: dict[str, Any], old_inputs: Mapping[str, Any]
    ) -> list[Failure]:
        """Fill in the region: the one it has, else the configured one, else its group's."""
        if "location" not in schema.inputs.types:
            return []
        if inputs.get("location") is None:
            location = old_inputs.get("location") or self._location(inputs)
            if location is not None:
                inputs["location"] = location
        if schema.token == _RESOURCE_GROUP_TYPE:
            return self._remember_location(inputs)
        return []

    def _location(self, inputs: Mapping[str, Any]) -> str | None:
        if self._default_location:
            return self._default_location
        group = unwrap(inputs.get(RESOURCE_GROUP))
        return UNKNOWN if is_unknown(group) else self._locations.get(str(group).lower())

    def _remember_location(self, inputs: Mapping[str, Any]) -> list[Failure]:
        location = inputs.get("location")
        if location is None:
            reason = "location is missing; set it or the stack's config azure-native:location"
            return [Failure("location", reason)]
        self._locations[str(unwrap(inputs.get(RESOURCE_GROUP))).lower()] = unwrap(location)
        return []


def _workspace_keys(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return workspace_keys(arguments["resourceGroupName"], arguments["workspaceName"])


def _proposal(request: provider_pb2.CheckRequest) -> naming.Proposal | None:
    if not request.HasField("autonaming"):
        return None
    options = provider_pb2.CheckRequest.AutonamingOptions
    modes = {
        options.PROPOSE: naming.Mode.PROPOSE,
        options.ENFORCE: naming.Mode.ENFORCE,
        options.DISABLE: naming.Mode.DISABLE,
    }
    return naming.Proposal(request.autonaming.proposed_name, modes[request.autonaming.mode])


def _diff(difference: Difference) -> provider_pb2.DiffResponse:
    response = provider_pb2.DiffResponse
    return response(
        changes=response.DIFF_SOME if difference.changes else response.DIFF_NONE,
        replaces=difference.replaces,
        diffs=difference.properties,
        detailedDiff={path: _property_diff(one) for path, one in difference.changes.items()},
        hasDetailedDiff=True,
        deleteBeforeReplace=difference.delete_before_replace,
    )


def _property_diff(change: Change) -> provider_pb2.PropertyDiff:
    kinds = provider_pb2.PropertyDiff
    updating, replacing = {
        Kind.ADD: (kinds.ADD, kinds.ADD_REPLACE),
        Kind.DELETE: (kinds.DELETE, kinds.DELETE_REPLACE),
        Kind.UPDATE: (kinds.UPDATE, kinds.UPDATE_REPLACE),
    }[change.kind]
    return kinds(kind=replacing if change.replace else updating, inputDiff=True)
