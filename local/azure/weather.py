"""Recorded weather, in the form of Open-Meteo's archive API.

For machines without internet: the days that NOAA recorded at Seattle from 2012 to 2015, which the
package vega_datasets ships. Nothing is computed or made up: what the station did not record is
``null``, and a place that is not near it is an error.

The form of requests and responses: https://open-meteo.com/en/docs/historical-weather-api
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from vega_datasets import local_data

EARTH_RADIUS_KM = 6371.0


class WeatherError(ValueError):
    """A request that cannot be answered; its text is the ``reason`` of the response."""


@dataclass(frozen=True)
class Station:
    """Where the days were recorded.

    Args:
        name: for messages.
        latitude: degrees north.
        longitude: degrees east.
        elevation: metres above the sea.
        radius_km: how far from it a place may be that it still speaks for.
        time_zone: whose calendar days its days are.
    """

    name: str
    latitude: float
    longitude: float
    elevation: float
    radius_km: float
    time_zone: str

    def distance_km(self, latitude: float, longitude: float) -> float:
        """Great-circle distance (haversine)."""
        here, there = math.radians(self.latitude), math.radians(latitude)
        chord = (
            math.sin((there - here) / 2) ** 2
            + math.cos(here)
            * math.cos(there)
            * math.sin(math.radians(longitude - self.longitude) / 2) ** 2
        )
        return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(chord))


STATION = Station(
    name="Seattle-Tacoma airport",
    latitude=47.4444,
    longitude=-122.3139,
    elevation=112.8,
    radius_km=25,
    time_zone="America/Los_Angeles",
)
"""NOAA's station USW00024233."""


@dataclass(frozen=True)
class Unit:
    """A unit of measurement, and how to reach it from the unit recorded."""

    symbol: str
    convert: Callable[[float], float] = lambda value: value


UNITS: Mapping[str, Mapping[str, Unit]] = {
    "temperature_unit": {
        "celsius": Unit("°C"),
        "fahrenheit": Unit("°F", lambda celsius: celsius * 9 / 5 + 32),
    },
    "precipitation_unit": {"mm": Unit("mm"), "inch": Unit("inch", lambda mm: mm / 25.4)},
    "wind_speed_unit": {
        "kmh": Unit("km/h", lambda ms: ms * 3.6),
        "ms": Unit("m/s"),
        "mph": Unit("mp/h", lambda ms: ms * 3600 / 1609.344),
        "kn": Unit("kn", lambda ms: ms * 3600 / 1852),
    },
}
"""Each parameter's values, the default first."""


@dataclass(frozen=True)
class Variable:
    """A daily variable.

    Args:
        unit_parameter: the parameter that chooses its unit.
        digits: decimals in a response.
        column: of the recorded days; ``None`` for what the station does not record.
    """

    unit_parameter: str
    digits: int
    column: str | None = None


DAILY: Mapping[str, Variable] = {
    "temperature_2m_max": Variable("temperature_unit", 1, "temp_max"),
    "temperature_2m_min": Variable("temperature_unit", 1, "temp_min"),
    "temperature_2m_mean": Variable("temperature_unit", 1),
    "precipitation_sum": Variable("precipitation_unit", 2, "precipitation"),
    "rain_sum": Variable("precipitation_unit", 2),
    # NOAA's AWND is a day's average wind, so the day's greatest wind is not known.
    "wind_speed_10m_mean": Variable("wind_speed_unit", 1, "wind"),
    "wind_speed_10m_max": Variable("wind_speed_unit", 1),
    "wind_gusts_10m_max": Variable("wind_speed_unit", 1),
}

Days = Mapping[date, Mapping[str, float]]


@cache
def recorded_days() -> Days:
    """The recorded days: temperatures in °C, precipitation in mm, wind in m/s."""
    with Path(local_data.seattle_weather.filepath).open(newline="") as file:
        return {
            datetime.strptime(row["date"], "%Y/%m/%d").date(): {  # noqa: DTZ007 - a calendar day
                name: float(row[name])
                for name in ("temp_max", "temp_min", "precipitation", "wind")
                if row[name]
            }
            for row in csv.DictReader(file)
        }


@dataclass(frozen=True)
class ArchiveQuery:
    """A valid request to the archive.

    Args:
        places: latitude and longitude of each.
        days: the calendar days asked for, in order.
        variables: names of daily variables, in the order asked for.
        units: chosen for each parameter of ``UNITS``.
    """

    places: list[tuple[float, float]]
    days: list[date]
    variables: list[str]
    units: Mapping[str, Unit]

    @classmethod
    def parse(cls, parameters: QueryParams) -> ArchiveQuery:
        """Read a request's parameters.

        Raises:
            WeatherError: one of them is missing or has a value that the archive cannot serve.
        """
        if _list(parameters, "hourly"):
            raise WeatherError(f"{STATION.name} has daily records only; 'hourly' is not available.")
        if parameters.get("timeformat", "iso8601") != "iso8601":
            raise WeatherError("Parameter 'timeformat' must be 'iso8601'.")
        _check_time_zone(parameters.get("timezone", "GMT"))
        return cls(
            places=_places(parameters),
            days=_days(parameters),
            variables=_variables(parameters),
            units={name: _unit(parameters, name) for name in UNITS},
        )


