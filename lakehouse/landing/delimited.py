"""delimited text → rows: text columns, and `_text` and `_bad` for a record that does not fit them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import compress, islice

import numpy as np
import polars as pl

from lakehouse.formats import Csv
from lakehouse.landing.encoding import decoded, encoded
from lakehouse.landing.lined import Lined, count, ended
from lakehouse.landing.refusal import Unreadable, check_names

DELIMITERS = ",;\t|"
FOUND_OUT = Csv()
SAMPLE = 50
"""Records by which a delimiter is told."""
LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
csv.field_size_limit(2**31 - 1)


def read_csv(body: bytes, form: Csv = FOUND_OUT) -> pl.DataFrame:
    """A file whose records are all alike is read at once, any other record by record."""
    return CSV.read(body, form)


def _begun(body: bytes, form: Csv) -> tuple[Csv, bytes]:
    """The form of what follows the header, with its delimiter and its columns."""
    text = decoded(body, form.encoding)
    if not text.strip("\r\n \ufeff"):
        raise Unreadable("no header line" if form.header else "no record")
    form = form if form.delimiter else replace(form, delimiter=_delimiter(text, form))
    names, begin = _names(text, form)
    check_names(names)
    headless = replace(form, encoding=None, header=False, columns=tuple(names))
    return headless, ended(text[begin:].encode())


def cut_csv(body: bytes, keep: Sequence[bool], form: Csv = FOUND_OUT) -> bytes:
    """The file with the records that are kept, each as it stood."""
    text = decoded(body, form.encoding)
    form = form if form.delimiter else replace(form, delimiter=_delimiter(text, form))
    rows = (raw for fields, raw in _rows(text, form, whole=True) if fields)
    left = [*islice(rows, int(form.header)), *compress(rows, keep)]
    return encoded("".join(left), body, form.encoding)


def _delimiter(text: str, form: Csv) -> str:
    """The one by which most records have as many fields as the first; of equals the one that gives more."""
    first = next(line for line in _lines(text) if line.strip())
    found = [d for d in DELIMITERS if d in first] or [DELIMITERS[0]]
    return max(found, key=lambda d: _evenness(text, replace(form, delimiter=d))) if len(found) > 1 else found[0]


def _evenness(text: str, form: Csv) -> tuple[float, int]:
    widths = [len(fields) for fields, _ in islice(_rows(text, form), SAMPLE) if fields]
    even = sum(width == widths[0] for width in widths) / len(widths)
    return (even if widths[0] > 1 else 0, widths[0])


def _names(text: str, form: Csv) -> tuple[Sequence[str], int]:
    """The columns, and where the first record after the header begins.

    One without a name among others that have one is called by its number: pandas writes its index so.
    """
    taken = 0
    for fields, raw in _rows(text, form, whole=True):
        taken += len(raw)
        if fields:
            numbered = [f"column_{n}" for n in range(1, len(fields) + 1)]
            if not form.header:
                return form.columns or numbered, 0
            named = [name or number for name, number in zip(fields, numbered, strict=True)]
            return named if any(fields) else fields, taken
    raise Unreadable("no header line")


def _at_once(records: bytes, form: Csv) -> pl.DataFrame | None:
    """All records; None where one has too many fields or too few, or quotes or ends want a closer look.

    Polars refuses a record that is too long, and fills a short one, and a blank line, with nulls.
    """
    body = records.replace(b"\r\n", b"\n") if b"\r" in records else records
    kinds, delimiter, quote = {name: pl.String for name in form.columns}, str(form.delimiter), form.quote
    if b"\r" in body or not (delimiter + quote).isascii() or (len(kinds) == 1 and b"\n\n" in b"\n" + body):
        return None
    quotes = _places(body, quote)
    if not _well_placed(body, quotes, form):
        return None
    try:
        rows = pl.read_csv(body, has_header=False, schema=kinds, separator=delimiter, quote_char=quote or None)
    except pl.exceptions.PolarsError:
        return None
    lines = count(body, "\n")
    if len(rows) != lines:
        return None
    if rows[:, -1].null_count():
        inside = rows.select(pl.all().str.count_matches(delimiter, literal=True).sum()).sum_horizontal().item()
        if count(body, delimiter) != (len(kinds) - 1) * lines + inside:
            return None
    return rows.with_columns(pl.when(pl.all() != "").then(pl.all())) if (np.diff(quotes) == 1).any() else rows


def _places(body: bytes, quote: str) -> np.ndarray:
    there = quote and quote.encode() in body
    return np.flatnonzero(np.frombuffer(body, np.uint8) == ord(quote)) if there else np.array([], int)


def _well_placed(body: bytes, quotes: np.ndarray, form: Csv) -> bool:
    """Whether each quote begins a field, ends it, or stands doubled in it; of no other do two parsers think alike.

    What is before the first letter is the last, the end of a line.
    """
    letters, edge = np.frombuffer(body, np.uint8), np.zeros(256, bool)
    edge[[*f"{form.delimiter}{form.quote}\n".encode()]] = True
    well = edge[letters[quotes[::2] - 1]].all() and edge[letters[quotes[1::2] + 1]].all()
    return len(quotes) % 2 == 0 and bool(well)


def _each(records: bytes, form: Csv) -> pl.DataFrame:
    names, last = form.columns, ""
    told: list[list[str | None]] = []
    for fields, raw in _rows(records.decode(), form):
        if fields:
            told.append(_row(fields, raw, len(names)))
            last = raw
    if told and not told[-1][-1] and _unclosed(last, form):
        told[-1] = [None] * len(names) + [last, "a quote that is never closed"]
    return pl.DataFrame(told, schema={n: pl.String for n in [*names, "_text", "_bad"]}, orient="row")


def _row(fields: list[str], raw: str, width: int) -> list[str | None]:
    if len(fields) != width:
        return [None] * width + [raw, f"{len(fields)} fields where the header has {width}"]
    return [field or None for field in fields] + [None, None]


def _unclosed(last: str, form: Csv) -> bool:
    """Whether the last record would swallow what came after it."""
    return [*_reader(io.StringIO(f"{last}\nend", newline=""), form)][-1] != ["end"]


def _rows(text: str, form: Csv, whole: bool = False) -> Iterator[tuple[list[str], str]]:
    """Each record's fields, and its text as it stood in the file; `whole`: with the end of its line."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in _lines(text):
            taken.append(line)
            yield line

    try:
        for fields in _reader(lines(), form):
            raw = "".join(taken)
            yield fields, raw if whole else raw.rstrip("\r\n")
            taken.clear()
    except csv.Error as error:
        raise Unreadable(f"not CSV: {error}") from error


def _lines(text: str) -> Iterator[str]:
    """Its lines with their ends, as `io.StringIO` tells them, without a copy of the whole."""
    return (found[0] for found in LINE.finditer(text))


def _reader(lines: Iterator[str] | io.StringIO, form: Csv) -> Iterator[list[str]]:
    delimiter = str(form.delimiter)
    if not form.quote:
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=delimiter, quotechar=form.quote)


def _open(records: bytes, form: Csv) -> bytes:
    last = ""
    for fields, raw in _rows(records.decode(), form, whole=True):
        last = raw if fields else ""
    return last.encode() if _unclosed(last, form) else b""


CSV = Lined(FOUND_OUT, _begun, _at_once, _each, _open)
