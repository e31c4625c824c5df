"""serving → DynamoDB: net change per key since the cursor that lies beside the items."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from lakehouse.dataset import Serving
from lakehouse.dynamodb.items import KEY, Unfit, key_of, to_item, to_row
from lakehouse.dynamodb.table import Cursor, ItemTable, Written
from lakehouse.lake import Lake, Table
from lakehouse.lake.table import CHANGE

REJECTED = pl.Schema({"_key": pl.String, "_reason": pl.String, "_version": pl.Int64})
NOTHING = -1
"""The version of a cursor in whose epoch nothing is written yet: the items take the table whole."""
BEGIN = 1_577_836_800
"""Epochs count seconds from 2020-01-01."""
FEED = {CHANGE, "_commit_version", "_commit_timestamp"}


@dataclass(frozen=True)
class Difference:
    """One key on which DynamoDB and the serving table disagree. `item` or `row` is None where it is absent."""

    key: str
    row: dict[str, Any] | None
    item: dict[str, Any] | None


def table_name(prefix: str, serving: Serving) -> str:
    return f"{prefix}{serving.name}"


def publish(lake: Lake, serving: Serving, items: ItemTable) -> Written | None:
    """Bring the items up to the serving table; None if they are. Rows that do not fit are kept in `rejected/`.

    The cursor moves after the writes. A crash between repeats them, which changes nothing; a slower writer finds
    newer versions and leaves them alone.
    """
    source = lake.open(f"serving/{serving.name}")
    if source is None:
        return None
    items.ensure()
    old = _claimed(source, items)
    if old.version == source.version:
        return None
    new = replace(old, version=source.version)
    changes = None if old.version == NOTHING else source.changes(old.version)
    puts, deletes = _all(source, items, serving.keys) if changes is None else net(changes, serving.keys)
    written = items.write(puts.iter_rows(named=True), deletes, key=serving.keys, number=new.number)
    _keep_rejected(lake, serving, written, source.version)
    items.advance(old, new)
    return written


def _claimed(source: Table, items: ItemTable) -> Cursor:
    """The cursor, in an epoch that belongs to this source.

    A new epoch is claimed before its first write. Were it claimed after, two writers that both found none would
    write in two, and the items of the one that lost would look newer than all that is to come.
    """
    while True:
        cursor = items.cursor()
        if cursor and cursor.table_id == source.id and cursor.version <= source.version:
            return cursor
        claim = Cursor(source.id, _later(cursor), NOTHING)
        if items.advance(cursor, claim):
            return claim


def net(changes: pl.DataFrame, key: Sequence[str]) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """(rows to put, keys to delete): the last word of the change feed on each key."""
    if changes.is_empty():
        return pl.DataFrame(), []
    last = (
        changes.filter(pl.col(CHANGE) != "update_preimage")
        .sort(pl.col("_commit_version"), pl.col(CHANGE) != "delete")
        .unique(subset=list(key), keep="last")
    )
    puts = last.filter(pl.col(CHANGE) != "delete").drop(FEED)
    return puts, last.filter(pl.col(CHANGE) == "delete").select(key).to_dicts()


def _all(source: Table, items: ItemTable, key: Sequence[str]) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    rows = source.scan().collect()
    wanted = set(_by_key(rows, key))
    return rows, [row for item in items.scan() if item[KEY]["S"] not in wanted for row in [to_row(item)]]


def _by_key(rows: pl.DataFrame, key: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for row in rows.iter_rows(named=True):
        try:
            found[key_of(row, key)] = row
        except Unfit:
            continue
    return found


def _later(old: Cursor | None) -> int:
    """An epoch above every earlier one, also when the control item that held it is lost: hence a clock."""
    return max(int(time.time()) - BEGIN, old.epoch + 1 if old else 0)


def _keep_rejected(lake: Lake, serving: Serving, written: Written, version: int) -> None:
    if written.rejected:
        rows = [{"_key": k, "_reason": reason, "_version": version} for k, reason in written.rejected]
        lake.ensure(f"rejected/{serving.name}", REJECTED).append(pl.DataFrame(rows, schema=REJECTED))


def verify(lake: Lake, serving: Serving, items: ItemTable, *, repair: bool = False) -> list[Difference]:
    """DynamoDB against the serving table at the version of the cursor; `repair` writes what differs.

    Rows that DynamoDB cannot hold are no difference: they are in `rejected/`. Compare after `publish`.
    """
    source = lake.open(f"serving/{serving.name}")
    cursor = items.cursor()
    if source is None or cursor is None:
        return []
    if cursor.table_id == source.id and NOTHING < cursor.version < source.version:
        source.delta.load_as_version(cursor.version)
    rows = {}
    for name, row in _by_key(source.scan().collect(), serving.keys).items():
        try:
            rows[name] = to_row(to_item(row, serving.keys))
        except Unfit:
            continue
    held = {i[KEY]["S"]: to_row(i) for i in items.scan()}
    found = [
        Difference(name, rows.get(name), held.get(name))
        for name in sorted(rows.keys() | held.keys())
        if rows.get(name) != held.get(name)
    ]
    if repair and found and items.advance(cursor, Cursor(source.id, _later(cursor), NOTHING)):
        publish(lake, serving, items)
    return found
