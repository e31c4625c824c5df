"""The whole road, inbox to items, against the oracle."""

import itertools
import json
import random
import threading
from typing import Any

import polars as pl
import pytest

from lakehouse.dynamodb.sync import publish, verify
from lakehouse.dynamodb.table import ItemTable
from lakehouse.landing import inbox
from lakehouse.landing.reconcile import reconcile
from lakehouse.layers import balance
from lakehouse.layers.lag import lagging
from lakehouse.layers.tables import standing
from lakehouse.local import feed
from lakehouse_tests import oracle, sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.landing.test_events import s3

BOTH = pytest.mark.parametrize("root", ["disk", pytest.param("s3", marks=pytest.mark.slow)], indirect=True)


def land(road: Road, files: dict[str, bytes]) -> None:
    for key, body in files.items():
        road.bucket.put(key, body)


def check(road: Road, files: dict[str, bytes]) -> None:
    """Cleaned, serving and items are what the oracle says, and nothing lags."""
    table = road.lake.open("cleaned/flights")
    assert table is not None
    rows = table.scan().collect()
    expected = oracle.flights(files)
    held = {(t.strftime("%Y-%m-%dT%H:%M:%SZ"), c, f): late for t, c, f, late in rows.select(
        "time_hour", "carrier", "flight", "arr_delay").iter_rows()}  # fmt: skip
    assert held == {k: int(r["arr_delay"]) if r["arr_delay"] else None for k, r in expected.items()}
    items = items_of(road, "carrier_punctuality")
    assert {k: {c: v for c, v in i.items() if c != "mean_arr_delay"} for k, i in items.items()} == (
        oracle.carrier_punctuality(files)
    )
    for one in road.servings():
        assert verify(road.lake, one, road.items(one)) == []
    assert lagging(road.lake, road.datasets, road.items) == {}
    assert balance.unbalanced(road.lake, road.datasets["flights"]).is_empty()


def items_of(road: Road, name: str) -> dict[str, dict[str, object]]:
    from lakehouse.dynamodb.items import to_row

    one = next(s for s in road.servings() if s.name == name)
    return {i["_key"]["S"]: to_row(i) for i in road.items(one).scan()}


@BOTH
def test_real_files_arrive_as_the_oracle_says(road: Road) -> None:
    files = dict(itertools.chain(feed.reference(), feed.flights(3), feed.weather(3)))
    land(road, files)
    while road.receive():
        pass
    road.hops()
    check(road, files)
    weather = road.lake.open("cleaned/weather")
    assert weather is not None
    assert weather.scan().collect().height == len(oracle.weather(files))


@BOTH
def test_a_second_pass_changes_nothing(road: Road) -> None:
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops(everything=True)
    before = {n: t.version for n, t in standing(road.lake, road.datasets).items()}
    road.hops(everything=True)
    assert {n: t.version for n, t in standing(road.lake, road.datasets).items()} == before


def test_every_event_three_times_and_shuffled_changes_nothing(road: Road) -> None:
    land(road, sample.FILES)
    keys = [*sample.FILES] * 3
    random.Random(0).shuffle(keys)
    for key in keys:
        road.announce(key)
        if random.Random(key).random() < 0.5:
            road.hops()
    road.hops()
    check(road, sample.FILES)
    raw = road.lake.open("raw/flights")
    assert raw is not None
    assert raw.scan().filter(pl.col("_part") == "head").collect().height == 2


@pytest.mark.parametrize("order", list(itertools.permutations(sample.FILES)))
def test_any_order_of_arrival_ends_in_the_same_tables(road: Road, order: tuple[str, ...]) -> None:
    land(road, sample.FILES)
    for key in order:
        road.announce(key)
        road.hops()
    check(road, sample.FILES)


@BOTH
def test_an_overwritten_objects_old_rows_leave_every_layer(road: Road) -> None:
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    mended = {"flights/2.csv": sample.flights(("AA", 3, 31))}
    land(road, mended)
    road.announce(*mended)
    road.hops()
    check(road, {**sample.FILES, **mended})
    quarantine = road.lake.open("quarantine/flights")
    assert quarantine is not None
    assert quarantine.scan().collect().is_empty()


def test_a_bad_row_is_kept_with_its_rule_its_text_and_its_record(road: Road) -> None:
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    quarantine = road.lake.open("quarantine/flights")
    assert quarantine is not None
    (row,) = quarantine.scan().collect().to_dicts()
    assert (row["_object"], row["_record"]) == ("flights/2.csv", 3)
    assert "arr_delay|dtype" in row["_rules"]
    assert '"DL"' in row["_text"]


def test_a_refused_object_keeps_its_reason_and_stops_nobody(road: Road) -> None:
    files = {**sample.FILES, "flights/0.csv": b"", "flights/bad.csv.gz": b"no gzip"}
    land(road, files)
    road.announce(*files)
    road.hops()
    check(road, sample.FILES)
    raw = road.lake.open("raw/flights")
    assert raw is not None
    heads = raw.scan().filter(pl.col("_state") == "refused").select("_object", "_reason").collect()
    assert dict(heads.iter_rows()).keys() == {"flights/0.csv", "flights/bad.csv.gz"}
    assert all(heads["_reason"])


