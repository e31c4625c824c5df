"""One object that cannot be carried never holds up its dataset: it is found, refused or left, and told."""

import dataclasses
import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import polars as pl
import pytest
from botocore.exceptions import ClientError

from lakehouse.landing.objects import Bucket
from lakehouse.layers import balance, cleaned, ingest, raw
from lakehouse.layers.lag import lagging
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.landing.test_archives import KEY, take, wide, zipped
from lakehouse_tests.test_road import check, land
from lakehouse_tests.test_transient import failing

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


@pytest.mark.slow
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
    ingest.ingest(road.lake, road.bucket, road.datasets["flights"], run="r", failures=9)
    road.hops()
    check(road, GOOD)


SLOW_DOWN = ClientError({"Error": {"Code": "SlowDown", "Message": "SlowDown"}}, "GetObject")


@pytest.mark.parametrize("fault", [SLOW_DOWN, KeyboardInterrupt()], ids=["throttled", "interrupted"])
def test_a_run_that_fails_and_lives_holds_nothing_against_the_object_it_read_alone(
    road: Road, fault: BaseException
) -> None:
    land(road, GOOD)
    road.announce(*GOOD)
    for number in range(5):
        with failing(Bucket, "get", fault), pytest.raises(type(fault)):
            ingest.ingest(road.lake, road.bucket, road.datasets["flights"], run=f"r{number}", failures=9)
    assert heads(road)["_state"].to_list() == [raw.SPARED]
    road.hops()
    check(road, GOOD)


