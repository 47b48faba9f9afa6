"""The extractor against a server that answers as Open-Meteo's archive does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from extractor.runtime import SettingError, Window
from extractor.runtime.records import RunStatus
from extractor.runtime.testing import Landed, land
from extractor.weather.application.dataextractor import WeatherSettings, extract

Query = Mapping[str, str]
Answer = tuple[int, object]

SEATTLE = {"name": "seattle", "latitude": 47.6, "longitude": -122.3}
BERLIN = {"name": "berlin", "latitude": 52.5, "longitude": 13.4}


class Archive:
    """The API.

    Attributes:
        answer: status and document for a query.
        queries: those that came, as one value for each parameter.
        paths: where they went.
    """

    def __init__(self) -> None:
        self.answer: Callable[[Query], Answer] = lambda query: (404, {})
        self.queries: list[Query] = []
        self.paths: list[str] = []

    def handle(self, url: str) -> Answer:
        parts = urlsplit(url)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.paths.append(parts.path)
        self.queries.append(query)
        return self.answer(query)


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """The API on loopback, with the extractor's environment set to it."""
    archive = Archive()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, document = archive.handle(self.path)
            content = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """No log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("WEATHER_API", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("STATIONS", json.dumps([SEATTLE]))
        monkeypatch.setenv("VARIABLES", "temperature_2m_max, precipitation_sum")
        monkeypatch.delenv("RESOLUTION", raising=False)
        yield archive
        server.shutdown()
        thread.join()


def utc(day: int, hour: int = 0) -> datetime:
    return datetime(2012, 3, day, hour, tzinfo=UTC)


def answering(resolution: str, time: list[str], **values: list[Any]) -> Callable[[Query], Answer]:
    """The archive's answer with these values, whatever the query."""
    series = {"time": time, **values}
    units = dict.fromkeys(series, "°C") | {"time": "iso8601"}
    return lambda query: (200, {resolution: series, f"{resolution}_units": units})


def rows(landed: Landed) -> list[dict[str, Any]]:
    assert landed.run.status is RunStatus.SUCCEEDED
    content: list[dict[str, Any]] = landed.table.to_pylist()
    return content


def test_a_days_values_are_one_row_and_what_is_null_stays_null(archive: Archive) -> None:
    archive.answer = answering(
        "daily",
        ["2012-03-01", "2012-03-02"],
        temperature_2m_max=[7.8, None],
        precipitation_sum=[None, 3],
    )
    assert rows(land(extract, Window(utc(1), utc(3)))) == [
        {
            "date": date(2012, 3, 1),
            "station": "seattle",
            "temperature_2m_max": 7.8,
            "precipitation_sum": None,
        },
        {
            "date": date(2012, 3, 2),
            "station": "seattle",
            "temperature_2m_max": None,
            "precipitation_sum": 3.0,
        },
    ]


def test_the_request_is_for_the_days_that_begin_in_the_window(archive: Archive) -> None:
    archive.answer = answering("daily", [], temperature_2m_max=[], precipitation_sum=[])
    land(extract, Window(utc(1, 6), utc(4)))
    assert archive.paths == ["/v1/archive"]
    assert archive.queries == [
        {
            "latitude": "47.6",
            "longitude": "-122.3",
            "start_date": "2012-03-02",
            "end_date": "2012-03-03",
            "daily": "temperature_2m_max,precipitation_sum",
            "timezone": "UTC",
        }
    ]


def test_days_without_any_value_are_left_out(archive: Archive) -> None:
    archive.answer = answering(
        "daily",
        ["2012-03-01", "2012-03-02"],
        temperature_2m_max=[None, 1.0],
        precipitation_sum=[None, None],
    )
    assert [row["date"] for row in rows(land(extract, Window(utc(1), utc(3))))] == [
        date(2012, 3, 2)
    ]


def test_a_record_that_has_ended_gives_a_window_without_rows(archive: Archive) -> None:
    archive.answer = answering(
        "daily", ["2012-03-01"], temperature_2m_max=[None], precipitation_sum=[None]
    )
    landed = land(extract, Window(utc(1), utc(2)))
    assert landed.run.status is RunStatus.SUCCEEDED
    assert landed.manifest["rows"] == 0


