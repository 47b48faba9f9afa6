"""Historical weather of a list of stations, from Open-Meteo's archive.

The API: https://open-meteo.com/en/docs/historical-weather-api
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any

import pyarrow as pa
import requests
from pydantic import BaseModel, BeforeValidator, Field
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from extractor.runtime import Settings, Window, run

_TIMEOUT_S = 60
_RETRIES = Retry(
    total=5,
    backoff_factor=1,
    status_forcelist=(429, 500, 502, 503, 504),
    raise_on_status=False,
)


class Resolution(StrEnum):
    """How often there is a value."""

    DAILY = "daily"
    HOURLY = "hourly"


class Station(BaseModel):
    """A place whose weather is wanted; degrees north and east."""

    name: Annotated[str, Field(min_length=1)]
    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]


def _listed(text: object) -> object:
    return [part.strip() for part in text.split(",")] if isinstance(text, str) else text


def _decoded(text: object) -> object:
    return json.loads(text) if isinstance(text, str) else text


class WeatherSettings(Settings):
    """What is loaded.

    Args:
        weather_api: base address of the API.
        stations: whose weather.
        resolution: daily or hourly values.
        variables: what is measured, by the API's names for that resolution.
    """

    weather_api: str = Field(
        default="https://archive-api.open-meteo.com", description="the API's base address"
    )
    stations: Annotated[list[Station], BeforeValidator(_decoded), Field(min_length=1)] = Field(
        description="a JSON list of objects with name, latitude and longitude"
    )
    resolution: Resolution = Field(default=Resolution.DAILY, description="daily or hourly")
    variables: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)] = Field(
        description="names of the API's variables, with commas between them"
    )


class WeatherError(Exception):
    """The API refused; the text is its reason."""


def extract(window: Window) -> Iterator[pa.Table]:
    """The window's weather, a table for each station."""
    settings = WeatherSettings.read()
    with _session() as session:
        for station in settings.stations:
            table = station_table(session, settings, station, window)
            if table is not None:
                yield table


def station_table(
    session: requests.Session, settings: WeatherSettings, station: Station, window: Window
) -> pa.Table | None:
    """One station's values in the window; ``None`` where none was recorded.

    Raises:
        WeatherError: the API refused the request.
        requests.RequestException: it did not answer.
    """
    days = _days(settings.resolution, window)
    if not days:
        return None
    document = _fetch(session, settings, station, days)
    values: Mapping[str, Sequence[Any]] = document[settings.resolution.value]
    moments = [_moment(text) for text in values["time"]]
    measured = [values[name] for name in settings.variables]
    kept = [
        index
        for index, moment in enumerate(moments)
        # The API answers with whole days; and a place or a time without data with nulls.
        if moment in window and any(column[index] is not None for column in measured)
    ]
    if not kept:
        return None
    columns: dict[str, pa.Array] = {
        "station": pa.array([station.name] * len(kept), pa.string()),
        "date": pa.array([moments[index].date() for index in kept], pa.date32()),
    }
    if settings.resolution is Resolution.HOURLY:
        columns["time"] = pa.array([moments[i] for i in kept], pa.timestamp("s", tz="UTC"))
    for name, column in zip(settings.variables, measured, strict=True):
        columns[name] = pa.array([column[index] for index in kept], pa.float64())
    return pa.table(columns)


def _days(resolution: Resolution, window: Window) -> Sequence[date]:
    """First and last day to ask for; the API takes whole days, both included."""
    if resolution is Resolution.DAILY:
        return list(window.days())
    if window.end <= window.start:
        return []
    last = window.end.astimezone(UTC) - datetime.resolution
    return [window.start.astimezone(UTC).date(), last.date()]


def _fetch(
    session: requests.Session, settings: WeatherSettings, station: Station, days: Sequence[date]
) -> Mapping[str, Any]:
    parameters: dict[str, str | float] = {
        "latitude": station.latitude,
        "longitude": station.longitude,
        "start_date": days[0].isoformat(),
        "end_date": days[-1].isoformat(),
        settings.resolution.value: ",".join(settings.variables),
        "timezone": "UTC",
    }
    url = f"{settings.weather_api.rstrip('/')}/v1/archive"
    answer = session.get(url, params=parameters, timeout=_TIMEOUT_S)
    try:
        document: Mapping[str, Any] = answer.json()
    except requests.JSONDecodeError:
        document = {"error": True, "reason": f"status {answer.status_code} without a document"}
    if document.get("error") or not answer.ok:
        reason = document.get("reason", f"status {answer.status_code}")
        raise WeatherError(f"The weather API refused {station.name}: {reason}")
    return document


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _session() -> requests.Session:
    session = requests.Session()
    session.mount("https://", HTTPAdapter(max_retries=_RETRIES))
    session.mount("http://", HTTPAdapter(max_retries=_RETRIES))
    return session


if __name__ == "__main__":
    sys.exit(run(extract))
