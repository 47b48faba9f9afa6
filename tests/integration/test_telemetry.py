"""What a container's process sends, and that a place which does not answer never matters to it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from extractor.runtime.telemetry import CONNECTION_STRING, SWITCH
from extractor.runtime.testing import IMAGE_DIGEST

KEY = "11111111-2222-4333-8444-555555555555"

_PROGRAM = """
import json, logging
from azure.monitor.opentelemetry.exporter.export._base import BaseExporter, ExportResult
from opentelemetry import metrics, trace
from extractor.runtime import log, secrets, telemetry

sent = []

def transmit(self, envelopes):
    sent.extend(each.as_dict() for each in envelopes)
    return ExportResult.SUCCESS

BaseExporter._transmit = transmit
log.configure()
sending = telemetry.start("weather")
secrets.hold({"API_KEY": "hunter2"})
with trace.get_tracer("t").start_as_current_span("a run", kind=trace.SpanKind.CONSUMER):
    logging.getLogger("any").warning("run ended %s", log.facts(job="weather", key="hunter2"))
    try:
        int("hunter2")
    except ValueError:
        logging.getLogger("any").exception("failed")
logging.getLogger("azure.monitor.any").critical("of the sender itself")
metrics.get_meter("t").create_counter("a.counter").add(3)
sending.close()
logging.getLogger("any").info("later")
assert len(logging.getLogger().handlers) == 1
print("SENT" + json.dumps(sent))
"""


def run_program(program: str, variables: Mapping[str, str]) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env={"PATH": "", **variables},
    ).stdout


def test_what_application_insights_gets() -> None:
    variables = {CONNECTION_STRING: f"InstrumentationKey={KEY}", "AZURE_CLIENT_ID": "client"}
    out = run_program(_PROGRAM, variables)
    sent: list[dict[str, Any]] = json.loads(out.partition("SENT")[2])
    data = [(each["data"]["baseType"], each["data"]["baseData"]) for each in sent]
    first, second = (base for kind, base in data if kind == "MessageData")
    (request,) = (each for each in sent if each["data"]["baseType"] == "RequestData")
    (counter,) = (base for kind, base in data if kind == "MetricData")
    assert (first["message"], first["severityLevel"]) == ("run ended job=weather key=***", 2)
    assert second["severityLevel"] == 3
    assert second["message"].startswith("failed\\nTraceback")
    assert "hunter2" not in out
    assert request["data"]["baseData"]["name"] == "a run"
    assert (counter["metrics"][0]["name"], counter["metrics"][0]["value"]) == ("a.counter", 3)
    assert {each["tags"]["ai.cloud.role"] for each in sent} == {"weather"}
    operations = {
        each["tags"]["ai.operation.id"]
        for each in sent
        if each["data"]["baseType"] in {"MessageData", "RequestData"}
    }
    assert len(operations) == 1


def test_on_the_console_each_span_and_each_batch_of_metrics_is_a_line() -> None:
    program = _PROGRAM.replace("print(", "#")
    lines = run_program(program, {SWITCH: "console"}).splitlines()
    documents = [json.loads(line) for line in lines if line.startswith("{")]
    assert {"a run"} == {each["name"] for each in documents if "name" in each}
    assert any("resource_metrics" in each for each in documents)
    assert sum("later" in line for line in lines) == 1


def test_without_a_place_to_send_to_nothing_is_loaded() -> None:
    program = """
import sys
from extractor.runtime import runner, telemetry
telemetry.start("weather").close()
senders = ("opentelemetry.sdk", "azure.monitor")
print(sorted(each for each in sys.modules if each.startswith(senders)))
"""
    assert run_program(program, {CONNECTION_STRING: ""}) == "[]\n"


_RUN = """
import socket, sys, time
from contextlib import nullcontext
from extractor.runtime import azure, run, telemetry
from extractor.runtime.testing import MemoryLake, MemoryRunStore
from tests.unit.extractor.runtime.test_runner import WINDOW, extract

telemetry.CLOSE_S = 0.5
store, lake = MemoryRunStore(), MemoryLake()
started = store.start(WINDOW, job="weather")
azure.connect = lambda _: nullcontext((store, lake))
code = run(extract)
print("EXIT", code, store.runs[started.job, started.row_key].status)
"""


@pytest.fixture
def hanging() -> Iterator[int]:
    """A port on which connections are taken and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("kind", ["refusing", "hanging", "wrong"])
def test_a_place_that_does_not_answer_changes_no_run_and_delays_no_end(
    hanging: int, kind: str
) -> None:
    port = {"refusing": 9, "hanging": hanging, "wrong": 0}[kind]
    endpoint = f"https://127.0.0.1:{port}/"
    connection = f"InstrumentationKey={KEY};IngestionEndpoint={endpoint}"
    began = time.monotonic()
    out = run_program(
        _RUN,
        {
            CONNECTION_STRING: "nonsense" if kind == "wrong" else connection,
            "PYTHONPATH": ":".join(sys.path),
            "AZURE_CLIENT_ID": "client",
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{hanging}/token",
            "IDENTITY_HEADER": "header",
            "JOB_NAME": "weather",
            "IMAGE_DIGEST": IMAGE_DIGEST,
            "TABLES_ENDPOINT": "https://tables",
            "LAKE_ENDPOINT": "https://lake",
            "LAKE_FILE_SYSTEM": "lake",
        },
    )
    assert out.splitlines()[-1] == "EXIT 0 succeeded"
    # Its imports take some of this; a token alone would be waited for for minutes.
    assert time.monotonic() - began < 10
    said = {"wrong": "telemetry not started", "hanging": "telemetry not sent within 0.5 s"}
    assert said.get(kind, "") in out