def test_an_object_whose_process_was_ended_once_is_read(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    land(road, GOOD)
    road.announce(*GOOD)
    monkeypatch.setattr(ingest, "_spare", lambda *_: None)
    monkeypatch.setattr(ingest, "TRIAL", timedelta(0))
    with failing(Bucket, "get", KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        ingest.ingest(road.lake, road.bucket, road.datasets["flights"], run="ended", failures=9)
    ingest.ingest(road.lake, road.bucket, road.datasets["flights"], run="next", failures=9)
    road.hops()
    check(road, GOOD)


def test_an_archive_that_kills_its_reader_takes_back_the_members_that_stood(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    road = wide(road)
    take(road, zipped({"1.csv": GOOD["flights/1.csv"]}))
    land(road, {KEY: zipped({"1.csv": GOOD["flights/2.csv"]})})
    road.announce(KEY)
    monkeypatch.setattr(ingest, "_spare", lambda *_: None)
    monkeypatch.setattr(ingest, "TRIAL", timedelta(0))
    for number in range(ingest.TRIALS):
        with failing(Bucket, "get", KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
            ingest.ingest(road.lake, road.bucket, road.datasets["flights"], run=f"r{number}", failures=9)
    ingest.ingest(road.lake, road.bucket, road.datasets["flights"], run="last", failures=9)
    road.hops()
    told = {h["_object"]: (h["_state"], h["_reason"]) for h in heads(road).to_dicts()}
    assert told == {KEY: ("refused", ingest.DIED), f"{KEY}!/1.csv": ("read", f"no longer in {KEY}")}
    assert cleaned.open_cleaned(road.lake, road.datasets["flights"]).scan().collect().is_empty()
    assert balance.unbalanced(road.lake, road.datasets["flights"]).is_empty()


@contextmanager
def withholding(road: Road, key: str, code: str, status: int) -> Iterator[None]:
    """S3 as it answers for one object: its reason where there is a body, and a bare number where there is none."""
    client = road.bucket.client
    real = {"get_object": client.get_object, "head_object": client.head_object}

    def call(name: str, **asked: str) -> object:
        if asked["Key"] != key:
            return real[name](**asked)
        word = code if name == "get_object" else str(status)
        answer: Any = {"Error": {"Code": word}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(answer, name)

    with pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setattr(client, name, partial(call, name))
        yield


REFUSALS = [
    ("AccessDenied", 403),
    pytest.param("InvalidObjectState", 403, marks=pytest.mark.slow),
    pytest.param("InvalidRequest", 400, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("code", "status"), REFUSALS)
def test_an_object_that_s3_withholds_holds_nothing_up_and_is_asked_for_again(
    road: Road, monkeypatch: pytest.MonkeyPatch, code: str, status: int
) -> None:
    land(road, GOOD)
    road.announce(*GOOD)
    closed = "flights/3.csv"
    with withholding(road, closed, code, status):
        road.hops()
        assert "flights" not in lagging(road.lake, road.datasets, road.items)
        found = heads(road).filter(pl.col("_object") == closed)
        assert found["_state"].to_list() == [raw.WITHHELD]
        assert code in found["_reason"][0]
        check(road, {key: body for key, body in GOOD.items() if key != closed})
    monkeypatch.setattr(raw, "SOONEST", timedelta(0))
    road.announce(closed)
    with withholding(road, closed, code, status):
        road.hops()
    told = raw.open_raw(road.lake, "flights")
    (at,) = raw.withheld(told).collect()["at"]
    assert told.mark(raw.RECALL) == int(at.timestamp()) + 1
    time.sleep(max(0, at.timestamp() + 1.1 - time.time()))
    assert lagging(road.lake, road.datasets, road.items)["flights"] == "raw/flights"
    road.hops()
    check(road, GOOD)
    assert not raw.recalls(raw.open_raw(road.lake, "flights"))
    assert "flights" not in lagging(road.lake, road.datasets, road.items)


def test_an_overwrite_that_s3_withholds_leaves_what_stood(road: Road) -> None:
    land(road, GOOD)
    road.announce(*GOOD)
    road.hops()
    land(road, {"flights/3.csv": sample.flights(("AA", 33, 3))})
    road.announce("flights/3.csv")
    with withholding(road, "flights/3.csv", "AccessDenied", 403):
        road.hops()
        check(road, GOOD)
        assert balance.unbalanced(road.lake, road.datasets["flights"]).is_empty()


def test_the_pause_before_an_object_is_asked_for_again_grows(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    land(road, GOOD)
    monkeypatch.setattr(raw, "SOONEST", timedelta(0))
    pauses = []
    with withholding(road, "flights/3.csv", "AccessDenied", 403):
        for _ in range(4):
            road.announce("flights/3.csv")
            ingest.ingest(road.lake, road.bucket, road.datasets["flights"])
            asked = raw.withheld(raw.open_raw(road.lake, "flights")).collect()["at"][0]
            pauses.append((asked - heads(road)["_ingested_at"][0]).total_seconds())
    assert pauses[0] == 0
    assert pauses == sorted(set(pauses))


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


def nothing_suits(rows: pl.LazyFrame) -> pl.LazyFrame:
    raise ValueError("not today")


def test_a_first_load_on_which_clean_raises_goes_to_quarantine_and_mended_code_takes_it(road: Road) -> None:
    flights = road.datasets["flights"]
    road.datasets["flights"] = dataclasses.replace(flights, clean=nothing_suits)
    land(road, GOOD)
    road.announce(*GOOD)
    road.hops()
    bad = cleaned.open_quarantine(road.lake, flights).scan().collect()
    assert set(bad["_object"]) == GOOD.keys()
    assert bad["_rules"].str.contains("ValueError: not today").all()
    assert balance.unbalanced(road.lake, road.datasets["flights"]).is_empty()
    assert lagging(road.lake, road.datasets, road.items) == {}
    road.datasets["flights"] = flights
    road.hops()
    check(road, GOOD)
    assert cleaned.open_quarantine(road.lake, flights).scan().collect().is_empty()


def test_code_that_raises_on_everything_empties_nothing(road: Road) -> None:
    land(road, GOOD)
    road.announce(*GOOD)
    road.hops()
    flights = dataclasses.replace(road.datasets["flights"], clean=nothing_suits)
    with pytest.raises(ValueError, match="not today"):
        cleaned.clean(road.lake, flights)
    assert cleaned.open_cleaned(road.lake, road.datasets["flights"]).scan().collect().height == len(GOOD)


def test_an_object_is_read_alone_however_many_are_taken_at_once(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the death of one costs is held against no other."""
    files = {f"flights/{n}.csv": sample.flights(("AA", n, 1)) for n in (1, 2, 3)}
    land(road, files)
    road.announce(*files)
    get = Bucket.get

    def deadly(self: Bucket, key: str) -> Any:
        if key == "flights/3.csv":
            raise KeyboardInterrupt
        return get(self, key)

    monkeypatch.setattr(Bucket, "get", deadly)
    monkeypatch.setattr(ingest, "_spare", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        ingest.ingest(road.lake, road.bucket, road.datasets["flights"], run="r", failures=2)
    heads = raw.last_heads(raw.open_raw(road.lake, "flights")).select("_object", "_state").collect()
    assert dict(heads.iter_rows()) == dict(zip(files, ("read", "read", "trying"), strict=True))
