"""A row's way back to the events, and an object's way forth to the rows."""

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import boto3
import polars as pl
import pytest
from botocore.config import Config
from click.testing import CliRunner

import lakehouse.dynamodb.table
from lakehouse import terminal, trace
from lakehouse.cli import main
from lakehouse.dataset import Dataset, Serving
from lakehouse.dynamodb.table import ItemTable
from lakehouse.layers import history
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.landing.test_archives import wide, zipped
from lakehouse_tests.test_road import land


@pytest.fixture
def walked(road: Road, monkeypatch: pytest.MonkeyPatch) -> Road:
    monkeypatch.setenv("LAKEHOUSE_LAKE", road.lake.root)
    carry(road, sample.FILES)
    return road


def carry(road: Road, files: dict[str, bytes]) -> None:
    land(road, files)
    while road.receive():
        pass
    road.hops()


def steps(road: Road, *way: str) -> dict[str, list[dict[str, Any]]]:
    key = dict(part.split("=") for part in way[1:])
    found = trace.of_row(road.lake, road.datasets, way[0], key, items=road.items)
    return {s.table: s.rows.to_dicts() for s in found}


def test_a_served_row_leads_to_its_records_their_objects_versions_and_events(walked: Road) -> None:
    found = steps(walked, "route_performance", "origin=JFK", "dest=LAX")
    layers = ["serving", "dynamodb", "cleaned", "quarantine", "raw", "landing", "landing"]
    assert [s.partition("/")[0] for s in found] == layers
    assert {(r["_object"], r["_record"]) for r in found["raw/flights"]} == {
        (r["_object"], r["_record"]) for r in found["cleaned/flights"]
    }
    listed = walked.bucket.client.list_object_versions(Bucket=walked.bucket.name)["Versions"]
    versions = {v["Key"]: v["VersionId"] for v in listed}
    assert {h["_object"]: h["_object_version"] for h in found["landing/flights"]} == {
        k: v for k, v in versions.items() if k.startswith("flights/")
    }
    assert {(e["key"], e["version_id"]) for e in found["landing/inbox"]} == {
        (k, v) for k, v in versions.items() if k.startswith("flights/")
    }
    assert all(e["message_id"] and e["received_at"] for e in found["landing/inbox"])

    hour = steps(walked, "airport_hourly", "time_hour=2013-01-01T10:00:00Z", "origin=JFK")
    assert len(hour["cleaned/flights"]) == 3


def test_a_refused_record_leads_to_its_object_and_event(walked: Road) -> None:
    found = steps(walked, "quarantine.flights", "_record=3")
    assert [*found] == ["quarantine/flights", "raw/flights", "landing/flights", "landing/inbox"]
    (refused,), (record,) = found["quarantine/flights"], found["raw/flights"]
    assert refused["_rules"] == "arr_delay|dtype"
    assert (record["_object"], record["_record"], record["carrier"]) == ("flights/2.csv", 3, "DL")
    assert {e["key"] for e in found["landing/inbox"]} == {"flights/2.csv"}


def test_only_the_upstream_rows_of_that_key_are_told(walked: Road) -> None:
    found = steps(walked, "serving.carrier_punctuality", "carrier=AA")
    assert {r["carrier"] for r in found["cleaned/flights"]} == {"AA"}
    assert [r["name"] for r in found["cleaned/airlines"]] == ["American"]


def test_a_served_row_comes_with_its_item_and_what_was_refused_of_its_objects(walked: Road) -> None:
    found = steps(walked, "carrier_punctuality", "carrier=AA")
    (item,), (served,) = found["dynamodb/carrier_punctuality"], found["serving/carrier_punctuality"]
    assert item["_key"] == "AA"
    assert item["_version"] > 1 << 24
    assert {c: item[c] for c in served} == served
    (refused,) = found["quarantine/flights"]
    assert (refused["_object"], refused["_rules"]) == ("flights/2.csv", "arr_delay|dtype")
    hour = steps(walked, "airport_hourly", "time_hour=2013-01-01T10:00:00Z", "origin=JFK")
    assert json.loads(hour["dynamodb/airport_hourly"][0]["_key"])[1] == "JFK"