def _list(parameters: QueryParams, name: str) -> list[str]:
    """A parameter's values: given several times, or with commas between."""
    values = (item for text in parameters.getlist(name) for item in text.split(","))
    return [item.strip() for item in values if item.strip()]


def _check_time_zone(name: str) -> None:
    if name not in {"auto", "GMT"} and name not in available_timezones():
        raise WeatherError(f"Invalid timezone '{name}'.")


def _places(parameters: QueryParams) -> list[tuple[float, float]]:
    latitudes = _coordinates(parameters, "latitude", 90)
    longitudes = _coordinates(parameters, "longitude", 180)
    if len(latitudes) != len(longitudes):
        raise WeatherError(
            "Parameter 'latitude' and 'longitude' must have the same number of elements."
        )
    places = list(zip(latitudes, longitudes, strict=True))
    for place in places:
        distance = STATION.distance_km(*place)
        if distance > STATION.radius_km:
            raise WeatherError(
                f"No data is available for this location: the only recorded station is "
                f"{STATION.name} ({STATION.latitude}, {STATION.longitude}), {distance:.0f} km "
                f"away; a location may be at most {STATION.radius_km:.0f} km from it."
            )
    return places


def _coordinates(parameters: QueryParams, name: str, limit: float) -> list[float]:
    texts = _list(parameters, name)
    if not texts:
        raise WeatherError(f"Parameter '{name}' is required.")
    try:
        values = [float(text) for text in texts]
    except ValueError as error:
        raise WeatherError(f"Parameter '{name}' must be a number of degrees.") from error
    for value in values:
        if not -limit <= value <= limit:
            raise WeatherError(
                f"Parameter '{name}' must be in range of -{limit:.0f} to {limit:.0f}, not {value}."
            )
    return values


def _days(parameters: QueryParams) -> list[date]:
    first, last = _day(parameters, "start_date"), _day(parameters, "end_date")
    if last < first:
        raise WeatherError("Parameter 'end_date' must not be before 'start_date'.")
    return [first + timedelta(days=count) for count in range((last - first).days + 1)]


def _day(parameters: QueryParams, name: str) -> date:
    text = parameters.get(name)
    if not text:
        raise WeatherError("Both 'start_date' and 'end_date' must be set.")
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a calendar day
    except ValueError as error:
        raise WeatherError(
            f"Parameter '{name}' must be a date as 'YYYY-MM-DD', not '{text}'."
        ) from error


def _variables(parameters: QueryParams) -> list[str]:
    names = _list(parameters, "daily")
    for name in names:
        if name not in DAILY:
            raise WeatherError(
                f"Cannot initialize a daily variable from invalid String value {name}; "
                f"available are {', '.join(DAILY)}."
            )
    return names


def _unit(parameters: QueryParams, name: str) -> Unit:
    choices = UNITS[name]
    chosen = parameters.get(name, next(iter(choices)))
    if chosen not in choices:
        raise WeatherError(
            f"Parameter '{name}' must be one of {', '.join(choices)}, not '{chosen}'."
        )
    return choices[chosen]


def archive(query: ArchiveQuery, days: Days, *, elapsed_ms: float) -> Any:
    """The body of a response: an object, or a list of them for several places.

    The time zone is always the station's: its days are the ones recorded, whichever was asked for.
    """
    zone = ZoneInfo(STATION.time_zone)
    noon = datetime(query.days[0].year, query.days[0].month, query.days[0].day, 12, tzinfo=zone)
    offset = noon.utcoffset() or timedelta()
    place = {
        "latitude": STATION.latitude,
        "longitude": STATION.longitude,
        "generationtime_ms": elapsed_ms,
        "utc_offset_seconds": int(offset.total_seconds()),
        "timezone": STATION.time_zone,
        "timezone_abbreviation": noon.tzname(),
        "elevation": STATION.elevation,
    }
    if query.variables:
        place |= _daily(query, days)
    if len(query.places) == 1:
        return place
    return [
        place if index == 0 else {**place, "location_id": index}
        for index in range(len(query.places))
    ]


def _daily(query: ArchiveQuery, days: Days) -> dict[str, Any]:
    units = {name: query.units[DAILY[name].unit_parameter] for name in query.variables}
    series = {
        name: [_value(DAILY[name], units[name], days.get(day, {})) for day in query.days]
        for name in query.variables
    }
    return {
        "daily_units": {"time": "iso8601"} | {name: unit.symbol for name, unit in units.items()},
        "daily": {"time": [day.isoformat() for day in query.days]} | series,
    }


def _value(variable: Variable, unit: Unit, recorded: Mapping[str, float]) -> float | None:
    if variable.column is None or variable.column not in recorded:
        return None
    return round(unit.convert(recorded[variable.column]), variable.digits)


def routes() -> list[Route]:
    """The archive."""
    return [Route("/v1/archive", _archive)]


async def _archive(request: Request) -> Response:
    began = time.perf_counter()
    try:
        query = ArchiveQuery.parse(request.query_params)
    except WeatherError as error:
        return JSONResponse({"error": True, "reason": str(error)}, status_code=400)
    days = recorded_days()
    return JSONResponse(archive(query, days, elapsed_ms=(time.perf_counter() - began) * 1000))
