"""A listing against the heads, stretch by stretch."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from lakehouse.lake import Lake
from lakehouse.landing import inbox, reconcile
from lakehouse.layers import raw
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.landing.reconcile_worker import MODIFIED, key_of
from lakehouse_tests.test_road import check, land

FILES = {f"flights/{name}.csv": sample.flights(("AA", n, n)) for n, name in enumerate("abcdefg", 1)}
MEGABYTE = 1 << 20


def announced(road: Road) -> list[str]:
    box = inbox.open_inbox(road.lake).scan().filter(pl.col("event_name") == "reconcile")
    return sorted(box.select("key").collect().to_series())


@pytest.mark.parametrize("stretch", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3, 7, 8)), 1000])
def test_what_no_event_told_is_found_in_any_stretch(
    road: Road, stretch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "STRETCH", stretch)
    land(road, {**sample.FILES, **FILES})
    road.announce(*sample.FILES, *FILES)
    road.hops()
    assert not any(reconcile.reconcile(road.lake, road.bucket, road.datasets).values())
    for key in ("flights/a.csv", "flights/g.csv"):
        road.bucket.client.delete_object(Bucket=road.bucket.name, Key=key)
    changed = {"flights/c.csv": sample.flights(("AA", 3, 33)), "flights/cc.csv": sample.flights(("AA", 99, 9))}
    land(road, changed)
    counts = reconcile.reconcile(road.lake, road.bucket, road.datasets)
    assert {name: count for name, count in counts.items() if count} == {"flights": 4}
    assert announced(road) == sorted([*changed, "flights/a.csv", "flights/g.csv"])
    road.hops()
    check(road, {**sample.FILES, **FILES, **changed})
    assert not any(reconcile.reconcile(road.lake, road.bucket, road.datasets).values())


def test_a_call_that_was_cut_off_is_taken_up_where_it_stopped(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "STRETCH", 2)
    land(road, FILES)
    flights = {"flights": road.datasets["flights"]}
    with monkeypatch.context() as patch:
        real, calls = reconcile._standing, iter([1, 1, 0])
        patch.setattr(reconcile, "_standing", lambda *args: real(*args) if next(calls) else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            reconcile.reconcile(road.lake, road.bucket, flights)
    assert announced(road) == sorted(FILES)[:4]
    assert reconcile.reconcile(road.lake, road.bucket, flights) == {"flights": 3}
    assert announced(road) == sorted(FILES)
    assert reconcile.reconcile(road.lake, road.bucket, flights) == {"flights": 7}


def head_rows(numbers: range) -> pl.DataFrame:
    keys = [key_of(n) for n in numbers]
    rows = pl.DataFrame({"_object": keys}).with_columns(
        _part=pl.lit("head"), _generation=pl.lit(1), _state=pl.lit("read"), _etag=pl.lit("e"), _size=pl.lit(7)
    )
    return rows.with_columns(pl.lit(MODIFIED).alias("_modified"))


@pytest.mark.slow
def test_a_million_keys_are_never_in_memory_at_once(tmp_path: Path) -> None:
    """Three objects were missed and three are gone; the peak above an idle process hardly grows with the keys."""
    peaks = {}
    for count in (100_000, 1_000_000):
        lake = Lake(str(tmp_path / str(count)))
        table = raw.open_raw(lake, "flights")
        for start in range(0, count, 50_000):
            table.append(head_rows(range(start, start + 50_000)), indexed=["_object"])
        command = [sys.executable, "-m", "lakehouse_tests.landing.reconcile_worker", lake.root, str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
        found, peak = done.stdout.split()
        assert found == "6"
        peaks[count] = int(peak)
    assert peaks[1_000_000] < 300 * MEGABYTE, peaks
    assert peaks[1_000_000] < peaks[100_000] + 150 * MEGABYTE, peaks
