"""When the sweep asks for a run; and the road through the real daemon."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
import pytest

from lakehouse.orchestration.sensor import Past, due


def past(status: dg.DagsterRunStatus, end: float, left: bool = False) -> Past:
    return Past(status, left, end)


FAILED, GOOD = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS


def test_a_dataset_without_runs_is_due() -> None:
    assert due([], 0)


def test_the_pause_grows_with_the_failures_in_a_row() -> None:
    assert not due([past(FAILED, 100)], 101)
    assert due([past(FAILED, 100)], 102)
    assert not due([past(FAILED, 100)] * 5, 131)
    assert due([past(FAILED, 100)] * 5, 132)
    assert due([past(FAILED, 100), past(GOOD, 1), past(FAILED, 0)], 102)


def test_a_run_that_left_objects_behind_is_followed_by_a_pause() -> None:
    assert not due([past(GOOD, 100, left=True)], 101)
    assert due([past(GOOD, 100, left=True)], 102)


def test_every_table_of_every_dataset_is_an_asset_with_its_lineage() -> None:
    from lakehouse.definitions import defs

    graph = defs().resolve_asset_graph()
    key = dg.AssetKey(["dynamodb", "carrier_punctuality"])
    upstream = {k.to_user_string() for k in graph.get_ancestor_asset_keys(key)}
    assert upstream >= {"landing/inbox", "raw/flights", "cleaned/airlines", "serving/carrier_punctuality"}


def test_one_new_file_is_all_that_a_dataset_needs() -> None:
    root = Path(__file__).parents[2] / "lakehouse" / "datasets"
    (root / "orders.py").write_text(ORDERS)
    script = (
        "from lakehouse.definitions import defs\n"
        "print(sorted(k.to_user_string() for k in defs().resolve_asset_graph().get_all_asset_keys()))"
    )
    try:
        told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    finally:
        (root / "orders.py").unlink()
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
