"""The raw table of a dataset: rows as they came, and one head row an object generation."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.globs import claimed
from lakehouse.lake import Lake, Table
from lakehouse.lake.hop import cursor_at
from lakehouse.lake.table import schema
from lakehouse.landing import inbox
from lakehouse.landing.objects import Bucket
from lakehouse.landing.packing import INSIDE
from lakehouse.landing.removals import REMOVED

BATCH = 1000
"""Objects a commit."""
BYTES = 256 << 20
"""Bytes of objects a commit, as they lie in the bucket. A larger one is a batch alone."""
CODE = "raw"
LOOKERS = 8
TRYING, SPARED, WITHHELD = "trying", "spared", "withheld"
PASSING = (TRYING, SPARED, WITHHELD)
"""States of heads that say nothing of an object's content: what stood before them stands."""
RECALL = "recall"
"""The mark that tells when the next withheld object is to be asked for again, in epoch seconds; 0: never."""
FLOOR = "generation"
"""The mark above which generations are numbered: those that a restore took back live on in what follows raw."""
SOONEST, LATEST = timedelta(minutes=10), timedelta(hours=6)
TIME = pl.Datetime("us", "UTC")
KEY = ["_object", "_generation", "_record"]
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
        "_reading": pl.String,
    }
)
SCHEMA = schema({**HEAD, "_record": pl.Int64, "_text": pl.String, "_bad": pl.String})


def name(dataset: str) -> str:
    return f"raw/{dataset}"


def open_raw(lake: Lake, dataset: str) -> Table:
    return lake.ensure(name(dataset), SCHEMA, partition_by=["_part"])


def code(dataset: Dataset) -> str:
    """What a cursor of raw says of how its objects were read."""
    return f"{CODE} {dataset.reading}".rstrip()


def records(raw: Table) -> int:
    """How many rows there are, of every generation, its heads aside."""
    return raw.counted("_part", "row")


def heads(raw: Table) -> pl.LazyFrame:
    """The head rows. A table that was made before a column of theirs was thought of has none of it."""
    later = [pl.lit(None, dtype=HEAD[c]).alias(c) for c in HEAD if c not in raw.columns]
    return raw.scan().filter(pl.col("_part") == "head").with_columns(later).select(list(HEAD))


def last_heads(raw: Table, objects: Iterable[str] | None = None) -> pl.LazyFrame:
    """One row an object: its newest generation."""
    known = heads(raw)
    if objects is not None:
        known = known.filter(pl.col("_object").is_in(list(objects)))
    return known.filter(pl.col("_generation") == pl.col("_generation").max().over("_object"))


