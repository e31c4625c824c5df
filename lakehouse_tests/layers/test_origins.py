"""Where each column of a table comes from, as the engine tells that reads it."""

from collections.abc import Callable
from typing import Any

import dataframely as dy
import narwhals as nw
import polars as pl
import pytest

from lakehouse.dataset import Dataset, Serving, load
from lakehouse.layers import origins


class Sale(dy.Schema):
    """A sale."""

    number = dy.Int64(primary_key=True)
    customer = dy.String(nullable=False)
    price = dy.Float64(nullable=False)
    pieces = dy.Int64(nullable=False)
    state = dy.String(nullable=False)


class Customer(dy.Schema):
    """A customer."""

    customer = dy.String(primary_key=True)
    town = dy.String(nullable=True)


def spent(sales: pl.LazyFrame, customers: pl.LazyFrame) -> pl.LazyFrame:
    """A sum of a product, a count, a name of another table, and a word that no table has."""
    sums = sales.group_by("customer").agg(sum=(pl.col("price") * pl.col("pieces")).sum(), sales=pl.len())
    return (
        sums.join(customers, on="customer", how="left").rename({"town": "place"}).with_columns(unit=pl.lit("EUR"))
    )


def paid(sales: pl.LazyFrame) -> pl.LazyFrame:
    """Only some of the rows."""
    return sales.filter(pl.col("state") == "paid").group_by("customer").agg(pl.col("price").sum())


def beforehand(sales: pl.LazyFrame) -> pl.LazyFrame:
    """Looks at its rows while it says what is to be computed."""
    states = sales.select("state").unique().collect()["state"].to_list()
    return sales.group_by("customer").agg(pl.col("pieces").sum(), known=pl.lit(len(states)))


def portable(sales: nw.LazyFrame) -> nw.LazyFrame:
    return sales.group_by("customer").agg(most=nw.col("pieces").max())


def beyond(sales: pl.LazyFrame) -> pl.LazyFrame:
    """Of a column that only a file brings."""
    return sales.group_by("customer").agg(pl.col("voucher").first())


def rekeyed(sales: pl.LazyFrame) -> pl.LazyFrame:
    """Keyed by what it calls otherwise, with a constant."""
    return sales.select(pl.col("number").alias("customer"), "price", unit=pl.lit("EUR"))


SALES, CUSTOMERS = "cleaned/sales", "cleaned/customers"
DATASETS = {
    "sales": Dataset("sales", "sales/*", Sale),
    "customers": Dataset("customers", "customers/*", Customer),
}


@pytest.mark.parametrize(
    ("compute", "column", "found"),
    [
        (spent, "customer", [(CUSTOMERS, "customer"), (SALES, "customer")]),
        (spent, "sum", [(SALES, "pieces"), (SALES, "price")]),
        (spent, "sales", []),
        (spent, "place", [(CUSTOMERS, "town")]),
        (spent, "unit", []),
        (paid, "price", [(SALES, "price"), (SALES, "state")]),
        (beforehand, "pieces", [(SALES, "pieces"), (SALES, "state")]),
        (rekeyed, "customer", [(SALES, "number")]),
        (rekeyed, "price", [(SALES, "price")]),
        (portable, "most", [(SALES, "pieces")]),
    ],
)
def test_a_column_comes_from_what_is_read_for_it(
    compute: Callable[..., Any], column: str, found: list[origins.Column]
) -> None:
    assert origins.of_serving(Serving(compute, key="customer"), DATASETS)[column] == found


def looked(sales: pl.LazyFrame) -> pl.LazyFrame:
    """Asks for the type of such a column."""
    kind = sales.collect_schema()["voucher"]
    return sales.group_by("customer").agg(pl.lit(str(kind)).alias("kind"))


@pytest.mark.parametrize("compute", [beyond, looked])
def test_of_what_no_contract_names_nothing_is_told(compute: Callable[..., Any]) -> None:
    assert origins.of_serving(Serving(compute, key="customer"), DATASETS) == origins.UNTOLD


def test_a_column_comes_through_a_tally_from_what_that_counts() -> None:
    datasets = load()
    servings = {s.name: s for d in datasets.values() for s in d.serving}
    routes = origins.of_serving(servings["route_performance"], datasets)
    flights = "cleaned/flights"
    assert routes["median_air_time"] == [(flights, "air_time")]
    assert routes["carriers"] == [(flights, "carrier")]
    assert origins.of_serving(servings["aircraft"], datasets)["age"] == [("cleaned/planes", "year")]


def renamed(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(price=pl.col("net").cast(float) + pl.col("tax").cast(float))


def test_a_cleaned_column_comes_from_the_files_column_of_its_name_or_from_what_clean_reads() -> None:
    raw = dict.fromkeys(["number", "customer", "net", "tax", "pieces", "state", "_object"], pl.String())
    plain, cleans = DATASETS["sales"], Dataset("sales", "sales/*", Sale, clean=renamed)
    assert origins.of_cleaned(plain)["price"] == [("raw/sales", "price")]
    assert origins.of_cleaned(cleans, raw)["price"] == [("raw/sales", "net"), ("raw/sales", "tax")]
    assert origins.of_cleaned(cleans, raw)["pieces"] == [("raw/sales", "pieces")]
    assert origins.of_cleaned(cleans) == origins.UNTOLD
    assert origins.of_cleaned(cleans, {"number": pl.String()}) == origins.UNTOLD
