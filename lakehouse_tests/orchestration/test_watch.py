"""What a table's page tells, and what the hour's checks see."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from lakehouse.definitions import build
from lakehouse.lake import Lake
from lakehouse.orchestration.metadata import bars
from lakehouse.orchestration.watch import FEW, records, unusual, written
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import land

pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run:DeprecationWarning")
"""Dagster 1.13 calls its own deprecated method where one resource holds another."""


@pytest.fixture
def house(road: Road, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Road:
    """A bucket with files that the inbox names, as Dagster finds it."""
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    monkeypatch.setenv("LAKEHOUSE_LAKE", road.lake.root)
    monkeypatch.setenv("LAKEHOUSE_LANDING_BUCKET", road.bucket.name)
    monkeypatch.setenv("LAKEHOUSE_TABLE_PREFIX", road.prefix)
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    return road


def ran(job: str) -> dg.ExecuteInProcessResult:
    return build(dg.in_process_executor).resolve_job_def(job).execute_in_process(tags={"lakehouse/dataset": job})


def pages(job: str) -> dict[str, dict[str, Any]]:
    """Each table's metadata as the run told it."""
    events = ran(job).get_asset_materialization_events()
    told = [event.step_materialization_data.materialization for event in events]
    return {m.asset_key.to_user_string(): {k: v.value for k, v in m.metadata.items()} for m in told}


def test_a_tables_page_tells_what_was_written_where_and_why(house: Road) -> None:
    ran("airlines")
    found = pages("flights")
    page = found["cleaned/flights"]
    assert (page["dagster/row_count"], page["added"], page["changed"], page["deleted"]) == (3, 3, 0, 0)
    assert page["objects_read"] == 2
    assert (page["files_rewritten"], page["rows_copied"]) == (0, 0)
    assert page["files"] == 1
    assert page["seconds_since_upload"] >= 0
    first, *more = page["summary"].split("\n\n")
    assert re.fullmatch(r"3 rows: 3 added, in 1 file of \d+ kB\.", first)
    assert more == ["Newest: 2013-01-01 10:00 UTC.", "Caused by 2 objects."]
    assert page["quarantined"] == found["quarantine/flights"]["added"] == 1
    served = {c.name: c.description for c in found["serving/carrier_punctuality"]["dagster/column_schema"].columns}
    assert served["carrier"] == "airline, IATA code ← airlines.carrier, flights.carrier"
    assert served["late"] == "← computed from flights.arr_delay"
    assert served["airline"] == "← computed from airlines.name"
    assert served["flights"] == "← computed from the rows of flights, airlines"
    deps = found["serving/carrier_punctuality"]["dagster/column_lineage"].deps_by_column
    assert {d.asset_key.to_user_string() for d in deps["carrier"]} == {"cleaned/flights", "cleaned/airlines"}
    assert [(d.asset_key.to_user_string(), d.column_name) for d in deps["late"]] == [
        ("cleaned/flights", "arr_delay")
    ]
    assert "flights" not in deps
    land(house, changed := {"flights/1.csv": sample.flights(("AA", 1, 6), ("UA", 2, 20))})
    house.announce(*changed)
    page = pages("flights")["cleaned/flights"]
    assert page["summary"].startswith("3 rows: 2 changed, in ")
    assert page["quarantined"] == 0


def test_raws_page_counts_records_and_no_heads(house: Road) -> None:
    page = pages("flights")["raw/flights"]
    raw = house.lake.open("raw/flights")
    assert raw
    assert raw.scan().filter(pl.col("_part") == "row").collect().height == page["dagster/row_count"] == 5
    assert page["summary"].startswith("5 rows: 5 added, in ")
    assert (page["added"], page["changed"], page["upserted"]) == (5, 0, 7)
    said = {c.name: c.description for c in page["dagster/column_schema"].columns}
    assert said["carrier"] == "airline, IATA code ← the files"
    assert said["_generation"] == "the object's contents, counted from 1"


def test_the_page_of_items_tells_how_many_there_are_and_how_long_they_took(house: Road) -> None:
    ran("airlines")
    name = "dynamodb/carrier_punctuality"
    page = pages("flights")[name]
    assert (page["dagster/row_count"], page["put"]) == (2, 2)
    assert page["seconds_since_upload"] >= 0
    assert page["summary"] == f"2 items: 2 put.\n\n{page['seconds_since_upload']} s after the upload."
    said = {c.name: c.description for c in page["dagster/column_schema"].columns}
    assert said["late"] == "← serving/carrier_punctuality.late"
    assert [*said][:2] == ["_key", "_version"]
    assert None not in said.values()
    page = pages("flights")[name]
    assert page["summary"] == "2 items: nothing changed."
    assert "seconds_since_upload" not in page


