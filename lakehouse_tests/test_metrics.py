"""One setting sends what happened to a collector; without it nothing is even imported."""

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest
from botocore.exceptions import ClientError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from lakehouse import metrics
from lakehouse.definitions import build
from lakehouse.dynamodb import table
from lakehouse.orchestration import sensor
from lakehouse.orchestration.resources import LakehouseResource
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import land


class Collector(HTTPServer):
    """Takes OTLP over HTTP; `seen` sums what came by metric and its attributes."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, ...]] = Counter()
        super().__init__(("127.0.0.1", 0), Handler)

    def take(self, body: bytes) -> None:
        request = ExportMetricsServiceRequest.FromString(body)
        for metric in (m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics):
            for point in getattr(metric, metric.WhichOneof("data")).data_points:
                about = [a.value.string_value for a in point.attributes]
                amount = point.count if hasattr(point, "count") else point.as_int or point.as_double
                self.seen[(metric.name, *sorted(about))] += amount


class Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/metrics"
        self.server.take(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{running.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        metrics._provider.cache_clear()
        metrics._made.cache_clear()
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        metrics._provider(os.getpid()).shutdown()
        metrics._provider.cache_clear()
        metrics._made.cache_clear()
        running.shutdown()


@pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run:DeprecationWarning")
def test_a_tick_and_a_run_tell_what_they_did(
    road: Road, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE", road.lake.root)
    monkeypatch.setenv("LAKEHOUSE_LANDING_BUCKET", road.bucket.name)
    monkeypatch.setenv("LAKEHOUSE_QUEUE_URL", road.queue.url)
    monkeypatch.setenv("LAKEHOUSE_TABLE_PREFIX", road.prefix)
    defs = build(dg.in_process_executor)
    resource = defs.resources["lakehouse"]
    assert isinstance(resource, LakehouseResource)
    land(road, sample.FILES)
    with dg.DagsterInstance.ephemeral() as instance:
        ready = defs.resolve_job_def("flights")
        sensor.tick(instance, resource, road.datasets, sensor.Sweep())
        tags = {sensor.DATASET: "flights"}
        assert ready.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
    metrics.flush()
    seen = collector.seen
    assert seen["lakehouse.events",] == len(sample.FILES)
    assert seen["lakehouse.lag",] == 2
    assert seen["lakehouse.bytes", "flights"] == sum(len(b) for k, b in sample.FILES.items() if "flights" in k)
    assert seen["lakehouse.rows", "cleaned/flights", "put"] == 3
    assert seen["lakehouse.quarantine", "flights"] == 1
    assert seen["lakehouse.rows", "dynamodb/carrier_punctuality", "put"] == 2
    assert seen["lakehouse.latency", "dynamodb/carrier_punctuality"] == 1


def test_each_refusal_of_dynamodb_is_counted(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_pause", lambda _: None)
    refusals = iter([True, True, False])

    def call(_: object) -> str:
        if next(refusals):
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "PutItem")
        return "written"

    assert table._patiently(call, None) == "written"
    metrics.flush()
    assert collector.seen["lakehouse.throttles",] == 2


@pytest.mark.parametrize("told", [True, False])
def test_opentelemetry_is_imported_only_where_it_is_asked_for(collector: Collector, told: bool) -> None:
    script = (
        "import sys; from lakehouse import metrics; import lakehouse.orchestration.warm\n"
        "metrics.add('lakehouse.events', 1)\n"
        "print([m for m in sys.modules if m.startswith('opentelemetry.sdk.metrics')] != [])"
    )
    environment = {k: v for k, v in os.environ.items() if told or not k.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(told)]
    assert collector.seen["lakehouse.events",] == int(told)


@pytest.mark.slow
def test_a_collector_that_is_away_changes_nothing() -> None:
    script = "from lakehouse import metrics; metrics.add('lakehouse.events', 1); metrics.flush(); print('on')"
    environment = os.environ | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_METRIC_EXPORT_TIMEOUT": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout == "on\n"
