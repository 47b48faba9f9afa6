from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.config import ConfigurationError, SchedulerHost, StackConfig
from scheduler.declaration import CatchUp, JobDeclaration

WEATHER: Mapping[str, Any] = {"schedule": "0 6 * * *", "start": "2024-01-01T00:00:00Z"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("weather", "sales-orders"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").touch()
    return tmp_path


def parse(folder: Path, **values: Any) -> StackConfig:
    texts = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()
    }
    return StackConfig.parse(texts, folder)


def errors(folder: Path, **values: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(folder, **values)
    return str(caught.value).splitlines()


def test_reads_what_the_engine_hands_over(folder: Path) -> None:
    config = parse(
        folder,
        extractors={
            "weather": {
                **WEATHER,
                "timeZone": "Europe/Amsterdam",
                "maxWindow": "P31D",
                "lag": "PT2H",
                "catchUp": "all",
                "cpu": 2,
                "memory": 3.7,
                "environment": {"STATIONS": "[]"},
            }
        },
        scheduler={"host": "container", "tickSeconds": 5},
        lake={"fileSystem": "bronze"},
        baseImage="python:3.12-slim",
        tags={"team": "data"},
    )

    weather = config.extractors["weather"]
    assert weather.start == datetime(2024, 1, 1, tzinfo=UTC)
    assert weather.max_window == timedelta(days=31)
    assert weather.lag == timedelta(hours=2)
    assert weather.catch_up is CatchUp.ALL
    assert (weather.cpu, weather.memory) == (2, 3.7)
    assert weather.environment == {"STATIONS": "[]"}
    assert config.scheduler.host is SchedulerHost.CONTAINER
    assert config.scheduler.tick_seconds == 5
    assert config.lake.file_system == "bronze"
    assert config.base_image == "python:3.12-slim"
    assert config.tags == {"team": "data"}


def test_a_declaration_has_the_schedule_and_of_the_container_its_size(folder: Path) -> None:
    extractors = {"weather": {**WEATHER, "cpu": 2, "environment": {"A": "b"}, "maxAttempts": 5}}
    declaration = parse(folder, extractors=extractors).extractors["weather"].declaration("weather")

    assert json.loads(declaration.to_setting()) == {
        "name": "weather",
        "containerGroup": "weather",
        "cpu": 2,
        "memory": 1.5,
        "maxAttempts": 5,
        **WEATHER,
    }
    assert JobDeclaration.from_setting(declaration.to_setting()) == declaration


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"timeZone": "Europe/Amsterdm"},
            (
                'weather.timeZone is "Europe/Amsterdm"; allowed is an IANA time zone such as '
                "'UTC' or 'Europe/Berlin'."
            ),
        ),
        (
            {"schedule": "0 0 6 * * *"},
            (
                'weather.schedule is "0 0 6 * * *"; allowed is a cron expression of five fields '
                "(minute, hour, day of month, month, day of week), not of 6."
            ),
        ),
        (
            {"schedule": "60 * * * *"},
            (
                'weather.schedule is "60 * * * *"; allowed is a cron expression of five fields '
                "such as '0 6 * * *' (Bad minute)."
            ),
        ),
        ({"cpu": 0}, "weather.cpu is 0; allowed is at least 1."),
        ({"cpu": 5}, "weather.cpu is 5; allowed is at most 4."),
        ({"memory": 0.5}, "weather.memory is 0.5; allowed is at least 1."),
        ({"memory": 17}, "weather.memory is 17; allowed is at most 16."),
        ({"memory": 1.55}, "weather.memory is 1.55; allowed is a multiple of 0.1."),
        ({"memory": "much"}, 'weather.memory is "much"; allowed is a number.'),
        (
            {"start": "2024-01-01T00:00:00"},
            (
                'weather.start is "2024-01-01T00:00:00"; allowed is a time with an offset such as '
                "2024-01-01T00:00:00Z."
            ),
        ),
        (
            {"maxWindow": "P0D"},
            (
                "weather.maxWindow is \"P0D\"; allowed is a duration above zero such as 'PT10M' or "
                "'P1D'."
            ),
        ),
        (
            {"retryDelay": "soon"},
            'weather.retryDelay is "soon"; allowed is an ISO 8601 duration such as PT10M or P1D.',
        ),
        (
            {"overlap": "never"},
            "weather.overlap is \"never\"; allowed is 'skip', 'queue' or 'replace'.",
        ),
        ({"maxAttempts": 1.5}, "weather.maxAttempts is 1.5; allowed is a whole number."),
        ({"paused": "perhaps"}, 'weather.paused is "perhaps"; allowed is true or false.'),
        (
            {"environment": {"PORT": 80}},
            (
                "weather.environment.PORT is 80; allowed is a text; put a number or a word such as "
                "true in quotes."
            ),
        ),
        (
            {"environment": {"2ND": "x"}},
            (
                'weather.environment.2ND is "2ND"; allowed is a name of letters, digits and '
                "underscores, not beginning with a digit."
            ),
        ),
        (
            {"environment": {"JOB_NAME": "x"}},
            (
                'weather.environment.JOB_NAME is "JOB_NAME"; allowed is any name but those which '
                "the deployment sets itself: APPLICATIONINSIGHTS_CONNECTION_STRING, "
                "AZURE_CLIENT_ID, IMAGE_DIGEST, JOB_NAME, KEY_VAULT_URL, LAKE_ENDPOINT, "
                "LAKE_FILE_SYSTEM, SECRETS, TABLES_ENDPOINT."
            ),
        ),
    ],
)
def test_a_wrong_value_is_one_sentence(
    folder: Path, change: Mapping[str, Any], sentence: str
) -> None:
    found = errors(folder, extractors={"weather": {**WEATHER, **change}})
    assert found == [f"pipelines:extractors.{sentence}"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"lake": {"coolAfterDays": -1}}, "lake.coolAfterDays is -1; allowed is at least 0."),
        ({"lake": {"softDeleteDays": 366}}, "lake.softDeleteDays is 366; allowed is at most 365."),
        (
            {"monitoring": {"alerts": {"emails": ["team"]}}},
            (
                'monitoring.alerts.emails.0 is "team"; allowed is a mail address such as '
                "team@example.com."
            ),
        ),
        (
            {"monitoring": {"alerts": {"emails": "a@b.c"}}},
            'monitoring.alerts.emails is "a@b.c"; allowed is a list.',
        ),
        (
            {"monitoring": {"alerts": {"noTickMinutes": 7}}},
            "monitoring.alerts.noTickMinutes is 7; allowed is a multiple of 5.",
        ),
        (
            {"network": {"addressSpace": "10.0.0.1/24"}},
            (
                'network.addressSpace is "10.0.0.1/24"; allowed is a range of private IPv4 '
                "addresses such as 10.90.0.0/22 (10.0.0.1/24 has host bits set)."
            ),
        ),
        (
            {"network": {"addressSpace": "8.8.8.0/24"}},
            (
                'network.addressSpace is "8.8.8.0/24"; allowed is a range of private IPv4 '
                "addresses of at least /24."
            ),
        ),
        (
            {"network": {"addressSpace": "10.0.0.0/25"}},
            (
                'network.addressSpace is "10.0.0.0/25"; allowed is a range of private IPv4 '
                "addresses of at least /24."
            ),
        ),
        (
            {"network": {"deployerAddresses": ["home"]}},
            (
                'network.deployerAddresses.0 is "home"; allowed is an IPv4 address or range such '
                "as 203.0.113.7 (Expected 4 octets in 'home')."
            ),
        ),
        (
            {"network": {"clientAddresses": ["8.8.8.8"]}},
            (
                'network.clientAddresses.0 is "8.8.8.8"; allowed is a private IPv4 address or '
                "range such as 10.1.0.0/16."
            ),
        ),
        (
            {"scheduler": {"plan": "Y1"}},
            (
                "scheduler.plan is \"Y1\"; allowed is 'B1', 'B2', 'B3', 'S1', 'P0v3', 'P1v3' or "
                "'P2v3'."
            ),
        ),
        (
            {"scheduler": {"authentication": {"clientId": "me"}}},
            (
                'scheduler.authentication.clientId is "me"; allowed is a UUID such as '
                "00000000-0000-0000-0000-000000000000."
            ),
        ),
        (
            {"extractors": {"weather": {**WEATHER, "secrets": {"API_KEY": "api_key"}}}},
            (
                'extractors.weather.secrets.API_KEY is "api_key"; allowed is a name that Azure Key '
                "Vault accepts: 1 to 127 letters, digits and hyphens."
            ),
        ),
    ],
)
def test_a_wrong_value_of_a_shared_part(
    folder: Path, values: Mapping[str, Any], sentence: str
) -> None:
    assert errors(folder, **{"extractors": {}, **values}) == [f"pipelines:{sentence}"]


