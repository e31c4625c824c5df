"""One object that cannot be carried never holds up its dataset: it is found, refused or left, and told."""

import dataclasses
import itertools
import signal
import subprocess
import sys

import polars as pl
import pytest
from botocore.exceptions import ClientError

from lakehouse.layers import balance, cleaned, raw
from lakehouse.layers.lag import lagging
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import check, land

GOOD = {f"flights/{n}.csv": sample.flights(("AA", n, n)) for n in range(1, 8)}
POISON = {"flights/5b.csv": sample.flights(("AA", 50, 0)) + b"POISON"}


def attempts(road: Road) -> int:
    """Ingest in processes of their own until one ends well, as the sensor asks for runs; gives how many."""
    for failures in itertools.count():
        command = [sys.executable, "-m", "lakehouse_tests.poison_worker", road.lake.root, road.bucket.name]
        done = subprocess.run([*command, f"run-{failures}", str(failures)], check=False, timeout=60)
        if done.returncode == 0:
            return failures + 1
        assert done.returncode == -signal.SIGKILL
        assert failures < 9
    raise AssertionError


def heads(road: Road) -> pl.DataFrame:
    return raw.last_heads(raw.open_raw(road.lake, "flights"), None).collect()


def test_an_object_that_kills_its_reader_is_refused_alone_and_its_dataset_moves_on(road: Road) -> None:
    land(road, {**GOOD, **POISON})
    road.announce(*GOOD, *POISON)
    assert 3 <= attempts(road) <= 5
    refused = heads(road).filter(pl.col("_state") == "refused")
    assert refused["_object"].to_list() == [*POISON]
    assert "died" in refused["_reason"][0]
    road.hops()
    check(road, GOOD)


def test_a_poisonous_object_that_was_mended_is_read(road: Road) -> None:
    land(road, {**GOOD, **POISON})
    road.announce(*GOOD, *POISON)
    attempts(road)
    mended = dict.fromkeys(POISON, sample.flights(("AA", 50, 0)))
    land(road, mended)
    road.announce(*mended)
    road.hops()
    check(road, {**GOOD, **mended})


def test_after_failures_of_another_cause_every_object_is_read_one_by_one(road: Road) -> None:
    land(road, GOOD)
    road.announce(*GOOD)
    raw.ingest(road.lake, road.bucket, road.datasets["flights"], run="r", failures=9)
    road.hops()
    check(road, GOOD)


def test_an_object_that_s3_withholds_is_left_and_comes_later(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    land(road, GOOD)
    road.announce(*GOOD)
    get = road.bucket.client.get_object

    def withheld(**asked: str) -> object:
        if asked["Key"] == "flights/3.csv":
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObject")
        return get(**asked)

    with monkeypatch.context() as patch:
        patch.setattr(road.bucket.client, "get_object", withheld)
        for _ in range(2):
            done = raw.ingest(road.lake, road.bucket, road.datasets["flights"])
            assert len(done.left) == 1
            assert "flights/3.csv" in done.left[0]
            road.hops()
            assert set(heads(road)["_object"]) == GOOD.keys() - {"flights/3.csv"}
            assert lagging(road.lake, road.datasets, road.items)["flights"] == "raw/flights"
    road.hops()
    check(road, GOOD)


def picky(rows: pl.LazyFrame) -> pl.LazyFrame:
    frame = rows.collect()
    if "F5" in frame["flight"].to_list():
        raise ValueError("a five")
    return frame.lazy()


def test_an_object_on_which_clean_raises_goes_to_quarantine_whole_and_the_others_arrive(road: Road) -> None:
    road.datasets["flights"] = dataclasses.replace(road.datasets["flights"], clean=picky)
    land(road, {**GOOD, "flights/5b.csv": sample.flights(("AA", "F5", 1), ("AA", 51, 1))})
    road.announce(*GOOD, "flights/5b.csv")
    road.hops()
    flights = road.datasets["flights"]
    bad = cleaned.open_quarantine(road.lake, flights).scan().collect()
    assert bad["_object"].to_list() == ["flights/5b.csv"] * 2
    assert bad["_rules"].str.contains("ValueError: a five").all()
    assert set(cleaned.open_cleaned(road.lake, flights).scan().collect()["_object"]) == GOOD.keys()
    assert balance.unbalanced(road.lake, flights).is_empty()


def test_code_that_raises_on_everything_empties_nothing(road: Road) -> None:
    land(road, GOOD)
    road.announce(*GOOD)
    road.hops()

    def broken(rows: pl.LazyFrame) -> pl.LazyFrame:
        if rows.collect().height:
            raise ValueError("not today")
        return rows

    flights = dataclasses.replace(road.datasets["flights"], clean=broken)
    with pytest.raises(ValueError, match="not today"):
        cleaned.clean(road.lake, flights)
    assert cleaned.open_cleaned(road.lake, road.datasets["flights"]).scan().collect().height == len(GOOD)
