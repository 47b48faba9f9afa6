"""The program as a whole, under mocks that answer as the engine does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra.config import AlertsConfig
from infra.monitoring import alerts
from infra.prices import PriceTable
from infra.roles import folder_condition
from scheduler.settings import Settings
from tests.unit.infra import stacks
from tests.unit.infra.engine import ACCESS_TOKEN, SUBSCRIPTION, Declared, Engine, run_program
from tests.unit.infra.stacks import Config

CONNECTION = "InstrumentationKey=key-of-monitoring1a2b3c4d"


def container(group: Declared) -> dict[str, Any]:
    (only,) = group.inputs["containers"]
    return dict(only)


def environment(group: Declared) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(group)["environmentVariables"]}


def roles(engine: Engine, identity: str) -> set[tuple[str, str]]:
    """Last parts of role and scope of an identity's assignments."""
    return {
        (
            each.inputs["roleDefinitionId"].rpartition("/")[2],
            each.inputs["scope"].rpartition("/")[2],
        )
        for each in engine.all("authorization:RoleAssignment")
        if each.inputs["principalId"].startswith(f"principal-of-{identity}")
    }


def with_container_scheduler(config: Config) -> Config:
    limits = {"maxRunning": 7, "startsPerFiveMinutes": 8, "startsPerHour": 9}
    return {**config, "pipelines:scheduler": {"host": "container", "tickSeconds": 5, **limits}}


# Storage and registry


def test_both_accounts_accept_tokens_only_over_tls_1_2(config: Config) -> None:
    engine = run_program(config)
    for name in ("lake", "state"):
        account = engine.one("storage:StorageAccount", name).inputs
        assert account["allowSharedKeyAccess"] is False
        assert account["defaultToOAuthAuthentication"] is True
        assert account["allowBlobPublicAccess"] is False
        assert account["allowCrossTenantReplication"] is False
        assert account["enableHttpsTrafficOnly"] is True
        assert account["minimumTlsVersion"] == "TLS1_2"


def test_only_the_lake_is_hierarchical(config: Config) -> None:
    engine = run_program(config)
    assert engine.one("storage:StorageAccount", "lake").inputs["isHnsEnabled"] is True
    assert engine.one("storage:StorageAccount", "state").inputs["isHnsEnabled"] is False


def test_account_names_leave_room_for_the_suffix(config: Config) -> None:
    for account in run_program(config).all("storage:StorageAccount"):
        assert len(account.name) <= 24 - 8
        assert account.name.isalnum()
        assert account.name.islower()


def test_the_file_system_is_the_configured_one_and_private(config: Config) -> None:
    engine = run_program({**config, "pipelines:lake": {"fileSystem": "bronze"}})
    file_system = engine.one("storage:BlobContainer")
    assert file_system.inputs["containerName"] == "bronze"
    assert file_system.inputs["accountName"] == "lake1a2b3c4d"
    assert file_system.inputs["publicAccess"] == "None"


def test_the_tables_are_in_the_other_account(config: Config) -> None:
    tables = run_program(config).all("storage:Table")
    assert {table.inputs["tableName"] for table in tables} == {"audit", "jobs", "runs"}
    assert {table.inputs["accountName"] for table in tables} == {"state1a2b3c4d"}


def test_the_registry_has_no_admin_user_and_no_anonymous_pull(config: Config) -> None:
    registry = run_program(config).one("containerregistry:Registry")
    assert registry.inputs["adminUserEnabled"] is False
    assert registry.inputs["anonymousPullEnabled"] is False


# Extractors


def test_an_extractor_runs_its_image_by_digest(config: Config) -> None:
    group = run_program(config).one("containerinstance:ContainerGroup", "weather")
    server = "registry1a2b3c4d.azurecr.io"
    assert container(group)["image"] == f"{server}/extractor/weather@sha256:weather-image"
    assert group.inputs["containerGroupName"] == "weather"
    assert group.inputs["osType"] == "Linux"
    assert group.inputs["restartPolicy"] == "Never"


def test_an_extractor_gets_the_configured_resources(config: Config) -> None:
    config["pipelines:extractors"]["weather"] |= {"cpu": 2, "memory": 3.5}
    group = run_program(config).one("containerinstance:ContainerGroup", "weather")
    assert container(group)["resources"] == {"requests": {"cpu": 2, "memoryInGB": 3.5}}