def test_a_deleted_objects_rows_stay_unless_its_dataset_retracts(road: Road) -> None:
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    road.bucket.client.delete_object(Bucket=road.bucket.name, Key="flights/2.csv")
    road.announce("flights/2.csv")
    road.hops()
    check(road, sample.FILES)


def test_what_no_event_brought_is_found_by_reconcile(road: Road) -> None:
    land(road, sample.FILES)
    road.announce("flights/1.csv")
    road.hops()
    assert reconcile(road.lake, road.bucket, road.datasets)["flights"] == 1
    road.hops()
    check(road, sample.FILES)
    assert sum(reconcile(road.lake, road.bucket, road.datasets).values()) == 0


def test_a_lost_item_table_is_written_again(road: Road) -> None:
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    road.lose_items()
    assert lagging(road.lake, road.datasets, road.items)
    road.hops()
    check(road, sample.FILES)


def test_a_lost_lake_is_brought_back_by_reconcile(road: Road, tmp_path: object) -> None:
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    from pathlib import Path

    Path(road.lake.root).rename(Path(road.lake.root).with_name("lost"))
    reconcile(road.lake, road.bucket, road.datasets)
    road.hops()
    check(road, sample.FILES)


@BOTH
def test_two_roads_at_once_end_in_one_state(road: Road) -> None:
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    faults: list[BaseException] = []

    def walk() -> None:
        try:
            road.hops()
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=walk) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    road.hops()
    check(road, sample.FILES)


def test_foreign_and_unrouted_messages_are_kept_in_the_inbox(road: Road) -> None:
    road.queue.client.send_message(QueueUrl=road.queue.url, MessageBody="not for us")
    road.bucket.put("x.bin", b"1")
    while road.receive():
        pass
    box = inbox.open_inbox(road.lake).scan().collect()
    parked = box.filter(pl.col("dataset") == inbox.PARKED)
    assert parked["body"].to_list() == ["not for us"]
    assert parked["reason"].to_list()[0].startswith("not JSON")
    (unrouted,) = box.filter(pl.col("dataset") == inbox.UNROUTED).to_dicts()
    assert unrouted["key"] == "x.bin"
    assert unrouted["reason"] == "no dataset claims this key, and it is below no prefix"
    assert road.queue.depth().waiting == 0


def test_an_event_of_another_bucket_is_kept_and_starts_nothing(road: Road) -> None:
    """Whoever subscribes the queue to a second bucket, or copies one, must not have the first searched for it."""
    event = json.dumps({"Records": [s3("flights/1.csv")]})
    road.queue.client.send_message(QueueUrl=road.queue.url, MessageBody=event)
    while road.receive():
        pass
    (row,) = inbox.open_inbox(road.lake).scan().filter(pl.col("bucket") == "b").collect().to_dicts()
    assert (row["dataset"], row["key"]) == (inbox.UNROUTED, "flights/1.csv")
    assert row["reason"] == f"of the bucket b, where {road.bucket.name} is the landing bucket"
    assert lagging(road.lake, road.datasets, road.items) == {}


def test_a_stale_writer_resumed_after_a_newer_one_changes_nothing(road: Road) -> None:
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    one = next(s for s in road.servings() if s.name == "carrier_punctuality")
    table = road.items(one)
    cursor = table.cursor()
    assert cursor is not None
    late = [pl.DataFrame({"carrier": ["AA"], "flights": [0]})]
    written = table.write(late, ["UA"], key=["carrier"], number=cursor.number - 1)
    assert (written.put, written.deleted, written.stale) == (0, 0, 2)
    check(road, sample.FILES)
    assert publish(road.lake, one, table) is None


def test_two_writers_that_both_find_no_cursor_write_in_one_epoch(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    one = next(s for s in road.servings() if s.name == "carrier_punctuality")
    table = road.items(one)
    write, clock = ItemTable.write, itertools.count(2_000_000_000, -60)

    def overtaken(self: ItemTable, *args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(ItemTable, "write", write)
        publish(road.lake, one, road.items(one))
        return write(self, *args, **kwargs)

    monkeypatch.setattr("lakehouse.dynamodb.sync.time.time", lambda: next(clock))
    monkeypatch.setattr(ItemTable, "write", overtaken)
    road.hops()
    more = {"flights/3.csv": sample.flights(("AA", 9, 90))}
    land(road, more)
    road.announce(*more)
    road.hops()
    assert verify(road.lake, one, table) == []
    assert items_of(road, "carrier_punctuality")["AA"]["flights"] == 3


def test_verify_finds_and_repairs_what_somebody_changed(road: Road) -> None:
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    one = next(s for s in road.servings() if s.name == "carrier_punctuality")
    table = road.items(one)
    stray = {"_key": {"S": "ZZ"}, "carrier": {"S": "ZZ"}, "_version": {"N": "1"}}
    table.client.put_item(TableName=table.name, Item=stray)
    table.client.delete_item(TableName=table.name, Key={"_key": {"S": "AA"}})
    assert [d.key for d in verify(road.lake, one, table, repair=True)] == ["AA", "ZZ"]
    check(road, sample.FILES)
