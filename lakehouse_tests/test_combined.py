"""Features together: what a dataset declares, and what its files bring, in every combination of a few of each.

The tables that come file by file are those that a lake gets that is given the last state at once.
"""

import io
import itertools
from dataclasses import replace
from typing import Any

import dataframely as dy
import polars as pl
import pytest

from lakehouse.dataset import Dataset, Serving, check
from lakehouse.dynamodb.sync import verify
from lakehouse.layers import balance, history
from lakehouse.layers.backfill import backfill
from lakehouse.layers.lag import lagging
from lakehouse_tests.conftest import Road
from lakehouse_tests.landing.test_archives import zipped
from lakehouse_tests.test_road import land


class Sale(dy.Schema):
    """What a shop sold."""

    id = dy.Int64(primary_key=True)
    month = dy.Int64(primary_key=True)
    shop = dy.String(nullable=False)
    amount = dy.Float64(nullable=True, min=0)


def by_shop(sales: pl.LazyFrame) -> pl.LazyFrame:
    """What each shop sold."""
    return sales.group_by("shop").agg(total=pl.col("amount").sum(), sales=pl.len())


def listed(sales: pl.LazyFrame) -> pl.LazyFrame:
    """Every sale, with all its columns."""
    return sales.select(pl.exclude("^_.*$"))


def without_tests(sales: pl.LazyFrame) -> pl.LazyFrame:
    return sales.filter(pl.col("shop") != "test")


SERVING = [Serving(by_shop, "shop", group="shop", publish=True), Serving(listed, ["id", "month"], publish=True)]


def typed(**columns: list[Any]) -> bytes:
    body = io.BytesIO()
    pl.DataFrame(columns).write_parquet(body)
    return body.getvalue()


LIVES: list[dict[str, bytes | None]] = [
    {
        "sales/month=1/a.csv": b"id,shop,amount\n1,ulm,10\n2,bonn,5\n3,test,1\n",
        "sales/month=2/b.parquet": typed(id=[1, 2], shop=["ulm", "jena"], amount=[1.5, 2.5], unit=["EUR", "USD"]),
        "sales/c.ndjson": b'{"id": 4, "month": 1, "shop": "ulm", "amount": 4, "note": {"of": 1}}\n',
    },
    {
        "sales/region=eu/month=1/d.zip": zipped({"x.csv": b"id,shop,amount,unit\n1,kiel,7,EUR\n5,kiel,-1,EUR\n"}),
        "sales/month=2/b.parquet": typed(id=[1], shop=["bonn"], amount=["much"]),
        "sales/c.ndjson": b'{"id": 4, "month": 1, "shop": "jena", "unit": "GBP"}\n',
    },
    {
        "sales/month=1/a.csv": None,
        "sales/month=2/e.csv": b"id,shop,amount,region\n2,ulm,8,us\n1,ulm\n",
        "sales/region=eu/month=1/d.zip": zipped({"y.csv": b"id,shop,amount\n5,kiel,6\n"}),
    },
]


def change(road: Road, files: dict[str, bytes | None]) -> None:
    land(road, {key: body for key, body in files.items() if body is not None})
    for key in (key for key, body in files.items() if body is None):
        road.bucket.client.delete_object(Bucket=road.bucket.name, Key=key)


def rows(road: Road, name: str) -> pl.DataFrame:
    """What a table says; not its generations, nor the text of refused records, which has raw's types."""
    table = road.lake.open(name)
    assert table is not None
    found = table.scan().collect().select(pl.exclude("_generation", "_text"))
    found = found.select(c.name for c in found if c.null_count() < len(c))
    return found.select(sorted(found.columns)).sort(pl.all())


MODES = ("add", "rescue", "fail")
LAID = ((None, None), ("month", without_tests), ("shop", None))
COMBINED = [(*one, *laid) for one in itertools.product(MODES, ("keep", "retract")) for laid in LAID]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "on_delete", "partition_by", "clean"), COMBINED)
def test_any_declaration_of_any_files_ends_where_a_lake_ends_that_reads_them_at_once(
    road: Road, mode: Any, on_delete: Any, partition_by: str | None, clean: Any
) -> None:
    told = {"schema_evolution": mode, "on_delete": on_delete, "partition_by": partition_by, "clean": clean}
    sales = Dataset("sales", "sales/**", Sale, history=True, serving=SERVING, **told)
    road.datasets = check([sales])
    for files in LIVES:
        change(road, files)
        for key in files:
            road.announce(key)
            road.hops()
    settled(road, sales)
    names = ["cleaned/sales", "quarantine/sales", "serving/by_shop", "serving/listed"]
    came = {name: rows(road, name) for name in names}
    keys = {key for files in LIVES for key in files}
    if on_delete == "retract":
        anew = replace(road, lake=replace(road.lake, root=f"{road.lake.root}-anew"), prefix=f"{road.prefix}anew-")
        anew.announce(*keys)
        anew.hops()
        assert {name: rows(anew, name).rows() for name in names} == {n: f.rows() for n, f in came.items()}
    backfill(road.lake, sales)
    road.hops()
    settled(road, sales)
    assert {name: rows(road, name).rows() for name in names} == {n: f.rows() for n, f in came.items()}


def settled(road: Road, sales: Dataset) -> None:
    assert lagging(road.lake, road.datasets, road.items) == {}
    assert balance.unbalanced(road.lake, sales).is_empty()
    wrong = history.disagreement(road.lake, sales)
    assert wrong is not None
    assert wrong.is_empty()
    for serving in road.servings():
        assert verify(road.lake, serving, road.items(serving)) == []
