"""sources → target: read what is new since the cursor, decide, commit rows and cursor in one transaction.

Every layer is this one verb. Its `work` gets the target as it was looked at and the news of each source, and
answers with `Desired`: which rows ought to stand in which part of the target. The hop writes the difference and
nothing else, so a repeat writes nothing, and a first load, a rebuild and a lost history are the same case as a
small change: only the scope is larger.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from lakehouse.lake.maintenance import tidy
from lakehouse.lake.table import CHANGE, Conflict, Cursor, KeyChanged, Table, stamp

LOOKS = 6


@dataclass(frozen=True)
class News:
    """What a source has to say: its rows now, and its change feed since the cursor (None: take all of it)."""

    source: Table
    changes: pl.DataFrame | None

    @property
    def whole(self) -> bool:
        return self.changes is None

    def touched(self, columns: Sequence[str]) -> pl.DataFrame:
        """The distinct values of `columns` in every inserted, updated (before and after) and deleted row."""
        rows = self.source.scan().collect() if self.changes is None else self.changes
        return rows.select(columns).unique()


@dataclass(frozen=True)
class Desired:
    """`rows` is all that ought to stand in `scope`: a frame of (group) keys, or None for the whole target.

    `new` says that no row of the scope can be there yet: the rows are appended without a comparison. `more` says
    that the sources hold more than this: the rows are committed and the cursors stay where they are.
    """

    rows: pl.DataFrame
    scope: pl.DataFrame | None = None
    new: bool = False
    more: bool = False


@dataclass(frozen=True)
class Hopped:
    """What a hop did: rows written and removed, and the target's version after it."""

    table: str
    upserted: int = 0
    deleted: int = 0
    version: int = -1
    moved: bool = False


def hop(
    open_target: Callable[[], Table],
    open_sources: Sequence[Callable[[], Table]],
    work: Callable[[Table, list[News]], Desired],
    *,
    key: Sequence[str],
    code: str,
) -> Hopped:
    """Bring a target up to its sources.

    The target's handle is loaded before the look, and the commit is checked against that handle: of two racing
    hops one commits, the other looks again, with growing pauses, a bounded number of times.

    `key`: the target's key columns. `code`: a fingerprint; when it changes, the target is compared as a whole.
    Raises `Conflict` when every look lost its race; nothing was written then, and the next sweep takes it up.
    Raises `KeyChanged` when the target was made for another key: a merge by the new one would double its rows.
    """
    for look in range(LOOKS):
        target = open_target()
        _check_key(target, key)
        sources = [source() for source in open_sources]
        news = [_look(target, source, code) for source in sources]
        if all(n.changes is not None and n.changes.is_empty() and _read(target, n.source) for n in news):
            return Hopped(target.name, version=target.version)
        desired = work(target, news)
        cursors = [standing_at(target, s, code) if desired.more else cursor_at(s, code) for s in sources]
        upserts, deletes = (
            (desired.rows, desired.rows.clear()) if desired.new else difference(target, desired, key)
        )
        try:
            if desired.new:
                target.append(upserts, cursors)
            else:
                target.apply(upserts, deletes, key, cursors)
        except Conflict:
            if look + 1 == LOOKS:
                raise
            time.sleep(random.uniform(0, 0.05 * 2**look))
            continue
        tidy(target)
        return Hopped(target.name, len(upserts), len(deletes), target.version, moved=True)
    raise AssertionError("unreachable")


def _check_key(target: Table, key: Sequence[str]) -> None:
    if target.key and target.key != list(key):
        hint = "and the next run builds it anew from the layer before it"
        raise KeyChanged(target.name, target.key, key, f"Delete the table at {target.delta.table_uri}, {hint}")


def cursor_at(source: Table, code: str) -> Cursor:
    return Cursor(source.name, source.version, stamp(source.id, code), source.rows)


def standing_at(target: Table, source: Table, code: str) -> Cursor:
    """The cursor as it is, to be committed again: of two writers who looked at it only one may go on."""
    unread = Cursor(source.name, -1, stamp(source.id, code), None if source.rows is None else 0)
    return target.cursor(source.name) or unread


def lags(target: Table | None, source: Table, code: str) -> bool:
    """Whether the target has yet to read something of the source, or was made by other code."""
    return target is None or target.cursor(source.name) != cursor_at(source, code)


def _read(target: Table, source: Table) -> bool:
    cursor = target.cursor(source.name)
    return cursor is not None and cursor.version == source.version


def _look(target: Table, source: Table, code: str) -> News:
    cursor = target.cursor(source.name)
    if cursor is None or cursor.stamp != stamp(source.id, code):
        return News(source, None)
    if cursor.version == source.version:
        return News(source, pl.DataFrame(schema={**source.scan().collect_schema(), CHANGE: pl.String}))
    return News(source, source.changes(cursor.version))


def difference(target: Table, desired: Desired, key: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows to upsert, keys to delete) that turn the target's scope into what is desired, and no more."""
    present = target.scan()
    if desired.scope is not None:
        present = present.join(desired.scope.lazy(), on=desired.scope.columns, how="semi", nulls_equal=True)
    there = present.collect()
    known = {c: t for c, t in there.schema.items() if c not in desired.rows.columns}
    rows = desired.rows.with_columns(pl.lit(None, dtype=t).alias(c) for c, t in known.items())
    same = [c for c in rows.columns if c in there.columns]
    there = there.cast({c: rows.schema[c] for c in same})
    fresh = [c for c in rows.columns if c not in same]
    upserts = rows.join(there, on=same, how="anti", nulls_equal=True)
    if fresh:
        grown = rows.filter(pl.any_horizontal(pl.col(fresh).is_not_null()))
        upserts = pl.concat([upserts, grown]).unique(subset=list(key), keep="first", maintain_order=True)
    deletes = there.select(key).join(rows, on=list(key), how="anti")
    return upserts, deletes
