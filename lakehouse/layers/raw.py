"""inbox → raw: look at the object's last head, then get the object as it is, then append rows and head.

The order of an object is the generation counted here, not a clock. Raw holds every generation; a head row says
what became of each (read, refused, gone), and lies in a partition of its own, so that looking is cheap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.lake import Conflict, Desired, Hopped, Lake, News, Table, hop
from lakehouse.lake.hop import cursor_at, standing_at
from lakehouse.lake.table import Cursor, schema
from lakehouse.landing import inbox
from lakehouse.landing.objects import Bucket, Identity, Unreachable
from lakehouse.landing.readers import Unreadable, read

BATCH = 250
"""Objects a commit."""
BYTES = 64 << 20
"""Bytes of objects a commit, as they lie in the bucket. A larger one is a batch alone."""
READERS = 8
CODE = "raw"
TRYING = "trying"
TRIAL = timedelta(seconds=30)
"""A run that reads an object alone and takes longer than this without a word is taken for dead."""
TIME = pl.Datetime("us", "UTC")
ORIGIN = ["_object", "_generation", "_record", "_modified"]
STAMP = ["_object", "_object_version", "_generation", "_modified", "_run", "_ingested_at"]
HEAD = schema(
    {
        "_part": pl.String,
        "_object": pl.String,
        "_object_version": pl.String,
        "_generation": pl.Int64,
        "_modified": TIME,
        "_run": pl.String,
        "_ingested_at": TIME,
        "_state": pl.String,
        "_etag": pl.String,
        "_size": pl.Int64,
        "_records": pl.Int64,
        "_reason": pl.String,
    }
)
SCHEMA = schema({**HEAD, "_record": pl.Int64, "_text": pl.String, "_bad": pl.String})


def name(dataset: str) -> str:
    return f"raw/{dataset}"


def open_raw(lake: Lake, dataset: str) -> Table:
    return lake.ensure(name(dataset), SCHEMA, partition_by=["_part"])


def heads(raw: Table) -> pl.LazyFrame:
    return raw.scan().filter(pl.col("_part") == "head").select(list(HEAD))


def last_heads(raw: Table, objects: Iterable[str] | None = None) -> pl.LazyFrame:
    """One row an object: its newest generation."""
    known = heads(raw)
    if objects is not None:
        known = known.filter(pl.col("_object").is_in(list(objects)))
    return known.filter(pl.col("_generation") == pl.col("_generation").max().over("_object"))


@dataclass(frozen=True)
class Walk:
    """How far an `ingest` has come in a stretch of the inbox: from raw's cursor to a version, and in it by key.

    `left`: objects that could not be reached. `over`: nothing comes after `after`.
    """

    cursor: Cursor | None = None
    version: int = -1
    after: str = ""
    left: tuple[str, ...] = ()
    over: bool = False


@dataclass(frozen=True)
class Ingested(Hopped):
    """`left`: why objects could not be reached. The cursor stays, and a later run comes back to them."""

    left: tuple[str, ...] = ()


def ingest(lake: Lake, bucket: Bucket, dataset: Dataset, *, run: str = "", failures: int = 0) -> Ingested:
    """Carry everything the inbox holds for a dataset into raw, a bounded batch a commit.

    The cursor moves with the last batch of a stretch. What the batches before it brought, their heads tell: if
    the run dies, the next looks at those objects once more and finds them as they are.

    `failures`: runs that failed before this one, in a row. Each makes the batches a quarter as large. At last an
    object is read alone, after a head that says so was committed: the run that finds such a head of a run that
    died refuses the object, and the dataset moves on.
    """
    total, walk = Ingested(name(dataset.name)), Walk()
    pace = Pace(run, max(1, BATCH >> 2 * failures), alone=failures > 0 and BATCH >> 2 * failures <= 1)
    while True:
        done, walk = _step(lake, bucket, dataset.name, pace, walk)
        total = replace(total, upserted=total.upserted + done.upserted, moved=total.moved or done.moved)
        if not done.moved or (walk.over and walk.left):
            return replace(total, version=done.version, left=walk.left)


@dataclass(frozen=True)
class Pace:
    """The run, how many objects it takes a commit, and whether each is tried alone."""

    run: str
    objects: int
    alone: bool


def lag(lake: Lake, dataset: str) -> int:
    """Events in the inbox that raw has not read, for this dataset alone. Told from the two logs."""
    box = lake.open(inbox.NAME)
    if box is None:
        return 0
    part = inbox.of(box, dataset)
    raw = lake.open(name(dataset))
    cursor = raw.cursor(inbox.NAME) if raw else None
    known = cursor.rows if cursor and cursor.stamp == cursor_at(part, CODE).stamp else 0
    return abs((part.rows or 0) - (known or 0))


def _step(lake: Lake, bucket: Bucket, dataset: str, pace: Pace, walk: Walk) -> tuple[Hopped, Walk]:
    ahead = walk

    def work(raw: Table, news: list[News]) -> Desired:
        nonlocal ahead
        desired, ahead = _batch(raw, news[0], bucket, pace, walk)
        return desired

    key = ["_object", "_generation", "_record"]
    sources = [lambda: _stretch(lake, dataset, walk)]
    return hop(lambda: open_raw(lake, dataset), sources, work, key=key, code=CODE), ahead


def _stretch(lake: Lake, dataset: str, walk: Walk) -> Table:
    """The dataset's part of the inbox, held at the walk's version until raw's cursor moves."""
    box = inbox.of(inbox.open_inbox(lake), dataset)
    if walk.cursor and walk.cursor == standing_at(open_raw(lake, dataset), box, CODE):
        box.delta.load_as_version(walk.version)
    return box