def test_an_extractor_gets_its_environment_and_the_deployments(config: Config) -> None:
    config["pipelines:extractors"]["weather"]["environment"] = {"STATIONS": "[]"}
    group = run_program(config).one("containerinstance:ContainerGroup", "weather")
    assert environment(group) == {
        "APPLICATIONINSIGHTS_CONNECTION_STRING": CONNECTION,
        "AZURE_CLIENT_ID": "client-of-weather-identity1a2b3c4d",
        "IMAGE_DIGEST": "sha256:weather-image",
        "JOB_NAME": "weather",
        "LAKE_ENDPOINT": "https://lake1a2b3c4d.dfs.core.windows.net/",
        "LAKE_FILE_SYSTEM": "raw",
        "STATIONS": "[]",
        "TABLES_ENDPOINT": "https://state1a2b3c4d.table.core.windows.net/",
    }


def test_an_extractor_holds_the_narrowest_roles(config: Config) -> None:
    assert roles(run_program(config), "weather-identity") == {
        ("7f951dda-4ed3-4680-a7ca-43fe172d538d", "registry1a2b3c4d"),
        ("lake-writer", "raw"),
        ("3913510d-42f4-4e42-8a64-420c390055eb", "monitoring1a2b3c4d"),
        ("0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", "jobs"),
        ("0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", "runs"),
    }


def test_an_extractor_pulls_with_its_identity_and_no_password(config: Config) -> None:
    group = run_program(config).one("containerinstance:ContainerGroup", "weather")
    (identity,) = group.inputs["identity"]["userAssignedIdentities"]
    assert identity.endswith("/weather-identity1a2b3c4d")
    assert group.inputs["imageRegistryCredentials"] == [
        {"server": "registry1a2b3c4d.azurecr.io", "identity": identity}
    ]


def test_a_group_waits_for_its_roles(config: Config) -> None:
    group = run_program(config).one("containerinstance:ContainerGroup", "weather")
    waited_for = {urn.rpartition("::")[2] for urn in group.depends_on}
    assert waited_for >= {
        "weather-identity-registry",
        "weather-identity-lake",
        "weather-identity-table-jobs",
        "weather-identity-table-runs",
    }


@pytest.mark.parametrize(
    ("host", "kind"),
    [("function", "web:WebApp"), ("container", "containerinstance:ContainerGroup")],
)
def test_the_scheduler_waits_for_the_groups_that_it_starts(
    config: Config, host: str, kind: str
) -> None:
    config["pipelines:scheduler"] = {"host": host}
    scheduler = run_program(config).one(kind, "scheduler")
    assert "weather" in {urn.rpartition("::")[2] for urn in scheduler.depends_on}


def test_a_changed_group_is_replaced_and_the_old_one_goes_first(config: Config) -> None:
    group = run_program(config).one("containerinstance:ContainerGroup", "weather")
    assert group.replace_on_changes == ["*"]
    assert group.delete_before_replace