def test_rows_that_do_not_fit_into_an_item_are_no_items(house: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    ran("airlines")
    monkeypatch.setattr("lakehouse.dynamodb.items.LARGEST", 100)
    page = pages("flights")["dynamodb/route_performance"]
    assert (page["rejected"], page["dagster/row_count"], page["summary"]) == (1, 0, "0 items: nothing changed.")
    page = pages("flights")["dynamodb/route_performance"]
    assert (page["rejected"], page["dagster/row_count"]) == (0, 0)


def test_a_run_whose_rows_all_fit_looks_once_for_those_that_do_not(
    house: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, look = Counter[str](), Lake.open
    monkeypatch.setattr(Lake, "open", lambda lake, name: looked.update([name]) or look(lake, name))
    ran("airlines")
    assert pages("flights")["dynamodb/route_performance"]["dagster/row_count"] == 1
    assert looked["rejected/route_performance"] == 1


def test_what_nobody_declared_is_told_in_a_sentence_too(house: Road) -> None:
    land(house, {"orders/1.csv": b"number,customer\n1,ann\n2,bob\n"})
    house.announce("orders/1.csv")
    events = ran("undeclared").get_asset_materialization_events()
    (page,) = (event.step_materialization_data.materialization.metadata for event in events)
    assert page["summary"].value == "2 rows: 2 added, in 1 table.\n\nCaused by 1 object."
    assert (page["dagster/row_count"].value, page["files"].value) == (2, 2)
    assert page["seconds_since_upload"].value >= 0


def test_the_contracts_words_and_the_datasets_file_are_on_the_page() -> None:
    graph = build(dg.in_process_executor).resolve_asset_graph()
    metadata = graph.get(dg.AssetKey(["cleaned", "flights"])).metadata
    columns = {c.name: c for c in metadata["dagster/column_schema"].columns}
    assert columns["carrier"].description == "airline, IATA code ← raw/flights.carrier"
    (code,) = metadata["dagster/code_references"].code_references
    assert code.file_path.endswith("lakehouse/datasets/flights.py")
    assert "class Flight(" in Path(code.file_path).read_text().splitlines()[code.line_number - 1]


def test_every_table_has_words_for_its_columns_a_place_in_the_code_and_a_tag() -> None:
    graph = build(dg.in_process_executor).resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        asset, name = graph.get(key), key.to_user_string()
        if key.path[0] in ("landing", "dashboard") or name == "raw/undeclared":
            continue
        assert asset.tags, name
        assert "dagster/code_references" in asset.metadata, name
        assert not asset.kinds & {"dynamodb", "sqs"}, name
    ours = (
        "landing/inbox",
        "quarantine/flights",
        "models/delay_risk",
        "promotions/delay_risk",
        "monitor/delay_risk",
    )
    for name in ours:
        columns = graph.get(dg.AssetKey(name.split("/"))).metadata["dagster/column_schema"].columns
        assert [c.name for c in columns if not c.description] == []


def test_a_historys_page_has_words_for_every_column(house: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {**house.datasets, "flights": replace(house.datasets["flights"], history=True)}
    monkeypatch.setattr("lakehouse.definitions.load", lambda: kept)
    columns = pages("flights")["history/flights"]["dagster/column_schema"].columns
    assert [c.name for c in columns if not c.description] == []
    assert {"carrier", "_object", "valid_from", "is_current"} <= {c.name for c in columns}


def watched() -> dict[str, dg.AssetCheckEvaluation]:
    return {
        f"{e.asset_key.to_user_string()}: {e.check_name}": e for e in ran("watch").get_asset_check_evaluations()
    }


@pytest.mark.slow
def test_the_hour_sees_doubled_keys_and_cursors_that_lag_and_draws_the_dashboard(
    house: Road, tmp_path: Path
) -> None:
    house.hops()
    told = watched()
    assert {name for name, one in told.items() if not one.passed} == set()
    for layer, first in (("cleaned", "| time_hour | carrier |"), ("raw", "| time_hour | carrier |")):
        assert first in str(told[f"{layer}/flights: volume"].metadata["preview"].value)
    assert "| 2013-01-01T10:00:0 | AA |" in str(told["raw/flights: volume"].metadata["preview"].value)
    volume = told["serving/carrier_punctuality: volume"].metadata
    assert "| carrier |" in str(volume["preview"].value)
    assert str(volume["commits"].value).startswith("![2](data:image/svg+xml,")
    assert (tmp_path / "dashboard.html").exists()
    table = house.lake.open("serving/carrier_punctuality")
    assert table
    table.append(table.scan().filter(pl.col("carrier") == "AA").collect())
    house.announce("airlines/airlines.csv")
    wrong = {name: one.metadata["count"].value for name, one in watched().items() if not one.passed}
    assert wrong["serving/carrier_punctuality: unique"] == 2
    assert wrong["raw/airlines: lag"] == len(["the event", "the items of the doubled row"])
    assert "raw/planes: lag" not in wrong


@pytest.mark.parametrize(
    ("volumes", "told"),
    [
        ([], False),
        ([10] * FEW, False),
        ([10] * FEW + [10], False),
        ([10] * FEW + [200], False),
        ([10] * FEW + [201], True),
        ([1000] * FEW + [49], True),
        ([1000] * FEW + [50], False),
    ],
)
def test_a_volume_is_told_where_it_is_far_from_what_is_usual(volumes: list[int], told: bool) -> None:
    assert unusual(volumes) is told


def test_a_volume_is_what_a_commit_wrote_and_a_commit_that_wrote_nothing_is_none(house: Road) -> None:
    house.hops()
    table = house.lake.open("cleaned/flights")
    assert table
    table.append(table.scan().collect().clear())
    assert written(table) == [3]
    raw = house.lake.open("raw/flights")
    assert raw
    assert records(raw) == [5]


def test_a_table_that_cannot_be_opened_hides_no_other_volume(house: Road) -> None:
    house.hops()
    log = Path(house.lake.root, "cleaned/flights/_delta_log/00000000000000000000.json")
    log.write_text("no json")
    job = build(dg.in_process_executor).resolve_job_def("watch")
    told = {
        one.asset_key.path[-1]: one
        for one in job.execute_in_process(raise_on_error=False).get_asset_check_evaluations()
        if (one.check_name, one.asset_key.path[0]) == ("volume", "cleaned")
    }
    assert not told["flights"].passed
    assert told["airlines"].passed


def test_the_drawing_is_short_enough_to_be_shown_inline() -> None:
    drawn = str(bars([10**6 + n for n in range(24)]).value)
    assert len(drawn) < 1000
    assert drawn.startswith("![1000021, 1000022, 1000023](data:image/svg+xml,%3Csvg")
