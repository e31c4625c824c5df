"""text of a record a line → rows: what is alike is parsed at once, and the rest record by record."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from typing import Any, AnyStr

import numpy as np
import polars as pl

from lakehouse.landing.ahead import ahead
from lakehouse.landing.encoding import recoded
from lakehouse.landing.refusal import Unreadable

LONGEST = 64 << 20
"""Bytes of one record of a file that is read in pieces."""
PARSERS = 2
"""Pieces of one file that are parsed at a time."""


@dataclass(frozen=True)
class Lined:
    """A format whose records end with their lines. `form`: its own, where none is declared.

    `begun`: of a file's bytes what its records are to be read by, and these in UTF-8, each with its line's end.
    `at_once`: a row a line; None where that is not so, or wants a closer look. `each`: whatever the records are.
    `open`: of records, all but the last of which are whole, that last one if it may go on in the next line.
    """

    form: Any
    begun: Callable[[bytes, Any], tuple[Hashable, bytes]]
    at_once: Callable[[bytes, Any], pl.DataFrame | None]
    each: Callable[[bytes, Any], pl.DataFrame]
    open: Callable[[bytes, Any], bytes] = lambda _, kind: b""

    def read(self, body: bytes, form: Any) -> pl.DataFrame:
        kind, records = self.begun(body, form)
        rows = self.at_once(records, kind)
        return self.each(records, kind) if rows is None else rows

    def read_pieces(self, pieces: Iterator[bytes], form: Any) -> Iterator[pl.DataFrame]:
        """The rows of a file that is not at hand, a piece at a time."""
        form = form or self.form
        lines = _whole_lines(recoded(pieces, form.encoding))
        kind, records = self.begun(next(lines, b""), replace(form, encoding="utf-8"))
        left = b""
        with ThreadPoolExecutor(PARSERS) as pool:
            parsed = ahead(
                pool, lambda piece: (piece, self.at_once(piece, kind)), chain([records], lines), PARSERS - 1
            )
            for records, rows in parsed:
                if left:
                    records = left + records
                    left, rows = b"", self.at_once(records, kind)
                if rows is None:
                    left = bounded(self.open(records, kind))
                    rows = self.each(records.removesuffix(left), kind)
                yield rows
        if left:
            yield self.each(left, kind)

    def together(self, bodies: Sequence[bytes], form: Any) -> list[pl.DataFrame | None]:
        """The rows of each file, all that are alike by one parse; None for one that wants to be read by itself."""
        alike: dict[Hashable, list[tuple[int, bytes]]] = {}
        for at, body in enumerate(bodies):
            with suppress(Unreadable):
                kind, records = self.begun(body, form or self.form)
                alike.setdefault(kind, []).append((at, records))
        found: list[pl.DataFrame | None] = [None] * len(bodies)
        for kind, those in alike.items():
            rows = self.at_once(b"".join(records for _, records in those), kind)
            ends = [*accumulate(count(records, "\n") for _, records in those)]
            if rows is not None:
                for (at, _), begin, end in zip(those, [0, *ends], ends, strict=False):
                    found[at] = rows[begin:end]
        return found


def _whole_lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, each piece with the end of a line at its end."""
    left = b""
    for piece in pieces:
        if end := piece.rfind(b"\n") + 1:
            yield b"".join([left, memoryview(piece)[:end]])
            left = piece[end:]
        else:
            left = bounded(left + piece)
    if left:
        yield ended(left)


def bounded(record: AnyStr) -> AnyStr:
    """The record, which has yet to end. Raises `Unreadable` where it is too long for one."""
    if len(record) > LONGEST:
        raise Unreadable(f"a record of more than {LONGEST:,} bytes; a quote that is never closed makes one, too")
    return record


def ended(records: bytes) -> bytes:
    """With the end of its last line."""
    return records if not records or records.endswith(b"\n") else records + b"\n"


def count(records: bytes, letter: str) -> int:
    """How often an ASCII letter is there: as `bytes.count`, in a third of its time."""
    return int(np.count_nonzero(np.frombuffer(records, np.uint8) == ord(letter)))