def members(raw: Table, archives: Collection[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """The last heads of what lies in some archives: by archive, by key."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    if not archives:
        return found
    within = pl.col("_object").str.contains_any([f"{key}{INSIDE}" for key in archives])
    for head in last_heads(raw).filter(within).collect().to_dicts():
        parts = head["_object"].split(INSIDE)
        for archive in {INSIDE.join(parts[:end]) for end in range(1, len(parts))}.intersection(archives):
            found.setdefault(archive, {})[head["_object"]] = head
    return found


def current(raw: Table, dataset: Dataset, objects: Iterable[str] | None = None) -> pl.LazyFrame:
    """The rows of each object's current generation. Where a removal is kept, the last content stands."""
    heads, rows = current_heads(raw, dataset), raw.scan().filter(pl.col("_part") == "row")
    if objects is not None:
        mine = pl.col("_object").is_in(list(objects))
        heads, rows = heads.filter(mine), rows.filter(mine)
    newest = heads.select("_object", "_generation")
    return rows.join(newest, on=["_object", "_generation"], how="semi")


def current_heads(raw: Table, dataset: Dataset) -> pl.LazyFrame:
    """The head of each object's current generation."""
    known = telling(raw, dataset)
    return known.filter(pl.col("_generation") == pl.col("_generation").max().over("_object"))


def telling(raw: Table, dataset: Dataset) -> pl.LazyFrame:
    """The heads that say what rows an object has, or that it has none; of the objects that the dataset now claims.

    Of removals in a row the last tells why: those before it knew less.
    """
    mine = pl.col("_object").str.contains(claimed(dataset.landing))
    known = heads(raw).filter(mine & ~pl.col("_state").is_in(PASSING))
    follows = pl.col("_state").shift(-1).over("_object", order_by="_generation").is_in(REMOVED).fill_null(False)
    mended = pl.col("_state").is_in(REMOVED) & follows
    return known.filter(~mended & ~pl.col("_state").is_in(kept(dataset)))


def kept(dataset: Dataset) -> list[str]:
    """The removals that leave an object's rows as they are."""
    declared = {"gone": dataset.on_delete, "expired": dataset.on_expiry}
    return [state for state in REMOVED if declared[state] == "keep"]


def silent(dataset: Dataset) -> list[str]:
    """The states of heads whose coming changes nothing: not those that can mend what one before them said."""
    return [*PASSING, *(REMOVED if len(kept(dataset)) == len(REMOVED) else ())]


def refused_heads(raw: Table) -> pl.LazyFrame:
    """One row an object that could not be read: refused, or withheld by S3."""
    told = heads(raw).filter(~pl.col("_state").is_in([TRYING, SPARED]))
    newest = told.filter(pl.col("_generation") == pl.col("_generation").max().over("_object"))
    return newest.filter(pl.col("_state").is_in(["refused", WITHHELD]))


def withheld(raw: Table) -> pl.LazyFrame:
    """One row an object that S3 withholds: `_object`, and `at`, when to ask for it again.

    The pause grows with the time for which it has been withheld.
    """
    return _withheld(heads(raw))


def _withheld(known: pl.LazyFrame) -> pl.LazyFrame:
    settled = pl.when(~pl.col("_state").is_in(PASSING)).then("_generation").max().over("_object").fill_null(0)
    since = known.filter(pl.col("_generation") > settled).sort("_object", "_generation")
    last = pl.col("_ingested_at").last()
    pause = (last - pl.col("_ingested_at").first()).clip(SOONEST, LATEST)
    asked = since.group_by("_object").agg(pl.col("_state").last(), at=last + pause)
    return asked.filter(pl.col("_state") == WITHHELD).select("_object", "at")


def lag(lake: Lake, dataset: Dataset) -> int:
    """Events in the inbox that raw has not read, for this dataset alone. Told from the two logs.

    All of them, where they were read otherwise than this dataset reads.
    """
    box = lake.open(inbox.NAME)
    if box is None:
        return 0
    part = inbox.of(box, dataset.name)
    raw = lake.open(name(dataset.name))
    cursor = raw.cursor(inbox.NAME) if raw else None
    known = cursor.rows if cursor and cursor.stamp == cursor_at(part, code(dataset)).stamp else 0
    return abs((part.rows or 0) - (known or 0))


def put_back(now: Table, past: Table) -> dict[str, int]:
    """The marks that raw has once it stands as in the past."""
    highest = heads(now).select(pl.col("_generation").max()).collect().item() or 0
    told = {FLOOR: max(int(highest), now.mark(FLOOR) or 0)}
    return told if now.mark(RECALL) is None else {**told, RECALL: past.mark(RECALL) or 0}


def irreplaceable(now: Table, past: Table, dataset: Dataset, bucket: Bucket) -> list[str]:
    """The objects that were read since and are gone from the bucket, where their rows are to stay: restored, raw
    could not read them again.
    """
    if not kept(dataset):
        return []
    then = last_heads(past).select("_object", "_generation")
    moved = last_heads(now).join(then, on=["_object", "_generation"], how="anti")
    read = heads(now).filter((pl.col("_state") == "read") & ~pl.col("_object").str.contains(INSIDE, literal=True))
    found = read.join(moved, on="_object", how="semi").select("_object").unique().sort("_object").collect()
    keys = found["_object"].to_list()
    with ThreadPoolExecutor(LOOKERS) as pool:
        return [key for key, look in zip(keys, pool.map(bucket.look, keys), strict=True) if look is None]


def recalls(raw: Table) -> bool:
    """Whether it is time to ask again for an object that S3 withheld. Told from the log."""
    return 0 < (raw.mark(RECALL) or 0) <= time.time()


def recall_at(raw: Table, now: pl.DataFrame) -> int:
    """What the mark is to say once the heads `now` stand."""
    first = _withheld(pl.concat([heads(raw), now.lazy().select(list(HEAD))])).select(pl.col("at").min())
    at = first.collect().item()
    return int(at.timestamp()) + 1 if at else 0
