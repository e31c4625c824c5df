"""JSON and plain text → rows: each record as its text."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, compress

import numpy as np
import polars as pl

from lakehouse.formats import Json, Lines
from lakehouse.landing.content import PIECE, joined
from lakehouse.landing.encoding import decoded, encoded, recoded
from lakehouse.landing.lined import Lined, bounded, count, ended
from lakehouse.landing.refusal import Unreadable

UNFIT_JSON = "not JSON that can be read everywhere: NaN, too large a number, half a surrogate pair, or too deep"
BETWEEN = re.compile(r"[\s,]*")
JSON, LINES = Json(), Lines()
DEPTH = 127
"""Objects and arrays within each other that can be read everywhere."""
DECODER = json.JSONDecoder()


def read_ndjson(body: bytes, form: Json = JSON) -> pl.DataFrame:
    """One JSON object a line, kept as text in `_text`."""
    return NDJSON.read(body, form)


def _begun(body: bytes, form: Json | Lines) -> tuple[None, bytes]:
    records = ended(b"".join(recoded(iter([body]), form.encoding)))
    return None, records.replace(b"\r\n", b"\n") if b"\r" in records else records


def _at_once(records: bytes, _: None) -> pl.DataFrame | None:
    """The lines, if each is an object that can be read everywhere; None if that wants a closer look.

    The parser that tells so takes half a surrogate pair, and any depth.
    """
    if b"\\" in records and (b"\\ud" in records or b"\\uD" in records):
        return None
    lines = count(records, "\n")
    if count(records, "{") + count(records, "[") > lines and _deep(records):
        return None
    text = {"_text": pl.String}
    try:
        if len(pl.read_ndjson(records, schema={"_": pl.String})) != lines:
            return None
        rows = pl.read_csv(records, has_header=False, separator="\x01", quote_char=None, schema=text)
    except pl.exceptions.PolarsError:
        return None
    return rows.with_columns(_bad=pl.lit(None, pl.String)) if len(rows) == lines else None


def _each(records: bytes, _: None) -> pl.DataFrame:
    return as_records([line for line in records.decode().split("\n") if line.strip()])


def _deep(body: bytes) -> bool:
    """Whether a line opens as many objects and arrays as would be too deep, were each in the one before it."""
    letters = np.frombuffer(body, np.uint8)
    opens = np.flatnonzero(letters | 32 == ord("{"))
    ends = np.searchsorted(opens, np.flatnonzero(letters == ord("\n")))
    return bool((np.diff(ends, prepend=0, append=len(opens)) >= DEPTH).any())


def read_json(body: bytes, form: Json = JSON) -> pl.DataFrame:
    """A document, an array's elements, or one object a line, each as it was written."""
    text = decoded(body, form.encoding).strip()
    if text.startswith("["):
        return as_records([*_elements(text)])
    try:
        json.loads(text)
        return as_records([text])
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) > 1 and _fault(lines[0], True) is None:
            return as_records(lines)
        raise Unreadable(f"not JSON: {error}") from error


def json_pieces(pieces: Iterator[bytes], form: Json | None) -> Iterator[pl.DataFrame]:
    """An array's elements, or lines, a part at a time; a document is one record, and read at once."""
    form, first = form or JSON, next(pieces, b"")
    begin = next(recoded(iter([first]), form.encoding), b"").lstrip()
    rest = chain([first], pieces)
    if begin.startswith(b"["):
        yield from in_parts(_elements_of(recoded(rest, form.encoding)))
    elif _fault(begin.partition(b"\n")[0].decode(errors="replace"), True) is None:
        yield from NDJSON.read_pieces(rest, form)
    else:
        yield read_json(joined(rest), form)


def in_parts(records: Iterator[str]) -> Iterator[pl.DataFrame]:
    """Records as they come, so many at once as make a piece."""
    taken, size = list[str](), 0
    for record in records:
        taken.append(record)
        size += len(record)
        if size >= PIECE:
            yield as_records(taken)
            taken, size = [], 0
    yield as_records(taken)


def read_lines(body: bytes, form: Lines = LINES) -> pl.DataFrame:
    """Every line, blank ones too, so that a record's number is its line's."""
    lines = decoded(body, form.encoding).removesuffix("\n").split("\n")
    return pl.DataFrame({"line": [line.removesuffix("\r") for line in lines]}, schema={"line": pl.String})


def cut_ndjson(body: bytes, keep: Sequence[bool], form: Json = JSON) -> bytes:
    """The file with the lines that are kept."""
    lines = [line for line in decoded(body, form.encoding).split("\n") if line.strip()]
    return encoded("".join(f"{line}\n" for line in compress(lines, keep)), body, form.encoding)


def cut_json(body: bytes, keep: Sequence[bool], form: Json = JSON) -> bytes:
    """The file with the elements, or lines, that are kept, each as it was written."""
    text = decoded(body, form.encoding).strip()
    if not text.startswith("["):
        return cut_ndjson(body, keep, form)
    left = ",\n".join(compress(_elements(text), keep))
    return encoded(f"[{left}]\n", body, form.encoding)


def cut_lines(body: bytes, keep: Sequence[bool], form: Lines = LINES) -> bytes:
    """The file with the lines that are kept."""
    lines = decoded(body, form.encoding).removesuffix("\n").split("\n")
    return encoded("".join(f"{line}\n" for line in compress(lines, keep)), body, form.encoding)


def _lines(records: bytes, _: None) -> pl.DataFrame:
    return read_lines(records)


def _elements(text: str) -> Iterator[str]:
    """The array's elements; what comes after one that cannot be read is one more, and no JSON."""
    at = _past(text, 1)
    while not text.startswith("]", at):
        try:
            _, end = DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            yield text[at:]
            return
        yield text[at:end]
        at = _past(text, end)
    if rest := text[at + 1 :].strip():
        yield rest


def _elements_of(pieces: Iterator[bytes]) -> Iterator[str]:
    """As `_elements`, of a text as it comes: an element is whole once something stands behind it."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    text, at = decoder.decode(next(pieces)).lstrip(), 1
    while True:
        at = _past(text, at)
        with suppress(ValueError, RecursionError):
            _, end = DECODER.raw_decode(text, at)
            if end < len(text):
                yield text[at:end]
                at = end
                continue
        piece = next(pieces, b"")
        if not piece:
            yield from _elements(f"[{text[at:].rstrip()}")
            return
        text, at = bounded(text[at:]) + decoder.decode(piece), 0


def _past(text: str, at: int) -> int:
    found = BETWEEN.match(text, at)
    return found.end() if found else at


def as_records(records: list[str]) -> pl.DataFrame:
    """`_text`, and `_bad` where one is no JSON object that can be read everywhere."""
    texts = pl.Series("_text", records, pl.String)
    parsed = texts.str.json_path_match("$").is_not_null()
    faults = [_fault(record, fine) for record, fine in zip(records, parsed, strict=True)]
    return pl.DataFrame({"_text": texts, "_bad": pl.Series(faults, dtype=pl.String)})


def _fault(record: str, parsed: bool) -> str | None:
    """Why it is no record. `parsed`: whether the parser that will take its values out can read it."""
    try:
        value = json.loads(record)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    if not isinstance(value, dict):
        return "not a JSON object"
    return None if parsed else UNFIT_JSON


NDJSON = Lined(JSON, _begun, _at_once, _each)
PLAIN = Lined(LINES, _begun, _lines, _lines)
