"""The serving table and its items: what is published, refused, overtaken and lost."""

import random
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from botocore.exceptions import ClientError

from lakehouse.dataset import Serving
from lakehouse.dynamodb import sync
from lakehouse.dynamodb import table as door
from lakehouse.dynamodb.items import Encoded
from lakehouse.dynamodb.table import Cursor, ItemTable, Throttled
from lakehouse.lake import KeyChanged
from lakehouse_tests.dynamodb.conftest import Shop, prices
from lakehouse_tests.dynamodb.faults import CALLS, THROTTLE, WRITES, cancelled, refused, unread

NAN = float("nan")


def test_a_row_that_no_longer_fits_takes_its_old_item_away(shop: Shop) -> None:
    shop.sell({"a": 1, "b": 1})
    shop.publish()
    shop.sell({"a": NAN})
    written = shop.publish()
    assert written is not None
    assert [key for key, _ in written.rejected] == ["a"]
    assert shop.shown() == {"b": 1}
    assert shop.rejected() == {"a": "nan is no number in DynamoDB"}
    assert shop.agrees()


def test_a_rejected_row_that_becomes_fit_arrives_and_is_rejected_no_more(shop: Shop) -> None:
    shop.sell({"a": NAN, "b": NAN})
    shop.publish()
    assert shop.rejected().keys() == {"a", "b"}
    shop.sell({"a": 2})
    shop.publish()
    assert shop.shown() == {"a": 2}
    assert shop.rejected().keys() == {"b"}
    shop.sell({}, gone=("b",))
    shop.publish()
    assert shop.rejected() == {}
    assert shop.agrees()


def test_what_dynamodb_itself_refuses_leaves_a_tombstone_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.sell({"a": 1, "b": 1})
    shop.publish()
    real = door.encode

    def padded(rows: pl.DataFrame, key: list[str]) -> Iterator[Encoded]:
        padding = f',"padding":{{"S":"{"x" * 410_000}"}}}}'
        for row in real(rows, key):
            yield replace(row, text=f"{str(row.text)[:-1]}{padding}") if row.name == "a" else row

    monkeypatch.setattr(door, "encode", padded)
    shop.sell({"a": 2, "b": 2})
    written = shop.publish()
    assert written is not None
    assert (written.put, len(written.rejected)) == (1, 1)
    assert shop.shown() == {"b": 2}
    assert "size" in shop.rejected()["a"]
    assert shop.agrees()


def test_a_column_that_comes_later_makes_no_difference_to_rows_that_lack_it(shop: Shop) -> None:
    shop.sell({"a": 1, "b": 2})
    shop.publish()
    table = shop.lake.open("serving/prices")
    assert table
    rows = pl.DataFrame({"sku": ["b"], "shop": ["north"], "price": [2.0], "unit": ["kg"]})
    table.apply(rows, rows.clear(), ["sku"])
    shop.publish()
    assert shop.agrees()
    assert {i["sku"]["S"]: i.get("unit") for i in shop.items.scan()} == {"a": None, "b": {"S": "kg"}}


def test_an_unfit_key_is_rejected_by_its_values_until_it_goes(shop: Shop) -> None:
    long = "x" * 3000
    shop.sell({"a": 1, "": 1, long: 1})
    shop.publish()
    assert shop.shown() == {"a": 1}
    assert shop.rejected().keys() == {"['']", f"['{long}']"}
    shop.sell({}, gone=("", long))
    shop.publish()
    assert shop.rejected() == {}


def test_a_rejection_repeated_after_a_crash_is_still_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.sell({"a": NAN})

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    keep = sync._keep_rejected
    monkeypatch.setattr(sync, "_keep_rejected", crash)
    with pytest.raises(KeyboardInterrupt):
        shop.publish()
    monkeypatch.setattr(sync, "_keep_rejected", keep)
    assert shop.rejected() == {}
    shop.publish()
    assert shop.rejected().keys() == {"a"}


def test_a_table_is_loaded_whole_by_the_hundred(shop: Shop) -> None:
    shop.sell({f"sku-{n}": n for n in range(950)} | {"odd": NAN})
    with refused(shop.items.client, "", share=0) as tried:
        written = shop.publish()
    assert written is not None
    assert (written.put, written.stale, len(written.rejected)) == (950, 0, 1)
    assert tried["TransactWriteItems"] == 10
    assert tried["PutItem"] < 5
    assert shop.agrees()


