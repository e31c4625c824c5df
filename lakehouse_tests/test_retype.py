"""A declared type changes, or a column goes, while tables of the old one stand: the next run mends them."""

from dataclasses import replace
from typing import Any

import dataframely as dy
import polars as pl
import pytest

from lakehouse.dataset import Dataset, Serving
from lakehouse.dynamodb.items import to_row
from lakehouse.dynamodb.sync import verify
from lakehouse.lake import Conflict, Table
from lakehouse.layers import balance, cleaned, raw, serving
from lakehouse.layers.lag import lagging
from lakehouse_tests.conftest import Road

BOTH = pytest.mark.parametrize("root", ["disk", pytest.param("s3", marks=pytest.mark.slow)], indirect=True)


class Whole(dy.Schema):
    """Prices without cents."""

    sku = dy.Int64(primary_key=True)
    shop = dy.String(nullable=False)
    price = dy.Int64(nullable=False)
    note = dy.String(nullable=True)


class Exact(Whole):
    """Prices with cents."""

    price = dy.Float64(nullable=False)


class Worded(Whole):
    """Prices in words."""

    price = dy.String(nullable=False)


class Named(Whole):
    """Products by name."""

    sku = dy.String(primary_key=True)


class Fractional(Whole):
    """Products by number, some between two others."""

    sku = dy.Float64(primary_key=True)


class Noteless(dy.Schema):
    """Prices without a note."""

    sku = dy.Int64(primary_key=True)
    shop = dy.String(nullable=False)
    price = dy.Int64(nullable=False)


def dearest(prices: pl.LazyFrame) -> pl.LazyFrame:
    """The highest price in each shop."""
    return prices.group_by("shop").agg(price=pl.col("price").max(), products=pl.len())


def listed(prices: pl.LazyFrame) -> pl.LazyFrame:
    """Every price."""
    return prices.select(pl.exclude("^_.*$"))


SERVING = [Serving(dearest, key="shop", group="shop", publish=True), Serving(listed, key="sku", publish=True)]
WHOLE = Dataset("prices", "prices/*.csv", Whole, serving=SERVING)
FILES = {
    "prices/1.csv": "sku,shop,price,note\n1,north,3,x\n2,north,5.75,y\n3,south,2,z\n1.5,north,8,x\n",
    "prices/2.csv": "sku,shop,price,note\n4,west,7,x\n5,east,9,y\n6,west,dear,z\n",
    "prices/3.csv": "sku,shop,price,note\n3,south,4,x\nA7,east,1,y\n",
}


def take(road: Road, files: dict[str, str]) -> None:
    for key, body in files.items():
        road.bucket.put(key, body.encode())
    road.announce(*files)
    road.hops()


@pytest.fixture
def prices(road: Road) -> Road:
    road = replace(road, datasets={"prices": WHOLE})
    take(road, FILES)
    return road


def by(road: Road, contract: type[dy.Schema]) -> Road:
    return replace(road, datasets={"prices": replace(WHOLE, contract=contract)})


def table(road: Road, name: str) -> Table:
    found = road.lake.open(name)
    assert found is not None
    return found


def held(road: Road, name: str = "cleaned/prices", column: str = "price") -> dict[Any, Any]:
    return dict(table(road, name).scan().select("sku", column).collect().iter_rows())


def settled(road: Road) -> None:
    """Nothing lags, the counts agree, and each item is as a table made at once from the same objects says."""
    dataset = road.datasets["prices"]
    assert lagging(road.lake, road.datasets, road.items) == {}
    assert balance.unbalanced(road.lake, dataset).is_empty()
    anew = replace(road, lake=replace(road.lake, root=f"{road.lake.root}-anew"), prefix=f"{road.prefix}anew-")
    anew.announce(*FILES)
    anew.hops()
    names = ["cleaned/prices", "quarantine/prices", *(f"serving/{s.name}" for s in road.servings())]
    for name in names:
        one, other = (place(r, name) for r in (road, anew))
        assert one.schema == other.schema
        assert one.rows() == other.rows(), name
    for one in road.servings():
        assert verify(road.lake, one, road.items(one)) == []
        assert items(road, one) == items(anew, one)


def place(road: Road, name: str) -> pl.DataFrame:
    rows = table(road, name).scan().collect()
    return rows.select(sorted({*rows.columns} - {"_generation"})).sort(pl.all())


def items(road: Road, one: Serving) -> dict[str, dict[str, Any]]:
    return {i["_key"]["S"]: to_row(i) for i in road.items(one).scan()}


