"""generations → files of raw: a sheet of records is written while those after it are still read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import chain

import polars as pl

from lakehouse.lake.table import Table, Written, framed
from lakehouse.landing.refusal import Unreadable
from lakehouse.layers.generation import Generation, Head, refusal
from lakehouse.layers.raw import HEAD, KEY
from lakehouse.layers.rescued import Columns

SHEET = 32 << 20
"""Bytes of records that make a file, as Polars estimates them: of most kinds about what a data file is to have."""
STAMP = ["_object", "_object_version", "_generation", "_modified", "_run", "_ingested_at"]


@dataclass(frozen=True)
class Slip:
    """Some of an object's records; `first` is the number of the first of them."""

    head: Head
    records: pl.DataFrame
    first: int


@dataclass
class Sheets:
    """The files of one commit, as far as they are begun. What raises leaves them to vacuum.

    `before`: the file that is written before these, if any.
    """

    raw: Table
    pool: ThreadPoolExecutor
    columns: Columns
    slips: list[Slip] = field(default_factory=list)
    taken: int = 0
    files: list[Future[Written]] = field(default_factory=list)
    before: Sequence[Future[Written]] = ()

    def take(self, one: Generation) -> list[Head]:
        """The heads of an object, and of what is in it, whose records are added."""
        if one.inside is not None:
            return self.add_archive(one.head["_object"], one.inside)
        if one.further is not None:
            return [self.add_all(one.head, one.further)]
        self.add(one.head, one.records, 1)
        return [one.head]

    def add(self, head: Head, records: pl.DataFrame, first: int) -> None:
        if len(records):
            self.slips.append(Slip(head, records, first))
            self.taken += int(records.estimated_size())
        if self.taken >= SHEET:
            self.turn()

    def add_all(self, head: Head, frames: Iterable[pl.DataFrame]) -> Head:
        """Add records as they come, on sheets of their own; gives the head that counts them.

        Where they cannot be read to their end, none is added, and the head says why.
        """
        own, count = self.apart(), 0
        try:
            for records in frames:
                own.add(head, records, count + 1)
                count += len(records)
        except Unreadable as error:
            return refusal(head, error).head
        self.join(own)
        return {**head, "_records": count}

    def add_archive(self, key: str, inside: Iterable[Generation]) -> list[Head]:
        """Add what is in an archive as it comes: no more than one member is in memory beside the sheets.

        Where the archive is refused, none of its members is added, nor is there a head of one that came before.
        """
        own, heads, whole = self.apart(), list[Head](), True
        for head in chain.from_iterable(map(own.take, inside)):
            if head["_object"] == key and head["_state"] == "refused":
                heads, whole = [], False
            heads.append(head)
        if whole:
            self.join(own)
        return heads

    def apart(self) -> Sheets:
        """Sheets of their own, which can be left out, and the columns that they bring."""
        return Sheets(self.raw, self.pool, deepcopy(self.columns), before=self._last())

    def join(self, others: Sheets) -> None:
        self.columns = others.columns
        self.files += others.files
        self.slips += others.slips
        self.taken += others.taken
        if self.taken >= SHEET:
            self.turn()

    def turn(self) -> None:
        """Have the sheet written, once the one before it is: no more than two are in memory, and one begun."""
        if self.slips:
            for last in self._last():
                last.result()
            parts = [*fitted(self.columns, self.slips)]
            self.files.append(self.pool.submit(_write, self.raw, parts))
        self.slips, self.taken = [], 0

    def _last(self) -> Sequence[Future[Written]]:
        return [*self.before, *self.files][-1:]


def lay(raw: Table, generations: Iterable[Generation]) -> tuple[list[Head], list[Written]]:
    """The heads, and the files of their records, for one commit to add."""
    with ThreadPoolExecutor(1) as pool:
        sheets = Sheets(raw, pool, Columns(raw.kinds))
        heads = [*chain.from_iterable(map(sheets.take, generations))]
        sheets.turn()
        return heads, [file.result() for file in sheets.files]


def fitted(columns: Columns, slips: Sequence[Slip]) -> Iterator[pl.DataFrame]:
    """The records in the table's columns, each with what it says of its own.

    Those of one kind become one frame before anything is done to them: the cost of a frame is paid by kinds of
    file, not by files.
    """
    kinds: dict[tuple[object, ...], list[Slip]] = {}
    for slip in slips:
        kinds.setdefault((*slip.records.columns, *slip.records.dtypes), []).append(slip)
    for alike in kinds.values():
        yield columns.fit(pl.concat([slip.records for slip in alike])).hstack(_stamps(alike))


def _write(raw: Table, parts: Sequence[pl.DataFrame]) -> Written:
    return raw.write(pl.concat(parts, how="diagonal"), KEY, {"_part": "row"})


def _stamps(slips: Sequence[Slip]) -> list[pl.Series]:
    """What every record says of its own, in order."""
    heads = framed([slip.head for slip in slips], {c: HEAD[c] for c in STAMP})
    begins = pl.Series([slip.first for slip in slips], dtype=pl.Int64)
    ends = begins + pl.Series([len(slip.records) for slip in slips], dtype=pl.Int64)
    numbered = heads.with_columns(pl.int_ranges(begins, ends).alias("_record"))
    return numbered.explode("_record").get_columns()