def test_an_unknown_key_is_one_sentence_with_the_nearest_and_all_known(folder: Path) -> None:
    (sentence,) = errors(folder, extractors={"weather": {**WEATHER, "timezone": "UTC"}})
    assert sentence.startswith(
        'pipelines:extractors.weather.timezone is not a known key; did you mean "timeZone"? '
        "Allowed are after, anchor, at, catchUp, cpu, end, environment, "
    )


def test_an_unknown_key_at_the_top(folder: Path) -> None:
    (sentence,) = errors(folder, extractors={}, retention={})
    assert sentence == (
        "pipelines:retention is not a known key; "
        "allowed are baseImage, extractors, lake, monitoring, network, policies, "
        "protected, scheduler, tags."
    )


def test_an_unknown_key_of_the_scheduler_names_its_keys(folder: Path) -> None:
    (sentence,) = errors(folder, extractors={}, scheduler={"size": "B1"})
    assert sentence.startswith(
        "pipelines:scheduler.size is not a known key; allowed are authentication, host, "
    )


def test_missing_keys_are_one_sentence_each(folder: Path) -> None:
    assert errors(folder, extractors={"weather": {}, "sales-orders": {}}) == [
        "pipelines:extractors.weather.start is missing; it is required.",
        "pipelines:extractors.sales-orders.start is missing; it is required.",
    ]


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        (
            {},
            (
                "has none of schedule, every, at and after; "
                "allowed is exactly one of schedule, every, at and after."
            ),
        ),
        (
            {"schedule": "0 6 * * *", "every": "PT15M"},
            (
                'has schedule "0 6 * * *" and every "PT15M"; '
                "allowed is exactly one of schedule, every, at and after."
            ),
        ),
        (
            {"schedule": "0 6 * * *", "anchor": "2024-01-01T00:05:00Z"},
            (
                'has anchor "2024-01-01T00:05:00Z" and schedule "0 6 * * *"; '
                "allowed is anchor with every."
            ),
        ),
        (
            {"every": "PT15M", "timeZone": "Europe/Berlin"},
            'has timeZone "Europe/Berlin" and every "PT15M"; allowed is timeZone with schedule.',
        ),
        (
            {"after": ["sales-orders"], "jitter": "PT5M"},
            'has jitter "PT5M" and after ["sales-orders"]; allowed is jitter with a fire time.',
        ),
        (
            {"at": "2023-12-01T06:00:00Z"},
            (
                'has at "2023-12-01T06:00:00Z" and start "2024-01-01T00:00:00Z"; '
                "allowed is at later than start."
            ),
        ),
        (
            {"every": "P1D", "end": "2024-01-01T00:00:00Z"},
            (
                'has end "2024-01-01T00:00:00Z" and start "2024-01-01T00:00:00Z"; '
                "allowed is end later than start."
            ),
        ),
        (
            {"after": ["sales-orders"], "overlap": "replace"},
            'has overlap "replace" and after ["sales-orders"]; allowed is replace with a fire ',
        ),
        (
            {"every": "P1D", "overlap": "replace", "catchUp": "all"},
            'has overlap "replace" and catchUp "all"; allowed is catchUp latest or none with rep',
        ),
        (
            {"after": ["sales"]},
            '.after is ["sales"]; allowed are names of extractors: sales-orders, weather.',
        ),
        (
            {"after": ["sales-orders", "sales-orders"]},
            (
                '.after is ["sales-orders", "sales-orders"]; allowed is a list of names, at least '
                "one, and each once."
            ),
        ),
        (
            {"after": ["weather"]},
            (
                '.after is ["weather"]; allowed are jobs that do not wait for each other, unlike '
                "weather after weather."
            ),
        ),
        ({"every": "PT0S"}, ".every is \"PT0S\"; allowed is a duration above zero such as 'PT10M'"),
        (
            {"every": "P1D", "jitter": "PT2H"},
            '.jitter is "PT2H"; allowed is a duration from PT0S to PT1H.',
        ),
    ],
)
def test_what_makes_a_job_due(folder: Path, job: Mapping[str, Any], sentence: str) -> None:
    extractors = {"weather": {"start": WEATHER["start"], **job}, "sales-orders": WEATHER}
    (found,) = errors(folder, extractors=extractors)
    dotted = sentence if sentence.startswith(".") else f" {sentence}"
    assert found.startswith(f"pipelines:extractors.weather{dotted}")


