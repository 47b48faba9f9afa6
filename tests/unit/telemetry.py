"""What is reported through OpenTelemetry, kept in memory.

A process has one provider of each kind for good, so all tests share these.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

Point = tuple[Mapping[str, object], float]


@dataclass(frozen=True)
class Recorded:
    """The spans and metrics of this process."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def points(self, name: str) -> list[Point]:
        """Attributes and value of each series of a metric; a histogram's value is its count."""
        return self.metrics().get(name, [])

    def metrics(self) -> Mapping[str, list[Point]]:
        """The series of each metric that has a value."""
        data = self.reader.get_metrics_data()
        return {
            metric.name: [
                (dict(point.attributes or {}), _value(point)) for point in metric.data.data_points
            ]
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def _value(point: object) -> float:
    return point.value if isinstance(point, NumberDataPoint) else point.count  # type: ignore[attr-defined]


@functools.cache
def _recorded() -> Recorded:
    recorded = Recorded()
    tracer_provider = TracerProvider(shutdown_on_exit=False)
    tracer_provider.add_span_processor(SimpleSpanProcessor(recorded.exporter))
    trace.set_tracer_provider(tracer_provider)
    metrics.set_meter_provider(MeterProvider([recorded.reader], shutdown_on_exit=False))
    return recorded


def recorded() -> Recorded:
    """What is reported from now on; counters go on from where they are."""
    found = _recorded()
    found.exporter.clear()
    return found
