"""inbox → raw in bounded batches."""

import threading
from collections import Counter

import polars as pl
import pytest

from lakehouse.lake import Table
from lakehouse.lake.maintenance import CROWD
from lakehouse.landing import inbox
from lakehouse.landing.objects import Bucket, Identity
from lakehouse.landing.refusal import OWN
from lakehouse.layers import ingest as verb
from lakehouse.layers import raw
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road

KEYS = [f"flights/{n}.csv" for n in range(7)]


@pytest.fixture
def backlog(road: Road, monkeypatch: pytest.MonkeyPatch) -> Road:
    """Seven objects, announced in one commit, where two make a batch."""
    monkeypatch.setattr(raw, "BATCH", 2)
    for number, key in enumerate(KEYS):
        road.bucket.put(key, sample.flights(("AA", number + 1, 0)))
    inbox.announce(road.lake, "flights", KEYS, event="test")
    return road


def ingest(road: Road) -> None:
    verb.ingest(road.lake, road.bucket, road.datasets["flights"])


def heads(road: Road) -> pl.DataFrame:
    return raw.heads(raw.open_raw(road.lake, "flights")).sort("_object", "_generation").collect()


def objects_by_commit(road: Road) -> list[int]:
    changes = raw.open_raw(road.lake, "flights").changes(0)
    assert changes is not None
    found = changes.filter(pl.col("_part") == "head").group_by("_commit_version").len().sort("_commit_version")
    return found["len"].to_list()


def test_a_backlog_of_one_commit_is_carried_a_batch_a_commit(backlog: Road) -> None:
    ingest(backlog)
    assert objects_by_commit(backlog) == [2, 2, 2, 1]
    assert heads(backlog)["_object"].to_list() == KEYS
    assert raw.lag(backlog.lake, backlog.datasets["flights"]) == 0


def test_a_batch_is_bounded_by_bytes_and_a_large_object_is_one_alone(
    backlog: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "BATCH", 100)
    monkeypatch.setattr(raw, "BYTES", 3 * len(sample.flights(("AA", 1, 0))))
    backlog.bucket.put(KEYS[3], sample.flights(*[("AA", 100 + n, 0) for n in range(50)]))
    ingest(backlog)
    assert objects_by_commit(backlog) == [3, 1, 3]
    assert heads(backlog)["_object"].to_list() == KEYS


def test_a_walk_that_dies_is_taken_up_and_nothing_comes_twice(
    backlog: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, taken = Bucket.get, Counter[str]()

    def fail(self: Bucket, key: str) -> tuple[Identity, bytes] | None:
        taken[key] += 1
        if key == KEYS[4] and taken[key] == 1:
            raise ConnectionError
        return get(self, key)

    monkeypatch.setattr(Bucket, "get", fail)
    with pytest.raises(ConnectionError):
        ingest(backlog)
    assert heads(backlog)["_object"].to_list() == KEYS[:4]
    assert raw.lag(backlog.lake, backlog.datasets["flights"]) == len(KEYS)
    ingest(backlog)
    assert heads(backlog)["_object"].to_list() == KEYS
    assert heads(backlog)["_generation"].unique().to_list() == [1]
    assert [taken[k] for k in KEYS[:4]] == [1] * 4


def test_what_comes_in_during_a_walk_is_the_next_ones(backlog: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    get, late = Bucket.get, sample.flights(("UA", 9, 9), ("UA", 10, 9))

    def overtaken(self: Bucket, key: str) -> tuple[Identity, bytes] | None:
        if key == KEYS[5]:
            self.put(KEYS[0], late)
            backlog.announce(KEYS[0])
        return get(self, key)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Bucket, "get", overtaken)
        ingest(backlog)
    assert raw.lag(backlog.lake, backlog.datasets["flights"]) == 1
    ingest(backlog)
    first = heads(backlog).filter(pl.col("_object") == KEYS[0])
    assert first["_generation"].to_list() == [1, 2]
    assert first["_size"].to_list()[1] == len(late)


def test_walks_that_race_give_each_object_one_head(backlog: Road) -> None:
    faults: list[BaseException] = []

    def race() -> None:
        try:
            ingest(backlog)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=race) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert heads(backlog)["_object"].to_list() == KEYS


def test_an_event_of_a_version_that_was_read_costs_no_look(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    road.bucket.put(KEYS[0], sample.flights(("AA", 1, 0)))
    while road.receive():
        pass
    ingest(road)
    box = inbox.open_inbox(road.lake)
    box.append(box.scan().filter(pl.col("dataset") == "flights").collect())
    looks: list[str] = []
    monkeypatch.setattr(Bucket, "look", lambda _, key: looks.append(key))
    assert raw.lag(road.lake, road.datasets["flights"]) == 1
    ingest(road)
    assert looks == []
    assert raw.lag(road.lake, road.datasets["flights"]) == 0


def test_other_datasets_events_are_no_lag_and_a_far_cursor_reads_its_partition(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "REACH", 10)
    road.bucket.put(KEYS[0], sample.flights(("AA", 1, 0)))
    road.announce(KEYS[0])
    ingest(road)
    for number in range(CROWD + 2):
        inbox.announce(road.lake, "airlines", [f"airlines/{number}.csv"], event="test")
    assert raw.lag(road.lake, road.datasets["flights"]) == 0
    monkeypatch.setattr(Table, "_narrowed", lambda _: pytest.fail("the feed was read"))
    road.bucket.put(KEYS[1], sample.flights(("AA", 2, 0)))
    road.announce(KEYS[1])
    assert raw.lag(road.lake, road.datasets["flights"]) == 1
    ingest(road)
    assert heads(road)["_object"].to_list() == KEYS[:2]


def test_no_file_may_bring_a_column_that_raw_itself_has() -> None:
    assert set(raw.SCHEMA) <= OWN
