"""A rule warns, quarantines or fails the run, as its dataset declares."""

from dataclasses import replace

import dataframely as dy
import polars as pl
import pytest

from lakehouse.dataset import Dataset, DeclarationError
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.layers import balance, cleaned, ingest, raw
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import land


class Order(dy.Schema):
    """One order."""

    number = dy.Int64(primary_key=True)
    amount = dy.Float64(min=0, max=100)
    customer = dy.String(nullable=False)

    @dy.rule()
    def told(cls) -> pl.Expr:
        return pl.col("customer") != "nobody"


HARD = Dataset(name="orders", landing="orders/*.csv", contract=Order)
GOOD = b"number,amount,customer\n1,10,ann\n2,20,bob\n"
BAD = b"number,amount,customer\n3,-1,ann\n4,1000,bob\n5,5,nobody\n6,7,\n7,x,ann\n8,8,zoe\n"


def walk(road: Road, dataset: Dataset) -> None:
    ingest.ingest(road.lake, road.bucket, dataset)
    cleaned.clean(road.lake, dataset)
    cleaned.quarantine(road.lake, dataset)
    balance.weigh(road.lake, dataset)


def put(road: Road, files: dict[str, bytes]) -> None:
    land(road, files)
    inbox.announce(road.lake, "orders", files, event="test")


def numbers(lake: Lake, layer: str = "cleaned") -> list[int]:
    table = lake.open(f"{layer}/orders")
    assert table is not None
    column = pl.col("number") if layer == "cleaned" else pl.col("_text").str.json_path_match("$.number").cast(int)
    return sorted(table.scan().select(column).collect().to_series())


def test_a_rule_that_warns_leaves_its_rows_and_counts_them(road: Road) -> None:
    dataset = replace(HARD, warn=["amount|max", "told"])
    put(road, {"orders/1.csv": GOOD, "orders/2.csv": BAD})
    walk(road, dataset)
    assert numbers(road.lake) == [1, 2, 4, 5, 8]
    assert numbers(road.lake, "quarantine") == [3, 6, 7]
    told = cleaned.violations(road.lake, dataset, ["orders/1.csv", "orders/2.csv"])
    assert sorted(told.iter_rows()) == [("amount|max", 1), ("told", 1)]
    assert balance.unbalanced(road.lake, dataset).is_empty()


def test_a_row_that_breaks_a_warning_and_another_rule_is_refused_with_both(road: Road) -> None:
    dataset = replace(HARD, warn=["amount|max"])
    put(road, {"orders/1.csv": b"number,amount,customer\n1,1000,nobody\n"})
    walk(road, dataset)
    assert numbers(road.lake) == []
    bad = cleaned.open_quarantine(road.lake, dataset).scan().collect()
    assert bad["_rules"].to_list() == ["amount|max, told"]


def test_a_rule_that_comes_to_warn_brings_its_rows_back(road: Road) -> None:
    put(road, {"orders/1.csv": GOOD, "orders/2.csv": BAD})
    walk(road, HARD)
    assert numbers(road.lake) == [1, 2, 8]
    walk(road, replace(HARD, warn=["amount|min"]))
    assert numbers(road.lake) == [1, 2, 3, 8]
    walk(road, HARD)
    assert numbers(road.lake) == [1, 2, 8]


@pytest.mark.parametrize("batch", [250, 1])
def test_a_rule_that_fails_holds_the_table_and_names_its_rows(
    road: Road, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "BATCH", batch)
    dataset = replace(HARD, fail=["amount|min"])
    put(road, {"orders/1.csv": GOOD})
    walk(road, dataset)
    table = road.lake.open("cleaned/orders")
    assert table is not None
    before = table.version
    put(road, {"orders/0.csv": BAD, "orders/3.csv": GOOD.replace(b"2,", b"9,"), "orders/4.csv": GOOD})
    with pytest.raises(cleaned.RuleBroken, match=r"1 records.*orders/0.csv#1 \(amount\|min\)"):
        walk(road, dataset)
    table.delta.update_incremental()
    assert (table.version, numbers(road.lake)) == (before, [1, 2])
    put(road, {"orders/0.csv": BAD.replace(b"-1", b"1")})
    walk(road, dataset)
    assert numbers(road.lake) == [1, 2, 3, 8, 9]


@pytest.mark.parametrize(
    ("severity", "words"),
    [
        ({"warn": ["amount|least"]}, "no rule amount.least; there are: .*amount.min"),
        ({"fail": ["primary_key"]}, "no rule primary_key"),
        ({"warn": ["told"], "fail": ["told"]}, "told cannot both"),
        ({"warn": ["amount|dtype"]}, "amount.dtype cannot merely warn"),
        ({"warn": ["number|nullability"]}, "number.nullability cannot merely warn"),
    ],
)
def test_a_severity_that_cannot_be_is_refused_when_it_is_declared(severity: dict, words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        replace(HARD, **severity)
