"""object → rows: the bytes of one object as records, one function a format.

The name chooses the reader and the content confirms it: what says of itself that it is something else is read as
that or refused. A reader never drops a record. What it cannot split into columns becomes a row with its text in
`_text` and the reason in `_bad`; what it cannot read at all raises `Unreadable`, and the object is refused as a
whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import polars as pl

from lakehouse.formats import Arrow, Avro, Csv, Excel, Format, Json, Lines, Orc, Parquet, Xml
from lakehouse.landing import packing
from lakehouse.landing.avro import avro_pieces, is_avro, read_avro
from lakehouse.landing.columnar import (
    arrow_pieces,
    is_arrow,
    is_orc,
    is_parquet,
    orc_pieces,
    parquet_pieces,
    read_arrow,
    read_orc,
    read_parquet,
)
from lakehouse.landing.content import Content, Interrupted, unwrapped
from lakehouse.landing.delimited import CSV, read_csv
from lakehouse.landing.encoding import unfit
from lakehouse.landing.lined import Lined
from lakehouse.landing.markup import is_xml, read_xml, xml_pieces
from lakehouse.landing.records import NDJSON, PLAIN, json_pieces, read_json, read_lines, read_ndjson
from lakehouse.landing.refusal import OWN, Unreadable
from lakehouse.landing.workbook import NAMES as WORKBOOKS

__all__ = ["OWN", "Unreadable", "chosen", "read", "read_content", "read_pieces", "read_together", "records"]

Reader = Callable[..., pl.DataFrame]
READERS: dict[str, Reader] = {
    **dict.fromkeys([".csv", ".tsv", ".psv"], read_csv),
    ".json": read_json,
    **dict.fromkeys([".ndjson", ".jsonl"], read_ndjson),
    **dict.fromkeys([".txt", ".log"], read_lines),
    ".xml": read_xml,
    ".parquet": read_parquet,
    **dict.fromkeys([".arrow", ".arrows", ".feather", ".ipc"], read_arrow),
    ".avro": read_avro,
    ".orc": read_orc,
}
LINED: dict[Reader, Lined] = {read_csv: CSV, read_ndjson: NDJSON, read_lines: PLAIN}
PIECEWISE: dict[Reader, Callable[..., Iterator[pl.DataFrame]]] = {
    **{reader: lined.read_pieces for reader, lined in LINED.items()},
    read_json: json_pieces,
    read_xml: xml_pieces,
    read_parquet: parquet_pieces,
    read_arrow: arrow_pieces,
    read_orc: orc_pieces,
    read_avro: avro_pieces,
}
"""The readers of what is too large to be read at once."""
DELIMITED = {".tsv": Csv(delimiter="\t"), ".psv": Csv(delimiter="|")}
TEXTS: dict[type, Reader] = {Csv: read_csv, Json: read_json, Lines: read_lines, Xml: read_xml}
TYPED: dict[type, Reader] = {Parquet: read_parquet, Arrow: read_arrow, Avro: read_avro, Orc: read_orc}
TELLING: dict[Reader, Callable[[bytes, bool], bool]] = {
    read_parquet: is_parquet,
    read_arrow: is_arrow,
    read_avro: is_avro,
    read_orc: is_orc,
    read_xml: is_xml,
}
"""Formats whose content tells of itself."""
CALLED = {reader: form.__name__ for form, reader in (TEXTS | TYPED).items()}
FOREIGN = {
    b"%PDF-": "a PDF",
    b"\x89PNG\r\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"\x7fELF": "a program",
    b"SQLite format 3\0": "an SQLite database",
    b"\xd0\xcf\x11\xe0": "an old Office file",
}


def read(key: str, body: bytes, form: Format | None = None, budget: packing.Budget | None = None) -> pl.DataFrame:
    """The object's records in order: columns, and `_text` and `_bad` for those that have no columns.

    `form`: what its dataset declares, whatever the name says. `budget`: that of the archive in which it lies.
    """
    budget = budget or packing.Budget()
    return read_content(unwrapped(key, body, budget), form, budget)


def read_content(content: Content, form: Format | None, budget: packing.Budget) -> pl.DataFrame:
    """As `read`, of what was unwrapped already."""
    body = content.whole()
    return records(body, *chosen(content.suffix, body, form), budget)


def records(body: bytes, reader: Reader, form: Format | None, budget: packing.Budget) -> pl.DataFrame:
    """What a reader makes of the bytes, as `read` has it."""
    with _blamed():
        if reader in TYPED.values():
            return reader(body, budget)
        return reader(body, form) if form else reader(body)


def read_pieces(content: Content, form: Format | None) -> Iterator[pl.DataFrame]:
    """As `read_content`, a part of the records at a time."""
    reader, own = chosen(content.suffix, content.begin, form, whole=False)
    with _blamed():
        yield from PIECEWISE[reader](content.pieces(), own)


@contextmanager
def _blamed() -> Iterator[None]:
    """What a reader raises is the object's fault: it sees the bytes and nothing else."""
    try:
        yield
    except (Unreadable, Interrupted, MemoryError):
        raise
    except UnicodeDecodeError as error:
        raise unfit(error.encoding, error) from error
    except (Exception, pl.exceptions.PanicException) as error:
        raise Unreadable(f"its reader failed: {type(error).__name__}: {error}") from error


def read_together(objects: Sequence[tuple[str, bytes]], form: Format | None = None) -> list[pl.DataFrame | None]:
    """As `read`, of objects by their keys: those that are alike are parsed at once. None for each that was not."""
    found: list[pl.DataFrame | None] = [None] * len(objects)
    kinds: dict[tuple[Reader, Format | None], list[tuple[int, bytes]]] = {}
    for at, (key, body) in enumerate(objects):
        with suppress(Unreadable):
            content = unwrapped(key, body, packing.Budget())
            if content.rest is None:
                kinds.setdefault(chosen(content.suffix, content.begin, form), []).append((at, content.begin))
    for (reader, own), those in kinds.items():
        if len(those) > 1 and (lined := LINED.get(reader)):
            with suppress(Unreadable), _blamed():
                for (at, _), rows in zip(those, lined.together([body for _, body in those], own), strict=True):
                    found[at] = rows
    return found


def chosen(suffix: str, body: bytes, form: Format | None, whole: bool = True) -> tuple[Reader, Format | None]:
    """The reader that the content agrees to, and what it is told; `body` is its begin, if not the `whole`.

    XML is text as well, to who asks for lines.
    """
    if foreign := next((told for magic, told in FOREIGN.items() if body.startswith(magic)), None):
        raise Unreadable(f"its content is {foreign}")
    if packing.is_archive(body):
        raise Unreadable("an archive in an archive, or a file of many parts that has no reader here")
    if isinstance(form, Excel) or (form is None and suffix in WORKBOOKS):
        raise Unreadable("named or declared as Excel, its content is not")
    asked = (TEXTS | TYPED)[type(form)] if form else READERS.get(suffix)
    told = next((reader for reader, tells in TELLING.items() if tells(body, whole)), None)
    if told is read_xml and asked is read_lines:
        told = None
    if told and form and told is not asked:
        raise Unreadable(f"declared as {type(form).__name__}, its content is {CALLED[told]}")
    reader = told or asked
    if reader is None:
        raise Unreadable(f"no reader for this kind of name; known: {', '.join([*READERS, *WORKBOOKS])}")
    if reader in TYPED.values() and not told:
        raise Unreadable(f"named or declared as {CALLED[reader]}, its content is not")
    return reader, form or (DELIMITED.get(suffix) if reader is read_csv else None)