def test_each_extractor_has_a_group_and_an_identity_of_its_own(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.config._check_folders", lambda *_: None)
    monkeypatch.setattr("infra.extractors.stage", lambda name, _: Path.cwd() / name)
    config["pipelines:extractors"]["sales-orders"] = config["pipelines:extractors"]["weather"]
    engine = run_program(config)
    groups = {each.name for each in engine.all("containerinstance:ContainerGroup")}
    assert groups == {"weather", "sales-orders"}
    assert roles(engine, "sales-orders-identity") == roles(engine, "weather-identity")


def test_an_extractor_writes_its_own_folders_of_the_lake_and_cannot_delete_the_lake(
    config: Config,
) -> None:
    engine = run_program(config)
    (assignment,) = (
        each.inputs
        for each in engine.all("authorization:RoleAssignment")
        if each.name == "weather-identity-lake"
    )
    assert assignment["condition"] == folder_condition(["weather", "_staging/weather"])
    assert assignment["conditionVersion"] == "2.0"
    (permissions,) = engine.one("authorization:RoleDefinition", "lake-writer").inputs["permissions"]
    assert permissions["actions"] == []
    assert all("/containers/blobs/" in action for action in permissions["dataActions"])


def test_secrets_are_read_by_name_with_a_role_on_each(config: Config) -> None:
    config["pipelines:extractors"]["weather"]["secrets"] = {"API_KEY": "weather-key"}
    engine = run_program(config)
    group = engine.one("containerinstance:ContainerGroup", "weather")
    assert environment(group)["KEY_VAULT_URL"] == "https://vault1a2b3c4d.vault.azure.net/"
    assert json.loads(environment(group)["SECRETS"]) == {"API_KEY": "weather-key"}
    assert ("4633458b-17de-408a-b874-0445c86b69e6", "weather-key") in roles(
        engine, "weather-identity"
    )


def test_the_vault_reads_by_role_and_keeps_what_is_deleted(config: Config) -> None:
    config["pipelines:extractors"]["weather"]["secrets"] = {"API_KEY": "weather-key"}
    vault = run_program(config).one("keyvault:Vault").inputs["properties"]
    assert vault["enableRbacAuthorization"] is True
    assert vault["enableSoftDelete"] is True
    assert vault["enablePurgeProtection"] is True


def test_without_secrets_there_is_no_vault(config: Config) -> None:
    assert run_program(config).all("keyvault:Vault") == []


# Images


def test_images_are_pushed_for_linux_and_not_built_in_a_preview(config: Config) -> None:
    for image in run_program(config).all("index:Image"):
        assert image.inputs["push"] is True
        assert image.inputs["buildOnPreview"] is False
        assert image.inputs["platforms"] == ["linux/amd64"]
        (tag,) = image.inputs["tags"]
        assert tag.startswith("registry1a2b3c4d.azurecr.io/")
        assert tag.endswith(":dev")


def test_docker_is_signed_in_before_a_push_and_not_in_a_preview(
    config: Config, signed_in: list[tuple[str, str]]
) -> None:
    run_program(config, stack="first", preview=True)
    assert signed_in == []
    run_program(config, stack="first")
    assert signed_in == [("registry1a2b3c4d.azurecr.io", ACCESS_TOKEN)]


def test_no_credential_is_in_the_state(config: Config) -> None:
    for each in run_program(config).declared:
        assert ACCESS_TOKEN not in json.dumps(each.inputs, default=str)


def test_no_path_of_this_machine_is_in_the_state(config: Config) -> None:
    for image in run_program(config).all("index:Image"):
        assert '"/' not in json.dumps({**image.inputs, "tags": []})


def test_an_extractors_image_gets_base_and_runtime(config: Config) -> None:
    engine = run_program({**config, "pipelines:baseImage": "python:3.12-slim"})
    image = engine.one("index:Image", "weather-image").inputs
    assert image["buildArgs"] == {"BASE_IMAGE": "python:3.12-slim"}
    assert image["context"]["named"]["runtime"]["location"].endswith("/dev/runtime")
    assert image["context"]["location"].endswith("/dev/extractor-weather")


def test_the_schedulers_image_is_that_of_its_host(config: Config) -> None:
    function = run_program(config).one("index:Image", "scheduler-image").inputs
    assert function["target"] == "function"
    container_image = run_program(with_container_scheduler(config))
    image = container_image.one("index:Image", "scheduler-image").inputs
    assert image["target"] == "container"
    assert image["buildArgs"] == {"BASE_IMAGE": "python:3.11-slim"}


# Scheduler


def test_the_scheduler_starts_and_stops_groups_and_nothing_else(config: Config) -> None:
    engine = run_program(config)
    role = engine.one("authorization:RoleDefinition", "container-starter").inputs
    assert role["permissions"] == [
        {
            "actions": [
                "Microsoft.ContainerInstance/containerGroups/read",
                "Microsoft.ContainerInstance/containerGroups/start/action",
                "Microsoft.ContainerInstance/containerGroups/stop/action",
                "Microsoft.ContainerInstance/containerGroups/containers/logs/read",
            ],
            "dataActions": [],
        }
    ]
    assert role["assignableScopes"] == [role["scope"]]
    assert role["scope"].endswith("/pipelines-dev")
    assert roles(engine, "scheduler-identity") == {
        ("7f951dda-4ed3-4680-a7ca-43fe172d538d", "registry1a2b3c4d"),
        ("container-starter", "pipelines-dev"),
        ("3913510d-42f4-4e42-8a64-420c390055eb", "monitoring1a2b3c4d"),
        ("0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", "audit"),
        ("0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", "jobs"),
        ("0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", "runs"),
        ("b7e6dc6d-f1e8-4753-8033-0f276bb0955b", "state1a2b3c4d"),
    }


def test_a_container_scheduler_needs_no_role_for_a_functions_host(config: Config) -> None:
    engine = run_program(with_container_scheduler(config))
    assert "b7e6dc6d-f1e8-4753-8033-0f276bb0955b" not in dict(roles(engine, "scheduler-identity"))


def test_a_container_scheduler_always_runs_and_knows_its_jobs(config: Config) -> None:
    group = run_program(with_container_scheduler(config)).one(
        "containerinstance:ContainerGroup", "scheduler"
    )
    variables = environment(group)
    declaration = json.loads(variables.pop("JOB__0"))
    assert Settings.read(variables).price == PriceTable.load().of_containers("westeurope")
    del variables["PRICE"]
    assert declaration == {
        "name": "weather",
        "containerGroup": "weather",
        "cpu": 1.0,
        "memory": 1.5,
        "schedule": "0 6 * * *",
        "start": "2024-01-01T00:00:00Z",
    }
    assert variables == {
        "APPLICATIONINSIGHTS_CONNECTION_STRING": CONNECTION,
        "AZURE_CLIENT_ID": "client-of-scheduler-identity1a2b3c4d",
        "RESOURCE_GROUP": "pipelines-dev",
        "RETENTION_DAYS": "90",
        "MAX_RUNNING": "7",
        "STARTS_PER_FIVE_MINUTES": "8",
        "STARTS_PER_HOUR": "9",
        "SUBSCRIPTION_ID": SUBSCRIPTION,
        "TABLES_ENDPOINT": "https://state1a2b3c4d.table.core.windows.net/",
        "TICK_SECONDS": "5",
    }
    assert group.inputs["restartPolicy"] == "Always"


def test_a_function_scheduler_has_its_settings_and_no_key(config: Config) -> None:
    app = run_program(config).one("web:WebApp").inputs
    settings = {one["name"]: one["value"] for one in app["siteConfig"]["appSettings"]}
    assert json.loads(settings.pop("JOB__0"))["name"] == "weather"
    assert json.loads(settings.pop("PRICE"))["currency"] == "USD"
    assert settings == {
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": (
            "ClientId=client-of-scheduler-identity1a2b3c4d;Authorization=AAD"
        ),
        "APPLICATIONINSIGHTS_CONNECTION_STRING": CONNECTION,
        "AZURE_CLIENT_ID": "client-of-scheduler-identity1a2b3c4d",
        "AzureWebJobsStorage__accountName": "state1a2b3c4d",
        "AzureWebJobsStorage__clientId": "client-of-scheduler-identity1a2b3c4d",
        "AzureWebJobsStorage__credential": "managedidentity",
        "FUNCTIONS_EXTENSION_VERSION": "~4",
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "RESOURCE_GROUP": "pipelines-dev",
        "RETENTION_DAYS": "90",
        "MAX_RUNNING": "100",
        "STARTS_PER_FIVE_MINUTES": "100",
        "STARTS_PER_HOUR": "300",
        "SUBSCRIPTION_ID": SUBSCRIPTION,
        "TABLES_ENDPOINT": "https://state1a2b3c4d.table.core.windows.net/",
        "WEBSITES_ENABLE_APP_SERVICE_STORAGE": "false",
    }


