"""sources → target: read what is new since the cursor, decide, commit rows and cursor in one transaction.

Every layer is this one verb. Its `work` gets the target as it was looked at and the news of each source, and
answers with `Desired`: which rows ought to stand in which part of the target. The hop writes the difference and
nothing else, so a repeat writes nothing, and a first load, a rebuild and a lost history are the same case as a
small change: only the scope is larger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import polars as pl

from lakehouse.lake.maintenance import tidy
from lakehouse.lake.race import again
from lakehouse.lake.scope import within
from lakehouse.lake.table import CHANGE, NONE, Applied, Conflict, Cursor, KeyChanged, Table, Written, stamp

LOSSES = 50


@dataclass(frozen=True)
class News:
    """What a source has to say: its rows now, and its change feed since the cursor (None: take all of it)."""

    source: Table
    changes: pl.DataFrame | None

    @property
    def whole(self) -> bool:
        return self.changes is None

    @property
    def quiet(self) -> bool:
        """Whether no row has changed: nothing was committed, or what maintenance commits."""
        return self.changes is not None and self.changes.is_empty()

    def touched(self, columns: Sequence[str]) -> pl.DataFrame:
        """The distinct values of `columns` in every inserted, updated (before and after) and deleted row."""
        rows = self.source.scan().collect() if self.changes is None else self.changes
        return rows.select(columns).unique()


@dataclass(frozen=True)
class Desired:
    """`rows` is all that ought to stand in `scope`: a frame of (group) keys, or None for the whole target.

    `new` says that no row of the scope can be there yet: the rows are appended without a comparison. `more` says
    that the sources hold more than this: the rows are committed and the cursors do not move yet. `first` says that
    the whole target is to be taken and this is where it begins. `marks`: numbers that the table keeps beside its
    cursors, written with the rows if they are `new`. `written`: files of more rows that are `new`.
    """

    rows: pl.DataFrame
    scope: pl.DataFrame | None = None
    new: bool = False
    more: bool = False
    first: bool = False
    marks: Mapping[str, int] = field(default_factory=dict)
    written: Sequence[Written] = ()

    @property
    def begins(self) -> bool:
        """Whether a target of other columns or types may give way to the rows."""
        return not self.new and (self.first or self.scope is None)


@dataclass(frozen=True)
class Hopped:
    """What a hop did: rows written and removed, and the target's version after it; and what that cost: the files
    that were written anew, and the rows of theirs that were copied as they were.
    """

    table: str
    upserted: int = 0
    deleted: int = 0
    version: int = -1
    moved: bool = False
    rewritten: int = 0
    copied: int = 0


def hop(
    open_target: Callable[[], Table],
    open_sources: Sequence[Callable[[], Table]],
    work: Callable[[Table, list[News]], Desired],
    *,
    key: Sequence[str],
    code: str,
    partition_by: Sequence[str] | None = None,
) -> Hopped:
    """Bring a target up to its sources.

    The target's handle is loaded before the look, and the commit is checked against that handle: of two racing
    hops one commits, the other looks again, with growing pauses, a bounded number of times.

    Where the rows are of other types than the target's columns, or it has columns that they no longer have, or its
    partitions are not those of `partition_by` (None: whatever they are), the target is written anew: a merge would
    cast to the old type in silence. Between that commit and the last of its walk a reader finds only what came so
    far. The first rows of all are written so, too, in their order.

    `key`: the target's key columns. `code`: a fingerprint; when it changes, the target is compared as a whole.
    A target that is held is left as it is.
    Raises `Conflict` when every look lost its race; nothing was written then, and the next sweep takes it up.
    Raises `KeyChanged` when the target was made for another key: a merge by the new one would double its rows.
    """
    return again(partial(_hop, open_target, open_sources, work, key, code, partition_by))


def _hop(
    open_target: Callable[[], Table],
    open_sources: Sequence[Callable[[], Table]],
    work: Callable[[Table, list[News]], Desired],
    key: Sequence[str],
    code: str,
    partition_by: Sequence[str] | None,
) -> Hopped:
    target = open_target()
    _check_key(target, key)
    sources = [source() for source in open_sources]
    news = [_look(target, source, code) for source in sources]
    if not any(lags(target, source, code) for source in sources) or target.held:
        return Hopped(target.name, version=target.version)
    desired, news = _decided(target, news, work)
    laid = partition_by is None or target.partitions == [*partition_by]
    built = desired.begins and (not laid or target.unlike(desired.rows))
    anew = built or (desired.begins and not desired.rows.is_empty() and not target.count)
    cursors = [cursor_after(target, n, code, desired.more) for n in news]
    upserts, deletes = (
        (desired.rows, desired.rows.clear()) if desired.new or anew else _asked(target, desired, key)
    )
    before = target.version
    if desired.new:
        version = target.append(upserts, cursors, key, desired.marks, desired.written)
        done = Applied(version, len(upserts) + sum(one.rows for one in desired.written))
    elif anew:
        done = Applied(target.overwrite(upserts, cursors, partition_by, built), len(upserts))
    else:
        done = target.apply(upserts, deletes, key, cursors, NONE, desired.more)
    if done.version == before:
        return Hopped(target.name, version=before)
    version, cost = _tidied(target, done.version), (done.rewritten, done.copied)
    return Hopped(target.name, done.upserted, done.deleted, version, True, *cost)


def _decided(
    target: Table, news: list[News], work: Callable[[Table, list[News]], Desired]
) -> tuple[Desired, list[News]]:
    """What ought to stand. Where a part of it has other types than the target, the whole is asked for."""
    desired = work(target, news)
    if desired.new or desired.begins or not target.retyped(desired.rows):
        return desired, news
    news = [News(one.source, None) for one in news]
    desired = work(target, news)
    if not desired.begins and target.retyped(desired.rows):
        raise ValueError(
            f"{target.name}: rows of other types than the table's, which a merge would cast in silence"
        )
    return desired, news


def _tidied(target: Table, committed: int) -> int:
    """The version that the hop left: its own, or its compaction's if no other came between."""
    return committed + 1 if tidy(target) and target.version == committed + 1 else committed