def test_a_row_that_fits_into_no_item_comes_with_the_reason(walked: Road) -> None:
    long = "x" * 2049
    carry(walked, {"airlines/airlines.csv": f"carrier,name\n{long},Long\n".encode()})
    road = dataclasses.replace(walked, datasets=published(walked.datasets, names_of_airlines, "carrier"))
    road.hops()
    found = steps(road, "names_of_airlines", f"carrier={long}")
    assert found["dynamodb/names_of_airlines"] == []
    assert [one["_reason"] for one in found["rejected/names_of_airlines"]] == ["a key of more than 2048 bytes"]


def test_a_row_is_followed_though_dynamodb_cannot_be_reached(walked: Road) -> None:
    def away(serving: Serving) -> ItemTable:
        config = Config(retries={"total_max_attempts": 1})
        return ItemTable(boto3.client("dynamodb", endpoint_url="http://127.0.0.1:9", config=config), "away")

    with patch.object(lakehouse.dynamodb.table, "ATTEMPTS", 1):
        found = trace.of_row(walked.lake, walked.datasets, "carrier_punctuality", {"carrier": "AA"}, items=away)
    by_name = {step.table: step.rows.to_dicts() for step in found}
    (untold,) = by_name["dynamodb/carrier_punctuality"]
    assert untold["_key"] == "AA"
    assert "127.0.0.1:9" in untold["_reason"]
    assert by_name["landing/inbox"]


def test_a_row_comes_with_its_past_and_an_object_with_all_that_it_ever_said(walked: Road) -> None:
    kept = dataclasses.replace(walked.datasets["flights"], history=True)
    road = dataclasses.replace(walked, datasets=walked.datasets | {"flights": kept})
    history.track(road.lake, kept)
    carry(road, {"flights/1.csv": sample.flights(("AA", 1, 50))})
    past = steps(road, "cleaned/flights", "carrier=AA", "flight=1")["history/flights"]
    assert [(one["arr_delay"], one["is_current"]) for one in past] == [(5, False), (50, True)]
    found = trace.of_object(road.lake, road.datasets, road.bucket.name, "flights/1.csv")
    (told,) = [step.rows for step in found if step.table == "history/flights"]
    assert sorted(told["arr_delay"].to_list()) == [5, 20, 50]


def names_of_airlines(airlines: pl.LazyFrame) -> pl.LazyFrame:
    return airlines.select("carrier", "name")


def published(datasets: dict[str, Dataset], compute: Any, key: str) -> dict[str, Dataset]:
    mine = dataclasses.replace(datasets["airlines"], serving=[Serving(compute, key=key, publish=True)])
    return datasets | {"airlines": mine}


def test_an_overwritten_objects_rows_lead_to_the_version_that_stands(walked: Road) -> None:
    carry(walked, {"flights/1.csv": sample.flights(("AA", 1, 50))})
    found = steps(walked, "cleaned/flights", "carrier=AA", "flight=1")
    (head,) = found["landing/flights"]
    assert head["_generation"] == 2
    (event,) = found["landing/inbox"]
    assert event["version_id"] == head["_object_version"]
    assert [r["arr_delay"] for r in found["raw/flights"]] == ["50"]


def test_an_object_leads_to_every_generation_record_refusal_and_served_row(walked: Road) -> None:
    carry(walked, {"flights/2.csv": sample.flights(("AA", 3, 30), ("DL", 4, "x"))})
    place = (walked.lake, walked.datasets, walked.bucket.name)
    found = {s.table: s.rows for s in trace.of_object(*place, "flights/2.csv", items=walked.items)}
    assert len(found["landing/inbox"]) == 2
    assert found["landing/flights"]["_generation"].to_list() == [1, 2]
    assert len(found["raw/flights"]) == 3 + 2
    assert found["cleaned/flights"]["flight"].to_list() == [3]
    assert found["quarantine/flights"]["_rules"].to_list() == ["arr_delay|dtype"]
    assert found["serving/carrier_punctuality"]["carrier"].to_list() == ["AA"]
    assert found["dynamodb/carrier_punctuality"]["_key"].to_list() == ["AA"]
    (told,) = found["balance/flights"].to_dicts()
    assert (told["_generation"], told["_read"], told["_fit"], told["_refused"]) == (2, 2, 1, 1)