def test_a_load_by_the_hundred_leaves_what_is_newer_and_writes_the_rest(shop: Shop) -> None:
    shop.items.ensure()
    newer = [{"sku": f"sku-{n}", "price": -1} for n in range(0, 200, 3)]
    shop.items.write([pl.DataFrame(newer)], ["sku-1"], key=["sku"], number=9)
    older = [{"sku": f"sku-{n}", "price": n} for n in range(200)]
    written = shop.items.write([pl.DataFrame(older)], [], key=["sku"], number=8, together=True)
    assert (written.put, written.stale) == (132, 68)
    expected = {f"sku-{n}": -1 if n % 3 == 0 else n for n in range(200) if n != 1}
    assert shop.shown() == expected


def test_a_commit_without_a_row_moves_only_the_cursor(shop: Shop) -> None:
    shop.sell({"a": 1})
    shop.publish()
    shop.sell({})
    written = shop.publish()
    assert written is not None
    assert (written.put, written.deleted, written.keys) == (0, 0, ())
    assert shop.publish() is None


def test_a_load_of_several_batches_that_breaks_off_is_begun_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "BATCH", 100)
    shop.sell({f"sku-{n}": n for n in range(2500)})
    with refused(shop.items.client, "ExpiredTokenException", share=0.2), pytest.raises(ClientError):
        shop.publish()
    shop.publish()
    assert len(shop.shown()) == 2500
    assert shop.agrees()


def test_a_throttled_transaction_is_sent_again_and_not_put_one_by_one(shop: Shop) -> None:
    shop.items.ensure()
    rows = [{"sku": f"sku-{n}"} for n in range(500)]
    with cancelled(shop.items.client, 0.5), refused(shop.items.client, "", share=0) as tried:
        assert shop.items.write([pl.DataFrame(rows)], [], key=["sku"], number=1, together=True).put == 500
    assert tried["PutItem"] == 0


def test_more_than_a_transaction_holds_is_written_one_by_one(shop: Shop) -> None:
    shop.items.ensure()
    large = [{"sku": f"sku-{n}", "text": "x" * 60_000} for n in range(100)]
    assert shop.items.write([pl.DataFrame(large)], [], key=["sku"], number=1, together=True).put == 100


@pytest.mark.parametrize("code", ["TransactionConflictException", "InternalServerError"])
def test_a_put_in_conflict_with_a_transaction_is_tried_again(shop: Shop, code: str) -> None:
    shop.items.ensure()
    rows = [{"sku": f"sku-{n}"} for n in range(60)]
    with refused(shop.items.client, code, share=0.3):
        assert shop.items.write([pl.DataFrame(rows)], [], key=["sku"], number=1).put == 60


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "by-change"])
def test_thirty_percent_of_all_calls_refused_lose_nothing(shop: Shop, whole: bool) -> None:
    if not whole:
        shop.sell({"a": 1})
        shop.publish()
    wanted = {f"sku-{n}": float(n) for n in range(300)}
    shop.sell(wanted, gone=("a",))
    with refused(shop.items.client, THROTTLE, share=0.3), cancelled(shop.items.client, 0.3):
        written = shop.publish()
    assert written is not None
    assert (written.put, written.rejected) == (300, ())
    assert shop.shown() == wanted
    assert shop.agrees()


