"""Every crash point of what the road learned later: archives, workbooks, documents, folders, prefixes without a
dataset, objects that are overwritten and removed, history.

What the tables hold in the end is written down here, and not told by a road that nobody killed.
"""

import io
import signal
import subprocess
import sys
import zipfile
from typing import Any

import dataframely as dy
import polars as pl
import pytest

from lakehouse.dataset import Dataset, Serving, check
from lakehouse.documents import documents
from lakehouse.dynamodb.items import to_row
from lakehouse.layers import balance
from lakehouse.layers.lag import lagging
from lakehouse_tests.conftest import Road
from lakehouse_tests.landing.files import PAGE, pdf, workbook
from lakehouse_tests.test_crash import STRIDE, visible_again
from lakehouse_tests.test_road import land


class Order(dy.Schema):
    """One order."""

    number = dy.Int64(primary_key=True)
    customer = dy.String(nullable=False)
    amount = dy.Float64(min=0)


def spent(orders: pl.LazyFrame) -> pl.LazyFrame:
    """What each customer spent."""
    return orders.group_by("customer").agg(total=pl.col("amount").sum())


SPENT = Serving(spent, key="customer", group="customer", publish=True)
DATASETS = check(
    [
        Dataset("orders", "orders/**", Order, on_delete="retract", history=True, serving=[SPENT]),
        documents("papers", "papers/**"),
    ]
)


def orders(*rows: str) -> bytes:
    return "\n".join(["number,customer,amount", *rows, ""]).encode()


def zipped(**members: bytes) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.csv", content)
    return body.getvalue()


def sheet(*rows: list[Any]) -> list[list[Any]]:
    return [["number", "customer", "amount"], *rows]


FIRST = {
    "orders/a.csv": orders("1,ann,10", "2,bob,5"),
    "orders/b.zip": zipped(x=orders("3,eve,1"), y=orders("4,ann,2")),
    "orders/c.csv": orders("7,eve,7"),
    "orders/book.xlsx": workbook({"May": sheet([8, "eve", 8]), "June": sheet([9, "eve", 9])}),
    "papers/one": b"first",
    "papers/two": PAGE,
    "loose/l.csv": b"k,v\n1,x\n",
}
SECOND = {
    "orders/a.csv": orders("1,ann,11"),
    "orders/b.zip": zipped(y=orders("4,ann,3")),
    "orders/book.xlsx": workbook({"June": sheet([9, "eve", 10])}),
    "orders/customer=bob/d.csv": b"number,amount\n5,much\n6,6\n",
    "orders/e.csv": b"%PDF-1.7",
    "papers/one": pdf("second"),
    "loose/l.csv": b"k,v\n1,y\n",
}
GONE = "orders/c.csv"
CLEANED = {(1, "ann", 11), (4, "ann", 3), (6, "bob", 6), (9, "eve", 10)}
PAST = {(1, "ann", 10), (2, "bob", 5), (3, "eve", 1), (4, "ann", 2), (7, "eve", 7), (8, "eve", 8), (9, "eve", 9)}


@pytest.fixture
def changed(road: Road) -> Road:
    """A road that has carried what came first, with all that changed since waiting in its queue."""
    road.datasets = DATASETS
    land(road, FIRST)
    while road.receive():
        pass
    road.hops()
    land(road, SECOND)
    road.bucket.client.delete_object(Bucket=road.bucket.name, Key=GONE)
    return road


def rows(road: Road, name: str, *columns: str) -> list[tuple[Any, ...]]:
    table = road.lake.open(name)
    assert table is not None
    return sorted(table.scan().select(columns).collect().rows())


def settled(road: Road) -> None:
    order = ("number", "customer", "amount")
    assert rows(road, "cleaned/orders", *order) == sorted(CLEANED)
    standing = [(*row, True) for row in CLEANED]
    assert rows(road, "history/orders", *order, "is_current") == sorted([*standing, *((*r, False) for r in PAST)])
    assert rows(road, "quarantine/orders", "_object", "_record", "_rules") == [
        ("orders/customer=bob/d.csv", 1, "amount|dtype")
    ]
    items = {i["_key"]["S"]: to_row(i)["total"] for i in road.items(SPENT).scan()}
    assert items == {"ann": 14, "bob": 6, "eve": 10}
    assert rows(road, "cleaned/papers", "text") == [("Delays in January .",), ("second",)]
    loose = road.lake.open("raw/loose")
    assert loose is not None
    assert sorted(loose.scan().filter(pl.col("_part") == "row").select("v").collect()["v"]) == ["x", "y"]
    for name in ("raw/orders", "raw/papers", "raw/loose"):
        told = rows(road, name, "_part", "_object", "_generation", "_record")
        assert len(told) == len({*told})
    for dataset in DATASETS.values():
        assert balance.unbalanced(road.lake, dataset).is_empty()
    assert lagging(road.lake, road.datasets, road.items) == {}


def die(road: Road, passage: int) -> int:
    """Walk the road in a process of its own; gives how it ended."""
    places = [road.lake.root, road.bucket.name, road.queue.url, road.prefix]
    command = [sys.executable, "-m", "lakehouse_tests.shapes_worker", str(passage), *places]
    return subprocess.run(command, check=False, timeout=120).returncode


@pytest.mark.parametrize("passage", [3, 20, 41])
def test_a_road_of_every_shape_that_died_once_is_taken_up(changed: Road, passage: int) -> None:
    assert die(changed, passage) == -signal.SIGKILL
    visible_again(changed)
    changed.hops()
    settled(changed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1, STRIDE + 1))
def test_every_passage_of_every_shape_kills_once(changed: Road, start: int) -> None:
    passage = start
    while (code := die(changed, passage)) == -signal.SIGKILL:
        passage += STRIDE
    assert code == 0
    while changed.receive():
        pass
    changed.hops()
    settled(changed)


@pytest.mark.parametrize("backwards", [False, True])
def test_every_shape_may_be_told_twice_and_in_any_order(changed: Road, backwards: bool) -> None:
    while changed.receive():
        pass
    keys = sorted({*FIRST, *SECOND}, reverse=backwards)
    for _ in range(2):
        for key in keys:
            changed.announce(key)
            changed.hops()
    settled(changed)
