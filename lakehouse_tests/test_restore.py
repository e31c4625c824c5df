"""A table is put back, and what depends on it follows."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from lakehouse.dynamodb.sync import verify
from lakehouse.lake import Conflict, Table
from lakehouse.lake.past import Forgotten, as_of, no_marks, restore, resume
from lakehouse.lake.paths import retire
from lakehouse.layers import balance, cleaned, raw
from lakehouse.layers.backfill import backfill
from lakehouse.layers.lag import lagging
from lakehouse.layers.serving import disagreement, serve
from lakehouse.layers.tables import names, sources
from lakehouse.query import ask
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_retention import forget
from lakehouse_tests.test_road import check, items_of, land

LATER = {
    "flights/2.csv": sample.flights(("AA", 3, 31), ("DL", 4, 4)),
    "flights/3.csv": sample.flights(("UA", 2, 41), ("UA", 5, 50)),
    "airlines/airlines.csv": b"carrier,name\nAA,American\nUA,United\nDL,Delta\n",
}
BOTH = pytest.mark.parametrize("root", ["disk", pytest.param("s3", marks=pytest.mark.slow)], indirect=True)


def table(road: Road, name: str) -> Table:
    found = road.lake.open(name)
    assert found is not None
    return found


def rows(road: Road, name: str) -> pl.DataFrame:
    columns = sorted(table(road, name).columns)
    return table(road, name).scan().select(columns).collect().sort(columns)


def two_days(road: Road) -> tuple[dict[str, int], dict[str, pl.DataFrame], dict[str, Any]]:
    """Files landed and carried, then others; gives versions, rows and items before the others."""
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    made = [name for name in names(road.datasets) if road.lake.open(name)]
    before = {name: table(road, name).version for name in made}
    held, items = {name: rows(road, name) for name in made}, items_of(road, "carrier_punctuality")
    land(road, LATER)
    road.announce(*LATER)
    road.hops()
    check(road, sample.FILES | LATER)
    assert items != items_of(road, "carrier_punctuality")
    return before, held, items


def put_back(road: Road, name: str, version: int, *, hold: bool = False) -> int:
    found = sources(road.datasets, name)
    assert found is not None
    marks = raw.put_back if name.startswith("raw/") else no_marks
    return restore(road.lake, name, version, found, marks, hold=hold)[1]


TABLES = [f"{layer}/flights" for layer in ("raw", "cleaned", "quarantine", "balance", "history")]


@pytest.mark.parametrize("hold", [False, True])
def test_a_table_is_read_and_put_back_as_of_a_time_before_a_backfill(road: Road, hold: bool) -> None:
    """By its time it lies at another path, which is kept as long as any past is."""
    _, held, _ = two_days(road)
    when = table(road, "cleaned/flights").committed_at
    late, dataset = rows(road, "cleaned/flights"), road.datasets["flights"]
    assert not late.equals(held["cleaned/flights"])
    time.sleep(0.01)
    early = replace(dataset, clean=lambda flights: flights.filter(pl.col("carrier") == "AA"))
    for _ in range(2):
        backfill(road.lake, early)
    road.datasets["flights"] = early
    road.hops()
    now = rows(road, "cleaned/flights")
    assert len(now) < len(late)
    told = ask(road.lake, road.datasets, f'select * from "cleaned.flights@{when.isoformat()}"')
    assert told.select(sorted(told.columns)).sort(sorted(told.columns)).equals(late)
    restore(road.lake, "cleaned/flights", when, ["raw/flights"], hold=hold)
    assert rows(road, "cleaned/flights").equals(late)
    assert table(road, "cleaned/flights").held == hold
    road.hops()
    assert rows(road, "cleaned/flights").equals(late if hold else now)
    assert verify(road.lake, road.servings()[0], road.items(road.servings()[0])) == []
    assert retire(replace(road.lake, paths=None)) == {}
    for number in (0, 1):
        shutil.rmtree(road.lake.place("cleaned/flights", number))
    with pytest.raises(Forgotten, match="lay at another path"):
        as_of(road.lake, "cleaned/flights", when)


LIKE = [pytest.param(name, marks=pytest.mark.slow) for name in (*TABLES[2:], "tally/carrier_punctuality")]


@pytest.mark.parametrize("name", [*TABLES[:2], *LIKE, "serving/carrier_punctuality"])
def test_a_table_that_is_put_back_catches_up_from_the_cursor_of_then(road: Road, name: str) -> None:
    road.datasets["flights"] = replace(road.datasets["flights"], history=True)
    before, held, _ = two_days(road)
    now = rows(road, name)
    put_back(road, name, before[name])
    assert rows(road, name).equals(held[name])
    assert lagging(road.lake, road.datasets, road.items)
    road.hops()
    check(road, sample.FILES | LATER)
    assert rows(road, name).equals(now) or name.startswith("raw/"), "raw reads again, as further generations"


@pytest.mark.parametrize(
    "name",
    [
        "raw/flights",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("cleaned/flights", "serving/carrier_punctuality")),
    ],
)
def test_a_table_that_is_put_back_to_its_beginnings_is_made_again(road: Road, name: str) -> None:
    two_days(road)
    put_back(road, name, 0)
    road.hops()
    check(road, sample.FILES | LATER)


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("name", ["raw/flights", "cleaned/flights", "serving/carrier_punctuality"])
def test_what_depends_on_a_held_table_follows_it_and_it_goes_on_when_resumed(road: Road, name: str) -> None:
    before, held, items = two_days(road)
    if name != "serving/carrier_punctuality":
        put_back(road, "cleaned/airlines", before["cleaned/airlines"], hold=True)
    put_back(road, name, before[name], hold=True)
    road.hops()
    assert rows(road, name).equals(held[name])
    assert items_of(road, "carrier_punctuality") == items
    assert lagging(road.lake, road.datasets, road.items) == {}
    assert balance.level(road.lake, road.datasets["flights"]) is None or name != "cleaned/flights"
    more = {"flights/4.csv": sample.flights(("UA", 7, 1))}
    land(road, more)
    road.announce(*more)
    road.hops()
    assert rows(road, name).equals(held[name])
    for held_table in (name, "cleaned/airlines"):
        resume(table(road, held_table))
    assert lagging(road.lake, road.datasets, road.items)
    road.hops()
    check(road, sample.FILES | LATER | more)


def test_a_held_serving_table_is_not_said_to_disagree(road: Road) -> None:
    before, _, _ = two_days(road)
    put_back(road, "serving/carrier_punctuality", before["serving/carrier_punctuality"], hold=True)
    (one,) = [s for s in road.servings() if s.name == "carrier_punctuality"]
    assert disagreement(road.lake, one, road.datasets, seed=1) is None


def test_only_what_differs_reaches_what_is_served(road: Road) -> None:
    before, _, _ = two_days(road)
    put_back(road, "cleaned/flights", before["cleaned/flights"], hold=True)
    road.hops()
    served = table(road, "serving/carrier_punctuality")
    changes = served.changes(served.version - 1)
    assert changes is not None
    assert set(changes["carrier"]) == {"DL", "UA", "AA"} & set(changes["carrier"])
    assert (changes["_change_type"] == "insert").sum() == 0


def test_a_table_put_back_over_a_change_of_types_is_read_by_the_difference(road: Road) -> None:
    before, held, items = two_days(road)
    now = table(road, "cleaned/flights")
    wider = now.scan().collect().with_columns(pl.col("arr_delay").cast(pl.Int64), more=pl.lit(1))
    other = now.overwrite(wider, [])
    for one in road.servings():
        serve(road.lake, one, road.datasets)
    put_back(road, "cleaned/airlines", before["cleaned/airlines"], hold=True)
    put_back(road, "cleaned/flights", before["cleaned/flights"], hold=True)
    assert table(road, "cleaned/flights").changes(other) is None
    road.hops()
    assert rows(road, "cleaned/flights").equals(held["cleaned/flights"])
    assert items_of(road, "carrier_punctuality") == items


def test_a_hop_that_was_under_way_does_not_write_over_a_table_that_was_put_back(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, held, _ = two_days(road)
    more = {"flights/4.csv": sample.flights(("UA", 7, 1))}
    land(road, more)
    road.announce(*more)
    apply: Callable[..., int] = Table.apply
    turns = iter([True])

    def overtaken(self: Table, *args: Any) -> int:
        if self.name == "cleaned/flights" and next(turns, False):
            put_back(road, "cleaned/flights", before["cleaned/flights"], hold=True)
        return apply(self, *args)

    monkeypatch.setattr(Table, "apply", overtaken)
    road.hops()
    assert next(turns, None) is None
    assert rows(road, "cleaned/flights").equals(held["cleaned/flights"])


def test_whoever_commits_while_a_table_is_put_back_makes_it_look_again(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, held, _ = two_days(road)
    real, turns = Table.restore, iter([True])

    def overtaken(self: Table, *args: Any) -> int:
        if next(turns, False):
            cleaned_now = table(road, "cleaned/flights")
            cleaned_now.append(cleaned_now.scan().head(0).collect())
        return real(self, *args)

    monkeypatch.setattr(Table, "restore", overtaken)
    put_back(road, "cleaned/flights", before["cleaned/flights"])
    assert rows(road, "cleaned/flights").equals(held["cleaned/flights"])


def test_a_version_whose_files_are_gone_is_told_and_nothing_is_written(road: Road) -> None:
    before, _, _ = two_days(road)
    forget(road, "cleaned/flights")
    version = table(road, "cleaned/flights").version
    for wanted in (before["cleaned/flights"], 99):
        with pytest.raises(Forgotten):
            put_back(road, "cleaned/flights", wanted)
    assert table(road, "cleaned/flights").version == version


WORKER = """
import os, signal, sys
from deltalake import DeltaTable
from lakehouse.lake import Lake
from lakehouse.lake.past import restore
root, version, before, hold = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "before", sys.argv[4] == "hold"
real = DeltaTable.restore
def deadly(*args, **options):
    if before:
        os.kill(os.getpid(), signal.SIGKILL)
    real(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
DeltaTable.restore = deadly
restore(Lake(root), "cleaned/flights", version, ["raw/flights"], hold=hold)
"""


@pytest.mark.parametrize("hold", [pytest.param("hold", marks=pytest.mark.slow), "replay"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_who_dies_at_the_commit_leaves_one_of_two_states_and_repeats(road: Road, moment: str, hold: str) -> None:
    before, held, _ = two_days(road)
    now, version = rows(road, "cleaned/flights"), before["cleaned/flights"]
    command = [sys.executable, "-c", WORKER, road.lake.root, str(version), moment, hold]
    died = subprocess.run(command, check=False, timeout=120, env=dict(os.environ))
    assert died.returncode == -signal.SIGKILL
    expected = now if moment == "before" else held["cleaned/flights"]
    assert rows(road, "cleaned/flights").equals(expected)
    assert table(road, "cleaned/flights").held == (moment == "after" and hold == "hold")
    put_back(road, "cleaned/flights", version, hold=hold == "hold")
    assert rows(road, "cleaned/flights").equals(held["cleaned/flights"])
    resume(table(road, "cleaned/flights"))
    road.hops()
    check(road, sample.FILES | LATER)


def test_a_table_held_and_put_back_to_replay_goes_on(road: Road) -> None:
    before, _, _ = two_days(road)
    put_back(road, "cleaned/flights", before["cleaned/flights"], hold=True)
    assert not cleaned.clean(road.lake, road.datasets["flights"]).moved
    put_back(road, "cleaned/flights", before["cleaned/flights"])
    road.hops()
    check(road, sample.FILES | LATER)


def test_who_always_comes_second_is_told(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    before, _, _ = two_days(road)

    def lost(*_: Any) -> int:
        raise Conflict

    monkeypatch.setattr(Table, "restore", lost)
    with pytest.raises(Conflict):
        put_back(road, "cleaned/flights", before["cleaned/flights"])
