"""When the sweep asks for a run; and the road through the real daemon."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent
from dagster._core.execution.plan.objects import StepFailureData, StepSuccessData
from dagster._daemon.sensor import MIN_INTERVAL_LOOP_TIME

import lakehouse
from lakehouse.dataset import load
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.landing.queue import Budget, Queue
from lakehouse.orchestration import sensor
from lakehouse.orchestration.metadata import LISTED
from lakehouse.orchestration.sensor import Past, due

FAILED, GOOD = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS


def test_a_dataset_without_runs_is_due() -> None:
    assert due([], 0)


def test_the_pause_grows_with_the_failures_in_a_row() -> None:
    assert not due([Past(FAILED, 100)], 101)
    assert due([Past(FAILED, 100)], 102)
    assert not due([Past(FAILED, 100)] * 5, 131)
    assert due([Past(FAILED, 100)] * 5, 132)
    assert due([Past(FAILED, 100), Past(GOOD, 1), Past(FAILED, 0)], 102)


class Stream:
    """SQS, and a queue into which somebody goes on sending: each receive finds `each` messages."""

    PATIENCE = 50

    def __init__(self, each: int, prefix: str = "flights") -> None:
        self.prefix, self.each, self.received, self._numbers = prefix, each, 0, count()

    def receive_message(self, **_: Any) -> dict[str, Any]:
        self.received += self.each
        assert self.received <= self.PATIENCE * self.each, "the tick goes on and on"
        return {"Messages": [self._message(next(self._numbers)) for _ in range(self.each)]}

    def delete_message_batch(self, **_: Any) -> dict[str, Any]:
        return {}

    def _message(self, number: int) -> dict[str, Any]:
        thing = {"bucket": {"name": "b"}, "object": {"key": f"{self.prefix}/{number}.csv"}}
        body = json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": thing}]})
        return {"MessageId": str(number), "ReceiptHandle": str(number), "Body": body}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


RAW = "raw__flights"
SAID: dict[str, Any] = {"STEP_SUCCESS": StepSuccessData(1.0), "STEP_FAILURE": StepFailureData(None, None)}


def failed(instance: dg.DagsterInstance, *events: str) -> None:
    """A run of flights that ended badly after these events of its raw step."""
    job = dg.GraphDefinition(name="flights").to_job()
    run = instance.create_run_for_job(job, tags={sensor.DATASET: "flights"})
    for event in events:
        told = DagsterEvent(event, "flights", step_key=RAW, event_specific_data=SAID.get(event))
        instance.report_dagster_event(told, run.run_id)
    instance.report_run_failed(run)


DIED, REFUSED, PASSED = ("STEP_START",), ("STEP_START", "STEP_FAILURE"), ("STEP_START", "STEP_SUCCESS")


@pytest.mark.parametrize(
    ("history", "failures"),
    [
        ([], "0"),
        ([DIED], "1"),
        ([REFUSED, DIED], "2"),
        ([PASSED], "0"),
        ([DIED, PASSED], "0"),
        ([DIED, PASSED, REFUSED], "1"),
        ([()], "0"),
        ([DIED, (), DIED], "2"),
    ],
)
def test_only_runs_that_ended_in_the_raw_step_make_the_next_read_less_at_once(
    instance: dg.DagsterInstance,
    tmp_path: Path,
    history: list[tuple[str, ...]],
    failures: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for events in history:
        failed(instance, *events)
    monkeypatch.setattr(sensor, "due", lambda *_: True)
    (request,) = ticked(instance, Lake(str(tmp_path)), Stream(1)).run_requests or []
    assert request.tags[sensor.FAILURES] == failures


def ticked(instance: dg.DagsterInstance, lake: Lake, stream: Stream) -> dg.SensorResult:
    settings = SimpleNamespace(required=lambda _: "b", undeclared="on")
    queue = Queue(stream, "url")
    place: Any = SimpleNamespace(settings=settings, queue=lambda: queue, lake=lake, items=lambda _: None)
    return sensor.tick(instance, place, load(), sensor.Sweep())


@pytest.mark.parametrize("each", [1, 10])
def test_a_run_leaves_though_messages_never_stop_coming(
    instance: dg.DagsterInstance, tmp_path: Path, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensor, "BUDGET", Budget(messages=100))
    monkeypatch.setattr(sensor, "PORTION", 20)
    lake = Lake(str(tmp_path))
    found = ticked(instance, lake, Stream(each))
    assert [request.job_name for request in found.run_requests or []] == ["flights"]
    box = lake.open(inbox.NAME)
    assert box is not None
    assert len(box.scan().collect()) == (1 if each == 1 else 100)
    assert box.version == (1 if each == 1 else 5) + 1


def test_a_tick_with_no_run_to_ask_for_takes_one_budget_in_all(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensor, "BUDGET", Budget(messages=12))
    monkeypatch.setattr(sensor, "due", lambda *_: False)
    stream = Stream(3)
    assert "12 events; behind: raw/flights" in str(ticked(instance, Lake(str(tmp_path)), stream).skip_reason)
    assert stream.received == 12


def test_a_tick_tells_the_objects_that_it_received_and_how_many_events_there_are(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensor, "BUDGET", Budget(messages=60))
    lake, stream = Lake(str(tmp_path)), Stream(10)
    for turn, size in enumerate([60, 3]):
        stream.each = min(size, 10)
        (told,) = ticked(instance, lake, stream).asset_events
        facts = {name: value.value for name, value in told.metadata.items()}
        assert (facts["events"], facts["dagster/row_count"]) == ((60, 60), (3, 63))[turn]
        objects = told.metadata["objects"].records  # type: ignore[attr-defined]
        assert len(objects) == min(size, LISTED)
        numbers = [int(one.data["key"].removeprefix("flights/").removesuffix(".csv")) for one in objects]
        assert min(numbers) >= turn * 60
        assert objects[0].data["dataset"] == "flights"


def test_of_two_ticks_at_once_one_asks_for_the_run(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensor, "due", lambda *_: True)
    sweep = sensor.Sweep()
    assert asked(sweep, instance) == ["flights"]
    assert asked(sweep, instance) == []
    failed(instance, *PASSED)
    assert asked(sweep, instance) == ["flights"]


def test_a_run_that_dagster_never_made_is_asked_for_again(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, now = sensor.Sweep(), time.time()
    assert asked(sweep, instance) == ["flights"]
    monkeypatch.setattr(sensor.time, "time", lambda: now + sensor.LOOP + 1)
    assert asked(sweep, instance) == ["flights"]


def asked(sweep: sensor.Sweep, instance: dg.DagsterInstance) -> list[str | None]:
    return [request.job_name for request in sweep.requests(instance, {"flights": "raw/flights"}, load())]


def test_what_no_dataset_claims_has_a_run_of_its_own(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    (request,) = ticked(instance, lake, Stream(1, "orders")).run_requests or []
    assert (request.job_name, request.tags["lakehouse/behind"]) == ("undeclared", "raw/orders")
    box = lake.open(inbox.NAME)
    assert box is not None
    assert box.mark(inbox.ROUTES)


def test_two_landing_sensors_take_turns_half_way_between_dagsters_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(sensor.time, "sleep", slept.append)
    monkeypatch.setattr(sensor, "tick", lambda *_: dg.SensorResult(skip_reason=f"after {slept}"))
    place = SimpleNamespace(settings=SimpleNamespace(queue_url="https://queue"))
    found = sensor.build({}, [dg.define_asset_job("one")])
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance, resources={"lakehouse": place})
        told = {one.name: one(context).skip_reason.skip_message for one in found}
    assert told == {"landing": "after [0]", "landing_between": f"after [0, {MIN_INTERVAL_LOOP_TIME / 2}]"}


def test_every_table_of_every_dataset_is_an_asset_with_its_lineage() -> None:
    from lakehouse.definitions import defs

    graph = defs().resolve_asset_graph()
    key = dg.AssetKey(["dynamodb", "carrier_punctuality"])
    upstream = {k.to_user_string() for k in graph.get_ancestor_asset_keys(key)}
    assert upstream >= {"landing/inbox", "raw/flights", "cleaned/airlines", "serving/carrier_punctuality"}


def test_one_new_file_is_all_that_a_dataset_needs(tmp_path: Path) -> None:
    package = Path(shutil.copytree(Path(lakehouse.__file__).parent, tmp_path / "lakehouse"))
    (package / "datasets" / "orders.py").write_text(ORDERS)
    script = (
        "from lakehouse.definitions import defs\n"
        "print(sorted(k.to_user_string() for k in defs().resolve_asset_graph().get_all_asset_keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    told = done.stdout
    for key in ("raw/orders", "cleaned/orders", "quarantine/orders", "serving/spent", "dynamodb/spent"):
        assert f"'{key}'" in told


ORDERS = '''"""Orders, one CSV a shop."""

import dataframely as dy
import polars as pl

from lakehouse.dataset import Dataset, Serving


class Order(dy.Schema):
    """One order."""

    number = dy.Int64(primary_key=True)
    customer = dy.String(nullable=False)
    amount = dy.Float64(min=0)


def spent(orders: pl.LazyFrame) -> pl.LazyFrame:
    """What each customer spent."""
    return orders.group_by("customer").agg(spent=pl.col("amount").sum())


dataset = Dataset(
    name="orders",
    landing="orders/*.csv",
    contract=Order,
    serving=[Serving(spent, key="customer", group="customer", publish=True)],
)
'''


@pytest.mark.slow
def test_the_demo_runs_through_the_real_daemon_twice_and_keeps_its_promises(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LAKEHOUSE_", "DAGSTER_"))}
    environment["LAKEHOUSE_HOME"] = str(tmp_path)
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "lakehouse.cli", "demo", "--days", "2"],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Guarantees held." in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_up_stops_every_process_that_it_started(tmp_path: Path, sign: int) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LAKEHOUSE_", "DAGSTER_"))}
    environment |= {"LAKEHOUSE_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "lakehouse.cli", "up"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(4)]
        addresses = [line.split()[1] for line in told[:2]]
        process.send_signal(sign)
        assert process.wait(60) == 0
    for address in addresses:
        with (
            pytest.raises(ConnectionRefusedError),
            socket.create_connection((urlsplit(address).hostname, urlsplit(address).port)),
        ):
            pass