@pytest.mark.parametrize("verbs", [WRITES - {"PutItem"}, WRITES], ids=["transactions", "all-writes"])
def test_endless_throttling_is_raised_and_nothing_has_moved(
    shop: Shop, verbs: frozenset[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.sell({"a": 1})
    shop.publish()
    before = shop.items.cursor()
    assert before is not None
    shop.items.advance(before, replace(before, epoch=before.epoch + 1, version=sync.NOTHING))
    shop.sell({"a": 2, "b": 2})
    monkeypatch.setattr(door, "ATTEMPTS", 3)
    with refused(shop.items.client, THROTTLE, verbs=verbs) as tried, pytest.raises(Throttled):
        shop.publish()
    assert tried["TransactWriteItems"] == 3
    held = shop.items.cursor()
    assert held is not None
    assert held.version == sync.NOTHING
    assert shop.shown() == {"a": 1}
    assert shop.rejected() == {}
    shop.publish()
    assert shop.shown() == {"a": 2, "b": 2}


def test_a_put_is_tried_a_bounded_number_of_times_and_botocore_adds_none(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.items.ensure()
    pauses: list[int] = []
    monkeypatch.setattr(door, "_pause", pauses.append)
    with refused(shop.items.client, THROTTLE) as tried, pytest.raises(Throttled):
        shop.items.write([pl.DataFrame({"sku": "a"})], [], key=["sku"], number=1)
    assert tried["PutItem"] == door.ATTEMPTS
    assert pauses == list(range(door.ATTEMPTS))


def test_expired_credentials_are_raised_and_the_next_publish_goes_on(shop: Shop) -> None:
    shop.sell({"a": 1})
    shop.publish()
    before = shop.items.cursor()
    shop.sell({"a": 2, "b": 2})
    with refused(shop.items.client, "ExpiredTokenException", verbs=WRITES) as tried, pytest.raises(ClientError):
        shop.publish()
    assert tried["PutItem"] <= 2
    assert shop.items.cursor() == before
    assert shop.rejected() == {}
    shop.publish()
    assert shop.shown() == {"a": 2, "b": 2}
    assert shop.agrees()


class Paused:
    """A publish on a thread of its own that stands still before one of its writes until it is let go."""

    def __init__(self, shop: Shop, writes_before: int) -> None:
        self.reached, self._go, self._left = threading.Event(), threading.Event(), writes_before
        self._lock, self.faults = threading.Lock(), list[BaseException]()
        self.items = shop.other()
        self.items.client.meta.events.register("before-send.dynamodb", self._before_send)
        self._thread = threading.Thread(target=self._walk, args=[replace(shop, items=self.items)])
        self._thread.start()
        assert self.reached.wait(20)

    def _walk(self, shop: Shop) -> None:
        try:
            shop.publish()
        except BaseException as error:
            self.faults.append(error)

    def _before_send(self, event_name: str, **_: Any) -> None:
        if event_name.rpartition(".")[2] not in WRITES:
            return
        with self._lock:
            self._left -= 1
            stands = self._left < 0
        if stands:
            self.reached.set()
            assert self._go.wait(60)

    def resume(self) -> None:
        self._go.set()
        self._thread.join()
        assert self.faults == []

    def dies(self) -> None:
        """Resume it to its death."""
        self._go.set()
        self._thread.join()
        (fault,) = self.faults
        assert isinstance(fault, SystemExit)


def test_a_writer_paused_amid_its_changes_and_overtaken_changes_nothing(shop: Shop) -> None:
    shop.sell({f"sku-{n}": 1 for n in range(40)})
    shop.publish()
    shop.sell({f"sku-{n}": 2 for n in range(40)} | {"brief": 2})
    paused = Paused(shop, writes_before=5)
    shop.sell({f"sku-{n}": 3 for n in range(40)}, gone=("brief",))
    shop.publish()
    paused.resume()
    assert shop.shown() == {f"sku-{n}": 3 for n in range(40)}
    assert shop.publish() is None
    assert shop.agrees()


@pytest.mark.parametrize("writes_before", [0, 1, 2, 4])
def test_a_first_load_paused_anywhere_and_overtaken_changes_nothing(shop: Shop, writes_before: int) -> None:
    shop.sell({f"sku-{n}": 1 for n in range(500)} | {"brief": 1})
    paused = Paused(shop, writes_before)
    shop.sell({f"sku-{n}": 2 for n in range(250)}, gone=("brief", *(f"sku-{n}" for n in range(250, 500))))
    shop.publish()
    paused.resume()
    shop.publish()
    assert shop.shown() == {f"sku-{n}": 2 for n in range(250)}
    assert shop.agrees()


def test_a_writer_of_a_lost_serving_table_resumed_after_the_new_one_changes_nothing(shop: Shop) -> None:
    shop.sell({"a": 1, "b": 1})
    shop.publish()
    shop.sell({"a": 2, "c": 2, "d": 2})
    paused = Paused(shop, writes_before=0)
    shutil.rmtree(shop.lake.uri("serving/prices"))
    shop.sell({"a": 3})
    shop.publish()
    paused.resume()
    assert shop.shown() == {"a": 3}
    assert shop.publish() is None
    assert shop.agrees()


def test_a_writer_of_changes_resumed_after_the_table_was_taken_whole_changes_nothing(shop: Shop) -> None:
    shop.sell({"a": 1, "b": 1})
    shop.publish()
    shop.sell({"a": 2, "brief": 2})
    paused = Paused(shop, writes_before=0)
    shop.sell({"a": 3}, gone=("brief",))
    shutil.rmtree(shop.lake.uri("serving/prices/_change_data"))
    shop.publish()
    paused.resume()
    assert shop.shown() == {"a": 3, "b": 1}
    assert shop.publish() is None
    assert shop.agrees()


@pytest.mark.parametrize("loaded", [True, False], ids=["changes", "whole"])
def test_what_an_overtaken_writer_put_and_died_over_goes_after_a_while(
    shop: Shop, loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if loaded:
        shop.sell({"a": 1, "b": 1})
        shop.publish()
    shop.sell({"a": 2, "b": 1, "brief": 2})
    paused = Paused(shop, writes_before=0 if loaded else 1)
    shop.sell({"a": 3}, gone=("brief",))
    shutil.rmtree(shop.lake.uri("serving/prices/_change_data"))
    shop.publish()
    with monkeypatch.context() as patch:
        patch.setattr(sync, "_withdraw", lambda *_: sys.exit("killed"))
        paused.dies()
    assert shop.shown() == {"a": 3, "b": 1, "brief": 2}
    now = sync.time.time()
    monkeypatch.setattr(sync.time, "time", lambda: now + sync.LATE + 1)
    assert shop.publish() is None
    assert shop.shown() == {"a": 3, "b": 1}
    assert shop.agrees()
    with refused(shop.items.client, "", share=0) as tried:
        shop.sell({"a": 4})
        shop.publish()
    assert tried["Scan"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_publishers_at_once_among_faults_and_losses_end_in_the_serving_table(shop: Shop, seed: int) -> None:
    dice, done = random.Random(seed), threading.Event()
    faults: list[BaseException] = []

    def keep_publishing() -> None:
        mine = replace(shop, items=shop.other())
        with refused(mine.items.client, THROTTLE, share=0.1), cancelled(mine.items.client, 0.2):
            while not done.is_set():
                try:
                    mine.publish()
                except BaseException as error:
                    faults.append(error)

    shop.sell({"a": 1})
    shop.items.ensure()
    threads = [threading.Thread(target=keep_publishing) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(25):
            some = [f"sku-{n}" for n in dice.sample(range(60), 30)]
            prices = {sku: NAN if dice.random() < 0.1 else float(turn) for sku in some[:20]}
            shop.sell(prices, gone=tuple(some[20:]))
            if dice.random() < 0.2:
                shop.items.client.delete_item(TableName=shop.items.name, Key={"_key": {"S": "#cursor"}})
    finally:
        done.set()
    for thread in threads:
        thread.join()
    assert faults == []
    shop.publish()
    table = shop.lake.open("serving/prices")
    assert table is not None
    sold = dict(table.scan().select("sku", "price").collect().iter_rows())
    assert shop.shown() == {sku: price for sku, price in sold.items() if price == price}
    assert shop.rejected().keys() == {sku for sku, price in sold.items() if price != price}
    assert shop.agrees()


def test_a_publisher_that_was_slow_to_look_does_not_take_the_newer_cursor_for_a_lost_table(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.sell({"a": 1})
    shop.publish()
    before = shop.items.cursor()
    shop.sell({"a": 2})
    look = ItemTable.cursor

    def overtaken(self: ItemTable) -> Cursor | None:
        monkeypatch.setattr(ItemTable, "cursor", look)
        shop.sell({"a": 3})
        shop.publish()
        return look(self)

    monkeypatch.setattr(ItemTable, "cursor", overtaken)
    assert shop.publish() is None
    after = shop.items.cursor()
    assert before is not None
    assert after is not None
    assert after.epoch == before.epoch
    assert shop.shown() == {"a": 3}


def test_a_lost_dynamodb_table_is_written_anew(shop: Shop) -> None:
    shop.sell({"a": 1, "b": 1})
    shop.publish()
    shop.items.client.delete_table(TableName=shop.items.name)
    shop.publish()
    assert shop.shown() == {"a": 1, "b": 1}
    assert shop.agrees()


@pytest.mark.parametrize("clock", [0, -3600], ids=["same-clock", "clock-gone-back"])
def test_a_lost_control_item_puts_everything_and_removes_what_must_go(
    shop: Shop, clock: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.sell({"a": 1, "b": 1})
    shop.publish()
    shop.sell({"a": 2, "c": 2}, gone=("b",))
    shop.items.client.delete_item(TableName=shop.items.name, Key={"_key": {"S": "#cursor"}})
    stray = {"_key": {"S": "z"}, "sku": {"S": "z"}, "price": {"N": "9"}, "_version": {"N": "1"}}
    shop.items.client.put_item(TableName=shop.items.name, Item=stray)
    now = sync.time.time()
    monkeypatch.setattr(sync.time, "time", lambda: now + clock)
    shop.publish()
    assert shop.shown() == {"a": 2, "c": 2}
    assert shop.agrees()


def test_a_serving_table_made_anew_is_followed_deletions_included(shop: Shop) -> None:
    shop.sell({"a": 1, "b": 1})
    shop.publish()
    shutil.rmtree(shop.lake.uri("serving/prices"))
    shop.sell({"a": 5, "c": 5})
    shop.publish()
    assert shop.shown() == {"a": 5, "c": 5}
    assert shop.agrees()


def test_an_item_put_by_hand_without_a_version_is_repaired(shop: Shop) -> None:
    shop.sell({"a": 1})
    shop.publish()
    by_hand = {"_key": {"S": "a"}, "sku": {"S": "a"}, "price": {"N": "7"}}
    shop.items.client.put_item(TableName=shop.items.name, Item=by_hand)
    assert [d.key for d in sync.verify(shop.lake, shop.serving, shop.items, repair=True)] == ["a"]
    assert shop.shown() == {"a": 1}


def test_items_of_another_key_are_left_alone_and_the_way_out_is_told(shop: Shop) -> None:
    shop.sell({"a": 1, "b": 1})
    shop.publish()
    shop.sell({"a": 2})
    rekeyed = replace(shop, serving=Serving(prices, key=["shop", "sku"], publish=True))
    with pytest.raises(KeyChanged, match=r"keyed by sku; now shop, sku.*Delete the DynamoDB table"):
        rekeyed.publish()
    assert shop.shown() == {"a": 1, "b": 1}
    shop.items.client.delete_table(TableName=shop.items.name)
    rekeyed.publish()
    assert {i["_key"]["S"] for i in shop.items.scan()} == {'["north", "a"]', '["north", "b"]'}
    assert rekeyed.agrees()


def test_a_run_checks_just_the_keys_that_it_wrote(shop: Shop) -> None:
    shop.sell({"a": 1, "b": 1})
    shop.publish()
    shop.sell({f"sku-{n}": n for n in range(3000)}, gone=("b",))
    written = shop.publish()
    assert written is not None
    assert 500 < len(written.keys) <= sync.SAMPLE
    with refused(shop.items.client, "", share=0) as tried, unread(shop.items.client, 0.3):
        assert sync.verify_written(shop.lake, shop.serving, shop.items, written) == []
    assert tried["Scan"] == 0
    assert 10 < tried["BatchGetItem"] < 60
    (sku,) = written.keys[7]
    shop.items.client.delete_item(TableName=shop.items.name, Key={"_key": {"S": sku}})
    (found,) = sync.verify_written(shop.lake, shop.serving, shop.items, written)
    assert (found.key, found.item) == (sku, None)


def test_a_run_checks_its_keys_without_a_look_at_files_that_hold_none_of_them(shop: Shop) -> None:
    shop.sell({"a": 1})
    shop.publish()
    table = shop.lake.open("serving/prices")
    assert table is not None
    far = [Path(uri) for uri in table.delta.file_uris()]
    shop.sell({"z": 1})
    written = shop.publish()
    assert written is not None
    for file in far:
        file.unlink()
    assert sync.verify_written(shop.lake, shop.serving, shop.items, written) == []


def test_a_deleted_key_and_a_rejected_one_are_no_difference_to_a_run(shop: Shop) -> None:
    shop.sell({"a": 1, "b": 1})
    shop.publish()
    shop.sell({"a": NAN}, gone=("b",))
    written = shop.publish()
    assert written is not None
    assert set(written.keys) == {("a",), ("b",)}
    assert sync.verify_written(shop.lake, shop.serving, shop.items, written) == []


def test_what_a_later_publish_is_writing_is_left_to_its_own_check(shop: Shop) -> None:
    shop.sell({"a": 1, "b": 1})
    shop.publish()
    shop.sell({"a": 2})
    written = shop.publish()
    cursor = shop.items.cursor()
    assert written is not None
    assert cursor is not None
    shop.items.write([pl.DataFrame({"sku": "a", "price": 3})], [], key=["sku"], number=cursor.number + 1)
    assert sync.verify_written(shop.lake, shop.serving, shop.items, written) == []


def test_unread_keys_that_stay_unread_are_raised(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.items.ensure()
    monkeypatch.setattr(door, "ATTEMPTS", 2)
    with refused(shop.items.client, THROTTLE, verbs=CALLS), pytest.raises(Throttled):
        list(shop.items.fetch(["a"]))
