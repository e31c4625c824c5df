"""inbox → raw: look at the object's last head, then get the object as it is, then append rows and head.

The order of an object is the generation counted here, not a clock. Raw holds every generation; a head row says
what became of each (read, refused, gone), and lies in a partition of its own, so that looking is cheap.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.lake import Desired, Hopped, Lake, News, Table, hop
from lakehouse.lake.table import schema
from lakehouse.landing import inbox
from lakehouse.landing.objects import Bucket, Identity
from lakehouse.landing.readers import Unreadable, read

BATCH = 1000
TIME = pl.Datetime("us", "UTC")
ORIGIN = ["_object", "_generation", "_record", "_modified"]
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


def last_heads(raw: Table) -> pl.LazyFrame:
    """One row an object: its newest generation."""
    newest = pl.col("_generation") == pl.col("_generation").max().over("_object")
    return heads(raw).filter(newest)


def ingest(lake: Lake, bucket: Bucket, dataset: Dataset, *, run: str = "") -> Hopped:
    """Carry everything the inbox holds for a dataset into raw, a bounded batch a commit."""
    total = Hopped(name(dataset.name))
    while True:
        done = hop(
            lambda: open_raw(lake, dataset.name),
            [lambda: _portion(lake, dataset.name)],
            lambda raw, news: _rows(raw, news[0], bucket, dataset.name, run),
            key=["_object", "_generation", "_record"],
            code="raw",
        )
        total = replace(done, upserted=total.upserted + done.upserted, moved=total.moved or done.moved)
        if not done.moved:
            return total


def lag(lake: Lake, dataset: str) -> int:
    """Objects named in the inbox since raw's cursor, for this dataset alone."""
    box = lake.open(inbox.NAME)
    if box is None:
        return 0
    return len(_named(News(box, _since(lake, dataset, box)), dataset))


def _since(lake: Lake, dataset: str, box: Table) -> pl.DataFrame | None:
    raw = lake.open(name(dataset))
    cursor = raw.cursor(inbox.NAME) if raw else None
    if cursor is None or cursor.version > box.version:
        return None
    if cursor.version == box.version:
        return pl.DataFrame(schema=inbox.SCHEMA)
    return box.changes(cursor.version)


def _portion(lake: Lake, dataset: str) -> Table:
    """The inbox up to the version that completes a batch, so that memory follows the batch, not the backlog."""
    box = inbox.open_inbox(lake)
    changes = _since(lake, dataset, box)
    if changes is None or "_commit_version" not in changes.columns:
        return box
    counts = (
        changes.filter(pl.col("dataset") == dataset)
        .group_by("_commit_version")
        .len()
        .sort("_commit_version")
        .with_columns(pl.col("len").cum_sum())
    )
    full = counts.filter(pl.col("len") >= BATCH)
    if not full.is_empty():
        box.delta.load_as_version(int(full["_commit_version"][0]))
    return box


def _named(news: News, dataset: str) -> list[str]:
    rows = news.source.scan().collect() if news.changes is None else news.changes
    return rows.filter(pl.col("dataset") == dataset)["key"].unique(maintain_order=True).to_list()


def _rows(raw: Table, news: News, bucket: Bucket, dataset: str, run: str) -> Desired:
    keys = _named(news, dataset)
    if not keys:
        return Desired(pl.DataFrame(schema=SCHEMA), new=True)
    known = {h["_object"]: h for h in last_heads(raw).filter(pl.col("_object").is_in(keys)).collect().to_dicts()}
    with ThreadPoolExecutor(8) as pool:
        frames = pool.map(lambda k: object_rows(bucket, k, known.get(k), run), keys)
        parts = [frame for frame in frames if frame is not None]
    empty = pl.DataFrame(schema=SCHEMA)
    return Desired(pl.concat([empty, *parts], how="diagonal"), new=True)


def object_rows(bucket: Bucket, key: str, head: dict[str, object] | None, run: str) -> pl.DataFrame | None:
    """The rows and the head of the object's next generation; None if it is as its last head says."""
    found = bucket.look(key)
    if _same(found, head):
        return None
    got = bucket.get(key) if found else None
    stamp = {"_run": run, "_ingested_at": datetime.now(UTC), "_generation": _next(head), "_object": key}
    if got is None:
        return None if head is None else _head({**stamp, "_state": "gone"})
    identity, body = got
    stamp |= {"_object_version": identity.version, "_modified": identity.modified}
    about = {"_etag": identity.etag, "_size": identity.size}
    try:
        rows = read(key, body)
    except Unreadable as error:
        return _head({**stamp, **about, "_state": "refused", "_records": 0, "_reason": str(error)})
    head_row = _head({**stamp, **about, "_state": "read", "_records": len(rows)})
    fixed = [pl.lit(v, dtype=SCHEMA[c]).alias(c) for c, v in stamp.items()]
    rows = rows.with_columns(
        pl.lit("row").alias("_part"), pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("_record"), *fixed
    )
    return pl.concat([head_row, rows], how="diagonal")


def _head(values: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame([{"_part": "head", **values}], schema=HEAD)


def _next(head: dict[str, object] | None) -> int:
    return 1 if head is None else int(str(head["_generation"])) + 1


def _same(found: Identity | None, head: dict[str, object] | None) -> bool:
    if head is None or found is None:
        return found is None and (head is None or head["_state"] == "gone")
    seen = (head["_object_version"], head["_etag"], head["_size"], head["_modified"])
    return head["_state"] != "gone" and seen == (found.version, found.etag, found.size, found.modified)


def current(raw: Table, dataset: Dataset, objects: Iterable[str] | None = None) -> pl.LazyFrame:
    """The rows of each object's current generation. With `on_delete="keep"` a removal leaves the last content."""
    known = heads(raw)
    if dataset.on_delete == "keep":
        known = known.filter(pl.col("_state") != "gone")
    newest = known.filter(pl.col("_generation") == pl.col("_generation").max().over("_object"))
    rows = raw.scan().filter(pl.col("_part") == "row")
    if objects is not None:
        rows = rows.filter(pl.col("_object").is_in(list(objects)))
    return rows.join(newest.select("_object", "_generation"), on=["_object", "_generation"], how="semi")
