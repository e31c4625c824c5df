"""What became of every record: the counts agree, and say so when a table was tampered with."""

import dataclasses

import polars as pl
import pytest

from lakehouse.layers import balance, cleaned, raw
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import land


def early(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.filter(pl.col("flight") != "3")


@pytest.fixture
def flown(road: Road) -> Road:
    road.datasets["flights"] = dataclasses.replace(road.datasets["flights"], clean=early)
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    return road


def counts(road: Road) -> dict[str, dict[str, int]]:
    rows = balance.open_balance(road.lake, "flights").scan().collect().to_dicts()
    return {row["_object"]: row for row in rows}


def test_records_that_clean_drops_are_counted(flown: Road) -> None:
    second = counts(flown)["flights/2.csv"]
    assert (second["_read"], second["_fit"], second["_refused"], second["_dropped"]) == (3, 1, 1, 1)
    assert balance.unbalanced(flown.lake, flown.datasets["flights"]).is_empty()


@pytest.mark.parametrize("layer", ["cleaned", "quarantine", "raw"])
def test_a_row_added_behind_the_roads_back_is_noticed(flown: Road, layer: str) -> None:
    flights = flown.datasets["flights"]
    table = flown.lake.open(f"{layer}/flights")
    assert table
    rows = table.scan().filter(pl.col("_object") == "flights/2.csv").collect()
    if layer == "raw":
        table.append(rows.filter(pl.col("_part") == "row").head(1))
        balance.weigh(flown.lake, dataclasses.replace(flights, order_by=["origin"]))
    else:
        table.append(pl.concat([rows.head(1)] * 2))
    wrong = balance.unbalanced(flown.lake, flights)
    assert wrong["_object"].to_list() == ["flights/2.csv"]


def test_a_row_taken_from_quarantine_is_noticed(flown: Road) -> None:
    table = cleaned.open_quarantine(flown.lake, flown.datasets["flights"])
    table.delta.delete("_object = 'flights/2.csv'")
    assert len(balance.unbalanced(flown.lake, flown.datasets["flights"], ["flights/2.csv"])) == 1
    assert balance.unbalanced(flown.lake, flown.datasets["flights"], ["flights/1.csv"]).is_empty()


def test_violations_are_seen_in_the_table_itself(flown: Road) -> None:
    flights = flown.datasets["flights"]
    objects = raw.heads(raw.open_raw(flown.lake, "flights")).collect()["_object"].to_list()
    assert cleaned.violations(flown.lake, flights, objects).is_empty()
    table = cleaned.open_cleaned(flown.lake, flights)
    table.append(table.scan().head(1).with_columns(arr_delay=pl.lit(9999, dtype=pl.Int32)).collect())
    found = dict(cleaned.violations(flown.lake, flights, objects).iter_rows())
    assert found["key stands twice"] == 2
    assert found["arr_delay|max"] == 1
