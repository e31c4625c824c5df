"""object → rows: the bytes of one object as text, one function a format.

A reader never drops a record. What it cannot split into columns becomes a row with its text in `_text` and the
reason in `_bad`; what it cannot read at all raises `Unreadable`, and the object is refused as a whole.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import polars as pl

OWN = {
    *("_part", "_object", "_object_version", "_generation", "_modified", "_run", "_ingested_at", "_state"),
    *("_etag", "_size", "_records", "_reason", "_record", "_text", "_bad", "_row", "_rules", "_removed"),
    *("_change_type", "_commit_version", "_commit_timestamp"),
}
"""Column names that the lake itself writes beside a file's own."""
UNFIT_JSON = "not JSON that can be read everywhere: NaN, too large a number, half a surrogate pair, or too deep"
csv.field_size_limit(2**31 - 1)


class Unreadable(Exception):
    """No record of the object can be read. Terminal: the object is refused with this reason."""


Reader = Callable[[bytes], pl.DataFrame]


def read(key: str, body: bytes) -> pl.DataFrame:
    """The object's records in order: text columns, and `_text` and `_bad` for those that have no columns."""
    suffixes = PurePosixPath(key.lower()).suffixes
    if not body:
        raise Unreadable("the object is empty (0 bytes)")
    if suffixes and suffixes[-1] in PACKED:
        body = _unpack(suffixes.pop(), body)
    reader = READERS.get(suffixes[-1] if suffixes else "")
    if reader is None:
        raise Unreadable(f"no reader for this kind of name; known: {', '.join(READERS)}")
    try:
        return reader(body)
    except (Unreadable, MemoryError):
        raise
    except (Exception, pl.exceptions.PanicException) as error:  # a reader sees the bytes and nothing else
        raise Unreadable(f"its reader failed: {type(error).__name__}: {error}") from error


def read_csv(body: bytes) -> pl.DataFrame:
    """Comma-separated text with a header. A file with a bad record is read record by record."""
    if not body.strip():
        raise Unreadable("no header line")
    text = _text(body)
    return _columnar(body.removeprefix(b"\xef\xbb\xbf")) if _regular(body) else _records(text)


def _header(names: list[str]) -> None:
    """Refuse names that cannot be columns of one table. Delta tells no upper from lower case."""
    if not names or not all(names) or len({n.lower() for n in names}) < len(names):
        raise Unreadable(f"the header has an empty or doubled name: {names}")
    if unfit := [n for n in names if "\0" in n or n.lower() in OWN]:
        raise Unreadable(f"the header has names that no column can have here: {unfit}")


def read_ndjson(body: bytes) -> pl.DataFrame:
    """One JSON object a line, kept as text in `_text`."""
    lines = pl.Series("_text", [line for line in _text(body).split("\n") if line.strip()], pl.String)
    parsed = lines.str.json_path_match("$").is_not_null()
    faults = [_json_fault(line, fine) for line, fine in zip(lines, parsed, strict=True)]
    return pl.DataFrame({"_text": lines, "_bad": pl.Series(faults, dtype=pl.String)})


READERS: dict[str, Reader] = {".csv": read_csv, ".ndjson": read_ndjson, ".jsonl": read_ndjson}


def _zstd(body: bytes) -> bytes:
    import pyarrow as pa

    return bytes(pa.CompressedInputStream(pa.BufferReader(body), "zstd").read())


PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".zst": _zstd,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}


def _unpack(suffix: str, body: bytes) -> bytes:
    try:
        return PACKED[suffix](body)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise Unreadable(f"cannot be unpacked as {suffix}: {error}") from error


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8: {error}") from error


def _regular(body: bytes) -> bool:
    """Whether every line has the header's number of fields, told without parsing. Quotes: not told."""
    if b'"' in body or b"\r" in body or b"\n\n" in body or body.startswith(b"\n"):
        return False
    header = body.split(b"\n", 1)[0]
    lines = body.count(b"\n") + (not body.endswith(b"\n"))
    names = header.split(b",")
    return len(set(names)) == len(names) and all(names) and body.count(b",") == header.count(b",") * lines


def _columnar(body: bytes) -> pl.DataFrame:
    _header(_text(body.split(b"\n", 1)[0]).split(","))
    try:
        return pl.read_csv(body, infer_schema=False)
    except pl.exceptions.PolarsError:
        return _records(_text(body))


def _records(text: str) -> pl.DataFrame:
    rows = _csv_rows(text)
    header = next((fields for fields, _ in rows if fields), [])
    _header(header)
    good: list[list[str | None]] = []
    for fields, raw in rows:
        if fault := _csv_fault(fields, raw, len(header)):
            good.append([None] * len(header) + [raw, fault])
        elif fields:
            good.append([f or None for f in fields] + [None, None])
    names = [*header, "_text", "_bad"]
    return pl.DataFrame(good, schema={n: pl.String for n in names}, orient="row")


def _csv_fault(fields: list[str], raw: str, width: int) -> str | None:
    if fields and len(fields) != width:
        return f"{len(fields)} fields where the header has {width}"
    if raw.count('"') % 2:
        try:
            list(csv.reader(io.StringIO(raw, newline=""), strict=True))
        except csv.Error as error:
            return "a quote that is never closed" if "end of data" in str(error) else None
    return None


def _csv_rows(text: str) -> Iterator[tuple[list[str], str]]:
    """Each record's fields, and its text as it stood in the file."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            taken.append(line)
            yield line

    try:
        for fields in csv.reader(lines()):
            yield fields, "".join(taken).rstrip("\r\n")
            taken.clear()
    except csv.Error as error:
        raise Unreadable(f"not CSV: {error}") from error


def _json_fault(line: str, parsed: bool) -> str | None:
    """Why the line is no record. `parsed`: whether the parser that will take its values out can read it."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    if not isinstance(value, dict):
        return "not a JSON object"
    return None if parsed else UNFIT_JSON
