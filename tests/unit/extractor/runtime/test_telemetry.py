"""What a container sends, and that sending never matters to its run."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import NoReturn

import pyarrow as pa
import pytest
from opentelemetry.trace import StatusCode

from extractor.runtime import Window, azure, run, telemetry
from extractor.runtime.records import run_row_key
from extractor.runtime.runner import EXIT_FAILED, EXIT_OK, Extract, run_job
from extractor.runtime.telemetry import CONNECTION_STRING, Telemetry, run_span, start
from extractor.runtime.termination import Termination
from extractor.runtime.testing import IMAGE_DIGEST, JOB, MemoryLake, MemoryRunStore
from tests.unit.extractor.runtime.test_runner import WINDOW, extract
from tests.unit.extractor.runtime.test_settings import ENVIRONMENT
from tests.unit.telemetry import Recorded
from tests.unit.telemetry import recorded as recorded_now

RUN_ID = "00c0ffee0001"
KEY = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def recorded() -> Recorded:
    return recorded_now()


def container(extract: Extract) -> int:
    """The container of a run with an id like the scheduler's, until its exit."""
    store = MemoryRunStore()
    started = store.start(WINDOW)
    row_key = run_row_key(started.created_at, RUN_ID)
    store.put_run(replace(started, run_id=RUN_ID, row_key=row_key))
    store.put_job(JOB, active_run=row_key)
    return run_job(
        extract,
        job=JOB,
        image_digest=IMAGE_DIGEST,
        store=store,
        lake=MemoryLake(),
        termination=Termination(),
    )


# The run


def test_a_run_is_one_span_with_what_it_loaded(recorded: Recorded) -> None:
    assert container(extract) == EXIT_OK
    (span,) = recorded.spans()
    attributes = dict(span.attributes or {})
    assert (span.name, span.status.status_code) == (JOB, StatusCode.OK)
    assert attributes.pop("bytes")
    assert attributes == {
        "job": JOB,
        "run": RUN_ID,
        "attempt": 1,
        "trigger": "schedule",
        "window": "2020-01-01T00:00:00Z/2020-01-03T00:00:00Z",
        "rows": 4,
    }


def test_a_runs_trace_is_found_by_its_id(recorded: Recorded) -> None:
    container(extract)
    (span,) = recorded.spans()
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == RUN_ID.zfill(32)


def test_a_failed_runs_span_says_why_and_has_no_other_text_of_the_error(
    recorded: Recorded,
) -> None:
    def broken(_: Window) -> Iterator[pa.Table]:
        yield from ()
        raise ValueError("no")

    assert container(broken) == EXIT_FAILED
    (span,) = recorded.spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["reason"] == "The extractor raised ValueError."
    assert span.attributes["error"] == "ValueError: no"
    assert list(span.events) == []


def test_an_exception_that_leaves_the_span_does_not_write_its_text_there(
    recorded: Recorded,
) -> None:
    run = MemoryRunStore().start(WINDOW)
    with pytest.raises(ValueError, match="hunter2"), run_span(run, WINDOW):
        raise ValueError("hunter2")
    (span,) = recorded.spans()
    assert "hunter2" not in span.to_json()


# Failures


def test_the_end_waits_for_what_is_still_sent_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telemetry, "CLOSE_S", 0.2)
    done: list[str] = []

    class Slow:
        def shutdown(self) -> None:
            time.sleep(0.05)
            done.append("slow")

    class Broken:
        def shutdown(self) -> None:
            raise ConnectionError

    class Stuck:
        def shutdown(self) -> None:
            time.sleep(2)

    began = time.monotonic()
    Telemetry([Broken(), Slow()]).close()
    assert done == ["slow"]
    assert caplog.records == []
    Telemetry([Stuck(), Slow()]).close()
    assert time.monotonic() - began < 1.5
    assert [record.message for record in caplog.records] == ["telemetry not sent within 0.2 s"]


def test_a_failed_start_is_a_line_of_the_log_and_nothing_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    root = logging.getLogger()
    before = root.handlers[:]
    start("weather", {CONNECTION_STRING: "nonsense"}).close()
    assert root.handlers == before
    assert [record.message for record in caplog.records] == ["telemetry not started"]


def test_what_keeps_a_container_from_its_run_is_sent_as_well(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[str] = []

    class Closing(Telemetry):
        def close(self) -> None:
            sent.extend(record.message for record in caplog.records)

    def unreachable(_: object) -> NoReturn:
        raise ConnectionError("no tables")

    monkeypatch.setattr("extractor.runtime.log.configure", lambda: None)
    monkeypatch.setattr(azure, "connect", unreachable)
    monkeypatch.setattr(telemetry, "start", lambda *_: Closing())
    assert run(extract, ENVIRONMENT) == EXIT_FAILED
    assert sent == ["no run begun"]