def test_a_function_scheduler_is_always_on_https_only_and_pulls_with_its_identity(
    config: Config,
) -> None:
    app = run_program(config).one("web:WebApp").inputs
    site = app["siteConfig"]
    assert app["kind"] == "functionapp,linux,container"
    assert app["httpsOnly"] is True
    assert site["alwaysOn"] is True
    assert site["acrUseManagedIdentityCreds"] is True
    assert site["acrUserManagedIdentityID"] == "client-of-scheduler-identity1a2b3c4d"
    assert site["minTlsVersion"] == "1.2"
    assert site["ftpsState"] == "Disabled"
    assert "cors" not in site  # no page of another origin may call with its visitor's session
    image = "registry1a2b3c4d.azurecr.io/scheduler@sha256:scheduler-image"
    assert site["linuxFxVersion"] == f"DOCKER|{image}"


def test_the_functions_answer_nobody_who_has_not_signed_in(config: Config) -> None:
    settings = run_program(config).one("web:WebAppAuthSettingsV2").inputs
    assert settings["platform"]["enabled"] is True
    validation = settings["globalValidation"]
    assert validation["requireAuthentication"] is True
    assert validation["unauthenticatedClientAction"] == "Return401"
    assert validation["excludedPaths"] == ["/api/health"]
    assert "identityProviders" not in settings


