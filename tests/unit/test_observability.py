"""What people and alerts ask for is what the code writes: its lines, metrics and attributes.

Neither is repeated here. Lines are read from the source and from what scheduler and runtime log in
lives of a job; the metrics and attributes are those that these lives have reported.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from extractor.runtime import Window
from extractor.runtime.testing import land
from infra.config import AlertsConfig
from infra.monitoring import Alert, alerts
from local.settings import REPOSITORY
from tests.unit.extractor.runtime.test_runner import WINDOW, extract
from tests.unit.scheduler.world import Fate, World, hour
from tests.unit.telemetry import Point, Recorded, recorded

PAGE = (REPOSITORY / "docs" / "observability.md").read_text()
BLOCKS = re.findall(r"```kusto\n(.*?)```", PAGE, re.DOTALL)
ALERTS = list(alerts(AlertsConfig(emails=["team@example.com"], run_slow=True)))
QUERIES = BLOCKS + [alert.query for alert in ALERTS]

_STARTS = re.compile(r'Message startswith "([^"]+)"')
_HAS_ANY = re.compile(r"Message has_any \(([^)]*)\)")
_EXTRACT = re.compile(r"""extract\(@(["'])(.*?)\1, 1, Message\)""")
_COLUMN = re.compile(r"Properties\.(\w+)")
_TABLE = re.compile(r"^App\w+", re.MULTILINE)
_METRIC = re.compile(r'"(scheduler\.[\w.]+)"')


def life(*fates: Fate) -> None:
    """Two hours of a job."""
    World(*fates).run_until(hour(2))


def slow_life() -> None:
    """A run that takes far longer than those before it did."""
    world = World(Fate.HANGS, run_deadline=timedelta(hours=9))
    world.run_until(hour(0.5))
    world.set_job(durations=" ".join(["300"] * 5))
    world.run_until(hour(2))


def broken(_: Window) -> Iterator[pa.Table]:
    yield from ()
    raise ValueError("no")


class Kept(logging.Handler):
    """Keeps the lines of a log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def logged() -> Iterator[Sequence[str]]:
    """What is logged from here on."""
    kept, root = Kept(), logging.getLogger()
    level = root.level
    root.addHandler(kept)
    root.setLevel(logging.INFO)
    yield kept.lines
    root.removeHandler(kept)
    root.setLevel(level)


@pytest.fixture(scope="module")
def reported() -> Recorded:
    """What is reported of jobs of which some go wrong."""
    return recorded()


@pytest.fixture(scope="module")
def lines(reported: Recorded) -> Sequence[str]:
    """What is logged of them."""
    with logged() as found:
        for fate in (Fate.REPORTS_AN_ERROR, Fate.HANGS, Fate.DIES_AFTER_CLAIM, Fate.DONE):
            life(fate)
        slow_life()
        land(extract, WINDOW)
        land(broken, WINDOW)
    return found


@pytest.fixture(scope="module")
def metrics(reported: Recorded, lines: Sequence[str]) -> Mapping[str, list[Point]]:
    return reported.metrics()


@pytest.fixture(scope="module")
def span_attributes(reported: Recorded, lines: Sequence[str]) -> set[str]:
    return {key for span in reported.spans() for key in span.attributes or {}}


def written_lines() -> set[str]:
    """The texts of all calls of a logger in the code that runs in containers."""
    return {
        call.args[0].value
        for folder in ("scheduler", "extractor/runtime")
        for path in (REPOSITORY / folder).glob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id in {"_log", "logger"}
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    }


def finds(query: str, line: str) -> bool:
    """Whether an alert's query finds a line; it asks for a beginning, and for one of some words."""
    (start,) = _STARTS.findall(query)
    words = [each for listed in _HAS_ANY.findall(query) for each in re.findall(r'"(.*?)"', listed)]
    return line.startswith(start) and (not words or any(word in line.split() for word in words))


@pytest.mark.parametrize("query", QUERIES)
def test_every_line_that_is_asked_for_is_written_somewhere(query: str) -> None:
    written = written_lines()
    for start in _STARTS.findall(query):
        assert any(line.startswith(start) for line in written), start


@pytest.mark.parametrize("query", BLOCKS)
def test_every_fact_that_is_taken_from_a_line_is_in_it(query: str, lines: Sequence[str]) -> None:
    starts = tuple(_STARTS.findall(query))
    asked = [line for line in lines if starts and line.startswith(starts)]
    for _, pattern in _EXTRACT.findall(query):
        assert any(re.search(pattern, line) for line in asked), pattern


def test_the_facts_of_a_failed_run_are_what_the_query_takes_for_them(
    lines: Sequence[str],
) -> None:
    (query,) = (each for each in BLOCKS if '"run ended"' in each)
    patterns = {
        name: re.compile(pattern)
        for name, _, pattern in re.findall(r"(\w+) = extract\(@([\"'])(.*?)\2, 1", query)
    }
    statuses = re.search(r"status in \((.*?)\)", query)
    assert statuses is not None
    ended = [line for line in lines if line.startswith("run ended")]
    found = [
        {name: match[1] for name, each in patterns.items() if (match := each.search(line))}
        for line in ended
    ]
    assert {each["status"] for each in found} - {"succeeded"} == set(
        re.findall(r"\w+", statuses.group(1))
    )
    for each in found:
        assert each["job"] == "weather"
        assert each["status"] == "succeeded" or each["why"]


@pytest.mark.parametrize("query", QUERIES)
def test_every_metric_and_attribute_that_is_asked_for_is_reported(
    query: str, metrics: Mapping[str, list[Point]], span_attributes: set[str]
) -> None:
    (table, *others) = _TABLE.findall(query)
    assert not others
    asked = _METRIC.findall(query)
    assert set(asked) <= metrics.keys()
    attributes = {
        "AppTraces": set(),
        "AppRequests": span_attributes,
        "AppMetrics": {key for name in asked for found, _ in metrics[name] for key in found},
    }
    assert set(_COLUMN.findall(query)) <= attributes[table]


def test_the_page_lists_the_metrics_that_there_are(metrics: Mapping[str, list[Point]]) -> None:
    listed = re.findall(r"^\| `(scheduler\.[\w.]+)` \|", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(name for name in metrics if name.startswith("scheduler."))


def test_the_page_lists_the_alerts_that_there_are() -> None:
    listed = re.findall(r"^\| `([\w-]+)` \|.*`(\w+): (\w+)` \|$", PAGE, re.MULTILINE)
    assert [name for name, _, _ in listed] == [alert.name for alert in ALERTS]
    defaults = AlertsConfig().model_dump(by_alias=True)
    for _, switch, value in listed:
        assert str(defaults[switch]).lower() == value


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_finds_what_it_is_for(alert: Alert, lines: Sequence[str]) -> None:
    assert any(finds(alert.query, line) for line in lines)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_is_silent_while_all_goes_well_and_while_nothing_is_due(alert: Alert) -> None:
    with logged() as idle:
        World().run_until(hour(0.5))
    with logged() as busy:
        life(Fate.DONE)
        land(extract, WINDOW)
    for lines in (idle, busy):
        assert any(finds(alert.query, line) for line in lines) is alert.expected


def test_a_failure_of_each_kind_is_told_and_an_end_of_another_kind_is_not(
    lines: Sequence[str],
) -> None:
    (alert,) = (each for each in ALERTS if each.name == "job-failed")
    ended = [line for line in lines if line.startswith("run ended")]
    told = {line.split()[4] for line in ended if finds(alert.query, line)}
    others = {line.split()[4] for line in ended if not finds(alert.query, line)}
    assert told == {"status=failed", "status=timed_out", "status=abandoned"}
    assert others == {"status=succeeded"}


def test_a_job_that_fails_is_one_event_for_each_attempt() -> None:
    (alert,) = (each for each in ALERTS if each.name == "job-failed")
    with logged() as lines:
        life(Fate.REPORTS_AN_ERROR, Fate.HANGS)
    assert sum(finds(alert.query, line) for line in lines) == 2


def test_the_links_of_the_page_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert targets
    for target in targets:
        assert (REPOSITORY / "docs" / Path(target)).resolve().exists(), target
