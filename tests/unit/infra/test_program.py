"""The program as a whole, under mocks that answer as the engine does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

from tests.unit.infra.engine import SUBSCRIPTION, Declared, Engine, run_program

Config = dict[str, Any]


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
    return {**config, "pipelines:scheduler": {"host": "container", "tickSeconds": 5}}


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
    assert {table.inputs["tableName"] for table in tables} == {"jobs", "runs"}
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
        ("ba92f5b4-2d11-453d-a403-e96b0029c9fe", "raw"),
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


# Images


def test_images_are_pushed_for_linux_and_not_built_in_a_preview(config: Config) -> None:
    for image in run_program(config).all("index:Image"):
        assert image.inputs["push"] is True
        assert image.inputs["buildOnPreview"] is False
        assert image.inputs["platforms"] == ["linux/amd64"]
        (tag,) = image.inputs["tags"]
        assert tag.startswith("registry1a2b3c4d.azurecr.io/")
        assert tag.endswith(":dev")


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
    role = engine.one("authorization:RoleDefinition").inputs
    assert role["permissions"] == [
        {
            "actions": [
                "Microsoft.ContainerInstance/containerGroups/read",
                "Microsoft.ContainerInstance/containerGroups/start/action",
                "Microsoft.ContainerInstance/containerGroups/stop/action",
                "Microsoft.ContainerInstance/containerGroups/containers/logs/read",
            ]
        }
    ]
    assert role["assignableScopes"] == [role["scope"]]
    assert role["scope"].endswith("/pipelines-dev")
    assert roles(engine, "scheduler-identity") == {
        ("7f951dda-4ed3-4680-a7ca-43fe172d538d", "registry1a2b3c4d"),
        ("scheduler-role", "pipelines-dev"),
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
    assert declaration == {
        "name": "weather",
        "containerGroup": "weather",
        "schedule": "0 6 * * *",
        "start": "2024-01-01T00:00:00Z",
    }
    assert variables == {
        "AZURE_CLIENT_ID": "client-of-scheduler-identity1a2b3c4d",
        "RESOURCE_GROUP": "pipelines-dev",
        "SUBSCRIPTION_ID": SUBSCRIPTION,
        "TABLES_ENDPOINT": "https://state1a2b3c4d.table.core.windows.net/",
        "TICK_SECONDS": "5",
    }
    assert group.inputs["restartPolicy"] == "Always"


def test_a_function_scheduler_has_its_settings_and_no_key(config: Config) -> None:
    app = run_program(config).one("web:WebApp").inputs
    settings = {one["name"]: one["value"] for one in app["siteConfig"]["appSettings"]}
    assert json.loads(settings.pop("JOB__0"))["name"] == "weather"
    assert settings == {
        "AZURE_CLIENT_ID": "client-of-scheduler-identity1a2b3c4d",
        "AzureWebJobsStorage__accountName": "state1a2b3c4d",
        "AzureWebJobsStorage__clientId": "client-of-scheduler-identity1a2b3c4d",
        "AzureWebJobsStorage__credential": "managedidentity",
        "FUNCTIONS_EXTENSION_VERSION": "~4",
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "RESOURCE_GROUP": "pipelines-dev",
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
    image = "registry1a2b3c4d.azurecr.io/scheduler@sha256:scheduler-image"
    assert site["linuxFxVersion"] == f"DOCKER|{image}"


# The whole


def test_everything_that_takes_tags_is_tagged(config: Config) -> None:
    engine = run_program({**config, "pipelines:tags": {"team": "data"}})
    untagged = {
        each.name
        for each in engine.declared
        if each.type.startswith("azure-native:")
        and each.type.rpartition(":")[2]
        not in {"BlobContainer", "Table", "RoleAssignment", "RoleDefinition"}
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