def test_the_functions_accept_the_registration_and_its_principals(config: Config) -> None:
    client, person = "aaaaaaaa-0000-4000-8000-000000000001", "aaaaaaaa-0000-4000-8000-000000000002"
    config["pipelines:scheduler"] = {"authentication": {"clientId": client, "principals": [person]}}
    settings = run_program(config).one("web:WebAppAuthSettingsV2").inputs
    directory = settings["identityProviders"]["azureActiveDirectory"]
    assert directory["registration"] == {
        "clientId": client,
        "openIdIssuer": "https://login.microsoftonline.com/t/v2.0",
    }
    assert directory["validation"] == {
        "allowedAudiences": [client, f"api://{client}"],
        "defaultAuthorizationPolicy": {"allowedPrincipals": {"identities": [person]}},
    }


def test_the_plan_is_the_configured_one(config: Config) -> None:
    assert run_program(config).one("web:AppServicePlan").inputs["sku"] == {"name": "B1"}
    config["pipelines:scheduler"] = {"plan": "P1v3"}
    plan = run_program(config).one("web:AppServicePlan").inputs
    assert plan["sku"] == {"name": "P1v3"}
    assert plan["reserved"] is True


# Keeping data


def test_what_is_deleted_can_be_had_back(config: Config) -> None:
    config["pipelines:lake"] = {"softDeleteDays": 30}
    properties = run_program(config).one("storage:BlobServiceProperties").inputs
    assert properties["accountName"] == "lake1a2b3c4d"
    assert properties["deleteRetentionPolicy"] == {"enabled": True, "days": 30}
    assert properties["containerDeleteRetentionPolicy"] == {"enabled": True, "days": 30}


def test_files_move_to_the_cool_tier_only_where_that_is_asked_for(config: Config) -> None:
    assert run_program(config).all("storage:ManagementPolicy") == []
    config["pipelines:lake"] = {"coolAfterDays": 90}
    (rule,) = run_program(config).one("storage:ManagementPolicy").inputs["policy"]["rules"]
    assert rule["enabled"] is True
    assert rule["definition"]["filters"]["prefixMatch"] == ["raw/"]
    cool = rule["definition"]["actions"]["baseBlob"]["tierToCool"]
    assert cool == {"daysAfterModificationGreaterThan": 90}


def test_the_lake_is_locked_only_where_that_is_asked_for(config: Config) -> None:
    assert run_program(config).all("authorization:ManagementLockByScope") == []
    config["pipelines:lake"] = {"locked": True}
    lock = run_program(config).one("authorization:ManagementLockByScope").inputs
    assert lock["level"] == "CanNotDelete"
    assert lock["scope"].endswith("/StorageAccount/lake1a2b3c4d")


# Monitoring


def test_logs_are_accepted_from_identities_alone(config: Config) -> None:
    engine = run_program(config)
    assert engine.one("applicationinsights:Component").inputs["disableLocalAuth"] is True
    workspace = engine.one("operationalinsights:Workspace").inputs
    assert workspace["features"]["disableLocalAuth"] is True
    assert workspace["retentionInDays"] == 30


def test_nobody_to_tell_no_alerts(config: Config) -> None:
    engine = run_program(config)
    assert engine.all("monitor:ScheduledQueryRule") == []
    assert engine.all("monitor:ActionGroup") == []


def test_alerts_tell_those_who_are_named(config: Config) -> None:
    config["pipelines:monitoring"] = {
        "alerts": {"emails": ["team@example.com"], "noTickMinutes": 10, "runSlow": True}
    }
    engine = run_program(config)
    (receiver,) = engine.one("monitor:ActionGroup").inputs["emailReceivers"]
    assert receiver["emailAddress"] == "team@example.com"
    rules = {each.name: each.inputs for each in engine.all("monitor:ScheduledQueryRule")}
    names = {"no-tick", "job-failed", "run-overdue", "run-slow"}
    assert set(rules) == {f"monitoring-{name}" for name in names}
    silent = rules["monitoring-no-tick"]
    assert silent["windowSize"] == "PT10M"
    assert silent["criteria"]["allOf"][0]["operator"] == "LessThan"
    failed = rules["monitoring-job-failed"]
    assert failed["criteria"]["allOf"][0]["operator"] == "GreaterThanOrEqual"
    for rule in rules.values():
        assert rule["enabled"] is True
        assert rule["actions"]["actionGroups"][0].endswith("/ActionGroup/monitoring")


