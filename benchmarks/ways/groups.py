"""Orders joined with their customers and products, summed by customer: a serving table over many rows.

Ten orders a customer, laid by customer, as `z_order` has maintenance lay them. A change is an order of another
amount: of customers in a row, or of ones spread over the whole table.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import dataframely as dy
import polars as pl
from deltalake import write_deltalake

from benchmarks.data import once
from benchmarks.way import Steps
from benchmarks.ways.peers import copied
from lakehouse.dataset import Dataset, Serving
from lakehouse.engines import Narrowed, compute
from lakehouse.lake import Lake
from lakehouse.lake.maintenance import tidy
from lakehouse.layers import serving
from lakehouse.layers.cleaned import open_cleaned

EACH = 10
PRODUCTS = 10_000
AT_ONCE = 1_000_000
FEW, MANY = 100, 10_000


class Order(dy.Schema):
    order = dy.Int64(primary_key=True)
    customer = dy.Int64(nullable=False)
    product = dy.Int64(nullable=False)
    amount = dy.Int64(nullable=False)


class Customer(dy.Schema):
    customer = dy.Int64(primary_key=True)
    country = dy.String(nullable=False)


class Product(dy.Schema):
    product = dy.Int64(primary_key=True)
    price = dy.Int64(nullable=False)


def spent(orders: pl.LazyFrame, customers: pl.LazyFrame, products: pl.LazyFrame) -> pl.LazyFrame:
    """What each customer bought, from where, and its dearest product."""
    priced = orders.join(products, on="product", how="left")
    worth = pl.col("amount") * pl.col("price")
    summed = priced.group_by("customer").agg(orders=pl.len(), spent=worth.sum(), dearest=pl.col("price").max())
    return summed.join(customers.select("customer", "country"), on="customer", how="left")


SPENT = Serving(spent, key="customer", group="customer")
DATASETS = {
    name: Dataset(name=name, landing=f"{name}/*.csv", contract=contract, serving=serves)
    for name, contract, serves in (
        ("orders", Order, [SPENT]),
        ("customers", Customer, []),
        ("products", Product, []),
    )
}
ORIGIN = {"_object": pl.lit("made"), "_generation": pl.lit(1, pl.Int64)}
ORIGIN |= {"_record": pl.lit(0, pl.Int64), "_modified": pl.lit(None, pl.Datetime("us", "UTC"))}


def lakes(data: Path, rows: float) -> Path:
    """Lakes of so many orders, of half of them and of a quarter."""
    root = data / f"orders-{rows:.0f}"
    for count in (int(rows / 4), int(rows / 2), int(rows)):
        once(root / f"{count}", partial(_filled, rows=count))
    return root


def _filled(folder: Path, rows: int) -> None:
    lake = Lake(str(folder.resolve()))
    customer = pl.int_range(rows // EACH, dtype=pl.Int64, eager=True).alias("customer")
    country = pl.format("C{}", pl.col("customer") % 200).alias("country")
    product = pl.int_range(PRODUCTS, dtype=pl.Int64, eager=True).alias("product")
    _add(lake, "customers", customer.to_frame().select("customer", country))
    _add(lake, "products", product.to_frame().select("product", price=pl.col("product") * 7919 % 1000 + 1))
    for start in range(0, rows, AT_ONCE):
        order = (
            pl.int_range(start, min(start + AT_ONCE, rows), dtype=pl.Int64, eager=True).alias("order").to_frame()
        )
        _add(lake, "orders", _orders(order, pl.lit(1, pl.Int64)))
    serving.serve(lake, SPENT, DATASETS)


def _orders(numbers: pl.DataFrame, amount: pl.Expr) -> pl.DataFrame:
    of = {"customer": pl.col("order") // EACH, "product": pl.col("order") * 104_729 % PRODUCTS}
    return numbers.select("order", **of, amount=amount)


def _add(lake: Lake, name: str, rows: pl.DataFrame) -> None:
    table = open_cleaned(lake, DATASETS[name])
    write_deltalake(table.delta, rows.select(pl.all(), **ORIGIN).select(table.columns).to_arrow(), mode="append")
    tidy(table)


def _refreshed(home: Path, out: Path, count: int, spread: bool) -> Steps:
    """`count` customers' orders change, in a copy; what follows is timed."""
    copied(home, out)
    lake = Lake(str(out))
    table = open_cleaned(lake, DATASETS["orders"])
    half = int(home.name) // EACH // 2
    order = half + pl.int_range(count, dtype=pl.Int64, eager=True) * (half // count if spread else 1)
    rows = _orders((order * EACH).alias("order").to_frame(), pl.lit(2, pl.Int64))
    table.apply(rows.select(pl.all(), **ORIGIN).select(table.columns), rows.clear(), ["order"])
    yield
    done = serving.serve(lake, SPENT, DATASETS)
    yield
    assert done.upserted == count
    return None


def few_of_quarter(data: Path, out: Path, rows: float) -> Steps:
    return _refreshed(data / f"{int(rows / 4)}", out, FEW, spread=False)


def few_of_half(data: Path, out: Path, rows: float) -> Steps:
    return _refreshed(data / f"{int(rows / 2)}", out, FEW, spread=False)


def few(data: Path, out: Path, rows: float) -> Steps:
    return _refreshed(data / f"{int(rows)}", out, FEW, spread=False)


def few_spread(data: Path, out: Path, rows: float) -> Steps:
    return _refreshed(data / f"{int(rows)}", out, FEW, spread=True)


def many(data: Path, out: Path, rows: float) -> Steps:
    return _refreshed(data / f"{int(rows)}", out, MANY, spread=False)


def whole(data: Path, out: Path, rows: float) -> Steps:
    """The function over the whole table, its result thrown away: what a refresh without groups computes."""
    lake = Lake(str(data / f"{int(rows)}"))
    frames = [Narrowed(open_cleaned(lake, DATASETS[name])) for name in SPENT.upstreams]
    yield
    assert compute(SPENT.compute, frames).height == int(rows) // EACH
    return None
