"""What the sweep sees: each layer that lags, and how much one commit takes."""

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from lakehouse.dataset import Serving
from lakehouse.dynamodb.sync import publish
from lakehouse.landing import inbox
from lakehouse.layers import balance, cleaned, ingest, raw, serving
from lakehouse.layers.lag import lagging, servings_of
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import check, land


def lag(road: Road) -> str | None:
    return lagging(road.lake, road.datasets, road.items).get("flights")


def test_each_hop_that_is_left_is_named_in_turn(road: Road) -> None:
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    flights = road.datasets["flights"]
    for turn in range(2):
        assert lag(road) is None
        land(road, {"flights/9.csv": sample.flights(("AA", 9, turn))})
        road.announce("flights/9.csv")
        assert lag(road) == "raw/flights"
        ingest.ingest(road.lake, road.bucket, flights)
        assert lag(road) == "cleaned/flights"
        cleaned.clean(road.lake, flights)
        assert lag(road) == "quarantine/flights"
        cleaned.quarantine(road.lake, flights)
        assert lag(road) == "balance/flights"
        balance.weigh(road.lake, flights)
        for one in flights.serving:
            assert lag(road) == f"serving/{one.name}"
            serving.serve(road.lake, one, road.datasets)
        for one in flights.serving:
            assert lag(road) == f"dynamodb/{one.name}"
            assert "airlines" not in lagging(road.lake, road.datasets, road.items)
            publish(road.lake, one, road.items(one))


def hours(weather: pl.LazyFrame, airlines: pl.LazyFrame) -> pl.LazyFrame:
    """Declared below where it reads nothing."""
    return weather.group_by("origin").agg(hours=pl.len())


@pytest.mark.parametrize("arrived", [["airlines"], ["airlines", "weather"]])
def test_items_that_lag_are_told_under_one_dataset_whose_run_carries_them(road: Road, arrived: list[str]) -> None:
    one = Serving(hours, key="origin", publish=True)
    road.datasets = {"flights": replace(road.datasets["flights"], serving=[one])} | {
        name: replace(road.datasets[name], serving=[]) for name in ("airlines", "weather")
    }
    road.hops(everything=True)
    for name in road.datasets.keys() - arrived:
        shutil.rmtree(Path(road.lake.root) / raw.name(name))
    road.dynamodb.delete_table(TableName=road.items(one).name)
    behind = lagging(road.lake, road.datasets, road.items)
    assert [*behind.values()] == ["dynamodb/hours"]
    assert behind.keys() <= set(arrived)
    assert all(one in servings_of(road.datasets, name) for name in behind)


def test_an_inbox_made_anew_hides_no_event(road: Road) -> None:
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    version = inbox.open_inbox(road.lake).version
    shutil.rmtree(Path(road.lake.root) / inbox.NAME)
    more = {f"flights/new{n}.csv": sample.flights(("AA", 70 + n, n)) for n in range(version)}
    land(road, more)
    road.announce(*more)
    assert inbox.open_inbox(road.lake).version == version
    assert lag(road) == "raw/flights"
    road.hops()
    check(road, {**sample.FILES, **more})


@pytest.mark.parametrize("started", [True, False])
def test_a_backlog_is_taken_a_batch_a_commit_from_the_first_on(
    road: Road, monkeypatch: pytest.MonkeyPatch, started: bool
) -> None:
    monkeypatch.setattr(raw, "BATCH", 4)
    if started:
        land(road, {"flights/0.csv": sample.flights(("UA", 1, 1))})
        road.announce("flights/0.csv")
        ingest.ingest(road.lake, road.bucket, road.datasets["flights"])
    files = {f"flights/{n:02}.csv": sample.flights(("AA", n, n)) for n in range(1, 20)}
    land(road, files)
    for key in files:
        road.announce(key)
    ingest.ingest(road.lake, road.bucket, road.datasets["flights"])
    table = raw.open_raw(road.lake, "flights")
    changes = table.changes(0)
    assert changes is not None
    heads = changes.filter(pl.col("_part") == "head").group_by("_commit_version").len()
    assert heads["len"].max() == 4
    assert heads["len"].sum() == len(files) + started
