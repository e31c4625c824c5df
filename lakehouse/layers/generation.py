"""object → its next generation: a head row, and its records if it could be read.

Each member of an archive has a generation of its own, `a.zip!/b.csv`, numbered as the archive's, and so has each
sheet of a workbook, `a.xlsx!/Sheet1`. What an earlier generation had and the next lacks is read as empty: its rows
leave, whatever a deletion would do. Members are read one by one, while those before them are written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import IO, Any

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.formats import Excel, Format
from lakehouse.lake.table import framed
from lakehouse.landing import packing
from lakehouse.landing.content import Body, Content, check_size, unwrapped
from lakehouse.landing.events import ignorable
from lakehouse.landing.objects import Bucket, Identity, Unreachable
from lakehouse.landing.readers import Unreadable, read, read_content, read_pieces, read_together
from lakehouse.landing.removals import REMOVED, Removal
from lakehouse.landing.workbook import is_workbook, sheets
from lakehouse.layers.raw import HEAD, PASSING, WITHHELD

Head = dict[str, Any]
Parts = Generator["Generation", None, tuple["Generation", set[str]]]
"""The generations of an archive's members; at its end the archive's own, and the members' keys."""


@dataclass(frozen=True)
class Generation:
    """What an object is now. `further`: more records, still to be read, which the head does not count.

    `inside`: of an archive, still to be read, its members' generations, its own, and those of members that it no
    longer has. Where its own is refused, none before it counts.
    """

    head: Head
    records: pl.DataFrame = field(default_factory=pl.DataFrame)
    further: Iterator[pl.DataFrame] | None = None
    inside: Iterator[Generation] | None = None


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
    return [refusal(head, Unreadable(reason)), *_left(head, known, ())]


def _left(head: Head, known: Known, there: Collection[str]) -> list[Generation]:
    """An empty generation of each known member that is not there."""
    empty = {"_state": "read", "_records": 0, "_size": 0, "_reason": f"no longer in {head['_object']}"}
    left = [k for k, was in known.members.items() if k not in there and not _is_empty(was)]
    return [Generation({**head, **empty, "_object": k}) for k in left]


def _opened(
    bucket: Bucket, dataset: Dataset, one: Got, records: Mapping[str, pl.DataFrame | None]
) -> list[Generation]:
    """`records`: those of the objects that were read together."""
    try:
        opened = _whole(bucket, dataset, one, records.get(one.identity.key))
    except Unreadable as error:
        opened = refusal(one.head, error)
    return [opened, *(_left(one.head, one.known, ()) if opened.inside is None else ())]


def _whole(bucket: Bucket, dataset: Dataset, one: Got, records: pl.DataFrame | None) -> Generation:
    if records is not None:
        return _told(one.head, records)
    if dataset.reader:
        check_size(one.identity.size)
        body = one.body if isinstance(one.body, bytes) else one.body.read(one.identity.size)
        return _told(one.head, dataset.reader(bucket, one.identity, body))
    budget = packing.Budget()
    content = unwrapped(one.identity.key, one.body, budget)
    if packing.is_archive(content.begin):
        return Generation(one.head, inside=_parts(one, content, dataset.format))
    if content.rest is None:
        return _told(one.head, read_content(content, dataset.format, budget))
    return replace(_told(one.head, pl.DataFrame()), further=read_pieces(content, dataset.format))


def _is_empty(head: Head) -> bool:
    return bool(head["_state"] == "read" and head["_records"] == 0)


def _parts(one: Got, content: Content, form: Format | None) -> Iterator[Generation]:
    there = set[str]()
    try:
        with content.file() as file:
            own, there = yield from (_sheets if is_workbook(file) else _members)(one.head, file, form)
    except Unreadable as error:
        own = refusal(one.head, error)
    yield own
    yield from _left(one.head, one.known, there)


def _read(
    head: Head, key: str, content: Callable[[], bytes], form: Format | None, budget: packing.Budget
) -> Generation:
    try:
        body = content()
        head = {**head, "_size": len(body)}
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


def _members(head: Head, file: IO[bytes], form: Format | None) -> Parts:
    aside, doubled, there, budget = 0, 0, set[str](), packing.Budget()
    for name, content in packing.members(file, budget):
        if ignorable(name):
            aside += 1
        elif content is None:
            doubled += 1
        else:
            mine = _inside(head, name)
            there.add(mine["_object"])
            yield _read(mine, name, content, form, budget)
    counts = {"hidden or temporary members": aside, "members that later ones of their names replace": doubled}
    told = "; ".join(f"{count} {what} left aside" for what, count in counts.items() if count)
    return Generation({**head, "_state": "read", "_records": 0, "_reason": told or None}), there


def _sheets(head: Head, file: IO[bytes], form: Format | None) -> Parts:
    if not isinstance(form, Excel | None):
        raise Unreadable(f"declared as {type(form).__name__}, its content is Excel")
    file.seek(0)
    there = set[str]()
    for name, rows in sheets(file.read(), packing.Budget(), form or Excel()):
        mine = _inside(head, name)
        there.add(mine["_object"])
        if isinstance(rows, Unreadable):
            yield refusal(mine, rows)
        else:
            yield _told({**mine, "_size": int(rows.estimated_size())}, rows)
    return Generation({**head, "_state": "read", "_records": 0}), there


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
