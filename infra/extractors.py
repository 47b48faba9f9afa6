"""An extractor: its image, its identity and the container group that runs it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi_azure_native import authorization, containerinstance

from extractor.runtime.records import JOBS_TABLE, RUNS_TABLE, lake_folders
from infra import naming
from infra.config import EXTRACTORS_FOLDER, ExtractorConfig
from infra.containers import ContainerGroupProps, container_group
from infra.identity import Grant, Identity, IdentityProps
from infra.images import Image, ImageProps, build_image, stage
from infra.lake import Lake
from infra.monitoring import Monitoring
from infra.network import Network
from infra.registry import Registry
from infra.roles import BuiltInRole, folder_condition
from infra.stack import StackProps
from infra.tables import Tables
from infra.vault import Vault


@dataclass(frozen=True)
class ExtractorProps:
    """Arguments of :class:`Extractor`.

    Args:
        stack: the stack.
        subscription_id: the deployment's subscription.
        config: what the stack's configuration says of the extractor.
        base_image: what its image is built on.
        runtime: staged folder of what all extractors share.
        registry: where its image goes.
        lake: where it writes.
        lake_role: what it may do in the lake.
        tables: where it finds its runs.
        monitoring: where its log goes.
        vault: where its secrets are; ``None`` where no extractor has any.
        network: the stack's network, if it has one.
    """

    stack: StackProps
    subscription_id: pulumi.Input[str]
    config: ExtractorConfig
    base_image: str
    runtime: Path
    registry: Registry
    lake: Lake
    lake_role: authorization.RoleDefinition
    tables: Tables
    monitoring: Monitoring
    vault: Vault | None
    network: Network | None


class Extractor(pulumi.ComponentResource):
    """A job's container group.

    Creating or replacing the group starts it, and it ends within seconds: it loads data only when
    the scheduler has written a run for it.

    Attributes:
        image: the image that the group runs.
    """

    def __init__(
        self, name: str, props: ExtractorProps, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("pipelines:infra:Extractor", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        identity = Identity(f"{name}-identity", _identity(name, props), child)
        self.image: Image = build_image(f"{name}-image", _image(name, props), self)
        container_group(
            name,
            ContainerGroupProps(
                stack=props.stack,
                registry_server=props.registry.login_server,
                image=self.image,
                identity=identity,
                cpu=props.config.cpu,
                memory=props.config.memory,
                environment=self._environment(name, props, identity),
                # An attempt ends with its container; whether there is another is the scheduler's.
                restart_policy=containerinstance.ContainerGroupRestartPolicy.NEVER,
                network=props.network,
            ),
            self,
        )
        self.register_outputs({"image": self.image.reference})

    def _environment(
        self, name: str, props: ExtractorProps, identity: Identity
    ) -> dict[str, pulumi.Input[str]]:
        return {
            **props.config.environment,
            **_secrets(props),
            "APPLICATIONINSIGHTS_CONNECTION_STRING": props.monitoring.connection_string,
            "AZURE_CLIENT_ID": identity.client_id,
            "IMAGE_DIGEST": self.image.digest,
            "JOB_NAME": name,
            "LAKE_ENDPOINT": props.lake.endpoint,
            "LAKE_FILE_SYSTEM": props.lake.file_system,
            "TABLES_ENDPOINT": props.tables.endpoint,
        }


def _secrets(props: ExtractorProps) -> dict[str, pulumi.Input[str]]:
    """Where the secrets are, never what they are."""
    if props.vault is None or not props.config.secrets:
        return {}
    return {
        "KEY_VAULT_URL": props.vault.url,
        "SECRETS": json.dumps(props.config.secrets, sort_keys=True),
    }


def _identity(name: str, props: ExtractorProps) -> IdentityProps:
    tables = {
        f"table-{table}": Grant(BuiltInRole.TABLE_DATA_CONTRIBUTOR, props.tables.table_ids[table])
        for table in (JOBS_TABLE, RUNS_TABLE)
    }
    secrets = {
        f"secret-{secret}": Grant(BuiltInRole.KEY_VAULT_SECRETS_USER, props.vault.secret_id(secret))
        for secret in sorted(set(props.config.secrets.values()))
        if props.vault
    }
    return IdentityProps(
        stack=props.stack,
        subscription_id=props.subscription_id,
        grants={
            "registry": Grant(BuiltInRole.ACR_PULL, props.registry.id),
            "lake": Grant(
                props.lake_role.id, props.lake.file_system_id, folder_condition(lake_folders(name))
            ),
            "monitoring": Grant(
                BuiltInRole.MONITORING_METRICS_PUBLISHER, props.monitoring.component_id
            ),
            **tables,
            **secrets,
        },
    )


def _image(name: str, props: ExtractorProps) -> ImageProps:
    return ImageProps(
        registry=props.registry,
        repository=naming.repository(name),
        context=stage(f"extractor-{name}", {".": EXTRACTORS_FOLDER / name}),
        named_contexts={"runtime": props.runtime},
        build_args={"BASE_IMAGE": props.base_image},
    )


def stage_runtime() -> Path:
    """Stage what all extractors share, once for all of their builds."""
    return stage("runtime", {".": EXTRACTORS_FOLDER / "runtime"})
