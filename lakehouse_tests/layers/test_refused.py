"""What is refused is listed under ids, and what a mended reader can read leaves the list."""

import json
import random
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from lakehouse.dataset import load
from lakehouse.lake import Lake, Table
from lakehouse.landing import delimited, events, inbox
from lakehouse.landing.queue import Message
from lakehouse.landing.refusal import Unreadable
from lakehouse.layers import raw, refused
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.landing.test_bad_input import bad
from lakehouse_tests.test_road import check, land

LATIN = sample.flights(("AA", 70, 7)).replace(b"N70", "Né70".encode("latin-1"))
SHORT = bad(71, "2013-01-01T10:00:00Z,{carrier},{number},JFK,LAX,N1,0,{late},300")
FOREIGN = '{"from": "elsewhere"}'


def receive(road: Road, *, prefixes: bool = True) -> None:
    place = (road.queue, road.bucket.name, road.lake, road.datasets)
    while inbox.receive(*place, wait=1, budget=inbox.Budget(), prefixes=prefixes).height:
        pass


def walk(road: Road) -> None:
    receive(road)
    road.hops()


@pytest.fixture
def house(road: Road) -> Road:
    """A road with one of each: a refused file, a record short of a field, one that broke a rule, a message."""
    land(road, {**sample.FILES, "flights/latin.csv": LATIN, "flights/short.csv": SHORT})
    road.queue.client.send_message(QueueUrl=road.queue.url, MessageBody=FOREIGN)
    walk(road)
    return road


def listed(road: Road) -> dict[str, str]:
    rows = refused.listing(road.lake, road.datasets).collect()
    return {f"{kind} {name}": reason for kind, name, reason in rows.select("kind", "id", "reason").iter_rows()}


def again(road: Road, what: str | None = None) -> dict[str, int]:
    return refused.replay(road.lake, road.bucket.name, road.datasets, what)


def latin(body: bytes, _: str | None = None) -> str:
    return body.decode("latin-1")


def test_each_refused_thing_is_listed_with_its_reason(house: Road) -> None:
    told = listed(house)
    (message,) = [name for name in told if name.startswith("message")]
    assert {name for name in told if name != message} == {
        "file flights/latin.csv",
        "record flights/short.csv#1",
        "record flights/2.csv#3",
    }
    assert "not UTF-8" in told["file flights/latin.csv"]
    assert "fields where" in told["record flights/short.csv#1"]
    assert "arr_delay|dtype" in told["record flights/2.csv#3"]
    assert told[message] == "not an S3 event"


def test_what_a_mended_reader_reads_leaves_the_list(house: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "decoded", latin)
    assert again(house, "flights/latin.csv") == {"flights": 1}
    house.hops()
    assert "file flights/latin.csv" not in listed(house)
    check(house, {**sample.FILES, "flights/short.csv": SHORT.split(b"\n", 2)[0] + b"\n" + SHORT.split(b"\n")[2],
                  "flights/latin.csv": latin(LATIN).encode()})  # fmt: skip


def test_what_is_refused_again_stays_with_the_reason_of_now(house: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> str:
        raise Unreadable("still not")

    monkeypatch.setattr(delimited, "decoded", fail)
    again(house, "flights")
    house.hops()
    assert listed(house)["file flights/latin.csv"] == "still not"


def test_a_replay_names_a_dataset_an_object_a_record_or_nothing(house: Road) -> None:
    assert again(house, "airlines") == {}
    assert again(house, "flights/2.csv#3") == {"flights": 1}
    assert again(house, "flights/nothing.csv") == {}
    assert again(house) == {"flights": 2}


@pytest.mark.parametrize("seed", range(3))
def test_a_replay_that_is_read_again_reads_nothing_again(house: Road, seed: int) -> None:
    """The same stretch of the inbox, whole or in part, duplicated and shuffled."""
    again(house, "flights/latin.csv")
    house.hops()
    table = raw.open_raw(house.lake, "flights")
    before = raw.heads(table).collect()
    assert len(before.filter(pl.col("_object") == "flights/latin.csv")) == 2
    box = inbox.open_inbox(house.lake)
    events_seen = box.scan().filter(pl.col("dataset") == "flights").collect()
    box.append(events_seen.sample(fraction=1.0, shuffle=True, seed=random.Random(seed).randrange(99)))
    house.hops()
    assert len(raw.heads(raw.open_raw(house.lake, "flights")).collect()) == len(before)


def test_a_message_that_decodes_now_leaves_the_list_and_its_objects_arrive(
    house: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    (message,) = [name.split()[1] for name in listed(house) if name.startswith("message")]
    assert again(house, message) == {}
    assert again(house) == {"flights": 2}
    event = events.ObjectEvent(house.bucket.name, "flights/9.csv", "created", "theirs", *[None] * 5)
    monkeypatch.setattr(inbox, "decode", lambda _: events.Decoded((event,)))
    land(house, {"flights/9.csv": sample.flights(("AA", 9, 9))})
    house.queue.delete(house.queue.drain(inbox.Budget(), 2))
    assert again(house, message) == {"messages": 1}
    assert not any(name.startswith("message") for name in listed(house))
    house.hops()
    cleaned = house.lake.open("cleaned/flights")
    assert cleaned is not None
    assert "flights/9.csv" in set(cleaned.scan().collect()["_object"])


def test_an_object_that_a_new_dataset_claims_leaves_the_list(road: Road) -> None:
    airlines = road.datasets.pop("airlines")
    land(road, sample.FILES)
    receive(road, prefixes=False)
    assert "message airlines/airlines.csv" in listed(road)
    road.datasets["airlines"] = airlines
    assert again(road) == {"messages": 1}
    assert "message airlines/airlines.csv" not in listed(road)
    road.hops()
    check(road, sample.FILES)


@pytest.mark.parametrize("what", [None, "airlines", "airlines/1.csv"])
def test_of_one_message_what_is_claimed_passes_and_what_is_not_stays(tmp_path: Path, what: str | None) -> None:
    lake, datasets = Lake(str(tmp_path)), {"airlines": load()["airlines"]}
    told = [
        {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": key}}}
        for key in ("airlines/1.csv", "two/y.csv", "airlines/1.csv")
    ]
    messages = [
        Message("m1", "r", json.dumps({"Records": told}), datetime.now(UTC)),
        Message("m2", "r", FOREIGN, datetime.now(UTC)),
    ]
    inbox.open_inbox(lake).append(inbox.records(messages, "b", {}))
    assert refused.replay(lake, "b", datasets, what, prefixes=False) == {"messages": 1}
    rows = inbox.open_inbox(lake).scan().select("dataset", "key").collect().rows()
    left = {("airlines", "airlines/1.csv"): 2, ("_unrouted", "two/y.csv"): 1, ("_parked", None): 1}
    assert Counter(rows) == left


@pytest.mark.parametrize(("owner", "door"), [(refused, "_drop"), (Table, "append"), (Table, "apply")])
def test_messages_that_die_on_their_way_in_are_only_repeated(
    road: Road, monkeypatch: pytest.MonkeyPatch, owner: object, door: str
) -> None:
    airlines = road.datasets.pop("airlines")
    land(road, sample.FILES)
    receive(road, prefixes=False)
    road.datasets["airlines"] = airlines
    with monkeypatch.context() as patch:
        patch.setattr(owner, door, lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            again(road)
    assert again(road) == {"messages": 1}
    road.hops()
    check(road, sample.FILES)
