"""The JSON Schema that editors use: up to date, and of one mind with the program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from infra import schema
from infra.config import ConfigurationError, StackConfig
from tests.unit.infra.engine import run_program

REPOSITORY = Path(__file__).resolve().parents[3]
STACKS = sorted(path for path in REPOSITORY.glob("Pulumi.*.yaml"))
FIRST_LINE = "# yaml-language-server: $schema=Pulumi.schema.json"

WEATHER: Mapping[str, Any] = {"schedule": "0 6 * * *", "start": "2024-01-01T00:00:00Z"}

VALIDATOR = jsonschema.Draft202012Validator(schema.stack_schema())


def refused(config: Mapping[str, Any]) -> bool:
    return not VALIDATOR.is_valid({"config": {f"pipelines:{k}": v for k, v in config.items()}})


def refused_by_the_program(config: Mapping[str, Any]) -> bool:
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in config.items()}
    try:
        StackConfig.parse(texts)
    except ConfigurationError:
        return True
    return False


def test_the_file_is_what_make_schema_writes() -> None:
    assert schema.FILE.read_text() == schema.rendered(), "stale; run `make schema`"


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(schema.FILE.read_text()))


def test_dev_prod_and_local_are_checked() -> None:
    names = {path.name for path in STACKS}
    assert {"Pulumi.dev.yaml", "Pulumi.local.yaml", "Pulumi.prod.yaml"} <= names


@pytest.mark.parametrize("path", STACKS, ids=lambda path: path.name)
def test_a_stack_in_the_repository_names_the_schema_and_is_valid(path: Path) -> None:
    text = path.read_text()
    assert text.splitlines()[0] == FIRST_LINE
    VALIDATOR.validate(yaml.safe_load(text))


@pytest.mark.parametrize("path", STACKS, ids=lambda path: path.name)
def test_the_program_accepts_a_stack_in_the_repository(path: Path) -> None:
    config, region = StackConfig.read(path)
    assert "weather" in config.extractors
    assert region == "westeurope"


@pytest.mark.parametrize(
    "change",
    [
        {"schedule": "0 0 6 * * *"},
        {"schedule": "daily"},
        {"schedule": 5},
        {"every": "PT15M"},
        {"after": []},
        {"timeZone": "Europe/Amsterdm"},
        {"start": "2024-01-01"},
        {"start": "2024-01-01T00:00:00"},
        {"lag": "five days"},
        {"maxWindow": "P0D"},
        {"maxWindow": "P"},
        {"retryDelay": "PT"},
        {"catchUp": "some"},
        {"overlap": "never"},
        {"maxAttempts": 0},
        {"maxAttempts": 1.5},
        {"paused": "perhaps"},
        {"cpu": 0},
        {"cpu": 5},
        {"memory": 17},
        {"timezone": "UTC"},
        {"environment": {"PORT": 80}},
        {"environment": {"2ND": "x"}},
        {"environment": {"JOB_NAME": "x"}},
        {"secrets": {"API_KEY": "api_key"}},
    ],
    ids=json.dumps,
)
def test_a_wrong_value_of_an_extractor_is_refused_by_schema_and_program(
    change: Mapping[str, Any],
) -> None:
    config = {"extractors": {"weather": {**WEATHER, **change}}}
    assert refused(config)
    assert refused_by_the_program(config)


@pytest.mark.parametrize(
    "values",
    [
        {"retention": {}},
        {"lake": {"coolAfterDays": -1}},
        {"lake": {"fileSystem": "Raw"}},
        {"lake": {"lock": True}},
        {"monitoring": {"alerts": {"emails": ["team"]}}},
        {"monitoring": {"alerts": {"emails": "a@b.c"}}},
        {"monitoring": {"alerts": {"noTickMinutes": 7}}},
        {"network": {"addressSpace": "10.0.0.0/25"}},
        {"network": {"addressSpace": "10.0.0.0"}},
        {"network": {"deployerAddresses": ["home"]}},
        {"network": {"clientAddresses": ["home"]}},
        {"scheduler": {"plan": "Y1"}},
        {"scheduler": {"authentication": {}}},
        {"scheduler": {"tickSeconds": 0}},
        {"tags": {"cost-center": 7}},
        {"extractors": {"Weather": WEATHER}},
        {"extractors": {"runtime": WEATHER}},
        {"extractors": {"weather": {}}},
        {"extractors": {"weather": "daily"}},
    ],
    ids=json.dumps,
)
def test_a_wrong_value_of_a_shared_part_is_refused_by_schema_and_program(
    values: Mapping[str, Any],
) -> None:
    config = {"extractors": {}, **values}
    assert refused(config)
    assert refused_by_the_program(config)


@pytest.mark.parametrize(
    "change",
    [
        {"schedule": "*/10 8-18 * * MON-FRI"},
        {"timeZone": "UTC"},
        {"timeZone": "America/Argentina/Buenos_Aires"},
        {"start": "2024-01-01T00:00:00+02:00"},
        {"lag": "PT0S"},
        {"maxWindow": "P1DT12H"},
        {"maxWindow": "P2W"},
        {"retryDelay": "PT0.5S"},
        {"memory": 3.7},
    ],
    ids=json.dumps,
)
def test_a_right_value_is_accepted_by_schema_and_program(change: Mapping[str, Any]) -> None:
    config = {"extractors": {"weather": {**WEATHER, **change}}}
    assert not refused(config)
    assert not refused_by_the_program(config)


def test_a_stack_without_extractors_is_refused() -> None:
    assert refused({})


def test_keys_of_providers_and_of_the_engine_are_left_alone() -> None:
    config = {"pipelines:extractors": {}, "azure-native:subscriptionId": "s"}
    VALIDATOR.validate({"config": config, "encryptionsalt": "v1:x"})
    assert not VALIDATOR.is_valid({"config": config, "extractors": {}})


def every_key(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{name}.{key}": value
        for name, each in definition["$defs"].items()
        for key, value in each.get("properties", {}).items()
    }


def test_every_key_is_explained() -> None:
    keys = every_key(schema.stack_schema())
    assert {key for key, value in keys.items() if not value.get("description")} == set()
    described = json.dumps([value["description"] for value in keys.values()])
    assert ":class:" not in described
    assert "max_window" not in described


def test_production_is_closed_locked_and_watched() -> None:
    config = yaml.safe_load((REPOSITORY / "Pulumi.prod.yaml").read_text())["config"]
    engine = run_program(config, stack="prod")
    assert engine.one("authorization:ManagementLockByScope").inputs["level"] == "CanNotDelete"
    assert len(engine.all("monitor:ScheduledQueryRule")) == 3
    for kind in ("storage:StorageAccount", "containerregistry:Registry"):
        assert {each.inputs["publicNetworkAccess"] for each in engine.all(kind)} == {"Disabled"}
    directory = engine.one("web:WebAppAuthSettingsV2").inputs["identityProviders"]
    policy = directory["azureActiveDirectory"]["validation"]["defaultAuthorizationPolicy"]
    assert policy["allowedPrincipals"]["identities"] != []


def test_a_wrong_time_zone_is_not_answered_with_all_of_them() -> None:
    zones = schema.stack_schema()["$defs"]["TimeZone"]
    assert len(zones["enum"]) > 400
    assert zones["errorMessage"] == "allowed is an IANA time zone such as UTC or Europe/Berlin"