@pytest.mark.parametrize(
    "job", [{"every": "PT15M"}, {"at": "2026-12-01T06:00:00Z"}, {"after": ["sales-orders"]}]
)
def test_a_schedule_reaches_the_scheduler(folder: Path, job: Mapping[str, Any]) -> None:
    extractors = {"weather": {"start": WEATHER["start"], **job}, "sales-orders": WEATHER}
    declaration = parse(folder, extractors=extractors).extractors["weather"].declaration("weather")
    assert json.loads(declaration.to_setting()).items() >= job.items()
    assert JobDeclaration.from_setting(declaration.to_setting()) == declaration


def test_no_extractors_at_all(folder: Path) -> None:
    assert errors(folder) == ["pipelines:extractors is missing; it is required."]


@pytest.mark.parametrize("name", ["Weather", "sales_orders", "a" * 64, "a--b"])
def test_a_name_that_azure_refuses(folder: Path, name: str) -> None:
    (sentence,) = errors(folder, extractors={name: WEATHER})
    assert sentence == (
        f'pipelines:extractors.{name} is "{name}"; allowed is a name that Azure Container '
        "Instances accepts: 1 to 63 lower-case letters, digits and hyphens, with no hyphen at an "
        "end and no two in a row."
    )


@pytest.mark.parametrize("name", ["runtime", "scheduler"])
def test_a_name_that_is_taken(folder: Path, name: str) -> None:
    (sentence,) = errors(folder, extractors={name: WEATHER})
    assert sentence == (
        f'pipelines:extractors.{name} is "{name}"; allowed is any name but runtime and scheduler.'
    )


