"""object → its next generation: a head row, and its records if it could be read.

Each member of an archive has a generation of its own, `a.zip!/b.csv`, numbered as the archive's, and so has each
sheet of a workbook, `a.xlsx!/Sheet1`. What an earlier generation had and the next lacks is read as empty: its rows
leave, whatever a deletion would do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.formats import Excel, Format
from lakehouse.landing import packing
from lakehouse.landing.events import ignorable
from lakehouse.landing.objects import Bucket, Identity, Unreachable
from lakehouse.landing.readers import Unreadable, read, unwrapped
from lakehouse.landing.removals import REMOVED, Removal
from lakehouse.landing.workbook import is_workbook, sheets
from lakehouse.layers.raw import HEAD, PASSING, SCHEMA, WITHHELD
from lakehouse.layers.rescued import fitted

Head = dict[str, Any]
STAMP = ["_object", "_object_version", "_generation", "_modified", "_run", "_ingested_at"]


@dataclass(frozen=True)
class Generation:
    """What an object is now."""

    head: Head
    records: pl.DataFrame = field(default_factory=pl.DataFrame)


@dataclass(frozen=True)
class Known:
    """What raw knows of an object: its last head and, if it was an archive, those of its members by their keys."""

    last: Head | None = None
    members: Mapping[str, Head] = field(default_factory=dict)


def next_generations(
    bucket: Bucket, dataset: Dataset, key: str, known: Known, run: str, removal: Removal | None = None
) -> list[Generation]:
    """The object's next generation, and its members'; none if it is as its last head says.

    `removal`: why it is gone, if it is.
    """
    last = known.last
    try:
        got = bucket.get(key)
    except Unreachable as error:
        return [Generation({**began(key, last, run), "_state": WITHHELD, "_reason": str(error)})]
    if same(got[0] if got else None, last, dataset.reading, removal):
        return []
    if got is None:
        gone = [key, *(k for k, head in known.members.items() if not _gone_so(head, removal))] if last else []
        return [Generation({**began(key, last, run), "_object": k, **_removed(removal)}) for k in gone]
    identity, body = got
    head = {**began(key, last, run), **content(identity, dataset.reading)}
    try:
        opened = _opened(bucket, dataset, identity, head, body)
    except Unreadable as error:
        opened = [_refused(head, error)]
    return _with_left(head, known, opened)


def refused(identity: Identity, known: Known, run: str, reading: str, reason: str) -> list[Generation]:
    """The next generation of an object that is not to be read, and those of the members that it had."""
    head = {**began(identity.key, known.last, run), **content(identity, reading)}
    return _with_left(head, known, [_refused(head, Unreadable(reason))])


def _with_left(head: Head, known: Known, opened: list[Generation]) -> list[Generation]:
    """The generations, and an empty one of each known member that is not among them."""
    there = {one.head["_object"] for one in opened}
    empty = {"_state": "read", "_records": 0, "_size": 0, "_reason": f"no longer in {head['_object']}"}
    left = [k for k, was in known.members.items() if k not in there and not _is_empty(was)]
    return opened + [Generation({**head, **empty, "_object": k}) for k in left]


def _opened(bucket: Bucket, dataset: Dataset, identity: Identity, head: Head, body: bytes) -> list[Generation]:
    if dataset.reader:
        return [_told(head, dataset.reader(bucket, identity, body))]
    _, plain = unwrapped(identity.key, body, packing.Budget())
    if packing.is_archive(plain):
        return (_sheets if is_workbook(plain) else _members)(head, plain, dataset.format)
    return [_read(head, identity.key, body, dataset.format, packing.Budget())]


def _is_empty(head: Head) -> bool:
    return bool(head["_state"] == "read" and head["_records"] == 0)


def _read(head: Head, key: str, body: bytes, form: Format | None, budget: packing.Budget) -> Generation:
    try:
        records = read(key, body, form, budget)
    except packing.Overrun:
        raise
    except Unreadable as error:
        return _refused(head, error)
    return _told(head, records)


def _told(head: Head, records: pl.DataFrame) -> Generation:
    return Generation({**head, "_state": "read", "_records": len(records)}, records)


def _refused(head: Head, reason: Unreadable) -> Generation:
    return Generation({**head, "_state": "refused", "_records": 0, "_reason": str(reason)})


def _members(head: Head, body: bytes, form: Format | None) -> list[Generation]:
    """The archive's own generation, which has no records, and one of each member."""
    found, aside, budget = [], 0, packing.Budget()
    for name, content in packing.members(body, budget):
        if ignorable(name):
            aside += 1
            continue
        mine = _inside(head, name)
        if isinstance(content, Unreadable):
            found.append(_refused(mine, content))
        else:
            found.append(_read({**mine, "_size": len(content)}, name, content, form, budget))
    told = {"_reason": f"{aside} hidden or temporary members left aside"} if aside else {}
    return [Generation({**head, "_state": "read", "_records": 0, **told}), *found]


def _sheets(head: Head, body: bytes, form: Format | None) -> list[Generation]:
    """A workbook's own generation, which has no records, and one of each sheet."""
    if not isinstance(form, Excel | None):
        raise Unreadable(f"declared as {type(form).__name__}, its content is Excel")
    found = []
    for name, rows in sheets(body, packing.Budget(), form or Excel()):
        mine = _inside(head, name)
        if isinstance(rows, Unreadable):
            found.append(_refused(mine, rows))
        else:
            found.append(_told({**mine, "_size": int(rows.estimated_size())}, rows))
    return [Generation({**head, "_state": "read", "_records": 0}), *found]


def _inside(head: Head, name: str) -> Head:
    return {**head, "_object": f"{head['_object']}{packing.INSIDE}{name}", "_size": 0}


def _removed(removal: Removal | None) -> Head:
    if removal is None:
        return {"_state": "gone"}
    return {"_state": removal.state, "_reason": removal.name, "_modified": removal.at}


def began(key: str, last: Head | None, run: str) -> Head:
    """What the head of a generation says whatever the object is."""
    number = 1 if last is None else int(last["_generation"]) + 1
    return {"_object": key, "_generation": number, "_run": run, "_ingested_at": datetime.now(UTC)}


def content(identity: Identity, reading: str) -> Head:
    """What a head says of the content that it stands for, and of how it was read."""
    found = {"_object_version": identity.version, "_modified": identity.modified}
    return {**found, "_etag": identity.etag, "_size": identity.size, "_reading": reading or None}


def same(found: Identity | None, last: Head | None, reading: str, removal: Removal | None = None) -> bool:
    """Whether the object is as its last head says, and was read as it is now to be.

    Of one that is gone also why, if that is known now.
    """
    if last is None or found is None:
        return found is None and (last is None or _gone_so(last, removal))
    return last["_state"] not in (*REMOVED, *PASSING) and is_of(found, last, reading)


def _gone_so(last: Head, removal: Removal | None) -> bool:
    return last["_state"] in REMOVED and (removal is None or removal.name == last["_reason"])


def is_of(found: Identity, head: Head, reading: str) -> bool:
    """Whether the head stands for this very content, read so."""
    return all(head[column] == value for column, value in content(found, reading).items())


def table_rows(generations: Sequence[Generation], columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Heads and records as the rows of raw; `columns` are those that it has already, with their types.

    The records of files that are alike become one frame before anything is added to them: the cost of a frame
    is paid by kinds of file, not by files.
    """
    heads = pl.DataFrame([{"_part": "head", **one.head} for one in generations], schema=HEAD)
    full = [number for number, one in enumerate(generations) if len(one.records)]
    frames = fitted([generations[number].records for number in full], columns)
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
