"""serving → DynamoDB: net change per key since the cursor that lies beside the items."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import polars as pl

from lakehouse.dataset import Serving
from lakehouse.dynamodb.items import (
    DELETED,
    KEY,
    LONGEST_KEY,
    VERSION,
    Item,
    Unfit,
    encode,
    key_of,
    name_of,
    to_item,
    to_row,
)
from lakehouse.dynamodb.table import CONFIG, EPOCH, Cursor, ItemTable, Written
from lakehouse.lake import Conflict, KeyChanged, Lake, Table, again
from lakehouse.lake.table import CHANGE, schema
from lakehouse.settings import Settings, client

REJECTED = schema(
    {
        "_key": pl.String,
        "_reason": pl.String,
        "_version": pl.Int64,
        "_at": pl.Datetime("us", "UTC"),
        "_number": pl.Int64,
    }
)
NOTHING = -1
"""The version of a cursor in whose epoch nothing is written yet: the items take the table whole."""
BEGIN = 1_577_836_800
"""Epochs count seconds from 2020-01-01."""
KEYED_ANEW = (
    "Delete the DynamoDB table, and the next run writes it anew; or, while applications still read it, give the "
    "serving function another name"
)
FEED = {CHANGE, "_commit_version", "_commit_timestamp"}
SAMPLE = 1000
LATE = 900
"""Seconds after which a writer that was overtaken has ended, one way or the other."""
BATCH = 10_000


@dataclass(frozen=True)
class Difference:
    """One key on which DynamoDB and the serving table disagree. `item` or `row` is None where it is absent."""

    key: str
    row: dict[str, Any] | None
    item: dict[str, Any] | None


def table_name(prefix: str, serving: Serving) -> str:
    return f"{prefix}{serving.name}"


def items_of(settings: Settings, serving: Serving) -> ItemTable:
    """The items of a serving table, where the settings say."""
    return ItemTable(client("dynamodb", CONFIG), table_name(settings.table_prefix, serving))


def publish(lake: Lake, serving: Serving, items: ItemTable) -> Written | None:
    """Bring the items up to the serving table; None if they are. Rows that do not fit are kept in `rejected/`.

    The cursor moves after the writes. A crash between repeats them, which changes nothing; a slower writer finds
    newer versions and leaves them alone. What it puts where nothing stands it withdraws itself; if it dies before,
    the first publish `LATE` after the table was taken whole does. Raises `KeyChanged` where the items are keyed by
    other columns, and `Throttled`; the cursor has not moved then.
    """
    if lake.open(_name(serving)) is None:
        return None
    items.ensure()
    source, old, changes = _claimed(lake, serving, items)
    if old.whole_at and old.whole_at + LATE < time.time():
        _remove_strays(lake, serving, items)
        swept = replace(old, whole_at=0)
        old = swept if items.advance(old, swept) else old
    if old.version == source.version:
        return None
    whole = changes is None
    new = replace(old, version=source.version, key=tuple(serving.keys))
    new = replace(new, whole_at=int(time.time())) if whole else new
    puts, deletes = (source.scan(), []) if changes is None else net(changes, serving.keys)
    keys = puts.select(serving.keys).collect()
    gone = _vanished(keys, items, serving.keys) if whole else _names(deletes, serving.keys)
    rows = puts.collect_batches(chunk_size=BATCH)
    written = items.write(rows, gone, key=serving.keys, number=new.number, together=whole)
    touched = None if whole else chain(keys.iter_rows(named=True), deletes)
    unheld = _keep_rejected(lake, serving, written, new, touched)
    if not items.advance(old, new):
        _withdraw(lake, serving, items, old, whole)
        _recant(lake, serving, items, new)
    return replace(written, unheld=unheld, keys=_sample(keys, deletes))


def _name(serving: Serving) -> str:
    return f"serving/{serving.name}"


def _claimed(lake: Lake, serving: Serving, items: ItemTable) -> tuple[Table, Cursor, pl.DataFrame | None]:
    """The serving table, the cursor in an epoch that belongs to it, and what changed since (None: take it whole).

    The table is opened after the cursor was read: a table opened before could be older than the cursor of a
    writer that has passed by, and be taken for one that was restored. Whoever takes the table whole does so in a
    new epoch, claimed before its first write. Were it claimed after, two writers that both found none would write
    in two, and the items of the one that lost would look newer than all that is to come.
    """
    while True:
        cursor = items.cursor()
        source = _open(lake, serving)
        if cursor and cursor.key and list(cursor.key) != serving.keys:
            raise KeyChanged(f"DynamoDB table {items.name}", cursor.key, serving.keys, KEYED_ANEW)
        if cursor and cursor.table_id == source.id and cursor.version <= source.version:
            if cursor.version in (NOTHING, source.version):
                return source, cursor, None
            if (changes := source.changes(cursor.version)) is not None:
                return source, cursor, changes
        claim = Cursor(source.id, _later(cursor, items), NOTHING, tuple(serving.keys))
        if items.advance(cursor, claim):
            return source, claim, None


def _open(lake: Lake, serving: Serving) -> Table:
    source = lake.open(_name(serving))
    if source is None:
        raise Conflict(f"{_name(serving)} was removed while its items were being written")
    return source


def net(changes: pl.DataFrame, key: Sequence[str]) -> tuple[pl.LazyFrame, list[dict[str, Any]]]:
    """(rows to put, keys to delete): the last word of the change feed on each key."""
    last = (
        changes.filter(pl.col(CHANGE) != "update_preimage")
        .sort(pl.col("_commit_version"), pl.col(CHANGE) != "delete")
        .unique(subset=list(key), keep="last")
    )
    puts = last.lazy().filter(pl.col(CHANGE) != "delete").drop(FEED)
    return puts, last.filter(pl.col(CHANGE) == "delete").select(key).to_dicts()


def _vanished(keys: pl.DataFrame, items: ItemTable, key: Sequence[str]) -> list[str]:
    """The keys of live items that no row has."""
    held = {item[KEY]["S"] for item in items.scan()}
    return sorted(held - set(_names(keys.iter_rows(named=True), key))) if held else []


def _names(rows: Iterable[dict[str, Any]], key: Sequence[str]) -> list[str]:
    """The items' keys of rows; a row whose key is unfit has none."""
    found = []
    for row in rows:
        try:
            found.append(key_of(row, key))
        except Unfit:
            continue
    return found


