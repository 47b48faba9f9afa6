"""The requests that azure-native sends for the program's resources, checked by Azure's own SDK."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, unquote, urlsplit

from local.plugin.ids import path_template
from local.plugin.schema import resource_schema
from tests.integration.azure.models import Findings, Model, body, broken_rules
from tests.integration.azure.program import Request


@dataclass(frozen=True)
class Api:
    """Where the SDK describes the request that makes a resource.

    Args:
        package: the module of the API version.
        model: class of the body.
        operation: function that builds the request, after the module within ``operations``.
    """

    package: str
    model: str
    operation: str

    @property
    def body(self) -> Model:
        return getattr(importlib.import_module(f"{self.package}.models"), self.model)

    @property
    def distribution(self) -> str:
        """The package on PyPI, as it is pinned."""
        name = "-".join(self.package.split(".")[:3])
        return f"{name} {importlib.metadata.version(name)}"


def _of(package: str, model: str, operation: str) -> Api:
    module, _, function = operation.rpartition(".")
    return Api(f"azure.mgmt.{package}", model, f"{module}.build_{function}_request")


_STORAGE = "storage.v2024_01_01"

APIS: Mapping[str, Api] = {
    "applicationinsights:Component": _of(
        "applicationinsights.v2020_02_02",
        "ApplicationInsightsComponent",
        "_components_operations.create_or_update",
    ),
    "authorization:ManagementLockByScope": _of(
        "resource.locks.v2016_09_01",
        "ManagementLockObject",
        "_operations.management_locks_create_or_update_by_scope",
    ),
    "authorization:RoleAssignment": _of(
        "authorization.v2022_04_01",
        "RoleAssignmentCreateParameters",
        "_role_assignments_operations.create",
    ),
    "authorization:RoleDefinition": _of(
        "authorization.v2022_05_01_preview",
        "RoleDefinition",
        "_role_definitions_operations.create_or_update",
    ),
    "containerinstance:ContainerGroup": _of(
        "containerinstance", "ContainerGroup", "_container_groups_operations.create_or_update"
    ),
    "containerregistry:Registry": _of(
        "containerregistry.v2023_01_01_preview", "Registry", "_registries_operations.create"
    ),
    "keyvault:Vault": _of(
        "keyvault", "VaultCreateOrUpdateParameters", "_vaults_operations.create_or_update"
    ),
    "managedidentity:UserAssignedIdentity": _of(
        "msi.v2023_01_31", "Identity", "_user_assigned_identities_operations.create_or_update"
    ),
    "monitor:ActionGroup": _of(
        "monitor", "ActionGroupResource", "_operations.action_groups_create_or_update"
    ),
    "monitor:ScheduledQueryRule": _of(
        "monitor",
        "ScheduledQueryRuleResource",
        "_operations.scheduled_query_rules_create_or_update",
    ),
    "network:NatGateway": _of("network", "NatGateway", "_operations.nat_gateways_create_or_update"),
    "network:NetworkSecurityGroup": _of(
        "network", "NetworkSecurityGroup", "_operations.network_security_groups_create_or_update"
    ),
    "network:PrivateDnsZoneGroup": _of(
        "network", "PrivateDnsZoneGroup", "_operations.private_dns_zone_groups_create_or_update"
    ),
    "network:PrivateEndpoint": _of(
        "network", "PrivateEndpoint", "_operations.private_endpoints_create_or_update"
    ),
    "network:PublicIPAddress": _of(
        "network", "PublicIPAddress", "_operations.public_ip_addresses_create_or_update"
    ),
    "network:Subnet": _of("network", "Subnet", "_operations.subnets_create_or_update"),
    "network:VirtualNetwork": _of(
        "network", "VirtualNetwork", "_operations.virtual_networks_create_or_update"
    ),
    "operationalinsights:Workspace": _of(
        "loganalytics", "Workspace", "_workspaces_operations.create_or_update"
    ),
    "privatedns:PrivateZone": _of(
        "privatedns", "PrivateZone", "_private_zones_operations.create_or_update"
    ),
    "privatedns:VirtualNetworkLink": _of(
        "privatedns", "VirtualNetworkLink", "_virtual_network_links_operations.create_or_update"
    ),
    "resources:ResourceGroup": _of(
        "resource.resources.v2024_07_01",
        "ResourceGroup",
        "_operations.resource_groups_create_or_update",
    ),
    "storage:BlobContainer": _of(_STORAGE, "BlobContainer", "_blob_containers_operations.create"),
    "storage:BlobServiceProperties": _of(
        _STORAGE, "BlobServiceProperties", "_blob_services_operations.set_service_properties"
    ),
    "storage:ManagementPolicy": _of(
        _STORAGE, "ManagementPolicy", "_management_policies_operations.create_or_update"
    ),
    "storage:StorageAccount": _of(
        _STORAGE, "StorageAccountCreateParameters", "_storage_accounts_operations.create"
    ),
    "storage:Table": _of(_STORAGE, "Table", "_table_operations.create"),
    "web:AppServicePlan": _of(
        "web", "AppServicePlan", "_operations.app_service_plans_create_or_update"
    ),
    "web:WebApp": _of("web", "Site", "_operations.web_apps_create_or_update"),
    "web:WebAppAuthSettingsV2": _of(
        "web", "SiteAuthSettingsV2", "_operations.web_apps_update_auth_settings_v2"
    ),
    "web:WebAppFtpAllowed": _of(
        "web", "CsmPublishingCredentialsPoliciesEntity", "_operations.web_apps_update_ftp_allowed"
    ),
    "web:WebAppScmAllowed": _of(
        "web", "CsmPublishingCredentialsPoliciesEntity", "_operations.web_apps_update_scm_allowed"
    ),
}
"""By module and type. The version of a package is the one whose API version is azure-native's, or
the nearest that there is."""


@dataclass(frozen=True)
class Checked:
    """A request as the SDK sees it.

    Args:
        kind: module and type of the resource.
        api_version: of the SDK's model.
        body: what is sent.
        findings: what came out of checking it.
    """

    kind: str
    api_version: str
    body: Mapping[str, Any]
    findings: Findings


def check(request: Request) -> Checked:
    """Build the request with the SDK, and check its body by the SDK's model."""
    kind = request.type.partition(":")[2]
    api = APIS[kind]
    in_url = url_parameters(request)
    findings = Findings()
    sent = {name: value for name, value in request.inputs.items() if name not in in_url}
    made = body(sent, api.body, findings)
    api_version = _build(api, in_url, request.id, findings)
    return Checked(kind, api_version, made, findings)


