"""A dataset's cleaned table lies apart by a column: a batch touches what lies where its rows do, and no row is
lost between two places.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl
import pytest

from lakehouse.dataset import Dataset, DeclarationError, Serving
from lakehouse.dynamodb.sync import verify
from lakehouse.lake import Table, past
from lakehouse.layers import balance, cleaned, ingest, serving
from lakehouse.layers.lag import lagging
from lakehouse_tests.conftest import Road

BOTH = pytest.mark.parametrize("root", ["disk", pytest.param("s3", marks=pytest.mark.slow)], indirect=True)


class Price(dy.Schema):
    """One price a product and shop."""

    sku = dy.Int64(primary_key=True)
    shop = dy.String(primary_key=True)
    price = dy.Int64(nullable=False)


class Moving(Price):
    """One price a product, which is in one shop."""

    shop = dy.String(nullable=False)


class Noted(Price):
    """Prices with what must not lay a table."""

    note = dy.String(nullable=True)
    weight = dy.Float64(nullable=False)


def dearest(prices: pl.LazyFrame) -> pl.LazyFrame:
    """The highest price in each shop."""
    return prices.group_by("shop").agg(price=pl.col("price").max(), products=pl.len())


SERVING = [Serving(dearest, key="shop", group="shop", publish=True)]
PRICES = Dataset("prices", "prices/*.csv", Price, serving=SERVING, partition_by="shop")
FILES = {
    "prices/1.csv": "sku,shop,price\n1,north,3\n2,north,5\n3,south,2\n",
    "prices/2.csv": "sku,shop,price\n1,south,7\n4,west,9\n",
}


def take(road: Road, files: dict[str, str]) -> None:
    for key, body in files.items():
        road.bucket.put(key, body.encode())
    road.announce(*files)
    road.hops()


def laid(road: Road, **changes: Any) -> Road:
    return replace(road, datasets={"prices": replace(PRICES, **changes)})


@pytest.fixture
def prices(road: Road) -> Road:
    road = laid(road)
    take(road, FILES)
    return road


def table(road: Road) -> Table:
    found = road.lake.open("cleaned/prices")
    assert found is not None
    return found


def held(road: Road) -> list[tuple[Any, ...]]:
    rows = table(road).scan().select("sku", "shop", "price").collect()
    assert not rows.select(road.datasets["prices"].keys).is_duplicated().any()
    return sorted(rows.rows())


def settled(road: Road) -> None:
    assert lagging(road.lake, road.datasets, road.items) == {}
    assert balance.unbalanced(road.lake, road.datasets["prices"]).is_empty()
    (one,) = road.servings()
    assert verify(road.lake, one, road.items(one)) == []
    served = road.lake.open("serving/dearest")
    assert served is not None
    assert dict(served.scan().select("shop", "price").collect().iter_rows()) == {
        shop: max(price for _, other, price in held(road) if other == shop) for _, shop, _ in held(road)
    }


@BOTH
def test_rows_lie_by_the_declared_column_and_go_down_the_road(prices: Road) -> None:
    assert table(prices).partitions == ["shop"]
    assert held(prices) == [(1, "north", 3), (1, "south", 7), (2, "north", 5), (3, "south", 2), (4, "west", 9)]
    take(prices, {"prices/1.csv": "sku,shop,price\n2,north,6\n"})
    assert held(prices) == [(1, "south", 7), (2, "north", 6), (4, "west", 9)]
    settled(prices)


def test_a_batch_reads_and_writes_only_where_its_rows_lie(prices: Road) -> None:
    files = pl.DataFrame(table(prices).delta.get_add_actions(flatten=True))
    elsewhere = files.filter(pl.col("partition.shop") != "north")["path"].to_list()
    assert len(elsewhere) >= 2
    for path in elsewhere:
        (Path(prices.lake.uri("cleaned/prices")) / path).unlink()
    prices.bucket.put("prices/3.csv", b"sku,shop,price\n2,north,8\n7,north,1\n")
    prices.announce("prices/3.csv")
    dataset = prices.datasets["prices"]
    ingest.ingest(prices.lake, prices.bucket, dataset)
    done = cleaned.clean(prices.lake, dataset)
    assert (done.upserted, done.rewritten, done.copied) == (2, 1, 1)
    after = pl.DataFrame(table(prices).delta.get_add_actions(flatten=True))
    assert {*elsewhere} <= {*after["path"]}


def test_a_row_whose_place_changes_moves_and_those_who_read_either_place_are_told(road: Road) -> None:
    road = laid(road, contract=Moving)
    take(road, FILES)
    assert held(road) == [(1, "south", 7), (2, "north", 5), (3, "south", 2), (4, "west", 9)]
    before = table(road).version
    take(road, {"prices/3.csv": "sku,shop,price\n4,north,1\n"})
    assert held(road) == [(1, "south", 7), (2, "north", 5), (3, "south", 2), (4, "north", 1)]
    told = table(road).changes(before)
    assert told is not None
    assert sorted(told.select("sku", "shop", "_change_type").rows()) == [
        (4, "north", "update_postimage"),
        (4, "west", "update_preimage"),
    ]
    settled(road)


@pytest.mark.parametrize(("before", "now"), [(None, "shop"), ("shop", None), ("shop", "sku")])
def test_another_column_lays_the_table_anew_in_one_commit(road: Road, before: str | None, now: str | None) -> None:
    road = laid(road, partition_by=before)
    take(road, FILES)
    rows, version = held(road), table(road).version
    road = laid(road, partition_by=now)
    road.hops()
    assert table(road).partitions == ([now] if now else [])
    assert held(road) == rows
    assert table(road).version == version + 1
    settled(road)
    take(road, {"prices/3.csv": "sku,shop,price\n4,north,1\n"})
    assert held(road) == sorted([*rows, (4, "north", 1)])
    settled(road)


def test_who_dies_on_the_way_to_another_layout_is_no_hindrance(
    prices: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, real = held(prices), Table.overwrite
    road = laid(prices, partition_by="sku")

    def die(self: Table, *args: Any) -> int:
        real(self, *args)
        raise KeyboardInterrupt

    monkeypatch.setattr("lakehouse.layers.raw.BATCH", 1)
    monkeypatch.setattr(Table, "overwrite", die)
    with pytest.raises(KeyboardInterrupt):
        cleaned.clean(road.lake, road.datasets["prices"])
    monkeypatch.setattr(Table, "overwrite", real)
    assert len(held(road)) < len(rows)
    road.hops()
    assert held(road) == rows
    assert table(road).partitions == ["sku"]
    settled(road)


@pytest.mark.parametrize("hold", [False, True])
def test_a_table_put_back_from_before_is_laid_as_declared_by_the_next_run(road: Road, hold: bool) -> None:
    road = laid(road, partition_by=None)
    take(road, FILES)
    version, rows = table(road).version, held(road)
    road = laid(road)
    take(road, {"prices/3.csv": "sku,shop,price\n4,east,1\n"})
    past.restore(road.lake, "cleaned/prices", version, ["raw/prices"], hold=hold)
    assert table(road).partitions == []
    assert held(road) == rows
    if hold:
        serving.serve(road.lake, SERVING[0], road.datasets)
        served = road.lake.open("serving/dearest")
        assert served is not None
        assert {*served.scan().collect()["shop"]} == {"north", "south", "west"}
        past.resume(table(road))
    road.hops()
    assert table(road).partitions == ["shop"]
    assert held(road) == sorted([*rows, (4, "east", 1)])
    settled(road)


def test_a_text_that_names_no_place_is_refused_and_any_other_is_one(road: Road) -> None:
    road = laid(road)
    odd = ["A", "a", "null", "0", "-", "..", "x" * 64]
    none = [
        "",
        "__HIVE_DEFAULT_PARTITION__",
        "x" * 65,
        "../x",
        "%41",
        "New York",
        "it's",
        "é",
        "a=b",
        "a\nb",
        "a\n",
    ]
    lines = [f'{n},"{shop}",{n}' for n, shop in enumerate([*odd, *none])]
    take(road, {"prices/1.csv": "\n".join(["sku,shop,price", *lines, ""])})
    assert [shop for _, shop, _ in held(road)] == odd
    changes = table(road).changes(0)
    assert changes is not None
    assert sorted(changes["shop"]) == sorted(odd)
    refused = cleaned.open_quarantine(road.lake, road.datasets["prices"]).scan().collect()
    assert {*refused["_rules"]} <= {"shop|partition_by", "shop|nullability"}
    assert len(refused) == len(none)
    settled(road)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"partition_by": "town"}, "no column"),
        ({"partition_by": "note"}, "may be null"),
        ({"partition_by": "weight"}, "a text, a whole number or a day"),
        ({"partition_by": "price", "warn": ["price|nullability"]}, "cannot merely warn"),
        ({"partition_by": "shop", "z_order": ["shop"]}, "leave it out"),
    ],
)
def test_a_column_that_cannot_lay_a_table_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(DeclarationError, match=why):
        replace(PRICES, contract=Noted, **changes)
