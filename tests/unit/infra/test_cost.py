from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from infra import cost
from infra.config import ExtractorConfig, StackConfig
from infra.cost import Estimate, estimate, main, rendered, runs_a_month
from infra.prices import METERS, Price, PriceTable
from tests.unit.infra.engine import run_program

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
DAY = date(2026, 1, 1)

TABLE = PriceTable(
    "USD",
    "",
    [
        Price("container-cpu", "here", 3.6, "1 Hour", DAY),
        Price("container-memory", "here", 0.36, "1 GB Hour", DAY),
        Price("plan-B1", "there", 0.02, "1 Hour", DAY),
        Price("registry-basic", "here", 0.5, "1/Day", DAY),
        Price("registry-premium", "here", 2, "1/Day", DAY),
        Price("private-endpoint", "Global", 0.01, "1 Hour", DAY),
        Price("nat-gateway", "Global", 0.05, "1 Hour", DAY),
        Price("public-address", "here", 0.005, "1 Hour", DAY),
        Price("private-zone", "Global", 0.5, "1/Month", DAY),
    ],
)


def extractor(**values: Any) -> ExtractorConfig:
    schedule = {} if {"every", "at", "after"} & values.keys() else {"schedule": "0 6 * * *"}
    return ExtractorConfig.model_validate({"start": "2024-01-01T00:00:00Z", **schedule, **values})


def stack(jobs: Mapping[str, ExtractorConfig], **values: Any) -> StackConfig:
    return StackConfig.model_validate({"extractors": jobs, **values})


def of(config: StackConfig) -> Estimate:
    return estimate(config, "here", TABLE, NOW)


def amounts(found: Estimate) -> dict[str, float | None]:
    return {line.name: line.amount for line in found.lines}


def test_a_run_costs_its_seconds_of_cpu_and_memory() -> None:
    # 65.5 s and the start make 101 whole seconds.
    job = extractor(cpu=2, memory=3, expectedDuration="PT1M5.5S")
    seconds = 30 * 101
    expected = seconds * (2 * 3.6 + 3 * 0.36) / 3600
    assert amounts(of(stack({"weather": job})))["weather"] == pytest.approx(expected)


def test_what_a_run_takes_is_assumed_where_nobody_says_it() -> None:
    (line, *_) = of(stack({"weather": extractor()})).lines
    assert line.detail == "30 runs of 0:05:35, assumed; 1 cpu, 1.5 GB"
    (line, *_) = of(stack({"weather": extractor(expectedDuration="PT1M")})).lines
    assert line.detail == "30 runs of 0:01:35; 1 cpu, 1.5 GB"


@pytest.mark.parametrize(
    ("values", "runs"),
    [
        ({"schedule": "0 6 * * *"}, 30),
        ({"schedule": "0 * * * *"}, 720),
        ({"schedule": "0 6 1 * *"}, 1),
        ({"schedule": "0 6 * * MON"}, 4 + 1 / 3),
        ({"schedule": "0 6 1 1 *"}, 1 / 12),
        ({"every": "PT6H"}, 120),
        ({"at": "2026-12-01T00:00:00Z"}, 1 / 12),
        ({"at": "2025-12-01T00:00:00Z"}, 0),
        ({"schedule": "0 6 * * *", "start": "2028-01-01T00:00:00Z"}, 30),
    ],
    ids=str,
)
def test_runs_a_month(values: dict[str, Any], runs: float) -> None:
    found = runs_a_month({"weather": extractor(**values)}, NOW)
    assert found["weather"] == pytest.approx(runs, rel=0.02)


def test_runs_follow_one_another() -> None:
    job = extractor(schedule="* * * * *", expectedDuration="PT29M25S")
    assert runs_a_month({"weather": job}, NOW)["weather"] == 30 * 48


