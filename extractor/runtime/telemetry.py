"""Logs, traces and metrics: to Application Insights in the cloud, to the console on request.

Whoever has something to report uses OpenTelemetry's interface, which does nothing before
:func:`start`. The libraries that send are loaded there alone, and only where there is somewhere to
send to.

What is sent is never worth a run: no failure here reaches the caller, and the end of a process
waits for :data:`CLOSE_S` at most.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from opentelemetry import metrics, trace
from opentelemetry._logs import LoggerProvider as LogProvider
from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
)

from extractor.runtime.log import OneLine
from extractor.runtime.records import Run

if TYPE_CHECKING:
    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

CONNECTION_STRING = "APPLICATIONINSIGHTS_CONNECTION_STRING"
"""Variable that names the component. It opens nothing: the component accepts identities alone."""

SWITCH = "TELEMETRY"
"""Variable; ``console`` writes traces and metrics to stdout, where the log is anyway."""

CLOSE_S = 5.0
"""How long the end of a process waits for what is still to be sent."""

_METRICS_EVERY_MS = 300_000
"""Each time is a paid row for each job; what they are looked at for lasts longer."""

_REPORTS_OF_THE_LIBRARY = (
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED",
    "APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED",
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL",
)
"""Variables that keep the exporters from sending more: about themselves, and to Microsoft."""

_SENDERS = ("azure.monitor", "opentelemetry")
"""Loggers of what sends: their lines would be sent in turn."""

logger = logging.getLogger(__name__)


class Provider(Protocol):
    """What collects and sends one kind of telemetry."""

    def shutdown(self) -> None:
        """Send what is left; takes as long as the other side lets it."""


@dataclass
class Telemetry:
    """What :func:`start` has begun. Close it at the end of the process."""

    providers: list[Provider] = field(default_factory=list)
    handlers: list[logging.Handler] = field(default_factory=list)

    def close(self) -> None:
        """Send what is left, as far as :data:`CLOSE_S` allows. Never raises."""
        for handler in self.handlers:
            logging.getLogger().removeHandler(handler)
        # Daemons, so that one stuck in the network does not keep a finished container alive.
        threads = [
            threading.Thread(target=_shut_down, args=(each,), daemon=True)
            for each in self.providers
        ]
        deadline = time.monotonic() + CLOSE_S
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            logger.warning("telemetry not sent within %g s", CLOSE_S)


def start(
    role: str, environment: Mapping[str, str] = os.environ, *, logs: bool = True
) -> Telemetry:
    """Send what is reported from now on, if the environment says where to. Never raises.

    Args:
        role: under which name Application Insights shows this process.
        environment: see :data:`CONNECTION_STRING`, :data:`SWITCH` and ``AZURE_CLIENT_ID``.
        logs: whether to send the log as well; the Functions host does so by itself.
    """
    telemetry = Telemetry()
    try:
        exporters = _exporters(environment)
        if exporters is not None:
            _begin(telemetry, role, exporters, logs=logs)
    except Exception:
        logger.exception("telemetry not started")
    return telemetry


@contextmanager
def run_span(run: Run, window: object) -> Iterator[Span]:
    """Trace a run: a request, as Application Insights calls it, by the name of the job.

    The trace has the run's id, so all that its container has reported is found by it.
    """
    with trace.get_tracer(__name__).start_as_current_span(
        run.job,
        context=_trace_of(run.run_id),
        kind=SpanKind.CONSUMER,
        attributes={
            "job": run.job,
            "run": run.run_id,
            "attempt": run.attempt,
            "trigger": run.trigger,
            "window": str(window),
        },
        # An exception's text may have a secret in it; the log, which masks those, has it as well.
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield span


def describe_run(*, failed: bool, **values: str | int | None) -> None:
    """Say how the run of the current :func:`run_span` ended; ``None`` says nothing."""
    span = trace.get_current_span()
    span.set_attributes({name: each for name, each in values.items() if each is not None})
    span.set_status(StatusCode.ERROR if failed else StatusCode.OK)


def _trace_of(run_id: str) -> Context | None:
    """A trace with the run's id, where that has the form of one."""
    if not re.fullmatch(r"(?=.*[1-9a-f])[0-9a-f]{1,16}", run_id):
        return None
    number = int(run_id, 16)
    parent = SpanContext(number, number, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return trace.set_span_in_context(NonRecordingSpan(parent))


@dataclass(frozen=True)
class _Exporters:
    spans: SpanExporter
    metrics: MetricExporter
    logs: LogRecordExporter | None


def _exporters(environment: Mapping[str, str]) -> _Exporters | None:
    if environment.get(SWITCH) == "console":
        return _console()
    connection_string = environment.get(CONNECTION_STRING)
    if not connection_string:
        return None
    return _azure_monitor(connection_string, environment.get("AZURE_CLIENT_ID"))


def _console() -> _Exporters:
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter  # noqa: PLC0415 - see above
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415 - see above

    return _Exporters(
        ConsoleSpanExporter(formatter=lambda span: f"{span.to_json(indent=None)}\n"),
        ConsoleMetricExporter(formatter=lambda data: f"{data.to_json(indent=None)}\n"),
        None,
    )


def _azure_monitor(connection_string: str, client_id: str | None) -> _Exporters:
    os.environ.update(dict.fromkeys(_REPORTS_OF_THE_LIBRARY, "true"))
    from azure.monitor.opentelemetry.exporter import (  # noqa: PLC0415 - see above
        AzureMonitorLogExporter,
        AzureMonitorMetricExporter,
        AzureMonitorTraceExporter,
    )

    from extractor.runtime.identity import credential_of  # noqa: PLC0415 - see above

    options = {
        "connection_string": connection_string,
        "credential": credential_of(client_id),
        # Nothing reads a container's disk after its end.
        "disable_offline_storage": True,
    }
    return _Exporters(
        AzureMonitorTraceExporter(**options),
        AzureMonitorMetricExporter(**options),
        AzureMonitorLogExporter(**options),
    )


def _begin(telemetry: Telemetry, role: str, exporters: _Exporters, *, logs: bool) -> None:
    from opentelemetry.sdk._logs import LoggerProvider  # noqa: PLC0415 - see above
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor  # noqa: PLC0415 - see above
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - see above
    from opentelemetry.sdk.metrics.export import (  # noqa: PLC0415 - see above
        PeriodicExportingMetricReader,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - see above
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - see above
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - see above

    for name in _SENDERS:
        # Every attempt of theirs that fails is a line, and the last line of a container's log is
        # what the scheduler reports of one that has died.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    resource = Resource.create({"service.name": role})
    tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracer_provider.add_span_processor(BatchSpanProcessor(exporters.spans))
    trace.set_tracer_provider(tracer_provider)
    reader = PeriodicExportingMetricReader(exporters.metrics, _METRICS_EVERY_MS)
    meter_provider = MeterProvider([reader], resource, shutdown_on_exit=False)
    metrics.set_meter_provider(meter_provider)
    telemetry.providers += [tracer_provider, meter_provider]
    if logs and exporters.logs:
        logger_provider = LoggerProvider(resource, shutdown_on_exit=False)
        logger_provider.add_log_record_processor(BatchLogRecordProcessor(exporters.logs))
        telemetry.providers.append(logger_provider)
        telemetry.handlers.append(_Handler(logger_provider))
        logging.getLogger().addHandler(telemetry.handlers[-1])


class _Handler(logging.Handler):
    """Sends the lines of the log as they are on stdout, secrets masked, without their times."""

    def __init__(self, provider: LogProvider) -> None:
        super().__init__()
        self.setFormatter(OneLine("%(message)s"))
        self._logger = provider.get_logger(__name__)

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(_SENDERS):
            return
        try:
            self._logger.emit(
                timestamp=int(record.created * 1e9),
                # 10, 20, … in Python are 5, 9, … in OpenTelemetry.
                severity_number=SeverityNumber(min(record.levelno // 10, 5) * 4 + 1),
                body=self.format(record),
                attributes={"logger": record.name},
            )
        except Exception:  # noqa: BLE001 - as in every handler of the standard library
            self.handleError(record)


def _shut_down(provider: Provider) -> None:
    with suppress(Exception):
        provider.shutdown()
