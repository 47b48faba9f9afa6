from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pulumi
import pytest

from infra.preview import DETAILED_JOBS, clock_change, fire_times
from scheduler.declaration import JobDeclaration
from tests.unit.infra.engine import Engine, run_program

MARCH = datetime(2027, 3, 26, 10, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 25, 10, tzinfo=UTC)


def job(schedule: str | None, zone: str = "Europe/Amsterdam", **more: Any) -> JobDeclaration:
    values = {"name": "weather", "containerGroup": "weather", "start": "2024-01-01T00:00:00Z"}
    return JobDeclaration.model_validate({**values, "schedule": schedule, "timeZone": zone, **more})


def lines(declaration: JobDeclaration, now: datetime) -> list[str]:
    return fire_times([declaration], now).splitlines()


def test_five_times_with_their_offset_and_a_mark_where_clocks_change() -> None:
    assert lines(job("0 6 * * *"), MARCH) == [
        "weather: 0 6 * * * Europe/Amsterdam",
        "  Sat 2027-03-27 06:00 +01:00",
        "  Sun 2027-03-28 06:00 +02:00  clocks changed from +01:00",
        "  Mon 2027-03-29 06:00 +02:00",
        "  Tue 2027-03-30 06:00 +02:00",
        "  Wed 2027-03-31 06:00 +02:00",
    ]


def test_a_change_beyond_the_five_is_shown_with_the_times_around_it() -> None:
    assert lines(job("30 2 * * *"), NOVEMBER)[5:] == [
        "  Mon 2026-11-30 02:30 +01:00",
        "  …",
        "  Sat 2027-03-27 02:30 +01:00",
        "  Sun 2027-03-28 03:00 +02:00  clocks changed from +01:00",
    ]


def test_the_doubled_hour_shows_which_of_the_two() -> None:
    assert lines(job("*/30 * * * *"), datetime(2027, 10, 31, 0, 29, tzinfo=UTC))[1:4] == [
        "  Sun 2027-10-31 02:30 +02:00",
        "  Sun 2027-10-31 02:00 +01:00  clocks changed from +02:00",
        "  Sun 2027-10-31 02:30 +01:00",
    ]


def test_a_zone_without_changes_has_five_lines_and_no_more() -> None:
    assert len(lines(job("0 6 * * *", "UTC"), MARCH)) == 1 + 5


def test_a_job_that_starts_later_fires_after_its_start() -> None:
    later = job("0 6 1 * *", start="2027-05-01T12:00:00Z")
    assert lines(later, NOVEMBER)[1].startswith("  Tue 2027-06-01 06:00 +02:00")


def test_an_interval_follows_real_time() -> None:
    hours = job(None, "UTC", every="PT6H")
    assert lines(hours, MARCH)[:3] == [
        "weather: every PT6H",
        "  Fri 2027-03-26 12:00 +00:00",
        "  Fri 2027-03-26 18:00 +00:00",
    ]


def test_a_job_that_no_clock_starts() -> None:
    assert lines(job(None, "UTC", after=["orders", "customers"]), NOVEMBER) == [
        "weather: after orders, customers: no fire time of its own"
    ]


def test_a_job_that_fires_once_more() -> None:
    assert lines(job(None, "UTC", at="2027-01-01T00:00:00Z"), NOVEMBER)[1:] == [
        "  Fri 2027-01-01 00:00 +00:00"
    ]


def test_many_jobs_have_a_line_each() -> None:
    many = [job("0 6 * * *")] * (DETAILED_JOBS + 1)
    text = fire_times(many, NOVEMBER).splitlines()
    assert text == ["weather: 0 6 * * * Europe/Amsterdam: next Thu 2026-11-26 06:00 +01:00"] * len(
        many
    )


@pytest.mark.parametrize(
    ("zone", "after", "expected"),
    [
        ("Europe/Amsterdam", NOVEMBER, datetime(2027, 3, 28, 1, tzinfo=UTC)),
        ("America/New_York", NOVEMBER, datetime(2027, 3, 14, 7, tzinfo=UTC)),
        ("Australia/Lord_Howe", NOVEMBER, datetime(2027, 4, 3, 15, tzinfo=UTC)),
        ("Asia/Tokyo", NOVEMBER, None),
    ],
)
def test_the_next_change_of_clocks(zone: str, after: datetime, expected: datetime | None) -> None:
    assert clock_change(ZoneInfo(zone), after.astimezone(ZoneInfo(zone))) == expected


# In the program


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", lambda text, *_, **__: texts.append(text))
    return texts


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    outputs: dict[str, Any] = {}
    monkeypatch.setattr(pulumi, "export", outputs.__setitem__)
    return outputs


def run(config: dict[str, Any], *, preview: bool) -> Engine:
    # A tag of its own: a configuration that ran before would not run again.
    return run_program({**config, "pipelines:tags": {"run": str(id(config))}}, preview=preview)


def test_a_preview_says_the_fire_times(config: dict[str, Any], said: list[str]) -> None:
    run(config, preview=True)
    (text,) = said
    assert text.startswith("The next fire times\nweather: 0 6 * * * UTC\n  ")
    *_, last = text.splitlines()
    assert re.fullmatch(r"In Azure about \d+\.\d\d USD a month, of which 0\.\d\d for the .*", last)


def test_an_update_says_nothing_that_passes(
    config: dict[str, Any], said: list[str], exported: dict[str, Any]
) -> None:
    config["pipelines:extractors"]["weather"] |= {"lag": "P1D", "cpu": 1, "environment": {"A": "b"}}
    run(config, preview=False)
    assert said == []
    assert exported["jobs"] == {
        "weather": {
            "schedule": "0 6 * * *",
            "start": "2024-01-01T00:00:00Z",
            "lag": "P1D",
            "environment": {"A": "b"},
        }
    }