def test_alerts_can_be_switched_off_one_by_one(config: Config) -> None:
    config["pipelines:monitoring"] = {
        "alerts": {"emails": ["team@example.com"], "jobFailed": False, "runOverdue": False}
    }
    (rule,) = run_program(config).all("monitor:ScheduledQueryRule")
    assert rule.name == "monitoring-no-tick"


def test_who_asks_for_it_is_told_of_slow_runs() -> None:
    asked, others = (
        {each.name: each for each in alerts(AlertsConfig(emails=["team@example.com"], run_slow=on))}
        for on in (True, False)
    )
    assert {*asked} - {*others} == {"run-slow"}
    # It is no failure yet.
    assert asked["run-slow"].severity > asked["run-overdue"].severity


# Network


def isolated(config: Config, *deployers: str) -> Config:
    secrets = {"secrets": {"API_KEY": "weather-key"}}
    weather = {**config["pipelines:extractors"]["weather"], **secrets}
    return {
        **config,
        "pipelines:extractors": {"weather": weather},
        "pipelines:network": {"isolated": True, "deployerAddresses": list(deployers)},
    }


def test_a_stack_that_is_not_isolated_has_no_network(config: Config) -> None:
    engine = run_program(config)
    assert engine.all("network:VirtualNetwork") == []
    for kind in ("storage:StorageAccount", "containerregistry:Registry"):
        assert {each.inputs["publicNetworkAccess"] for each in engine.all(kind)} == {"Enabled"}
    assert engine.one("containerregistry:Registry").inputs["sku"] == {"name": "Basic"}


def test_an_isolated_stack_is_closed_to_the_internet(config: Config) -> None:
    engine = run_program(isolated(config))
    for kind in ("storage:StorageAccount", "containerregistry:Registry"):
        assert {each.inputs["publicNetworkAccess"] for each in engine.all(kind)} == {"Disabled"}
    vault = engine.one("keyvault:Vault").inputs["properties"]
    assert vault["publicNetworkAccess"] == "Disabled"
    assert engine.one("containerregistry:Registry").inputs["sku"] == {"name": "Premium"}


def test_everything_is_reached_through_private_endpoints_and_names(config: Config) -> None:
    engine = run_program(isolated(config))
    names = {each.name for each in engine.all("network:PrivateEndpoint")}
    assert names == {
        "lake-dfs",
        "lake-blob",
        "state-table",
        "state-blob",
        "state-queue",
        "registry-registry",
        "vault-vault",
    }
    assert {each.name for each in engine.all("network:PrivateDnsZoneGroup")} == names
    zones = {each.inputs["privateZoneName"] for each in engine.all("privatedns:PrivateZone")}
    assert zones == {
        "privatelink.azurecr.io",
        "privatelink.blob.core.windows.net",
        "privatelink.dfs.core.windows.net",
        "privatelink.queue.core.windows.net",
        "privatelink.table.core.windows.net",
        "privatelink.vaultcore.azure.net",
    }
    assert len(engine.all("privatedns:VirtualNetworkLink")) == len(zones)


def test_containers_and_app_run_in_their_delegated_subnets(config: Config) -> None:
    engine = run_program(isolated(config))
    subnets = {each.name: each.inputs for each in engine.all("network:Subnet")}
    assert {name: each["addressPrefix"] for name, each in subnets.items()} == {
        "network-containers": "10.90.0.0/26",
        "network-app": "10.90.0.64/26",
        "network-endpoints": "10.90.0.128/26",
    }
    delegations = {
        name: [one["serviceName"] for one in each.get("delegations", [])]
        for name, each in subnets.items()
    }
    assert delegations == {
        "network-containers": ["Microsoft.ContainerInstance/containerGroups"],
        "network-app": ["Microsoft.Web/serverFarms"],
        "network-endpoints": [],
    }
    group = engine.one("containerinstance:ContainerGroup", "weather").inputs
    assert group["subnetIds"][0]["id"].endswith("/network-containers")
    app = engine.one("web:WebApp").inputs
    assert app["virtualNetworkSubnetId"].endswith("/network-app")
    assert app["outboundVnetRouting"] == {"allTraffic": True, "imagePullTraffic": True}


