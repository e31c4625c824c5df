"""JSON and plain text → rows: each record as its text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import compress

import polars as pl

from lakehouse.formats import Json, Lines
from lakehouse.landing.encoding import decoded, encoded
from lakehouse.landing.refusal import Unreadable

UNFIT_JSON = "not JSON that can be read everywhere: NaN, too large a number, half a surrogate pair, or too deep"
BETWEEN = re.compile(r"[\s,]*")
JSON, LINES = Json(), Lines()
DECODER = json.JSONDecoder()


def read_ndjson(body: bytes, form: Json = JSON) -> pl.DataFrame:
    """One JSON object a line, kept as text in `_text`."""
    return as_records([line for line in decoded(body, form.encoding).split("\n") if line.strip()])


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
