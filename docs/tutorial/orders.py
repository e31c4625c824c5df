"""Orders, one CSV a shop."""

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
