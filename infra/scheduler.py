"""The central scheduler: its image, its identity and where it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import containerinstance, web

from infra import naming
from infra.config import AuthenticationConfig, SchedulerConfig, SchedulerHost
from infra.containers import ContainerGroupProps, container_group
from infra.identity import Grant, Identity, IdentityProps
from infra.images import REPOSITORY, ImageProps, build_image, stage
from infra.monitoring import Monitoring
from infra.network import Network
from infra.registry import Registry
from infra.roles import CONTAINER_STARTER, BuiltInRole, define
from infra.stack import StackProps
from infra.tables import Tables
from scheduler.declaration import SETTING_PREFIX, JobDeclaration
from scheduler.history import Price

HEALTH_PATH = "/api/health"
"""Answered without signing in: App Service asks it whether the app still works."""

CPU = 1.0
MEMORY_GB = 1.0
"""Size of the scheduler as a container."""


@dataclass(frozen=True)
class SchedulerProps:
    """Arguments of :class:`Scheduler`.

    Args:
        stack: the stack.
        subscription_id: subscription of the container groups.
        tenant_id: directory of those who may call the HTTP functions.
        config: what the stack's configuration says of the scheduler.
        base_image: what the image of a ``container`` is built on.
        registry: where its image goes.
        tables: what it reads and writes.
        monitoring: where its log goes.
        network: the stack's network, if it has one.
        jobs: the declared jobs.
        price: what containers cost, where that is known.
        extractors: whose groups are there before the scheduler starts them for the first time.
    """

    stack: StackProps
    subscription_id: pulumi.Input[str]
    tenant_id: pulumi.Output[str]
    config: SchedulerConfig
    base_image: str
    registry: Registry
    tables: Tables
    monitoring: Monitoring
    network: Network | None
    jobs: Sequence[JobDeclaration]
    price: Price | None
    extractors: Sequence[pulumi.Resource]


class Scheduler(pulumi.ComponentResource):
    """Starts the containers of the jobs that are due.

    The declared jobs are settings of its environment, so a changed schedule is a changed setting:
    no image is built, and nothing but the scheduler starts anew.
    """

    def __init__(
        self, name: str, props: SchedulerProps, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("pipelines:infra:Scheduler", name, None, opts)
        self._name = name
        self._props = props
        self._identity = Identity(
            f"{name}-identity",
            self._identity_props(),
            pulumi.ResourceOptions(parent=self),
        )
        self._image = build_image(f"{name}-image", self._image_props(), self)
        match props.config.host:
            case SchedulerHost.FUNCTION:
                self._function()
            case SchedulerHost.CONTAINER:
                self._container()
        self.register_outputs({"image": self._image.reference})

    def _identity_props(self) -> IdentityProps:
        props = self._props
        tables = {
            f"table-{table}": Grant(BuiltInRole.TABLE_DATA_CONTRIBUTOR, table_id)
            for table, table_id in props.tables.table_ids.items()
        }
        role = define(CONTAINER_STARTER, props.stack.resource_group_id, self)
        grants = {
            "registry": Grant(BuiltInRole.ACR_PULL, props.registry.id),
            # The scope is the resource group, which holds nothing but this stack: an assignment on
            # a container group would be lost whenever the group is replaced.
            "containers": Grant(role.id, props.stack.resource_group_id),
            "monitoring": Grant(
                BuiltInRole.MONITORING_METRICS_PUBLISHER, props.monitoring.component_id
            ),
            **tables,
        }
        if props.config.host is SchedulerHost.FUNCTION:
            grants["host"] = Grant(BuiltInRole.BLOB_DATA_OWNER, props.tables.account_id)
        return IdentityProps(props.stack, props.subscription_id, grants)

    def _image_props(self) -> ImageProps:
        folder = stage(
            self._name,
            {
                "scheduler": REPOSITORY / "scheduler",
                "extractor/__init__.py": REPOSITORY / "extractor" / "__init__.py",
                "extractor/runtime": REPOSITORY / "extractor" / "runtime",
            },
        )
        host = self._props.config.host
        return ImageProps(
            registry=self._props.registry,
            repository=naming.SCHEDULER_REPOSITORY,
            context=folder,
            dockerfile="scheduler/Dockerfile",
            target=host.value,
            build_args={"BASE_IMAGE": self._props.base_image}
            if host is SchedulerHost.CONTAINER
            else {},
        )

    def _environment(self) -> dict[str, pulumi.Input[str]]:
        declarations = {
            f"{SETTING_PREFIX}{number}": job.to_setting()
            for number, job in enumerate(self._props.jobs)
        }
        price = self._props.price
        return {
            **({"PRICE": price.model_dump_json(by_alias=True)} if price else {}),
            "APPLICATIONINSIGHTS_CONNECTION_STRING": self._props.monitoring.connection_string,
            "AZURE_CLIENT_ID": self._identity.client_id,
            "RETENTION_DAYS": str(self._props.config.retention_days),
            "MAX_RUNNING": str(self._props.config.max_running),
            "RESOURCE_GROUP": self._props.stack.resource_group_name,
            "STARTS_PER_FIVE_MINUTES": str(self._props.config.starts_per_five_minutes),
            "STARTS_PER_HOUR": str(self._props.config.starts_per_hour),
            "SUBSCRIPTION_ID": self._props.subscription_id,
            "TABLES_ENDPOINT": self._props.tables.endpoint,
            **declarations,
        }

    def _container(self) -> None:
        props = self._props
        tick = {"TICK_SECONDS": str(props.config.tick_seconds)}
        container_group(
            self._name,
            ContainerGroupProps(
                stack=props.stack,
                registry_server=props.registry.login_server,
                image=self._image,
                identity=self._identity,
                cpu=CPU,
                memory=MEMORY_GB,
                environment={**self._environment(), **tick},
                restart_policy=containerinstance.ContainerGroupRestartPolicy.ALWAYS,
                network=props.network,
                after=props.extractors,
            ),
            self,
        )

    def _function(self) -> None:
        props = self._props
        plan = web.AppServicePlan(
            f"{self._name}-plan",
            resource_group_name=props.stack.resource_group_name,
            kind="linux",
            reserved=True,  # Azure's word for Linux
            sku=web.SkuDescriptionArgs(name=props.config.plan.value),
            tags=props.stack.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        app = web.WebApp(
            self._name,
            resource_group_name=props.stack.resource_group_name,
            kind="functionapp,linux,container",
            server_farm_id=plan.id,
            https_only=True,
            identity=web.ManagedServiceIdentityArgs(
                type=web.ManagedServiceIdentityType.USER_ASSIGNED,
                user_assigned_identities=[self._identity.id],
            ),
            virtual_network_subnet_id=props.network.app_subnet_id if props.network else None,
            outbound_vnet_routing=web.OutboundVnetRoutingArgs(
                all_traffic=True, image_pull_traffic=True
            )
            if props.network
            else None,
            site_config=web.SiteConfigArgs(
                always_on=True,
                health_check_path=HEALTH_PATH,
                linux_fx_version=self._image.reference.apply(lambda image: f"DOCKER|{image}"),
                acr_use_managed_identity_creds=True,
                acr_user_managed_identity_id=self._identity.client_id,
                ftps_state=web.FtpsState.DISABLED,
                min_tls_version=web.SupportedTlsVersions.SUPPORTED_TLS_VERSIONS_1_2,
                http20_enabled=True,
                app_settings=[
                    web.NameValuePairArgs(name=key, value=value)
                    for key, value in sorted(self._function_settings().items())
                ],
            ),
            tags=props.stack.tags,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[*self._identity.assignments, *props.extractors],
            ),
        )
        self._require_sign_in(app)
        self._forbid_publishing_passwords(app)

    def _require_sign_in(self, app: web.WebApp) -> None:
        """Let App Service answer every call without a token of the registration with 401."""
        props = self._props
        registration = props.config.authentication
        web.WebAppAuthSettingsV2(
            f"{self._name}-authentication",
            resource_group_name=props.stack.resource_group_name,
            name=app.name,
            platform=web.AuthPlatformArgs(enabled=True),
            global_validation=web.GlobalValidationArgs(
                require_authentication=True,
                unauthenticated_client_action=web.UnauthenticatedClientActionV2.RETURN401,
                excluded_paths=[HEALTH_PATH],
            ),
            identity_providers=web.IdentityProvidersArgs(
                azure_active_directory=_directory(registration, props.tenant_id)
            )
            if registration
            else None,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _forbid_publishing_passwords(self, app: web.WebApp) -> None:
        """Turn off the user name and password that App Service makes for each app's deployments.

        https://learn.microsoft.com/azure/app-service/configure-basic-auth-disable
        """
        for way, policy in (("ftp", web.WebAppFtpAllowed), ("scm", web.WebAppScmAllowed)):
            policy(
                f"{self._name}-{way}-passwords",
                resource_group_name=self._props.stack.resource_group_name,
                name=app.name,
                allow=False,
                opts=pulumi.ResourceOptions(parent=self),
            )

    def _function_settings(self) -> dict[str, pulumi.Input[str]]:
        return {
            **self._environment(),
            "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": pulumi.Output.concat(
                "ClientId=", self._identity.client_id, ";Authorization=AAD"
            ),
            "AzureWebJobsStorage__accountName": self._props.tables.account_name,
            "AzureWebJobsStorage__clientId": self._identity.client_id,
            "AzureWebJobsStorage__credential": "managedidentity",
            "FUNCTIONS_EXTENSION_VERSION": "~4",
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "WEBSITES_ENABLE_APP_SERVICE_STORAGE": "false",
        }


def _directory(
    registration: AuthenticationConfig, tenant_id: pulumi.Output[str]
) -> web.AzureActiveDirectoryArgs:
    client_id = str(registration.client_id)
    principals = [str(each) for each in registration.principals]
    return web.AzureActiveDirectoryArgs(
        enabled=True,
        registration=web.AzureActiveDirectoryRegistrationArgs(
            client_id=client_id,
            open_id_issuer=pulumi.Output.concat(
                "https://login.microsoftonline.com/", tenant_id, "/v2.0"
            ),
        ),
        validation=web.AzureActiveDirectoryValidationArgs(
            allowed_audiences=[client_id, f"api://{client_id}"],
            default_authorization_policy=web.DefaultAuthorizationPolicyArgs(
                allowed_principals=web.AllowedPrincipalsArgs(identities=principals)
            )
            if principals
            else None,
        ),
    )