def _batch(raw: Table, news: News, bucket: Bucket, pace: Pace, walk: Walk) -> tuple[Desired, Walk]:
    """The next objects that are not as their heads say, within the pace and `BYTES`, and how far that goes."""
    start = Walk(standing_at(raw, news.source, CODE), news.source.version)
    walk = walk if replace(walk, after="", left=(), over=False) == start else start
    before, found, more = walk, list[Differing](), True
    with ThreadPoolExecutor(READERS) as pool:
        while more and not found:
            keys = _named(raw, news, walk.after)
            more = len(keys) > BATCH
            sizes = dict([*keys.items()][:BATCH])
            walk = replace(walk, after=[*sizes][-1]) if sizes else walk
            found, left = _differing(raw, bucket, sizes, pool)
            walk = replace(walk, left=(*walk.left, *left))
        taken = _within(found, pace.objects)
        if len(taken) < len(found):
            more, walk = True, replace(walk, after=taken[-1].key)
        told = [*pool.map(lambda one: _reached(bucket, one, pace), taken)]
    parts = [part for part in told if isinstance(part, Generation)]
    walk = replace(walk, left=(*walk.left, *(part for part in told if isinstance(part, str))), over=not more)
    if any(part.head["_state"] == TRYING for part in parts):
        more, walk = True, before
    rows = table_rows(parts, raw.columns)
    return Desired(rows, new=True, more=more or bool(walk.left)), walk


def _named(raw: Table, news: News, after: str) -> dict[str, int | None]:
    """The next keys, one more than a batch, that an event names, and the largest size that one tells.

    Without events whose version raw has read.
    """
    events = news.source.scan() if news.changes is None else news.changes.lazy()
    created = pl.when(pl.col("kind") == "created").then("version_id").alias("version_id")
    settled = (pl.col("_object") > after) & (pl.col("_state") != TRYING)
    read = heads(raw).filter(settled).select(key="_object", version_id="_object_version")
    named = (
        events.filter(pl.col("key") > after)
        .select("key", created, "size")
        .join(read.drop_nulls(), on=["key", "version_id"], how="anti")
        .group_by("key")
        .agg(pl.col("size").max())
        .sort("key")
        .head(BATCH + 1)
    )
    return dict(named.collect().iter_rows())


@dataclass(frozen=True)
class Differing:
    """An object that is not as its last head says. `size` is 0 if it is gone, `head` None if it is new."""

    key: str
    head: dict[str, Any] | None
    size: int


def _differing(
    raw: Table, bucket: Bucket, sizes: dict[str, int | None], pool: ThreadPoolExecutor
) -> tuple[list[Differing], list[str]]:
    """The objects that are not as their heads say, and why others cannot be looked at.

    One without a head, whose size an event tells, is not looked at: it will be got, whatever it is.
    """
    known = {head["_object"]: head for head in last_heads(raw, sizes).collect().to_dicts()}
    new = [Differing(k, None, size) for k, size in sizes.items() if size is not None and k not in known]
    keys = sizes.keys() - {one.key for one in new}
    looks = [*zip(keys, pool.map(lambda key: _look(bucket, key), keys), strict=True)]
    seen = [(key, look) for key, look in looks if not isinstance(look, str)]
    differing = [
        Differing(k, known.get(k), look.size if look else 0) for k, look in seen if not _same(look, known.get(k))
    ]
    left = [look for _, look in looks if isinstance(look, str)]
    return sorted(new + differing, key=lambda one: one.key), left


def _look(bucket: Bucket, key: str) -> Identity | str | None:
    try:
        return bucket.look(key)
    except Unreachable as error:
        return str(error)


def _reached(bucket: Bucket, one: Differing, pace: Pace) -> Generation | str | None:
    try:
        return next_generation(bucket, one.key, one.head, pace)
    except Unreachable as error:
        return str(error)


def _within(objects: list[Differing], most: int) -> list[Differing]:
    """As many as `most` and `BYTES` allow, and at least one."""
    ends = accumulate(one.size for one in objects)
    taken = [one for n, (one, end) in enumerate(zip(objects, ends, strict=True)) if not n or end <= BYTES]
    return taken[:most]