def _later(old: Cursor | None, items: ItemTable) -> int:
    """An epoch above every earlier one, also when the control item that held it is lost, or a clock went back."""
    highest = max((int(i[VERSION]["N"]) for i in items.scan(tombstones=True) if VERSION in i), default=0)
    return max(int(time.time()) - BEGIN, old.epoch + 1 if old else 0, highest // EPOCH + 1)


def _withdraw(lake: Lake, serving: Serving, items: ItemTable, old: Cursor, whole: bool) -> None:
    """Take back what an overtaken writer has put for keys that the newer one knows nothing of.

    Where a newer version stands, nothing was written. But a key that had already vanished when one of the two
    took the table whole has neither item nor tombstone, and a late put of it finds nothing newer.
    """
    now = items.cursor()
    if whole or now is None or now.epoch != old.epoch:
        _remove_strays(lake, serving, items)


def _remove_strays(lake: Lake, serving: Serving, items: ItemTable) -> None:
    """Tombstones for the items that no row has."""
    source, now, _ = _claimed(lake, serving, items)
    stray = _vanished(source.scan().select(serving.keys).collect(), items, serving.keys)
    items.write([], stray, key=serving.keys, number=replace(now, version=source.version).number)


def _recant(lake: Lake, serving: Serving, items: ItemTable, mine: Cursor) -> None:
    """Drop what an overtaken writer told of rows that are gone, or of which a newer one has spoken since."""

    def drop() -> None:
        if table := lake.open(f"rejected/{serving.name}"):
            mine_still = (pl.col("_number") == mine.number) & pl.col("_key").is_in(newer)
            table.apply(pl.DataFrame(schema=REJECTED), table.scan().filter(mine_still).collect(), ["_key"])

    table = lake.open(f"rejected/{serving.name}")
    told = table.scan().filter(pl.col("_number") == mine.number).collect()["_key"] if table else pl.Series()
    held = items.fetch(k for k in told if len(k.encode()) <= LONGEST_KEY)
    newer = [i[KEY]["S"] for i in held if int(i.get(VERSION, {"N": "0"})["N"]) > mine.number]
    if len(told):
        keys = _open(lake, serving).scan().select(serving.keys).collect()
        newer += set(told) - {name_of(row, serving.keys) for row in keys.iter_rows(named=True)}
    if newer:
        again(drop)


def _sample(keys: pl.DataFrame, deletes: list[dict[str, Any]]) -> tuple[tuple[Any, ...], ...]:
    rows = keys.rows() + [tuple(d[k] for k in keys.columns) for d in deletes]
    return tuple(rows[:: max(1, -(-len(rows) // SAMPLE))])


def _keep_rejected(
    lake: Lake, serving: Serving, written: Written, cursor: Cursor, touched: Iterable[dict[str, Any]] | None
) -> int:
    """Make `rejected/<serving>` say what is rejected now: of the `touched` rows, or of the whole table (None).

    Gives how many rows it tells of then.
    """
    name = f"rejected/{serving.name}"
    if not written.rejected and lake.open(name) is None:
        return 0
    facts = {"_version": cursor.version, "_at": datetime.now(UTC), "_number": cursor.number}
    rows = [{"_key": k, "_reason": reason, **facts} for k, reason in dict(written.rejected).items()]
    now = pl.DataFrame(rows, schema=REJECTED)
    names = None if touched is None else [name_of(row, serving.keys) for row in touched]

    def tell() -> int:
        table = lake.ensure(name, REJECTED)
        held = table.scan().collect()
        later = pl.col("_number") > cursor.number
        fresh = now.join(held.filter(later), on="_key", how="anti")
        past = held.filter(~later).join(now, on="_key", how="anti")
        past = past if names is None else past.filter(pl.col("_key").is_in(names))
        if not (fresh.is_empty() and past.is_empty()):
            table.apply(fresh, past, ["_key"])
        return held.height - past.height + fresh.join(held, on="_key", how="anti").height

    return again(tell)


def erase(items: ItemTable, mine: Callable[[Item], bool]) -> int:
    """Delete items and tombstones for good; gives how many.

    In a new epoch: a publish that was under way finds itself overtaken, and takes back what it puts after this. Of
    one that died, the first publish `LATE` after this does.
    """
    found = [item[KEY]["S"] for item in items.scan(tombstones=True) if mine(item)] if items.stands() else []
    while found and (cursor := items.cursor()):
        if items.advance(cursor, replace(cursor, epoch=_later(cursor, items), whole_at=int(time.time()))):
            break
    items.remove(found)
    return len(found)


def verify(lake: Lake, serving: Serving, items: ItemTable, *, repair: bool = False) -> list[Difference]:
    """DynamoDB against the serving table at the version of the cursor; `repair` writes what differs.

    A row that DynamoDB cannot hold ought to have no item: it is in `rejected/`. Without a cursor nothing was ever
    written, or it is lost: all that ought to stand there is compared.
    """
    cursor, source = items.peek(), lake.open(_name(serving))
    if source is None:
        return []
    rows = (_at(source, cursor) if cursor else source).scan().collect()
    found = _compare(lake, serving, rows, items.scan() if items.stands() else [])
    if repair and found and (cursor is None or _begin_again(items, cursor)):
        publish(lake, serving, items)
    return found


def _begin_again(items: ItemTable, cursor: Cursor) -> bool:
    """Claim an epoch in which nothing is written yet; False if another writer moved the cursor first."""
    return items.advance(cursor, replace(cursor, epoch=_later(cursor, items), version=NOTHING))


def verify_written(lake: Lake, serving: Serving, items: ItemTable, written: Written) -> list[Difference]:
    """As `verify`, of the sample of keys that a publish has just written: bounded reads, for every run.

    Keys that a later publish has written meanwhile are left to its own check.
    """
    cursor, source = items.cursor(), lake.open(_name(serving))
    if source is None or cursor is None or not written.keys:
        return []
    table = _at(source, cursor).scan()
    kinds = {c: t for c, t in table.collect_schema().items() if c in serving.keys}
    keys = pl.DataFrame(written.keys, schema={k: kinds[k] for k in serving.keys}, orient="row")
    held = list(items.fetch(_names(keys.iter_rows(named=True), serving.keys)))
    later = {i[KEY]["S"] for i in held if int(i.get(VERSION, {"N": "0"})["N"]) > cursor.number}
    rows = _near(table, keys).join(keys.lazy(), on=serving.keys, how="semi").collect()
    found = _compare(lake, serving, rows, [i for i in held if DELETED not in i])
    return [one for one in found if one.key not in later]


def _near(rows: pl.LazyFrame, keys: pl.DataFrame) -> pl.LazyFrame:
    """The rows between the least and the largest of the keys: no file is read whose statistics lie outside."""
    kinds = {k: t for k, t in keys.schema.items() if t == pl.String or t.is_integer() or t.is_temporal()}
    ends = ((k, pl.lit(keys[k].min(), t), pl.lit(keys[k].max(), t)) for k, t in kinds.items())
    return rows.filter([pl.col(k).is_between(least, most) for k, least, most in ends])


def _at(source: Table, cursor: Cursor) -> Table:
    if cursor.table_id == source.id and NOTHING < cursor.version < source.version:
        source.delta.load_as_version(cursor.version)
    return source


def _compare(lake: Lake, serving: Serving, rows: pl.DataFrame, held: Iterable[Item]) -> list[Difference]:
    """A null says no more than an attribute that is not there: a column that came later changes no older item."""
    there = {i[KEY]["S"]: to_row(i) for i in held}
    fit = ((row.name, row.text) for row in encode(rows, serving.keys) if row.text is not None)
    wanted = {name: to_row(to_item(text)) for name, text in fit}
    missing = wanted.keys() - there.keys()
    refused = lake.open(f"rejected/{serving.name}") if missing else None
    for name in missing & set(refused.scan().select("_key").collect()["_key"] if refused else ()):
        del wanted[name]
    return [
        Difference(name, wanted.get(name), there.get(name))
        for name in sorted(wanted.keys() | there.keys())
        if _told(wanted.get(name)) != _told(there.get(name))
    ]


def _told(row: dict[str, Any] | None) -> dict[str, Any] | None:
    return row and {name: value for name, value in row.items() if value is not None}
