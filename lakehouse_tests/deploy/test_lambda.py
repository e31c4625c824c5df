"""The handler carries files to items without Dagster, whatever Lambda does with its events."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from lakehouse.layers.lag import lagging
from lakehouse.local.aws import TEMPLATE
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import check, land

HANDLER = TEMPLATE.parent / "lambda_handler.py"


@pytest.fixture
def function(road: Road, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("LAKEHOUSE_LAKE", road.lake.root)
    monkeypatch.setenv("LAKEHOUSE_LANDING_BUCKET", road.bucket.name)
    monkeypatch.setenv("LAKEHOUSE_TABLE_PREFIX", road.prefix)
    spec = importlib.util.spec_from_file_location("lambda_handler", HANDLER)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def events(road: Road) -> Iterator[dict[str, Any]]:
    """What Lambda makes of the queue: an event a batch, deleted when its call is over."""
    client, url = road.queue.client, road.queue.url
    told = {"QueueUrl": url, "MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"]}
    while messages := client.receive_message(**told).get("Messages"):
        yield {
            "Records": [
                {
                    "messageId": m["MessageId"],
                    "receiptHandle": m["ReceiptHandle"],
                    "body": m["Body"],
                    "attributes": m["Attributes"],
                    "eventSource": "aws:sqs",
                }
                for m in messages
            ]
        }
        for m in messages:
            client.delete_message(QueueUrl=url, ReceiptHandle=m["ReceiptHandle"])


@pytest.mark.slow
@pytest.mark.parametrize("root", ["s3"], indirect=True)
def test_files_become_items_and_an_event_delivered_twice_changes_nothing(road: Road, function: ModuleType) -> None:
    land(road, sample.FILES)
    for event in events(road):
        function.handler(event)
        function.handler(event)
    check(road, sample.FILES)
    assert function.handler({}) == {}


def test_what_a_call_that_died_left_behind_the_next_one_carries(
    road: Road, function: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(road, sample.FILES)
    (event,) = list(events(road))
    with monkeypatch.context() as dying:
        dying.setattr(function.cleaned, "clean", stop)
        with pytest.raises(KeyboardInterrupt):
            function.handler(event)
    while function.handler({}):
        pass
    check(road, sample.FILES)


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_handler_knows_no_dagster() -> None:
    script = (
        f"import runpy, sys; runpy.run_path({str(HANDLER)!r}); print([m for m in sys.modules if 'dagster' in m])"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_a_history_and_a_prefix_that_nobody_declared_are_carried_too(
    road: Road, function: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    road.datasets["flights"] = replace(road.datasets["flights"], history=True)
    monkeypatch.setattr(function, "load", lambda: road.datasets)
    land(road, {**sample.FILES, "orders/1.csv": b"id,amount\n1,10\n"})
    for event in events(road):
        function.handler(event)
    function.handler({})
    assert lagging(road.lake, road.datasets, road.items) == {}
    assert road.lake.open("history/flights")
    table = road.lake.open("raw/orders")
    assert table
    assert table.scan().filter(pl.col("_part") == "row").select("amount").collect().rows() == [("10",)]