def _one_spelling(columns: list[str], frames: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Column names as the table or an earlier file spelled them: Delta tells no upper from lower case."""
    known = {c.lower(): c for c in columns}
    return [f.rename({c: known.setdefault(c.lower(), c) for c in f.columns}) for f in frames]


@dataclass(frozen=True)
class Generation:
    """What an object is now: its head, and its records if it could be read."""

    head: dict[str, Any]
    records: pl.DataFrame = field(default_factory=pl.DataFrame)


def next_generation(bucket: Bucket, key: str, head: dict[str, Any] | None, pace: Pace) -> Generation | None:
    """The object's next generation; None if it is as its last head says."""
    got = bucket.get(key)
    if _same(got[0] if got else None, head):
        return None
    told = {"_run": pace.run, "_ingested_at": datetime.now(UTC), "_generation": _next(head), "_object": key}
    if got is None:
        return None if head is None else Generation({**told, "_state": "gone"})
    identity, body = got
    told |= {"_object_version": identity.version, "_modified": identity.modified}
    about = {"_etag": identity.etag, "_size": identity.size}
    if pace.alone and not _tried(identity, head):
        return Generation({**told, **about, "_state": TRYING})
    try:
        if head and pace.alone and head["_run"] != pace.run:
            raise _verdict(head)
        records = read(key, body)
    except Unreadable as error:
        return Generation({**told, **about, "_state": "refused", "_records": 0, "_reason": str(error)})
    return Generation({**told, **about, "_state": "read", "_records": len(records)}, records)


def table_rows(generations: Sequence[Generation], columns: list[str]) -> pl.DataFrame:
    """Heads and records as the rows of raw; `columns` are those that it has already.

    The records of files that are alike become one frame before anything is added to them: the cost of a frame
    is paid by kinds of file, not by files.
    """
    heads = pl.DataFrame([{"_part": "head", **one.head} for one in generations], schema=HEAD)
    full = [number for number, one in enumerate(generations) if len(one.records)]
    frames = _one_spelling(columns, [generations[number].records for number in full])
    kinds: dict[tuple[str, ...], list[int]] = {}
    for at, frame in enumerate(frames):
        kinds.setdefault(tuple(frame.columns), []).append(at)
    parts = [
        pl.concat([frames[at] for at in alike]).hstack(_stamps(heads, [full[at] for at in alike]))
        for alike in kinds.values()
    ]
    return pl.concat([pl.DataFrame(schema=SCHEMA), heads, *parts], how="diagonal")


def _stamps(heads: pl.DataFrame, numbers: list[int]) -> list[pl.Series]:
    """What every record of some generations says of its own, in order."""
    mine = heads[numbers].select(*STAMP, pl.int_ranges(1, pl.col("_records") + 1).alias("_record"))
    return mine.explode("_record").with_columns(pl.lit("row").alias("_part")).get_columns()


def _next(head: dict[str, Any] | None) -> int:
    return 1 if head is None else int(str(head["_generation"])) + 1


def _tried(identity: Identity, head: dict[str, Any] | None) -> bool:
    """Whether the last head says that somebody began to read this very content alone."""
    return head is not None and head["_state"] == TRYING and _is(identity, head)


def _verdict(head: dict[str, Any]) -> Unreadable:
    """On an object whose reader left no other word: it killed the process, if that had the time to."""
    age = datetime.now(UTC) - head["_ingested_at"]
    if age < TRIAL:
        raise Conflict(f"{head['_object']}: run {head['_run']} began to read it {age.seconds} s ago")
    return Unreadable(
        "the processes that read it died, the last one while it read nothing else; upload it again to try it anew"
    )


def _same(found: Identity | None, head: dict[str, Any] | None) -> bool:
    if head is None or found is None:
        return found is None and (head is None or head["_state"] == "gone")
    return head["_state"] not in ("gone", TRYING) and _is(found, head)


def _is(found: Identity, head: dict[str, Any]) -> bool:
    seen = (head["_object_version"], head["_etag"], head["_size"], head["_modified"])
    return seen == (found.version, found.etag, found.size, found.modified)


def current(raw: Table, dataset: Dataset, objects: Iterable[str] | None = None) -> pl.LazyFrame:
    """The rows of each object's current generation. With `on_delete="keep"` a removal leaves the last content."""
    newest = current_heads(raw, dataset).select("_object", "_generation")
    rows = raw.scan().filter(pl.col("_part") == "row")
    if objects is not None:
        rows = rows.filter(pl.col("_object").is_in(list(objects)))
    return rows.join(newest, on=["_object", "_generation"], how="semi")


def current_heads(raw: Table, dataset: Dataset) -> pl.LazyFrame:
    """The head of each object's current generation."""
    passing = [TRYING, "gone"] if dataset.on_delete == "keep" else [TRYING]
    known = heads(raw).filter(~pl.col("_state").is_in(passing))
    return known.filter(pl.col("_generation") == pl.col("_generation").max().over("_object"))
