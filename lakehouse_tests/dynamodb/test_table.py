"""The item table, against the local AWS."""

import re
import uuid
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from boto3.dynamodb.conditions import Attr

from lakehouse.dynamodb import table as door
from lakehouse.dynamodb.table import CONFIG, Cursor, ItemTable, Throttled, Written
from lakehouse_tests.dynamodb.faults import THROTTLE, refused

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def items(local: dict[str, str]) -> ItemTable:
    made = ItemTable(boto3.client("dynamodb", config=CONFIG), f"t-{uuid.uuid4().hex[:8]}")
    made.ensure()
    return made


def write(items: ItemTable, number: int, *puts: dict[str, Any], deletes: tuple[str, ...] = ()) -> Written:
    return items.write([pl.DataFrame(puts)] if puts else [], deletes, key=["k"], number=number)


def test_an_older_version_never_wins(items: ItemTable) -> None:
    write(items, 2, {"k": "a", "v": "new"})
    assert write(items, 1, {"k": "a", "v": "old"}).stale == 1
    assert items.get({"k": "a"}, ["k"]) == {"k": "a", "v": "new"}


def test_a_late_put_does_not_bring_a_deleted_item_back(items: ItemTable) -> None:
    write(items, 1, {"k": "a"})
    write(items, 3, deletes=("a",))
    assert write(items, 2, {"k": "a"}).stale == 1
    assert items.get({"k": "a"}, ["k"]) is None
    assert list(items.scan()) == []


def test_a_table_whose_maker_died_halfway_still_gets_its_ttl(
    local: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    items = ItemTable(boto3.client("dynamodb", config=CONFIG), f"t-{uuid.uuid4().hex[:8]}")
    with monkeypatch.context() as patch:
        patch.setattr(items, "_expire", _die)
        with pytest.raises(KeyboardInterrupt):
            items.ensure()
    items.ensure()
    told = items.client.describe_time_to_live(TableName=items.name)["TimeToLiveDescription"]
    assert told == {"TimeToLiveStatus": "ENABLED", "AttributeName": "_expires"}
    items.ensure()


def _die() -> None:
    raise KeyboardInterrupt


def test_reserved_words_are_fine_as_columns(items: ItemTable) -> None:
    row = {"k": "a", "name": "n", "value": 1, "size": 2, "select": None}
    write(items, 1, row)
    assert items.get({"k": "a"}, ["k"]) == row


def test_a_row_that_does_not_fit_is_told_and_the_others_are_written(items: ItemTable) -> None:
    written = write(items, 1, {"k": "a", "v": float("nan")}, {"k": "b", "t": "x" * 500_000}, {"k": "c"})
    assert written.put == 1
    assert len(written.rejected) == 2


def test_the_cursor_is_moved_only_from_where_it_was_seen(items: ItemTable) -> None:
    first, second = Cursor("t", 1, 1), Cursor("t", 1, 2)
    assert items.advance(None, first)
    assert not items.advance(None, second)
    assert items.advance(first, second)
    assert not items.advance(first, Cursor("t", 1, 3))
    assert items.cursor() == second


def test_thirty_percent_throttles_lose_nothing(items: ItemTable) -> None:
    with refused(items.client, THROTTLE, share=0.3):
        assert write(items, 1, *({"k": str(n)} for n in range(100))).put == 100
    assert len(list(items.scan())) == 100


def test_endless_throttling_is_transient_and_raised(items: ItemTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "ATTEMPTS", 3)
    with refused(items.client, THROTTLE), pytest.raises(Throttled):
        write(items, 1, {"k": "a"})


def test_the_readmes_lines_read_what_stands_and_no_tombstone(local: dict[str, str]) -> None:
    items = ItemTable(boto3.client("dynamodb", config=CONFIG), "lakehouse-spent")
    items.ensure()
    items.advance(None, Cursor("t", 1, 1))
    rows = [{"customer": "ann", "spent": 10}, {"customer": "bob", "spent": 5}]
    items.write([pl.DataFrame(rows)], [], key=["customer"], number=1)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (lines,) = [block for block in blocks if "get_item" in block]
    found: dict[str, Any] = {"boto3": boto3, "Attr": Attr}
    exec(lines, found)
    assert "_deleted" not in found["ann"]
    assert {i["_key"] for i in found["everyone"]} == {"ann", "bob"}
    items.write([], ["ann"], key=["customer"], number=2)
    exec(lines, found)
    assert "_deleted" in found["ann"]
    assert {i["_key"] for i in found["everyone"]} == {"bob"}
