"""Tallies, held against what their function says of all rows at once."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import dataframely as dy
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from lakehouse.dataset import Dataset, DeclarationError, Serving, Tally, check
from lakehouse.lake import Lake, Table
from lakehouse.layers import tally
from lakehouse.layers.cleaned import open_cleaned
from lakehouse.layers.lag import distance
from lakehouse.layers.serving import behind, disagreement, serve, steps

MOMENT = datetime(2013, 1, 1, tzinfo=UTC)


class Sale(dy.Schema):
    number = dy.Int64(primary_key=True)
    shop = dy.String(nullable=False)
    item = dy.Int64(nullable=False)
    amount = dy.Int64(nullable=True)
    at = dy.Datetime(time_zone="UTC", nullable=False)


def by_item(sales: pl.LazyFrame) -> pl.LazyFrame:
    return sales.group_by("shop", "item").agg(
        sales=pl.len(), amount=pl.col("amount").sum(), last=pl.col("at").max()
    )


def sold(by_item: pl.LazyFrame) -> pl.LazyFrame:
    """What each shop sold."""
    return by_item.group_by("shop").agg(pl.col("sales", "amount").sum(), pl.col("last").max(), items=pl.len())


TALLY = Tally(by_item, key=["shop", "item"], group="shop")
SOLD = Serving(sold, key="shop", group="shop", over=TALLY)
DATASETS = {"sales": Dataset(name="sales", landing="sales/*.csv", contract=Sale, serving=[SOLD])}


def sales(numbers: range, seed: int = 0) -> pl.DataFrame:
    chance = random.Random(seed)
    rows = [
        (
            n,
            f"shop {n % 3}",
            chance.randrange(4),
            chance.choice([None, 5, 7]),
            MOMENT + timedelta(chance.randrange(99)),
        )
        for n in numbers
    ]
    origin = {"_object": "o", "_generation": 1, "_modified": MOMENT, "_record": 1}
    kinds = dict(Sale.create_empty().schema)
    return pl.DataFrame(rows, kinds, orient="row").with_columns(pl.lit(v).alias(c) for c, v in origin.items())


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path))
    put(lake, sales(range(30)))
    serve(lake, SOLD, DATASETS)
    return lake


def put(lake: Lake, rows: pl.DataFrame, gone: pl.DataFrame | None = None) -> None:
    table = open_cleaned(lake, DATASETS["sales"])
    rows = rows.select(table.columns).cast(dict(table.kinds))  # type: ignore[arg-type]
    table.apply(rows, rows.clear() if gone is None else gone, ["number"])


def counted(lake: Lake) -> Table:
    found = lake.open(tally.name(SOLD))
    assert found is not None
    return found


def assert_right(lake: Lake) -> None:
    whole = tally.storable(by_item(open_cleaned(lake, DATASETS["sales"]).scan()).collect())
    assert_frame_equal(counted(lake).scan().collect(), whole, check_row_order=False, check_column_order=False)
    found = disagreement(lake, SOLD, DATASETS, seed=1)
    assert found is not None
    assert found.is_empty()


def test_rows_that_come_are_added_without_a_look_at_those_that_stood(lake: Lake, tmp_path: Path) -> None:
    before = open_cleaned(lake, DATASETS["sales"]).delta.file_uris()
    put(lake, sales(range(30, 40), seed=1))
    for path in before:
        Path(path).rename(f"{path}.away")
    assert serve(lake, SOLD, DATASETS).upserted == 3
    for path in before:
        Path(f"{path}.away").rename(path)
    assert_right(lake)


def test_a_row_that_changes_or_goes_has_its_group_counted_again(lake: Lake) -> None:
    put(lake, sales(range(5), seed=2), gone=sales(range(20, 25)))
    put(lake, sales(range(50, 52), seed=3), gone=sales(range(9)))
    serve(lake, SOLD, DATASETS)
    assert_right(lake)


def test_a_group_without_rows_leaves_tally_and_table(lake: Lake) -> None:
    put(lake, sales(range(0)), gone=sales(range(0, 30, 3)))
    assert serve(lake, SOLD, DATASETS).deleted == 1
    assert_right(lake)


def test_whatever_comes_and_goes_in_whatever_portions_the_tally_is_what_its_function_says(lake: Lake) -> None:
    chance = random.Random(1)
    for step in range(8):
        start = chance.randrange(60)
        gone = sales(range(start + 5, start + 8)) if chance.random() < 0.4 else None
        put(lake, sales(range(start, start + 5), seed=step), gone)
        if chance.random() < 0.6:
            serve(lake, SOLD, DATASETS)
    serve(lake, SOLD, DATASETS)
    assert_right(lake)


def test_counting_again_adds_nothing(lake: Lake) -> None:
    version = counted(lake).version
    assert not serve(lake, SOLD, DATASETS).moved
    assert counted(lake).version == version


def test_a_tally_lags_with_its_table_until_both_have_read(lake: Lake) -> None:
    cleaned = open_cleaned(lake, DATASETS["sales"])
    assert not behind(lake, SOLD, cleaned)
    put(lake, sales(range(30, 31)))
    cleaned = open_cleaned(lake, DATASETS["sales"])
    assert behind(lake, SOLD, cleaned)
    assert [distance(lake, *one) for one in steps(lake, SOLD, cleaned)] == [1, 0]
    tally.count(lake, SOLD, TALLY, lambda: cleaned)
    assert behind(lake, SOLD, cleaned)
    assert [distance(lake, *one) for one in steps(lake, SOLD, cleaned)] == [0, 1]
    serve(lake, SOLD, DATASETS)
    assert not behind(lake, SOLD, cleaned)


def test_a_column_that_cannot_be_added_up_is_refused(lake: Lake) -> None:
    def mean(sales: pl.LazyFrame) -> pl.LazyFrame:
        return sales.group_by("shop").agg(pl.col("amount").mean())

    made = Tally(mean, key=["shop"], group="shop")
    other = Serving(sold, key="shop", over=made)
    source = partial(open_cleaned, lake, DATASETS["sales"])
    with pytest.raises(ValueError, match="amount is neither a whole number nor a time"):
        tally.open_tally(Lake(f"{lake.root}/other"), other, made, source)


def test_a_table_over_a_tally_that_it_does_not_take_is_refused() -> None:
    wrong = Serving(lambda sales: sales, key="shop", over=TALLY)
    with pytest.raises(DeclarationError, match="no parameter of that name"):
        check([Dataset(name="sales", landing="sales/*.csv", contract=Sale, serving=[wrong])])


def test_a_tally_whose_group_is_no_part_of_its_key_is_refused() -> None:
    wrong = Serving(sold, key="shop", over=Tally(by_item, key=["shop", "item"], group="at"))
    with pytest.raises(DeclarationError, match="its group at is not in its key"):
        check([Dataset(name="sales", landing="sales/*.csv", contract=Sale, serving=[wrong])])


def in_shops(sales: pl.LazyFrame) -> pl.LazyFrame:
    return sales.group_by("shop").agg(amount=pl.col("amount").first())


def twice(sales: pl.LazyFrame) -> pl.LazyFrame:
    return sales.select("shop", number="item")


def by_hour(sales: pl.LazyFrame) -> pl.LazyFrame:
    return sales.group_by("shop").agg(hour=pl.col("at").dt.time().max())


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (in_shops, "amount has nulls"),
        (twice, r"\['shop'\] is not unique"),
        (by_hour, "hour is neither a whole number nor a time"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_added_up_is_refused_before_anything_is_written(
    tmp_path: Path, function: Callable[[pl.LazyFrame], pl.LazyFrame], reason: str
) -> None:
    lake, made = Lake(str(tmp_path)), Tally(function, key=["shop"], group="shop")
    put(lake, sales(range(6)).with_columns(amount=pl.lit(None, pl.Int64)))
    with pytest.raises(ValueError, match=reason):
        tally.count(lake, replace(SOLD, over=made), made, partial(open_cleaned, lake, DATASETS["sales"]))
    counted = lake.open("tally/sold")
    assert counted is None or counted.scan().collect().is_empty()


def daily(by_day: pl.LazyFrame) -> pl.LazyFrame:
    return by_day.group_by("day").agg(pl.col("n").sum())


def by_day(sales: pl.LazyFrame) -> pl.LazyFrame:
    return sales.group_by("shop", day=pl.col("at").dt.date()).agg(n=pl.len())


def test_a_group_that_only_the_tally_has_is_refused() -> None:
    over = Serving(daily, key="day", group="day", over=Tally(by_day, key=["shop", "day"], group="shop"))
    with pytest.raises(DeclarationError, match="its group day is no column of sales"):
        check([replace(DATASETS["sales"], serving=[over])])
