"""The Pulumi program: which parts a stack has, and what each is given. The same for every stack."""

import sys
from datetime import UTC, datetime
from pathlib import Path

# Pulumi puts only this folder on the path; the packages are beside it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pulumi
from pulumi_azure_native import authorization, resources

from infra import aliases, cost, naming, policies, preview
from infra.config import ConfigurationError, StackConfig
from infra.extractors import Extractor, ExtractorProps, stage_runtime
from infra.lake import Lake, LakeProps
from infra.monitoring import Monitoring, MonitoringProps
from infra.network import Network, NetworkProps
from infra.prices import PriceTable
from infra.registry import Registry, RegistryProps
from infra.roles import LAKE_WRITER, define
from infra.scheduler import Scheduler, SchedulerProps
from infra.stack import StackProps
from infra.tables import Tables, TablesProps
from infra.vault import Vault, VaultProps


def deploy() -> None:
    """Declare everything that the stack's configuration asks for.

    Raises:
        pulumi.RunError: the configuration is wrong; no resource was declared.
    """
    try:
        config = StackConfig.load()
        group_name = naming.resource_group(pulumi.get_project(), pulumi.get_stack())
    except (ConfigurationError, ValueError) as error:
        raise pulumi.RunError(str(error)) from None

    aliases.leave_out_versions()
    policies.enforce(config.policies)
    tags = {"project": pulumi.get_project(), "stack": pulumi.get_stack(), **config.tags}
    group = resources.ResourceGroup(
        "group",
        resource_group_name=group_name,
        tags=tags,
        # It holds all the rest: what replaces it, deletes that.
        opts=pulumi.ResourceOptions(protect=config.protected),
    )
    stack = StackProps(
        resource_group_name=group.name,
        resource_group_id=group.id,
        tags=tags,
        protected=config.protected,
    )
    client = authorization.get_client_config_output()

    network = (
        Network("network", NetworkProps(stack, config.network)) if config.network.isolated else None
    )
    monitoring = Monitoring("monitoring", MonitoringProps(stack, config.monitoring))
    registry = Registry("registry", RegistryProps(stack, network))
    lake = Lake("lake", LakeProps(stack, config.lake, network))
    tables = Tables("state", TablesProps(stack, network))
    vault = (
        Vault("vault", VaultProps(stack, client.tenant_id, network))
        if any(each.secrets for each in config.extractors.values())
        else None
    )

    lake_role = define(LAKE_WRITER, group.id, lake)
    runtime = stage_runtime()
    extractors = []
    for name, extractor in config.extractors.items():
        props = ExtractorProps(
            stack=stack,
            subscription_id=client.subscription_id,
            config=extractor,
            base_image=config.base_image,
            runtime=runtime,
            registry=registry,
            lake=lake,
            lake_role=lake_role,
            tables=tables,
            monitoring=monitoring,
            vault=vault,
            network=network,
        )
        extractors.append(Extractor(name, props))

    region = pulumi.Config("azure-native").get("location") or ""
    prices = PriceTable.load()
    declarations = [each.declaration(name) for name, each in config.extractors.items()]
    Scheduler(
        "scheduler",
        SchedulerProps(
            stack=stack,
            subscription_id=client.subscription_id,
            tenant_id=client.tenant_id,
            config=config.scheduler,
            base_image=config.base_image,
            registry=registry,
            tables=tables,
            monitoring=monitoring,
            network=network,
            jobs=declarations,
            price=prices.of_containers(region),
            extractors=extractors,
        ),
    )

    pulumi.export("resourceGroup", group.name)
    pulumi.export("registry", registry.login_server)
    pulumi.export("lakeAccount", lake.account_name)
    pulumi.export("lakeFileSystem", lake.file_system)
    pulumi.export("tablesAccount", tables.account_name)
    if network:
        pulumi.export("outboundAddress", network.outbound_address)
    # Of this output, a preview shows how each job's declaration differs from the deployed one.
    pulumi.export("jobs", {name: each.written() for name, each in config.extractors.items()})
    if pulumi.runtime.is_dry_run() and declarations:
        now = datetime.now(UTC)
        costs = cost.estimate(config, region, prices, now)
        times = preview.fire_times(declarations, now)
        pulumi.log.info(f"The next fire times\n{times}\n{costs.sentence}")


if __name__ == "__main__":
    deploy()