def test_a_job_runs_as_often_as_the_rarest_that_it_waits_for() -> None:
    jobs = {
        "report": extractor(after=["daily", "hourly"]),
        "daily": extractor(),
        "hourly": extractor(schedule="0 * * * *"),
        "mail": extractor(after=["report"]),
    }
    assert runs_a_month(jobs, NOW) == {"report": 30, "daily": 30, "hourly": 720, "mail": 30}


def test_what_is_there_without_any_run() -> None:
    found = of(stack({}))
    assert amounts(found) == {"scheduler": pytest.approx(720 * 0.02), "registry": 15}
    assert found.jobs == 0
    assert found.total == pytest.approx(29.4)


def test_a_scheduler_in_a_container_is_always_on() -> None:
    found = of(stack({}, scheduler={"host": "container"}))
    assert amounts(found)["scheduler"] == pytest.approx(720 * (3.6 + 0.36))


def test_isolation_costs_endpoints_zones_and_a_larger_registry() -> None:
    found = amounts(of(stack({}, network={"isolated": True})))
    assert found["registry"] == 60
    assert found["private endpoints"] == pytest.approx(cost.PRIVATE_ENDPOINTS * 7.2)
    assert found["private DNS zones"] == pytest.approx(cost.PRIVATE_ZONES * 0.5)
    assert found["NAT gateway"] == pytest.approx(36)
    assert found["outbound address"] == pytest.approx(3.6)
    secret = {"weather": extractor(secrets={"API_KEY": "key"})}
    with_vault = amounts(of(stack(secret, network={"isolated": True})))
    assert with_vault["private endpoints"] == pytest.approx((cost.PRIVATE_ENDPOINTS + 1) * 7.2)


def test_the_endpoints_are_those_that_the_program_declares(config: dict[str, Any]) -> None:
    engine = run_program({**config, "pipelines:network": {"isolated": True}})
    assert len(engine.all("network:PrivateEndpoint")) == cost.PRIVATE_ENDPOINTS
    assert len(engine.all("privatedns:PrivateZone")) == cost.PRIVATE_ZONES


def test_a_price_that_the_table_lacks_is_told_and_not_guessed() -> None:
    found = of(stack({}, scheduler={"plan": "P2v3"}))
    assert amounts(found)["scheduler"] is None
    assert found.sentence == (
        "In Azure about 15.00 USD a month without scheduler, of which 0.00 for the jobs' runs; "
        "`make cost` says how."
    )


def test_the_table_fits_80_columns_and_names_day_and_place_of_each_price() -> None:
    found = of(stack({"a-job-with-a-rather-long-name": extractor()}))
    console = Console(width=80)
    with console.capture() as capture:
        console.print(rendered(found))
    text = capture.get()
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"registry +basic +15\.00 +2026-01-01 *\n", text)
    assert re.search(r"scheduler +App Service plan B1 +14\.40 +2026-01-01 there", text)
    assert re.search(r"total +40\.96 *\n", text)


def test_the_command_reads_a_stack_of_the_repository(capsys: pytest.CaptureFixture[str]) -> None:
    repository = Path(cost.__file__).parents[1]
    assert main(["prod"], repository) == 0
    printed = capsys.readouterr().out
    assert "App Service plan P0v3" in printed
    assert "private endpoints" in printed


def test_an_unknown_stack_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Pulumi.dev.yaml").touch()
    assert main(["live"], tmp_path) == 1
    assert capsys.readouterr().err == 'error: STACK is "live"; allowed is one of dev.\n'


def test_a_wrong_configuration_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {'pipelines:extractors': 1}")
    assert main(["dev"], tmp_path) == 1
    assert capsys.readouterr().err.startswith("error: pipelines:extractors is ")


def test_every_price_of_the_repository_is_known_and_dated() -> None:
    table = PriceTable.load()
    for price in table.prices:
        assert price.meter in METERS
        assert price.price > 0
        assert date(2026, 1, 1) <= price.taken <= datetime.now(UTC).date() + timedelta(days=1)
    needed = {"container-cpu", "container-memory", "plan-B1", "plan-P0v3", "registry-basic"}
    assert needed <= {price.meter for price in table.prices}