def test_an_extractor_without_a_folder(folder: Path) -> None:
    assert errors(folder, extractors={"wether": WEATHER}) == [
        (
            "pipelines:extractors.wether has no extractor/wether/Dockerfile; allowed is the name "
            "of a folder below extractor/ with a Dockerfile: sales-orders, weather."
        )
    ]


def test_a_value_that_is_no_object(folder: Path) -> None:
    assert errors(folder, extractors={"weather": "daily"}) == [
        'pipelines:extractors.weather is "daily"; allowed is an object of keys and values.'
    ]


@pytest.mark.parametrize("memory", [round(1 + tenth / 10, 1) for tenth in range(151)])
def test_every_tenth_of_a_gigabyte_is_accepted(folder: Path, memory: float) -> None:
    extractors = {"weather": {**WEATHER, "memory": memory}}
    assert parse(folder, extractors=extractors).extractors["weather"].memory == memory


@pytest.mark.parametrize(
    ("host", "limit", "refused"),
    [
        ("function", 2, False),
        ("container", 2, True),
        ("function", 1, True),
        ("container", 3, False),
    ],
)
def test_more_container_groups_than_the_quota(
    folder: Path, host: str, limit: int, refused: bool
) -> None:
    values = {
        "extractors": {"weather": WEATHER, "sales-orders": WEATHER},
        "scheduler": {"host": host},
        "policies": {"containerGroups": limit},
    }
    if not refused:
        parse(folder, **values)
        return
    (sentence,) = errors(folder, **values)
    groups = 2 + (host == "container")
    assert sentence.startswith(
        "pipelines:extractors has 2 extractors, which with the scheduler make "
        f"{groups} container groups; allowed is at most {limit}: "
    )


def test_azure_grants_a_hundred_container_groups(folder: Path) -> None:
    assert parse(folder, extractors={}).policies.container_groups == 100
