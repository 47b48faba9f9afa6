"""Recorded weather in the form of Open-Meteo's archive."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette

from local.azure.weather import STATION, recorded_days, routes
from tests.unit.local.azure.asgi import get

SEATTLE = {"latitude": "47.6062", "longitude": "-122.3321"}
QUERY = SEATTLE | {
    "start_date": "2012-01-01",
    "end_date": "2012-01-02",
    "daily": "temperature_2m_max,precipitation_sum",
}


def ask(**parameters: str | None) -> tuple[int, Any]:
    query = {name: text for name, text in (QUERY | parameters).items() if text is not None}
    answer = get(Starlette(routes=routes()), "/v1/archive", params=query)
    return answer.status_code, answer.json()


def test_recorded_days_in_the_archives_form() -> None:
    status, body = ask()
    assert status == 200
    assert body["daily"] == {
        "time": ["2012-01-01", "2012-01-02"],
        "temperature_2m_max": [12.8, 10.6],
        "precipitation_sum": [0.0, 10.9],
    }
    assert body["daily_units"] == {
        "time": "iso8601",
        "temperature_2m_max": "°C",
        "precipitation_sum": "mm",
    }
    assert (body["latitude"], body["longitude"]) == (STATION.latitude, STATION.longitude)
    assert (body["timezone"], body["utc_offset_seconds"]) == ("America/Los_Angeles", -8 * 3600)


def test_all_of_the_recorded_years_are_there() -> None:
    assert len(recorded_days()) == 366 + 3 * 365


def test_days_and_variables_without_a_record_are_null() -> None:
    _, body = ask(
        start_date="2015-12-31",
        end_date="2016-01-01",
        daily="temperature_2m_min,wind_gusts_10m_max",
    )
    assert body["daily"]["temperature_2m_min"] == [-2.1, None]
    assert body["daily"]["wind_gusts_10m_max"] == [None, None]


@pytest.mark.parametrize(
    ("unit", "expected", "symbol"),
    [(None, 16.9, "km/h"), ("ms", 4.7, "m/s"), ("mph", 10.5, "mp/h"), ("kn", 9.1, "kn")],
)
def test_wind_is_converted_from_metres_per_second(
    unit: str | None, expected: float, symbol: str
) -> None:
    _, body = ask(daily="wind_speed_10m_mean", wind_speed_unit=unit)
    assert body["daily"]["wind_speed_10m_mean"][0] == expected
    assert body["daily_units"]["wind_speed_10m_mean"] == symbol


def test_several_places_are_answered_with_a_list() -> None:
    _, body = ask(latitude="47.6,47.5", longitude="-122.3,-122.2")
    assert len(body) == 2
    assert body[0]["daily"] == body[1]["daily"]
    assert body[1]["location_id"] == 1


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"latitude": "52.52", "longitude": "13.41"}, "Seattle-Tacoma airport"),
        ({"latitude": "95"}, "'latitude' must be in range"),
        ({"latitude": "north"}, "'latitude' must be a number"),
        ({"latitude": None}, "'latitude' is required"),
        ({"latitude": "47.6,47.5"}, "same number of elements"),
        ({"daily": "temperature_2m_max,happiness"}, "happiness"),
        ({"hourly": "temperature_2m"}, "daily records only"),
        ({"start_date": None}, "must be set"),
        ({"start_date": "2012-13-01"}, "'start_date' must be a date"),
        ({"end_date": "2011-12-31"}, "must not be before"),
        ({"wind_speed_unit": "furlong"}, "'wind_speed_unit' must be one of kmh"),
        ({"timezone": "Mars/Olympus"}, "Invalid timezone"),
        ({"timeformat": "unixtime"}, "'timeformat'"),
    ],
)
def test_what_cannot_be_served_is_an_error_with_its_reason(
    parameters: dict[str, str | None], reason: str
) -> None:
    status, body = ask(**parameters)
    assert status == 400
    assert body["error"] is True
    assert reason in body["reason"]
