"""object → its next generation: a head row, and its records if it could be read.

Each member of an archive has a generation of its own, `a.zip!/b.csv`, numbered as the archive's, and so has each
sheet of a workbook, `a.xlsx!/Sheet1`. What an earlier generation had and the next lacks is read as empty: its rows
leave, whatever a deletion would do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.formats import Excel, Format
from lakehouse.lake.table import framed
from lakehouse.landing import packing
from lakehouse.landing.content import Body, check_size, unwrapped
from lakehouse.landing.events import ignorable
from lakehouse.landing.objects import Bucket, Identity, Unreachable
from lakehouse.landing.readers import Unreadable, read, read_content, read_pieces, read_together
from lakehouse.landing.removals import REMOVED, Removal
from lakehouse.landing.workbook import is_workbook, sheets
from lakehouse.layers.raw import HEAD, PASSING, WITHHELD

Head = dict[str, Any]


@dataclass(frozen=True)
class Generation:
    """What an object is now. `further`: more records, still to be read, which the head does not count."""

    head: Head
    records: pl.DataFrame = field(default_factory=pl.DataFrame)
    further: Iterator[pl.DataFrame] | None = None


@dataclass(frozen=True)
class Known:
    """What raw knows of an object: its last head and, if it was an archive, those of its members by their keys."""

    last: Head | None = None
    members: Mapping[str, Head] = field(default_factory=dict)


@dataclass(frozen=True)
class Differing:
    """An object that is not as its last head says. `size` is 0 if it is gone; `removal`: why it is."""

    key: str
    known: Known
    size: int
    removal: Removal | None = None


@dataclass(frozen=True)
class Got:
    """An object as it is, still to be read, and the head of its next generation."""

    known: Known
    head: Head
    identity: Identity
    body: bytes | Body


def next_generations(bucket: Bucket, dataset: Dataset, objects: Sequence[Differing], run: str) -> list[Generation]:
    """The objects' next generations, and their members', in order; none of one that is as its last head says."""
    found = [_got(bucket, dataset, one, run) for one in objects]
    got = [one for one in found if isinstance(one, Got)]
    few = {} if dataset.reader else {one.identity.key: one.body for one in got if isinstance(one.body, bytes)}
    records = dict(zip(few, read_together([*few.items()], dataset.format), strict=True))
    told = [_opened(bucket, dataset, one, records) if isinstance(one, Got) else one for one in found]
    return [part for parts in told for part in parts]


def _got(bucket: Bucket, dataset: Dataset, one: Differing, run: str) -> Got | list[Generation]:
    last = one.known.last
    try:
        got = bucket.get(one.key)
    except Unreachable as error:
        return [Generation({**began(one.key, last, run), "_state": WITHHELD, "_reason": str(error)})]
    if same(got[0] if got else None, last, dataset.reading, one.removal):
        return []
    if got is None:
        members = [k for k, head in one.known.members.items() if not _gone_so(head, one.removal)]
        gone = [one.key, *members] if last else []
        return [Generation({**began(one.key, last, run), "_object": k, **_removed(one.removal)}) for k in gone]
    identity, body = got
    head = {**began(one.key, last, run), **content(identity, dataset.reading)}
    if identity.emptied:
        return [refusal(head, Unreadable("an erasure left nothing of it, and nothing of it had been read here"))]
    return Got(one.known, head, identity, body)


def refused(identity: Identity, known: Known, run: str, reading: str, reason: str) -> list[Generation]:
    """The next generation of an object that is not to be read, and those of the members that it had."""
    head = {**began(identity.key, known.last, run), **content(identity, reading)}
    return _with_left(head, known, [refusal(head, Unreadable(reason))])


def _with_left(head: Head, known: Known, opened: list[Generation]) -> list[Generation]:
    """The generations, and an empty one of each known member that is not among them."""
    there = {one.head["_object"] for one in opened}
    empty = {"_state": "read", "_records": 0, "_size": 0, "_reason": f"no longer in {head['_object']}"}
    left = [k for k, was in known.members.items() if k not in there and not _is_empty(was)]
    return opened + [Generation({**head, **empty, "_object": k}) for k in left]


def _opened(
    bucket: Bucket, dataset: Dataset, one: Got, records: Mapping[str, pl.DataFrame | None]
) -> list[Generation]:
    """`records`: those of the objects that were read together."""
    try:
        opened = _parts(bucket, dataset, one, records.get(one.identity.key))
    except Unreadable as error:
        opened = [refusal(one.head, error)]
    return _with_left(one.head, one.known, opened)


def _parts(bucket: Bucket, dataset: Dataset, one: Got, records: pl.DataFrame | None) -> list[Generation]:
    if records is not None:
        return [_told(one.head, records)]
    if dataset.reader:
        check_size(one.identity.size)
        body = one.body if isinstance(one.body, bytes) else one.body.read(one.identity.size)
        return [_told(one.head, dataset.reader(bucket, one.identity, body))]
    budget = packing.Budget()
    content = unwrapped(one.identity.key, one.body, budget)
    if packing.is_archive(content.begin):
        body = content.whole()
        return (_sheets if is_workbook(body) else _members)(one.head, body, dataset.format)
    if content.rest is None:
        return [_told(one.head, read_content(content, dataset.format, budget))]
    return [replace(_told(one.head, pl.DataFrame()), further=read_pieces(content, dataset.format))]


def _is_empty(head: Head) -> bool:
    return bool(head["_state"] == "read" and head["_records"] == 0)


def _read(head: Head, key: str, body: bytes, form: Format | None, budget: packing.Budget) -> Generation:
    try:
        records = read(key, body, form, budget)
    except packing.Overrun:
        raise
    except Unreadable as error:
        return refusal(head, error)
    return _told(head, records)


def _told(head: Head, records: pl.DataFrame) -> Generation:
    return Generation({**head, "_state": "read", "_records": len(records)}, records)


def refusal(head: Head, reason: Unreadable) -> Generation:
    return Generation({**head, "_state": "refused", "_records": 0, "_reason": str(reason)})


def _members(head: Head, body: bytes, form: Format | None) -> list[Generation]:
    """The archive's own generation, which has no records, and one of each member."""
    found, aside, doubled, budget = [], 0, 0, packing.Budget()
    for name, content in packing.members(body, budget):
        if ignorable(name):
            aside += 1
            continue
        if content is None:
            doubled += 1
            continue
        mine = _inside(head, name)
        if isinstance(content, Unreadable):
            found.append(refusal(mine, content))
        else:
            found.append(_read({**mine, "_size": len(content)}, name, content, form, budget))
    counts = {"hidden or temporary members": aside, "members that later ones of their names replace": doubled}
    told = "; ".join(f"{count} {what} left aside" for what, count in counts.items() if count)
    return [Generation({**head, "_state": "read", "_records": 0, "_reason": told or None}), *found]