@pytest.mark.parametrize("key", ["flights/a.zip", "flights/q!/a.zip"])
def test_an_archive_leads_to_what_its_members_brought_and_they_to_its_event(walked: Road, key: str) -> None:
    road = wide(walked, landing="flights/**")
    body = zipped({"1.csv": sample.flights(("AA", 7, 30)), "2.csv": sample.flights(("DL", 8, "x"))})
    carry(road, {key: body})
    found = {s.table: s.rows for s in trace.of_object(road.lake, road.datasets, road.bucket.name, key)}
    assert found["landing/flights"]["_object"].to_list() == [key, f"{key}!/1.csv", f"{key}!/2.csv"]
    assert [len(found[f"{layer}/flights"]) for layer in ("raw", "cleaned", "quarantine")] == [2, 1, 1]
    assert found["serving/carrier_punctuality"]["carrier"].to_list() == ["AA"]
    back = steps(road, "cleaned/flights", "carrier=AA", "flight=7")
    assert [event["key"] for event in back["landing/inbox"]] == [key]


def test_an_object_of_a_prefix_without_a_dataset_leads_to_its_records(walked: Road) -> None:
    carry(walked, {"orders/1.csv": b"id\n1\n2\n"})
    found = trace.of_object(walked.lake, walked.datasets, walked.bucket.name, "orders/1.csv")
    assert {s.table: len(s.rows) for s in found} == {"landing/inbox": 1, "landing/orders": 1, "raw/orders": 2}


def test_an_object_that_no_dataset_claims_leads_to_its_event_and_no_further(walked: Road) -> None:
    carry(walked, {"stray.bin": b"?"})
    (step,) = trace.of_object(walked.lake, walked.datasets, walked.bucket.name, "stray.bin")
    assert (step.table, len(step.rows)) == ("landing/inbox", 1)


ASTRAY = [
    (["nothing", "a=1"], "no table nothing that can be followed"),
    (["raw.flights", "_record=1"], "no table raw.flights that can be followed"),
    (["carrier_punctuality", "carrier=ZZ"], "serving/carrier_punctuality has no row with carrier=ZZ"),
    (["carrier_punctuality", "colour=red"], "serving/carrier_punctuality has no column colour"),
    (["aircraft", "tailnum="], "serving/aircraft has no row with tailnum="),
    (["airport_hourly", "time_hour=yesterday"], "serving/airport_hourly has no row with time_hour=yesterday"),
    (["carrier_punctuality"], "which row?"),
    (["s3://elsewhere/x.csv"], "nothing is known of s3://elsewhere/x.csv"),
]


def test_what_cannot_be_followed_ends_with_what_and_what_to_do(walked: Road) -> None:
    for asked, what in ASTRAY:
        found = CliRunner().invoke(main, ["trace", *asked])
        assert found.exit_code == 1
        assert found.output.startswith(f"Error: {what}\nHint: ")


def test_trace_prints_every_step_as_tables_and_as_json(walked: Road) -> None:
    told = CliRunner().invoke(main, ["trace", "carrier_punctuality", "carrier=UA", "--rows", "1"])
    assert told.exit_code == 0, told.output
    assert "\x1b" not in told.output
    for name in ("serving/carrier_punctuality @", "cleaned/flights @", "raw/flights @", "landing/inbox @"):
        assert name in told.output
    assert max(len(line) for line in told.output.splitlines()) <= 160
    found = json.loads(CliRunner().invoke(main, ["trace", "carrier_punctuality", "carrier=UA", "--json"]).output)
    assert {"table", "version", "by", "count", "rows"} == set(found[0])
    assert list(times(found)), "no time was told"
    assert all(t.endswith("Z") for t in times(found))


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_step_of_one_row_takes_few_lines_and_begins_with_what_it_was_found_by(
    walked: Road, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    carry(walked, {"documents/long.txt": b"a long\n\n[text] " * 50_000})
    monkeypatch.setattr(terminal, "WIDE", width)
    document = f"s3://{walked.bucket.name}/documents/long.txt"
    for asked in (["carrier_punctuality", "carrier=UA"], [document]):
        told = CliRunner().invoke(main, ["trace", *asked, "--rows", "1"]).output
        assert max(len(line) for line in told.splitlines()) <= width
        for step in re.split(r"\n(?=\S+/\S+ @)", told):
            assert len(step.splitlines()) <= 10, step
            if " row  by " in step:
                title, _, head = step.splitlines()[:3]
                assert head.split()[0] == title.partition("  by ")[2].partition(",")[0]
    found = json.loads(CliRunner().invoke(main, ["trace", document, "--json"]).output)
    assert [s["rows"][0]["bytes"] for s in found if s["table"] == "raw/documents"] == ["750,000 bytes"]


def times(found: list[dict[str, Any]]) -> Iterator[str]:
    return (r["received_at"] for s in found if s["table"] == "landing/inbox" for r in s["rows"])
