"""What happened → OpenTelemetry. One setting: OTEL_EXPORTER_OTLP_ENDPOINT; without it nothing is imported or sent.

The other standard variables (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_HEADERS …) hold too.
A run is a process of a second or two: counts go out as differences, so that a collector can add up many processes,
and each process sends what it counted before it ends, by `flush`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

SETTINGS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
TOLD = {
    "lakehouse.events": ("{event}", "Events received from the queue."),
    "lakehouse.rows": ("{row}", "Rows written, by table and by what was done."),
    "lakehouse.bytes": ("By", "Bytes of objects read."),
    "lakehouse.throttles": ("{call}", "Calls that DynamoDB refused for now."),
    "lakehouse.quarantine": ("{row}", "Rows put into quarantine, by dataset."),
    "lakehouse.lag": ("1", "Datasets that lag."),
    "lakehouse.latency": ("s", "From an object's upload to its items."),
}
"""The unit of each metric, and what it tells."""
FLUSH_MILLISECONDS = 5_000


def on() -> bool:
    return any(os.environ.get(name) for name in SETTINGS)


def add(name: str, amount: float, **about: str) -> None:
    """Count."""
    if on() and amount:
        _instrument("create_counter", name).add(amount, _attributes(about))


def record(name: str, value: float, **about: str) -> None:
    """One of many durations."""
    if on():
        _instrument("create_histogram", name).record(value, _attributes(about))


def level(name: str, value: float, **about: str) -> None:
    """How much there is now."""
    if on():
        _instrument("create_gauge", name).set(value, _attributes(about))


def parts() -> tuple[Any, ...]:
    """What is imported to send anything; a process that others are forked from does so ahead of them."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk import metrics, resources
    from opentelemetry.sdk.metrics import export

    return OTLPMetricExporter, metrics, export, resources.Resource


def flush() -> None:
    """Send what was counted. A collector that is away is no error of what was counted."""
    if on() and _provider.cache_info().currsize:
        try:
            _provider(os.getpid()).force_flush(FLUSH_MILLISECONDS)
        except Exception as error:
            logging.getLogger(__name__).warning("metrics were not sent: %s", error)


def _attributes(about: Mapping[str, str]) -> dict[str, str]:
    return {f"lakehouse.{name}": value for name, value in about.items()}


@cache
def _provider(process: int) -> Any:
    """One a process: a fork has none of its parent's threads."""
    exporter, sdk, export, resource = parts()
    by_difference = dict.fromkeys((sdk.Counter, sdk.Histogram), export.AggregationTemporality.DELTA)
    reader = export.PeriodicExportingMetricReader(exporter(preferred_temporality=by_difference))
    named = {"service.name": os.environ.get("OTEL_SERVICE_NAME", "lakehouse"), "service.instance.id": str(process)}
    return sdk.MeterProvider([reader], resource.create(named))


def _instrument(kind: str, name: str) -> Any:
    return _made(os.getpid(), kind, name)


@cache
def _made(process: int, kind: str, name: str) -> Any:
    unit, description = TOLD[name]
    meter = _provider(process).get_meter("lakehouse")
    return getattr(meter, kind)(name, unit=unit, description=description)
