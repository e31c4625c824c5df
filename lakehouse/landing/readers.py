"""object → rows: the bytes of one object as records, one function a format.

The name chooses the reader and the content confirms it: what says of itself that it is something else is read as
that or refused. A reader never drops a record. What it cannot split into columns becomes a row with its text in
`_text` and the reason in `_bad`; what it cannot read at all raises `Unreadable`, and the object is refused as a
whole.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

import polars as pl

from lakehouse.formats import Arrow, Avro, Csv, Excel, Format, Json, Lines, Orc, Parquet, Xml
from lakehouse.landing import packing
from lakehouse.landing.avro import is_avro, read_avro
from lakehouse.landing.columnar import is_arrow, is_orc, is_parquet, read_arrow, read_orc, read_parquet
from lakehouse.landing.delimited import read_csv
from lakehouse.landing.markup import is_xml, read_xml
from lakehouse.landing.records import read_json, read_lines, read_ndjson
from lakehouse.landing.refusal import OWN, Unreadable
from lakehouse.landing.workbook import NAMES as WORKBOOKS

__all__ = ["OWN", "Unreadable", "chosen", "read", "records", "unwrapped"]

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
DELIMITED = {".tsv": Csv(delimiter="\t"), ".psv": Csv(delimiter="|")}
TEXTS: dict[type, Reader] = {Csv: read_csv, Json: read_json, Lines: read_lines, Xml: read_xml}
TYPED: dict[type, Reader] = {Parquet: read_parquet, Arrow: read_arrow, Avro: read_avro, Orc: read_orc}
TELLING: dict[Reader, Callable[[bytes], bool]] = {
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
    suffix, body = unwrapped(key, body, budget)
    return records(body, *chosen(suffix, body, form), budget)


def records(body: bytes, reader: Reader, form: Format | None, budget: packing.Budget) -> pl.DataFrame:
    """What a reader makes of the bytes, as `read` has it."""
    try:
        if reader in TYPED.values():
            return reader(body, budget)
        return reader(body, form) if form else reader(body)
    except (Unreadable, MemoryError):
        raise
    except (Exception, pl.exceptions.PanicException) as error:  # a reader sees the bytes and nothing else
        raise Unreadable(f"its reader failed: {type(error).__name__}: {error}") from error


def unwrapped(key: str, body: bytes, budget: packing.Budget) -> tuple[str, bytes]:
    """The suffix that tells the format, and the bytes without what packs them, named or not."""
    suffixes = PurePosixPath(key.lower()).suffixes
    suffixes[-1:] = packing.ALIASES.get(suffixes[-1], suffixes[-1:]) if suffixes else []
    if not body:
        raise Unreadable("the object is empty (0 bytes)")
    if suffixes and suffixes[-1] in packing.PACKED:
        body = packing.unpacked(suffixes.pop(), body, budget)
    elif suffix := packing.packed_as(body):
        body = packing.unpacked(suffix, body, budget)
    return suffixes[-1] if suffixes else "", body


def chosen(suffix: str, body: bytes, form: Format | None) -> tuple[Reader, Format | None]:
    """The reader that the content agrees to, and what it is told. XML is text as well, to who asks for lines."""
    if foreign := next((told for magic, told in FOREIGN.items() if body.startswith(magic)), None):
        raise Unreadable(f"its content is {foreign}")
    if packing.is_archive(body):
        raise Unreadable("an archive in an archive, or a file of many parts that has no reader here")
    if isinstance(form, Excel) or (form is None and suffix in WORKBOOKS):
        raise Unreadable("named or declared as Excel, its content is not")
    asked = (TEXTS | TYPED)[type(form)] if form else READERS.get(suffix)
    told = next((reader for reader, tells in TELLING.items() if tells(body)), None)
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
