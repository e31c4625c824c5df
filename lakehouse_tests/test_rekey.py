"""A declared key changes while tables of the old one stand: refused, and the way out that is told works."""

import shutil
from dataclasses import replace
from typing import Any

import dataframely as dy
import polars as pl
import pytest

from lakehouse.dataset import Dataset, Serving
from lakehouse.dynamodb.sync import verify
from lakehouse.lake import KeyChanged
from lakehouse.layers import cleaned, serving
from lakehouse_tests.conftest import Road


class BySku(dy.Schema):
    """One price a product."""

    sku = dy.String(primary_key=True)
    shop = dy.String(nullable=False)
    price = dy.Int32(nullable=False)


class BySkuAndShop(dy.Schema):
    """One price a product and shop."""

    sku = dy.String(primary_key=True)
    shop = dy.String(primary_key=True)
    price = dy.Int32(nullable=False)


def cheapest(prices: pl.LazyFrame) -> pl.LazyFrame:
    """The lowest price of each product."""
    return prices.group_by("sku").agg(price=pl.col("price").min(), shops=pl.len())


BEFORE = Dataset("prices", "prices/*.csv", BySku, serving=[Serving(cheapest, key="sku", publish=True)])
AFTER = replace(BEFORE, contract=BySkuAndShop)


@pytest.fixture
def prices(road: Road) -> Road:
    road = replace(road, datasets={"prices": BEFORE})
    road.bucket.put("prices/1.csv", b"sku,shop,price\na,north,3\na,south,2\nb,north,5\n")
    road.announce("prices/1.csv")
    road.hops()
    return road


def shown(road: Road) -> dict[str, tuple[Any, Any]]:
    (one,) = road.servings()
    rows = [road.items(one).get({"sku": sku}, ["sku"]) for sku in "ab"]
    return {row["sku"]: (row["price"], row["shops"]) for row in rows if row}


def test_a_datasets_new_key_is_refused_until_its_cleaned_table_is_deleted(prices: Road) -> None:
    assert shown(prices) == {"a": (2, 1), "b": (5, 1)}
    rekeyed = replace(prices, datasets={"prices": AFTER})
    uri = prices.lake.uri("cleaned/prices")
    with pytest.raises(KeyChanged, match=f"cleaned/prices is keyed by sku; now sku, shop .*{uri}"):
        rekeyed.hops()
    assert shown(prices) == {"a": (2, 1), "b": (5, 1)}
    shutil.rmtree(uri)
    rekeyed.hops()
    table = prices.lake.open("cleaned/prices")
    assert table is not None
    assert table.key == ["sku", "shop"]
    assert table.scan().select(pl.len()).collect().item() == 3
    assert shown(prices) == {"a": (2, 2), "b": (5, 1)}
    (one,) = rekeyed.servings()
    assert verify(prices.lake, one, prices.items(one)) == []


def test_the_next_file_after_a_new_key_goes_down_the_road(prices: Road) -> None:
    rekeyed = replace(prices, datasets={"prices": AFTER})
    shutil.rmtree(prices.lake.uri("cleaned/prices"))
    rekeyed.hops()
    rekeyed.bucket.put("prices/2.csv", b"sku,shop,price\na,south,9\n")
    rekeyed.announce("prices/2.csv")
    rekeyed.hops()
    assert shown(rekeyed) == {"a": (3, 2), "b": (5, 1)}


def test_a_serving_tables_new_key_is_refused_until_it_and_its_items_are_deleted(prices: Road) -> None:
    one = Serving(cheapest, key=["sku", "shops"], publish=True)
    rekeyed = replace(prices, datasets={"prices": replace(BEFORE, serving=[one])})
    with pytest.raises(KeyChanged, match="serving/cheapest is keyed by sku; now sku, shops"):
        rekeyed.hops()
    shutil.rmtree(prices.lake.uri("serving/cheapest"))
    with pytest.raises(KeyChanged, match=r"DynamoDB table .* is keyed by sku; now sku, shops"):
        rekeyed.hops()
    prices.dynamodb.delete_table(TableName=prices.items(one).name)
    rekeyed.hops()
    assert {i["_key"]["S"] for i in prices.items(one).scan()} == {'["a", "1"]', '["b", "1"]'}
    assert verify(prices.lake, one, prices.items(one)) == []


def test_a_table_remembers_its_key_when_columns_join_it(prices: Road) -> None:
    table = cleaned.open_cleaned(prices.lake, BEFORE)
    more = pl.DataFrame({"sku": ["c"], "shop": ["x"], "price": [1], "colour": ["red"]})
    table.append(more.cast({"price": pl.Int32}))
    assert cleaned.open_cleaned(prices.lake, BEFORE).key == ["sku"]
    assert serving.serve(prices.lake, prices.servings()[0], prices.datasets).moved