@BOTH
def test_a_wider_type_keeps_every_digit(prices: Road) -> None:
    assert held(prices) == {1: 3, 3: 4, 4: 7, 5: 9}
    exact = by(prices, Exact)
    exact.hops()
    assert held(exact) == {1: 3.0, 2: 5.75, 3: 4.0, 4: 7.0, 5: 9.0}
    settled(exact)


@pytest.mark.parametrize("contract", [Worded, Named, Fractional, Noteless])
def test_any_other_type_key_or_set_of_columns_ends_as_a_table_made_at_once(
    prices: Road, contract: type[dy.Schema]
) -> None:
    other = by(prices, contract)
    other.hops()
    settled(other)
    back = by(prices, Whole)
    back.hops()
    settled(back)


def test_a_column_that_the_contract_dropped_stays_as_one_that_only_files_have(prices: Road) -> None:
    by(prices, Noteless).hops()
    assert held(prices, column="note") == {1: "x", 3: "x", 4: "x", 5: "y"}
    settled(by(prices, Noteless))


def test_a_column_that_the_contract_dropped_leaves_every_table_of_a_dataset_that_rescues(prices: Road) -> None:
    noteless = replace(WHOLE, contract=Noteless, schema_evolution="rescue")
    replace(prices, datasets={"prices": noteless}).hops()
    assert "note" not in table(prices, "cleaned/prices").columns
    assert "note" not in table(prices, "serving/listed").columns
    assert all("note" not in item for item in items(prices, SERVING[1]).values())


def test_after_a_new_type_changes_go_down_the_road_by_themselves(prices: Road) -> None:
    exact = by(prices, Exact)
    exact.hops()
    before = table(prices, "cleaned/prices")
    take(exact, {"prices/2.csv": "sku,shop,price,note\n4,west,7.5,x\n"})
    changes = table(prices, "cleaned/prices").changes(before.version)
    assert changes is not None
    assert set(changes["sku"]) == {4, 5}
    settled(exact)


def test_a_new_type_is_taken_a_portion_a_commit(prices: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "BATCH", 1)
    exact, before = by(prices, Exact), table(prices, "cleaned/prices").version
    exact.hops()
    assert table(prices, "cleaned/prices").version == before + len(FILES)
    settled(exact)


@pytest.mark.parametrize("commits", [0, 1])
def test_who_dies_on_the_way_to_a_new_type_is_no_hindrance(
    prices: Road, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    exact = by(prices, Exact)
    apply, left = Table.apply, iter(range(commits))

    def once(self: Table, *args: Any) -> Any:
        if next(left, None) is None:
            raise ConnectionError
        return apply(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(raw, "BATCH", 1)
        patch.setattr(Table, "apply", once)
        with pytest.raises(ConnectionError):
            cleaned.clean(exact.lake, exact.datasets["prices"])
    serving.serve(exact.lake, SERVING[0], exact.datasets)
    assert "prices" in lagging(exact.lake, exact.datasets, exact.items)
    exact.hops()
    settled(exact)


def test_a_reader_that_lags_behind_a_new_type_takes_the_table_whole(prices: Road) -> None:
    exact = by(prices, Exact)
    cleaned.clean(exact.lake, exact.datasets["prices"])
    assert table(prices, "cleaned/prices").changes(0) is None
    take(exact, {"prices/4.csv": "sku,shop,price,note\n8,south,0.25,x\n"})
    assert verify(exact.lake, SERVING[0], exact.items(SERVING[0])) == []
    assert held(exact, "serving/listed")[2] == 5.75
    assert held(exact, "serving/listed")[8] == 0.25


def test_a_serving_function_that_gives_another_type_has_its_table_and_items_written_anew(prices: Road) -> None:
    def dearest(prices: pl.LazyFrame) -> pl.LazyFrame:
        """The highest price in each shop, in words."""
        return prices.group_by("shop").agg(price=pl.format("{} $", pl.col("price").max()))

    (_, other) = SERVING
    worded = Serving(dearest, key="shop", group="shop", publish=True)
    road = replace(prices, datasets={"prices": replace(WHOLE, serving=[worded, other])})
    road.hops()
    assert table(road, "serving/dearest").columns == ["shop", "price"]
    assert items(road, worded)["west"] == {"shop": "west", "price": "7 $"}
    settled(road)


def test_a_rivals_commit_after_the_look_keeps_a_table_from_being_written_anew(prices: Road) -> None:
    exact = by(prices, Exact)
    first, second = (table(prices, "cleaned/prices") for _ in range(2))
    rows = first.scan().collect().with_columns(pl.col("price").cast(pl.Float64))
    first.overwrite(rows, [])
    with pytest.raises(Conflict):
        second.overwrite(rows, [])
    exact.hops()
    settled(exact)
