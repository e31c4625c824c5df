"""A serving table of prices and its items, without the layers before it."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest

from lakehouse.dataset import Serving
from lakehouse.dynamodb import sync
from lakehouse.dynamodb.items import to_row
from lakehouse.dynamodb.table import CONFIG, ItemTable, Written
from lakehouse.lake import Lake

PRICES = pl.Schema({"sku": pl.String, "shop": pl.String, "price": pl.Float64})


def prices() -> pl.LazyFrame:
    return pl.LazyFrame(schema=PRICES)


@dataclass
class Shop:
    """A serving table that a test writes by hand, and its items."""

    lake: Lake
    items: ItemTable
    serving: Serving

    def sell(self, prices: dict[str, float], *, gone: tuple[str, ...] = ()) -> None:
        """One commit of the serving table."""
        rows = [{"sku": sku, "shop": "north", "price": price} for sku, price in prices.items()]
        table = self.lake.ensure("serving/prices", PRICES)
        table.apply(pl.DataFrame(rows, schema=PRICES), pl.DataFrame({"sku": gone}, {"sku": pl.String}), ["sku"])

    def publish(self) -> Written | None:
        return sync.publish(self.lake, self.serving, self.items)

    def other(self) -> ItemTable:
        """The same table, for another writer."""
        return ItemTable(boto3.client("dynamodb", config=CONFIG), self.items.name)

    def shown(self) -> dict[str, Any]:
        """What an application sees."""
        return {row["sku"]: row["price"] for row in map(to_row, self.items.scan())}

    def rejected(self) -> dict[str, str]:
        table = self.lake.open("rejected/prices")
        return dict(table.scan().select("_key", "_reason").collect().iter_rows()) if table else {}

    def agrees(self) -> bool:
        return sync.verify(self.lake, self.serving, self.items) == []


@pytest.fixture
def shop(local: dict[str, str], tmp_path: Path) -> Shop:
    items = ItemTable(boto3.client("dynamodb", config=CONFIG), f"prices-{uuid.uuid4().hex[:8]}")
    return Shop(Lake(str(tmp_path / "lake")), items, Serving(prices, key="sku", publish=True))