def _sheets(head: Head, body: bytes, form: Format | None) -> list[Generation]:
    """A workbook's own generation, which has no records, and one of each sheet."""
    if not isinstance(form, Excel | None):
        raise Unreadable(f"declared as {type(form).__name__}, its content is Excel")
    found = []
    for name, rows in sheets(body, packing.Budget(), form or Excel()):
        mine = _inside(head, name)
        if isinstance(rows, Unreadable):
            found.append(refusal(mine, rows))
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

    Of one that is gone also why, if that is known now. One that an erasure emptied says nothing new.
    """
    if last is None or found is None:
        return found is None and (last is None or _gone_so(last, removal))
    if found.emptied:
        return True
    return last["_state"] not in (*REMOVED, *PASSING) and is_of(found, last, reading)


def _gone_so(last: Head, removal: Removal | None) -> bool:
    return last["_state"] in REMOVED and (removal is None or removal.name == last["_reason"])


def is_of(found: Identity, head: Head, reading: str) -> bool:
    """Whether the head stands for this very content, read so."""
    return all(head[column] == value for column, value in content(found, reading).items())


def head_rows(heads: Sequence[Head]) -> pl.DataFrame:
    """Heads as rows of raw."""
    return framed([{"_part": "head", **head} for head in heads], HEAD)