def url_parameters(request: Request) -> dict[str, str]:
    """The inputs that are part of a resource's URL, and the subscription's id."""
    template = path_template(resource_schema(request.type))
    scope_first = re.escape(template).replace(r"/\{scope\}", r"(?P<scope>/.+)")
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", scope_first)
    found = re.fullmatch(pattern, f"/{request.id.lstrip('/')}")
    assert found, f"{request.id} is not of the form {template}"
    return found.groupdict()


def _build(api: Api, in_url: Mapping[str, str], identifier: str, findings: Findings) -> str:
    """Build the request, and check the names in its URL.

    Returns:
        The API version of the SDK.
    """
    name, _, function = api.operation.rpartition(".")
    module = importlib.import_module(f"{api.package}.operations.{name}")
    build = getattr(module, function)
    values = {re.sub(r"(?<!^)(?=[A-Z])", "_", key).lower(): one for key, one in in_url.items()}
    parameters = inspect.signature(build).parameters
    # A name that Azure fixes is part of the URL, and nothing that the function is told.
    arguments = {name: value.lstrip("/") for name, value in values.items() if name in parameters}
    with mock.patch.object(module, "_SERIALIZER", _Names(module._SERIALIZER, findings)):
        url = urlsplit(str(build(**arguments).url))
    if unquote(url.path).strip("/").lower() != identifier.strip("/").lower():
        findings.problems.append(f"the URL is {url.path}, and the id {identifier}")
    (version,) = parse_qs(url.query)["api-version"]
    return version


class _Names:
    """The SDK's serializer, which has the rules on names in a URL, and does not apply them."""

    def __init__(self, serializer: Any, findings: Findings) -> None:
        self._serializer = serializer
        self._findings = findings

    def url(self, name: str, data: Any, data_type: str, **rules: Any) -> Any:
        if rules.keys() & self._serializer.validation.keys():
            self._findings.ruled.add(name)
        broken = broken_rules(self._serializer, data, rules)
        self._findings.problems += [f"{name} {one}" for one in broken]
        return self._serializer.url(name, data, data_type, **rules)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._serializer, name)


def native_api_version(kind: str) -> str:
    """The API version that azure-native uses for a type, as its documentation says."""
    module, _, name = kind.partition(":")
    package = importlib.import_module(f"pulumi_azure_native.{module}")
    source = inspect.getsource(sys.modules[getattr(package, name).__module__])
    found = re.search(r"Uses Azure REST API version ([\w-]+?)\.", source)
    assert found, kind
    return found.group(1)
