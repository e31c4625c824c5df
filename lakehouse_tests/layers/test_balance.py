"""What became of every record: the counts agree, and say so when a table was tampered with."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from lakehouse.cli import main
from lakehouse.dataset import Dataset
from lakehouse.layers import balance, cleaned, ingest, raw
from lakehouse.layers.portion import Portion
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import land

DOCS = Path(__file__).parents[2] / "docs"


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


def documented(road: Road) -> list[list[dict[str, Any]]]:
    """What the queries of the docs answer on the command line."""
    queries = re.findall(r"```sql\n(.*?)```", (DOCS / "quarantine.md").read_text(), re.DOTALL)
    place = {"LAKEHOUSE_LAKE": road.lake.root}
    told = [CliRunner().invoke(main, ["sql", query, "--json"], env=place) for query in queries]
    assert {one.exit_code for one in told} == {0}, told[0].output
    return [json.loads(one.output) for one in told]


@pytest.mark.parametrize("dropping", [True, False])
def test_where_each_record_is_can_be_asked_by_the_queries_of_the_docs(road: Road, dropping: bool) -> None:
    clean = early if dropping else None
    flights = dataclasses.replace(road.datasets["flights"], clean=clean, on_delete="retract")
    road.datasets["flights"] = flights
    land(road, sample.FILES | {"flights/3.csv": sample.flights(("AA", 9, 9))})
    road.announce(*sample.FILES, "flights/3.csv")
    road.hops()
    land(road, {"flights/1.csv": sample.flights(("AA", 1, 6))})
    road.bucket.client.delete_object(Bucket=road.bucket.name, Key="flights/3.csv")
    road.announce("flights/1.csv", "flights/3.csv")
    road.hops()
    land(road, {"flights/0.csv": sample.flights(("UA", 2, 41))})
    road.announce("flights/0.csv")
    road.hops()
    totals, places = documented(road)
    left_out = "overtaken or dropped"
    assert {row.pop("_object"): (*row.values(),) for row in totals} == {
        "flights/0.csv": (1, 1, 0, 0, 0),
        "flights/1.csv": (1, 1, 0, 0, 0),
        "flights/2.csv": (3, 0, 1, 1, 1) if dropping else (3, 1, 1, 1, 0),
    }
    assert {(r["_object"][-5], r["_generation"], r["_record"]): r["place"] for r in places} == {
        ("0", 1, 1): "kept",
        ("1", 1, 1): "superseded",
        ("1", 1, 2): "superseded",
        ("1", 2, 1): "kept",
        ("2", 1, 1): left_out if dropping else "kept",
        ("2", 1, 2): left_out if dropping else "overtaken",
        ("2", 1, 3): "refused: arr_delay|dtype",
        ("3", 1, 1): "superseded",
    }


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


@pytest.mark.parametrize("objects", [None, ["flights/2.csv"]])
def test_a_row_taken_from_cleaned_is_noticed(flown: Road, objects: list[str] | None) -> None:
    """UA 2, which both files carry: the later file's row stood, so that each file has a record that is lost."""
    flights = flown.datasets["flights"]
    cleaned.open_cleaned(flown.lake, flights).delta.delete("carrier = 'UA'")
    wrong = balance.unbalanced(flown.lake, flights, objects).sort("_object")
    assert wrong["_object"].to_list() == (objects or ["flights/1.csv", "flights/2.csv"])
    assert set(wrong["_lost"]) == {1}
    assert set(wrong["_overtaken"]) == {0}


def test_an_older_row_in_a_newer_ones_place_is_noticed(flown: Road) -> None:
    flights = flown.datasets["flights"]
    table = cleaned.open_cleaned(flown.lake, flights)
    earlier = raw.current(raw.open_raw(flown.lake, "flights"), flights, ["flights/1.csv"]).collect()
    older = cleaned.split(flights, earlier).good.filter(pl.col("carrier") == "UA")
    table.apply(older, older.clear(), flights.keys)
    wrong = {row["_object"]: row for row in balance.unbalanced(flown.lake, flights).to_dicts()}
    assert wrong.keys() == {"flights/2.csv"}
    assert (wrong["flights/2.csv"]["_lost"], wrong["flights/2.csv"]["_kept"]) == (1, 0)


def test_a_row_that_stands_twice_hides_no_row_that_is_lost(flown: Road) -> None:
    flights = flown.datasets["flights"]
    late = {"flights/3.csv": sample.flights(("AA", 7, 1), ("AA", 8, 1))}
    land(flown, late)
    flown.announce(*late)
    flown.hops()
    table = cleaned.open_cleaned(flown.lake, flights)
    table.delta.delete("flight = 7")
    table.append(table.scan().filter(pl.col("flight") == 8).collect())
    assert balance.unbalanced(flown.lake, flights)["_object"].to_list() == ["flights/3.csv"]


def test_the_check_of_what_was_just_weighed_reads_nothing_again(
    flown: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    flights = flown.datasets["flights"]
    late = {"flights/3.csv": sample.flights(("AA", 7, 1)), "flights/bad.csv.gz": b"no gzip"}
    land(flown, late)
    flown.announce(*late)
    ingest.ingest(flown.lake, flown.bucket, flights)
    cleaned.clean(flown.lake, flights)
    monkeypatch.setattr(Portion, "rows", lambda *_: pytest.fail("read again"))
    cleaned.quarantine(flown.lake, flights)
    balance.weigh(flown.lake, flights)
    assert balance.unbalanced(flown.lake, flights, [*late]).is_empty()


def test_all_objects_are_weighed_a_portion_at_a_time(flown: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, rows = list[int](), Portion.rows

    def counted(self: Portion, dataset: Dataset) -> pl.DataFrame:
        taken.append(len(self.objects))
        return rows(self, dataset)

    monkeypatch.setattr(raw, "BATCH", 1)
    monkeypatch.setattr(Portion, "rows", counted)
    assert balance.unbalanced(flown.lake, flown.datasets["flights"]).is_empty()
    assert taken == [1, 1]


def test_violations_are_seen_in_the_table_itself(flown: Road) -> None:
    flights = flown.datasets["flights"]
    objects = raw.heads(raw.open_raw(flown.lake, "flights")).collect()["_object"].to_list()
    assert cleaned.violations(flown.lake, flights, objects).is_empty()
    table = cleaned.open_cleaned(flown.lake, flights)
    table.append(table.scan().head(1).with_columns(arr_delay=pl.lit(9999, dtype=pl.Int32)).collect())
    found = dict(cleaned.violations(flown.lake, flights, objects).iter_rows())
    assert found["key stands twice"] == 2
    assert found["arr_delay|max"] == 1
