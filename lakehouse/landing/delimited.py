"""delimited text → rows: text columns, and `_text` and `_bad` for a record that does not fit them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import compress, islice

import polars as pl

from lakehouse.formats import Csv
from lakehouse.landing.encoding import decoded, encoded
from lakehouse.landing.refusal import Unreadable, check_names

DELIMITERS = ",;\t|"
FOUND_OUT = Csv()
SAMPLE = 50
"""Records by which a delimiter is told."""
csv.field_size_limit(2**31 - 1)


def read_csv(body: bytes, form: Csv = FOUND_OUT) -> pl.DataFrame:
    """A file with a quote or a bad record is read record by record, any other at once."""
    text = decoded(body, form.encoding)
    if not text.strip("\r\n \ufeff"):
        raise Unreadable("no header line" if form.header else "no record")
    form = form if form.delimiter else replace(form, delimiter=_delimiter(text, form))
    names, begin = _names(text, form)
    check_names(names)
    plain = text[begin:].encode()
    return _columnar(plain, names, form) if _regular(plain, len(names), form) else _records(text, names, form)


def cut_csv(body: bytes, keep: Sequence[bool], form: Csv = FOUND_OUT) -> bytes:
    """The file with the records that are kept, each as it stood."""
    text = decoded(body, form.encoding)
    form = form if form.delimiter else replace(form, delimiter=_delimiter(text, form))
    rows = (raw for fields, raw in _rows(text, form, whole=True) if fields)
    left = [*islice(rows, int(form.header)), *compress(rows, keep)]
    return encoded("".join(left), body, form.encoding)


def _delimiter(text: str, form: Csv) -> str:
    """The one by which most records have as many fields as the first; of equals the one that gives more."""
    first = next(line for line in io.StringIO(text) if line.strip())
    found = [d for d in DELIMITERS if d in first] or [DELIMITERS[0]]
    return max(found, key=lambda d: _evenness(text, replace(form, delimiter=d))) if len(found) > 1 else found[0]


def _evenness(text: str, form: Csv) -> tuple[float, int]:
    widths = [len(fields) for fields, _ in islice(_rows(text, form), SAMPLE) if fields]
    even = sum(width == widths[0] for width in widths) / len(widths)
    return (even if widths[0] > 1 else 0, widths[0])


def _names(text: str, form: Csv) -> tuple[Sequence[str], int]:
    """The columns, and where the first record after the header begins."""
    taken = 0
    for fields, raw in _rows(text, form, whole=True):
        taken += len(raw)
        if fields:
            if form.header:
                return fields, taken
            return form.columns or [f"column_{n}" for n in range(1, len(fields) + 1)], 0
    raise Unreadable("no header line")


def _regular(body: bytes, width: int, form: Csv) -> bool:
    """Whether every line has the header's number of fields, told without parsing. Quotes: not told."""
    if (form.quote and form.quote.encode() in body) or b"\r" in body or b"\n\n" in body or body.startswith(b"\n"):
        return False
    lines = body.count(b"\n") + (not body.endswith(b"\n"))
    return bool(body) and body.count(str(form.delimiter).encode()) == (width - 1) * lines


def _columnar(body: bytes, names: Sequence[str], form: Csv) -> pl.DataFrame:
    kinds, quote = {name: pl.String for name in names}, form.quote or None
    try:
        return pl.read_csv(body, has_header=False, schema=kinds, separator=str(form.delimiter), quote_char=quote)
    except pl.exceptions.PolarsError:
        return _records(body.decode(), names, replace(form, header=False))


def _records(text: str, names: Sequence[str], form: Csv) -> pl.DataFrame:
    rows = (one for one in _rows(text, form) if one[0])
    good: list[list[str | None]] = []
    for fields, raw in islice(rows, int(form.header), None):
        if fault := _fault(fields, raw, len(names), form):
            good.append([None] * len(names) + [raw, fault])
        else:
            good.append([f or None for f in fields] + [None, None])
    return pl.DataFrame(good, schema={n: pl.String for n in [*names, "_text", "_bad"]}, orient="row")


def _fault(fields: list[str], raw: str, width: int, form: Csv) -> str | None:
    if len(fields) != width:
        return f"{len(fields)} fields where the header has {width}"
    if form.quote and raw.count(form.quote) % 2:
        try:
            list(_reader(io.StringIO(raw, newline=""), form, strict=True))
        except csv.Error as error:
            return "a quote that is never closed" if "end of data" in str(error) else None
    return None


def _rows(text: str, form: Csv, whole: bool = False) -> Iterator[tuple[list[str], str]]:
    """Each record's fields, and its text as it stood in the file; `whole`: with the end of its line."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            taken.append(line)
            yield line

    try:
        for fields in _reader(lines(), form):
            raw = "".join(taken)
            yield fields, raw if whole else raw.rstrip("\r\n")
            taken.clear()
    except csv.Error as error:
        raise Unreadable(f"not CSV: {error}") from error


def _reader(lines: Iterator[str] | io.StringIO, form: Csv, strict: bool = False) -> Iterator[list[str]]:
    delimiter = str(form.delimiter)
    if not form.quote:
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=strict)
    return csv.reader(lines, delimiter=delimiter, quotechar=form.quote, strict=strict)
