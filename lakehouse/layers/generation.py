"""object → its next generation: a head row, and its records if it could be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from lakehouse.landing.objects import Bucket, Identity, Unreachable
from lakehouse.landing.readers import Unreadable, read
from lakehouse.layers.raw import HEAD, PASSING, SCHEMA, WITHHELD

Head = dict[str, Any]
STAMP = ["_object", "_object_version", "_generation", "_modified", "_run", "_ingested_at"]


@dataclass(frozen=True)
class Generation:
    """What an object is now."""

    head: Head
    records: pl.DataFrame = field(default_factory=pl.DataFrame)


def next_generation(bucket: Bucket, key: str, last: Head | None, run: str) -> Generation | None:
    """The object's next generation; None if it is as its last head says."""
    try:
        got = bucket.get(key)
    except Unreachable as error:
        return Generation({**began(key, last, run), "_state": WITHHELD, "_reason": str(error)})
    if same(got[0] if got else None, last):
        return None
    if got is None:
        return None if last is None else Generation({**began(key, last, run), "_state": "gone"})
    identity, body = got
    try:
        records = read(key, body)
    except Unreadable as error:
        return refused(identity, last, run, str(error))
    head = {**began(key, last, run), **content(identity), "_state": "read", "_records": len(records)}
    return Generation(head, records)


def refused(identity: Identity, last: Head | None, run: str, reason: str) -> Generation:
    told = {"_state": "refused", "_records": 0, "_reason": reason}
    return Generation({**began(identity.key, last, run), **content(identity), **told})


def began(key: str, last: Head | None, run: str) -> Head:
    """What the head of a generation says whatever the object is."""
    number = 1 if last is None else int(last["_generation"]) + 1
    return {"_object": key, "_generation": number, "_run": run, "_ingested_at": datetime.now(UTC)}


def content(identity: Identity) -> Head:
    """What a head says of the content that it stands for."""
    found = {"_object_version": identity.version, "_modified": identity.modified}
    return {**found, "_etag": identity.etag, "_size": identity.size}


def same(found: Identity | None, last: Head | None) -> bool:
    """Whether the object is as its last head says."""
    if last is None or found is None:
        return found is None and (last is None or last["_state"] == "gone")
    return last["_state"] not in ("gone", *PASSING) and is_of(found, last)


def is_of(found: Identity, head: Head) -> bool:
    """Whether the head stands for this very content."""
    return all(head[column] == value for column, value in content(found).items())


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


def _one_spelling(columns: list[str], frames: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Column names as the table or an earlier file spelled them: Delta tells no upper from lower case."""
    known = {c.lower(): c for c in columns}
    return [f.rename({c: known.setdefault(c.lower(), c) for c in f.columns}) for f in frames]


def _stamps(heads: pl.DataFrame, numbers: list[int]) -> list[pl.Series]:
    """What every record of some generations says of its own, in order."""
    mine = heads[numbers].select(*STAMP, pl.int_ranges(1, pl.col("_records") + 1).alias("_record"))
    return mine.explode("_record").with_columns(pl.lit("row").alias("_part")).get_columns()