def test_a_window_in_which_no_day_begins_asks_for_nothing(archive: Archive) -> None:
    landed = land(extract, Window(utc(1, 1), utc(1, 2)))
    assert landed.run.status is RunStatus.SUCCEEDED
    assert archive.queries == []


def test_hours_outside_the_window_are_left_out(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESOLUTION", "hourly")
    monkeypatch.setenv("VARIABLES", "temperature_2m")
    archive.answer = answering(
        "hourly",
        [f"2012-03-0{day}T{hour:02}:00" for day in (1, 2) for hour in range(24)],
        temperature_2m=list(range(48)),
    )
    found = rows(land(extract, Window(utc(1, 22), utc(2, 1))))
    assert [(row["date"], row["time"], row["temperature_2m"]) for row in found] == [
        (date(2012, 3, 1), utc(1, 22), 22.0),
        (date(2012, 3, 1), utc(1, 23), 23.0),
        (date(2012, 3, 2), utc(2, 0), 24.0),
    ]
    assert archive.queries[0]["hourly"] == "temperature_2m"
    assert archive.queries[0]["start_date"] == "2012-03-01"
    assert archive.queries[0]["end_date"] == "2012-03-02"


def test_a_window_that_ends_at_midnight_does_not_ask_for_that_day(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESOLUTION", "hourly")
    archive.answer = answering("hourly", [], temperature_2m_max=[], precipitation_sum=[])
    land(extract, Window(utc(1, 22), utc(2)))
    assert archive.queries[0]["end_date"] == "2012-03-01"


def test_each_station_is_asked_for_and_its_rows_are_marked(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATIONS", json.dumps([SEATTLE, BERLIN]))

    def by_latitude(query: Query) -> Answer:
        value = float(query["latitude"])
        answer = answering(
            "daily", ["2012-03-01"], temperature_2m_max=[value], precipitation_sum=[0]
        )
        return answer(query)

    archive.answer = by_latitude
    landed = land(extract, Window(utc(1), utc(2)))
    assert {row["station"]: row["temperature_2m_max"] for row in rows(landed)} == {
        "seattle": 47.6,
        "berlin": 52.5,
    }
    assert len(landed.manifest["files"]) == 1


@pytest.mark.parametrize("status", [200, 400])
def test_the_apis_reason_is_in_the_run(archive: Archive, status: int) -> None:
    archive.answer = lambda query: (status, {"error": True, "reason": "out of allowed range"})
    landed = land(extract, Window(utc(1), utc(2)))
    assert landed.run.status is RunStatus.FAILED
    assert landed.run.error is not None
    assert "WeatherError" in landed.run.error
    assert "seattle" in landed.run.error
    assert "out of allowed range" in landed.run.error


def test_an_answer_that_is_no_document_is_an_error_with_its_status(archive: Archive) -> None:
    archive.answer = lambda query: (403, b"<html>no</html>")
    landed = land(extract, Window(utc(1), utc(2)))
    assert landed.run.status is RunStatus.FAILED
    assert "403" in str(landed.run.error)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_api_is_asked_again(archive: Archive, status: int) -> None:
    success = answering("daily", ["2012-03-01"], temperature_2m_max=[1], precipitation_sum=[1])

    def busy_once(query: Query) -> Answer:
        return (status, {}) if len(archive.queries) == 1 else success(query)

    archive.answer = busy_once
    assert len(rows(land(extract, Window(utc(1), utc(2))))) == 1
    assert len(archive.queries) == 2


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("RESOLUTION", "weekly", "daily or hourly"),
        ("STATIONS", "seattle", "a JSON list"),
        ("STATIONS", "[]", "a JSON list"),
        ("STATIONS", json.dumps([SEATTLE | {"latitude": 91}]), "a JSON list"),
        ("VARIABLES", "", "names of the API's variables"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value_and_what_is_allowed(
    variable: str, value: str, allowed: str
) -> None:
    environment = {
        "STATIONS": json.dumps([SEATTLE]),
        "VARIABLES": "temperature_2m_max",
        variable: value,
    }
    with pytest.raises(SettingError) as caught:
        WeatherSettings.read(environment)
    sentence = str(caught.value)
    assert sentence.startswith(f"The environment variable {variable} is ")
    assert allowed in sentence
    assert "\n" not in sentence
    assert value[:20] in sentence