def test_what_is_in_a_subnet_is_deleted_before_it_and_it_before_what_it_names(
    config: Config,
) -> None:
    # Azure deletes no subnet in which something is, and no gateway or group that a subnet names.
    engine = run_program(isolated(config))

    def waits_for(kind: str, name: str, other: str) -> bool:
        return any(urn.endswith(other) for urn in engine.one(kind, name).depends_on)

    assert waits_for("containerinstance:ContainerGroup", "weather", "Subnet::network-containers")
    assert waits_for("web:WebApp", "scheduler", "Subnet::network-app")
    assert waits_for("network:PrivateEndpoint", "lake-dfs", "Subnet::network-endpoints")
    for each in engine.all("network:Subnet"):
        assert waits_for("network:Subnet", each.name, f"NetworkSecurityGroup::{each.name}")
    for name in ("network-containers", "network-app"):
        assert waits_for("network:Subnet", name, "NatGateway::network-outbound")


def test_clients_reach_the_private_endpoints(config: Config) -> None:
    config = isolated(config)
    config["pipelines:network"]["clientAddresses"] = ["10.1.0.0/16", "10.90.1.4"]
    rules = run_program(config).one("network:NetworkSecurityGroup", "network-endpoints").inputs
    allowed = rules["securityRules"][0]["sourceAddressPrefixes"]
    assert allowed == ["10.90.0.0/26", "10.90.0.64/26", "10.1.0.0/16", "10.90.1.4"]


def test_deployers_from_outside_reach_the_registry_and_nothing_else(config: Config) -> None:
    engine = run_program(isolated(config, "203.0.113.7"))
    registry = engine.one("containerregistry:Registry").inputs
    assert registry["publicNetworkAccess"] == "Enabled"
    assert registry["networkRuleSet"] == {
        "defaultAction": "Deny",
        "ipRules": [{"iPAddressOrRange": "203.0.113.7", "action": "Allow"}],
    }
    accounts = engine.all("storage:StorageAccount")
    assert {each.inputs["publicNetworkAccess"] for each in accounts} == {"Disabled"}


# The whole


def test_everything_that_takes_tags_is_tagged(config: Config) -> None:
    engine = run_program({**config, "pipelines:tags": {"team": "data"}})
    untagged = {
        each.name
        for each in engine.declared
        if each.type.startswith("azure-native:")
        and each.type.rpartition(":")[2] not in stacks.WITHOUT_TAGS
        and each.inputs.get("tags") != {"project": "pipelines", "stack": "dev", "team": "data"}
    }
    assert untagged == set()


@pytest.mark.parametrize("host", ["function", "container"])
def test_a_preview_needs_no_value_that_only_azure_knows(config: Config, host: str) -> None:
    config["pipelines:scheduler"] = {"host": host}
    previewed = run_program(config, preview=True)
    deployed = run_program(config)
    assert {(e.type, e.name) for e in previewed.declared} == {
        (e.type, e.name) for e in deployed.declared
    }


def test_a_changed_schedule_changes_only_the_scheduler(config: Config) -> None:
    config = with_container_scheduler(config)
    before = run_program(config)
    config["pipelines:extractors"]["weather"]["schedule"] = "*/5 * * * *"
    after = run_program(config)
    assert changed(before, after) == {"scheduler"}


def changed(before: Engine, after: Engine) -> set[str]:
    old = {(e.type, e.name): e.inputs for e in before.declared}
    return {e.name for e in after.declared if old.get((e.type, e.name)) != e.inputs}


def test_a_wrong_configuration_ends_the_program_before_any_resource(config: Config) -> None:
    config["pipelines:extractors"]["weather"]["cpu"] = 0
    engines: list[Engine] = []
    with pytest.raises(pulumi.RunError, match=r"weather\.cpu is 0; allowed is at least 1\."):
        run_program(config, started=engines.append)
    assert engines[0].declared == []


def test_no_output_is_turned_into_text(config: Config) -> None:
    for each in run_program(config).declared:
        assert "Output" not in json.dumps(each.inputs, default=str)
