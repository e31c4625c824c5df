"""The road with portable functions: the same tables, cursors and refusals, whichever engine computes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import narwhals as nw
import polars as pl
import pytest
from dataframely.random import Generator
from polars.testing import assert_frame_equal

from lakehouse.dataset import load
from lakehouse.engines import EngineFailed, Narrowed, compute, frame, spark
from lakehouse.engines.portable import is_portable
from lakehouse.lake import Lake, Table
from lakehouse.layers import cleaned, ingest, serving
from lakehouse.layers.serving import disagreement
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.engines.conftest import sail
from lakehouse_tests.engines.punctual import DATASETS
from lakehouse_tests.test_road import land

pytestmark = pytest.mark.slow

FILES = {
    "airlines/airlines.csv": b"carrier,name\nAA,American\nUA,United\n",
    "flights/1.csv": sample.flights(("AA", 1, 5), ("UA", 2, 20), (" dl ", 9, "")),
    "flights/2.csv": sample.flights(("aa", 3, 30), ("UA", 2, 40), ("DL", 4, "x")).replace(b",N40,", b",,"),
}
LATER = {
    "airlines/airlines.csv": b"carrier,name\nAA,American Airlines\nDL,Delta\n",
    "flights/2.csv": sample.flights(("AA", 3, 7)),
    "flights/3.csv": sample.flights(("B6", 5, 1), ("AA", 1, 90), ("ZZ", 6, "?")),
}
TABLES = ("cleaned/flights", "cleaned/airlines", "quarantine/flights", "serving/punctuality", "serving/departures")


@pytest.fixture
def punctual(road: Road) -> Road:
    return replace(road, datasets=DATASETS)


def carry(road: Road, files: Mapping[str, bytes]) -> None:
    land(road, dict(files))
    road.announce(*files)
    road.hops()


def opened(road: Road, name: str) -> Table:
    table = road.lake.open(name)
    assert table is not None
    return table


def assert_same(one: Road, other: Road) -> None:
    for name in TABLES:
        mine, theirs = opened(one, name), opened(other, name)
        assert_frame_equal(mine.scan().collect(), theirs.scan().collect(), check_row_order=False, check_exact=True)
        assert mine.version == theirs.version


@pytest.mark.parametrize("root", ["disk", "s3"], indirect=True)
def test_each_engine_makes_the_tables_that_polars_makes(
    punctual: Road, tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(punctual, lake=Lake(str(tmp_path / "other")), prefix=f"other-{punctual.prefix}")
    for files in (FILES, LATER):
        carry(punctual, files)
        with monkeypatch.context() as here:
            here.setenv("LAKEHOUSE_ENGINE", "polars")
            other.announce(*files)
            other.hops()
        assert_same(punctual, other)
    assert opened(punctual, "quarantine/flights").count == 1
    assert opened(punctual, "serving/punctuality").count == 4
    for one in punctual.servings():
        wrong = disagreement(punctual.lake, one, DATASETS, seed=1)
        assert wrong is not None
        assert wrong.is_empty()


def test_what_is_shipped_as_portable_agrees(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = load()
    shipped = [s for d in datasets.values() for s in d.serving if is_portable(s.compute)]
    assert shipped
    for one in shipped:
        upstreams = [datasets[u].contract.sample(20, generator=Generator(seed=1)) for u in one.upstreams]
        found = compute(one.compute, upstreams)
        with monkeypatch.context() as here:
            here.setenv("LAKEHOUSE_ENGINE", "polars")
            assert_frame_equal(found, compute(one.compute, upstreams), check_row_order=False, check_exact=True)


def test_what_one_engine_made_another_finds_to_be_so(
    punctual: Road, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry(punctual, FILES)
    monkeypatch.setenv("LAKEHOUSE_ENGINE", "polars")
    for one in punctual.servings():
        one.__dict__["fingerprint"] = "other code"
        try:
            done = serving.serve(punctual.lake, one, DATASETS)
        finally:
            del one.__dict__["fingerprint"]
        assert (done.moved, done.upserted, done.deleted) == (True, 0, 0)


def test_an_engine_reads_the_version_that_was_looked_at(punctual: Road, engine: str) -> None:
    def numbers(flights: nw.LazyFrame) -> nw.LazyFrame:
        return flights.select("flight")

    carry(punctual, FILES)
    looked = opened(punctual, "cleaned/flights")
    carry(punctual, LATER)
    assert sorted(compute(numbers, [Narrowed(looked)])["flight"]) == [1, 2, 3, 9]


@pytest.mark.parametrize("most", [2, 100])
def test_an_engine_computes_the_groups_that_are_asked_for(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    def summed(rows: nw.LazyFrame) -> nw.LazyFrame:
        return rows.group_by("group").agg(nw.col("n").sum())

    monkeypatch.setattr(frame, "GROUPS", most)
    rows = pl.DataFrame({"group": ["a", "a", "b", "c", None], "n": [1, 2, 3, 4, 5]})
    table = Lake(str(tmp_path)).ensure("some", rows.schema)
    table.append(rows)
    wanted: list[tuple[list[str | None], set[tuple[str | None, int]]]] = [
        (["a", None, "q"], {("a", 3), (None, 5)}),
        ([], set()),
    ]
    for groups, found in wanted:
        asked = pl.DataFrame({"group": groups}, schema={"group": pl.String})
        assert set(compute(summed, [Narrowed(table, asked)]).rows()) == found


def test_rows_beyond_a_message_are_cleaned_in_parts(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def capital(raw: nw.LazyFrame) -> nw.LazyFrame:
        return raw.with_columns(text=nw.col("text").str.to_uppercase())

    monkeypatch.setattr(spark, "ROWS", 100)
    rows = pl.DataFrame({"_row": range(50), "text": ["a"] * 50, "none": [None] * 50}).cast({"_row": pl.UInt32})
    found = compute(capital, [rows])
    assert found.schema == rows.schema
    assert found.rows() == [(place, "A", None) for place in range(50)]


def test_an_engine_that_dies_holds_back_a_hop_and_refuses_no_record(
    punctual: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flights, airlines = DATASETS["flights"], DATASETS["airlines"]
    monkeypatch.setattr(spark, "TRIES", 1)
    with sail(tmp_path) as (server, address):
        monkeypatch.setenv("LAKEHOUSE_ENGINE", address)
        carry(punctual, FILES)
        before = {name: opened(punctual, name).version for name in TABLES}
        server.kill()
        server.wait()
    with pytest.raises(EngineFailed, match=f"tidied on {address}"):
        carry(punctual, LATER)
    with pytest.raises(EngineFailed):
        cleaned.quarantine(punctual.lake, flights)
    ingest.ingest(punctual.lake, punctual.bucket, airlines)
    cleaned.clean(punctual.lake, airlines)
    with pytest.raises(EngineFailed, match=f"punctuality on {address}"):
        serving.serve(punctual.lake, flights.serving[0], DATASETS)
    assert {name for name in TABLES if opened(punctual, name).version != before[name]} == {"cleaned/airlines"}
    monkeypatch.setenv("LAKEHOUSE_ENGINE", "polars")
    punctual.hops()
    assert opened(punctual, "serving/punctuality").count == 4
    assert opened(punctual, "quarantine/flights").count == 1