@dataclass(frozen=True)
class Stage:
    """How far a `walk` has come: the table and version that it left its target at, the version that it holds its
    source at, and where.
    """

    table: str = ""
    target: int = -1
    source: int = -1
    after: str = ""
    lost: int = 0
    """How often another's commit made it begin anew."""


def walk(
    open_target: Callable[[], Table],
    open_source: Callable[[], Table],
    work: Callable[[Table, News, str], tuple[Desired, str]],
    *,
    key: Sequence[str],
    code: str,
    partition_by: Sequence[str] | None = None,
) -> Hopped:
    """`hop` until the target has read all of its source, a bounded part a commit.

    `work` is told how far the part before it went ("" at first) and tells how far its own goes ("": to the end).
    The source is held at the version that the first part saw, and the cursor moves to it with the last part. Who
    died on the way begins anew, and so does who finds that another has written to the target in between. What the
    source gets meanwhile is the next walk's.
    """
    total, stage = Hopped(""), Stage()
    while stage.lost < LOSSES:
        done, stage = _step(open_target, open_source, work, stage, key, code, partition_by)
        total = replace(
            done,
            upserted=total.upserted + done.upserted,
            deleted=total.deleted + done.deleted,
            moved=total.moved or done.moved,
            rewritten=total.rewritten + done.rewritten,
            copied=total.copied + done.copied,
        )
        if not stage.after:
            return total
    raise Conflict(f"{total.table}: others wrote to it {LOSSES} times in between")


def _step(
    open_target: Callable[[], Table],
    open_source: Callable[[], Table],
    work: Callable[[Table, News, str], tuple[Desired, str]],
    stage: Stage,
    key: Sequence[str],
    code: str,
    partition_by: Sequence[str] | None,
) -> tuple[Hopped, Stage]:
    ahead, after = replace(stage, after=""), ""

    def target() -> Table:
        nonlocal after
        looked = open_target()
        after = stage.after if (looked.id, looked.version) == (stage.table, stage.target) else ""
        return looked

    def source() -> Table:
        found = open_source()
        if after:
            found.delta.load_as_version(stage.source)
        return found

    def part(target: Table, news: list[News]) -> Desired:
        nonlocal ahead
        desired, upto = work(target, news[0], after)
        ahead = Stage(target.id, -1, news[0].source.version, upto, stage.lost + (after != stage.after))
        return desired

    done = hop(target, [source], part, key=key, code=code, partition_by=partition_by)
    return done, replace(ahead, target=done.version)


def _check_key(target: Table, key: Sequence[str]) -> None:
    if target.key and target.key != list(key):
        hint = "and the next run builds it anew from the layer before it"
        raise KeyChanged(target.name, target.key, key, f"Delete the table at {target.delta.table_uri}, {hint}")


def cursor_at(source: Table, code: str) -> Cursor:
    return Cursor(source.name, source.version, stamp(source.id, code), source.rows)


def standing_at(target: Table, source: Table, code: str) -> Cursor:
    """The cursor as it is, to be committed again: of two writers who looked at it only one may go on."""
    return target.cursor(source.name) or unread(source, code)


def unread(source: Table, code: str) -> Cursor:
    return Cursor(source.name, -1, stamp(source.id, code), None if source.rows is None else 0)


def cursor_after(target: Table, news: News, code: str, more: bool) -> Cursor:
    """What a commit says was read of a source.

    Where all is to be taken and more is to come, that is nothing: the target is neither the old state nor the new,
    and nobody may go on from there by the change feed, nor by other code.
    """
    if not more:
        return cursor_at(news.source, code)
    return unread(news.source, code) if news.whole else standing_at(target, news.source, code)


def unfinished(target: Table, source: str) -> bool:
    """Whether the target is being taken anew: it is neither the old state nor the new."""
    cursor = target.cursor(source)
    return cursor is not None and cursor.version < 0


def lags(target: Table | None, source: Table, code: str) -> bool:
    """Whether the target has yet to read something of the source, or was made by other code."""
    return target is None or target.cursor(source.name) != cursor_at(source, code)


def _look(target: Table, source: Table, code: str) -> News:
    cursor = target.cursor(source.name)
    if cursor is None or cursor.stamp != stamp(source.id, code) or cursor.version < 0:
        return News(source, None)
    if cursor.version == source.version:
        return News(source, pl.DataFrame(schema={**source.scan().collect_schema(), CHANGE: pl.String}))
    return News(source, source.changes(cursor.version))


def _asked(target: Table, desired: Desired, key: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`difference`; where the scope tells keys, all that is desired of them, unread: the merge looks at them."""
    if desired.scope is None or {*desired.scope.columns} != {*key}:
        return difference(target, desired, key)
    lacking = {c: kind for c, kind in target.kinds.items() if c not in desired.rows.columns}
    rows = desired.rows.with_columns(pl.lit(None, dtype=kind).alias(c) for c, kind in lacking.items())
    return rows, desired.scope.join(rows, on=list(key), how="anti", nulls_equal=True)


def difference(target: Table, desired: Desired, key: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows to upsert, keys to delete) that turn the target's scope into what is desired, and no more."""
    present = target.scan()
    if desired.scope is not None:
        present = within(target.near(desired.scope), desired.scope)
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
    deletes = there.select(key).join(rows, on=list(key), how="anti", nulls_equal=True)
    return upserts, deletes
