"""What the installed ``pulumi_azure_native`` package says about a resource type.

The package is generated from the same schema as the cloud's plugin. Its classes name each input,
its type and whether it is required; the ``get_…`` function beside a resource takes the parameters
of the resource's path in Azure Resource Manager.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pulumi
from pulumi import _types as sdk_types

from local.plugin.errors import NotFoundError

PACKAGE = "azure-native"
RESOURCE_GROUP = "resourceGroupName"

_QUERY_PARAMETERS = frozenset({"expand", "subscription_id"})
"""Parameters of ``get_…`` functions that are inputs too and don't name a resource."""


class _AlertOperator(StrEnum):
    """How a log alert compares what its query found with the threshold.

    Source: https://learn.microsoft.com/rest/api/monitor/scheduled-query-rules/create-or-update.
    """

    EQUALS = "Equals"
    GREATER_THAN = "GreaterThan"
    GREATER_THAN_OR_EQUAL = "GreaterThanOrEqual"
    LESS_THAN = "LessThan"
    LESS_THAN_OR_EQUAL = "LessThanOrEqual"


_CORRECTIONS: Mapping[str, Mapping[str, Any]] = {
    # The package mistakes it for an enumeration of the same name, of another resource.
    "pulumi_azure_native.monitor._inputs.ConditionArgs": {"operator": _AlertOperator},
}
"""Types of properties that are wrong in the package, by class."""


@dataclass(frozen=True)
class ObjectShape:
    """The properties of a resource's inputs or of an object within them.

    Args:
        types: type hint of each property, by the name it has on the wire (camelCase).
        required: the properties without a default.
        python_names: the name that a Python program uses, by the name on the wire.
    """

    types: Mapping[str, Any]
    required: frozenset[str]
    python_names: Mapping[str, str]


@dataclass(frozen=True)
class ResourceSchema:
    """A resource type.

    Args:
        token: type without its API version, such as ``azure-native:storage:Table``.
        inputs: what a program may set.
        outputs: type hint of each property that Azure answers with, inputs included.
        path: the inputs that are part of the resource's id.
    """

    token: str
    inputs: ObjectShape
    outputs: Mapping[str, Any]
    path: frozenset[str]

    @property
    def module(self) -> str:
        return self.token.split(":")[1]

    @property
    def type_name(self) -> str:
        return self.token.split(":")[2]

    @property
    def own_name(self) -> str | None:
        """The input that names the resource itself: the part of its path that may be left out."""
        names = sorted(self.path - self.inputs.required)
        return names[0] if names else None

    @property
    def parents(self) -> frozenset[str]:
        """The inputs that name what contains this resource, apart from the resource group."""
        return self.path - {self.own_name, RESOURCE_GROUP}


_importing = threading.RLock()
"""The package imports its modules when they are first used, and not safely from several threads:
one would see a module that another has only begun to import."""


@functools.cache
def resource_schema(token: str) -> ResourceSchema:
    """Look up a resource type.

    Args:
        token: type as the engine names it, with or without an API version
            (``azure-native:storage/v20230101:Table``).

    Raises:
        NotFoundError: the installed package has no such type.
    """
    with _importing:
        return _resource_schema(token)


def _resource_schema(token: str) -> ResourceSchema:
    package, _, rest = token.partition(":")
    versioned_module, _, type_name = rest.partition(":")
    module_name = versioned_module.partition("/")[0]
    try:
        module = importlib.import_module(f"pulumi_azure_native.{module_name}")
        resource = getattr(module, type_name)
    except (ImportError, AttributeError):
        raise NotFoundError(
            f'The type "{token}" is not in the installed package pulumi_azure_native.'
        ) from None
    inputs = object_shape(_inputs_class(resource))
    return ResourceSchema(
        token=f"{package}:{module_name}:{type_name}",
        inputs=inputs,
        outputs=sdk_types.resource_types(resource),
        path=_path_parameters(module, resource, inputs),
    )


@functools.cache
def object_shape(arguments: type) -> ObjectShape:
    """The properties of one of the package's ``…Args`` classes."""
    with _importing:
        return _object_shape(arguments)


def _object_shape(arguments: type) -> ObjectShape:
    wire_names = sdk_types.input_type_py_to_pulumi_names(arguments)
    parameters = inspect.signature(arguments).parameters.values()
    return ObjectShape(
        types={
            **sdk_types.input_type_types(arguments),
            **_CORRECTIONS.get(f"{arguments.__module__}.{arguments.__qualname__}", {}),
        },
        required=frozenset(
            wire_names[parameter.name]
            for parameter in parameters
            if parameter.default is inspect.Parameter.empty
        ),
        python_names={wire: python for python, wire in wire_names.items()},
    )


def _inputs_class(resource: type[pulumi.CustomResource]) -> type:
    # Where an object type of the module is already called like the resource's arguments, the
    # generator calls the latter InitArgs.
    module = inspect.getmodule(resource)
    name = resource.__name__
    arguments: type = getattr(module, f"{name}InitArgs", None) or getattr(module, f"{name}Args")
    return arguments


def _path_parameters(
    module: Any, resource: type[pulumi.CustomResource], inputs: ObjectShape
) -> frozenset[str]:
    getter = getattr(module, f"get_{resource.__module__.rpartition('.')[2]}", None)
    if getter is None:
        # A type that can't be read on its own is part of the resource that its inputs name.
        return frozenset(wire for wire in inputs.required if wire.lower().endswith("name"))
    parameters = inspect.signature(getter).parameters.keys() - _QUERY_PARAMETERS
    return frozenset(wire for wire, python in inputs.python_names.items() if python in parameters)
