"""texts ↔ erased subjects: whose record it is, told by salted hashes alone.

A record is a subject's where a field of the subject's column has its value, at whatever depth, in columns or in
JSON. What has no fields, a line, a document, a broken record, an object's name, is a subject's where it says the
value, word for word.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time
from typing import Any

import polars as pl

from lakehouse.lake import Lake
from lakehouse.lake.table import schema
from lakehouse.landing.folders import told

NAME, REPORT = "erased/subjects", "erased/report"
SCHEMA = schema(
    {
        "column": pl.String,
        "salt": pl.String,
        "value": pl.String,
        "said": pl.String,
        "words": pl.Int64,
        "short": pl.Boolean,
        "at": pl.Datetime("us", "UTC"),
        "tables": pl.String,
    }
)
SHORT = 5
"""A value of fewer letters stands in too many texts that are not its own: there it counts in fields alone, and in
records that could not be split into fields."""
OWN = ("_object", "_reason", "_rescued", "_rules", "_text")
"""The lake's columns that hold text from without."""
BROKEN = "_text"
WORD = re.compile(r"[^\W_]+")
REASON = "it names an erased subject"


@dataclass(frozen=True)
class Subject:
    """Who is erased: a column, and hashes of the value as a field and as words. `words`: how many it has."""

    column: str
    salt: str
    value: str
    said: str
    words: int
    short: bool

    @classmethod
    def of(cls, column: str, value: str, salt: str) -> Subject:
        words = WORD.findall(value)
        told = _hash(salt, "value", column.lower(), value), _hash(salt, "said", " ".join(words))
        return cls(column.lower(), salt, *told, len(words), len(value) < SHORT)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Erased:
    """The subjects that nothing may bring back."""

    subjects: tuple[Subject, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.subjects)

    def of(self, columns: Collection[str]) -> Erased:
        """The subjects of these columns alone."""
        return Erased(tuple(s for s in self.subjects if s.column in columns))

    def among(self, rows: pl.DataFrame, free: Collection[str] = ()) -> pl.Series:
        """Of each row whether it is a subject's. `free`: the columns that are mere text, beside the lake's own."""
        found = pl.repeat(False, len(rows), dtype=pl.Boolean, eager=True)
        for name, kind in rows.schema.items() if self.subjects else ():
            if test := self._test(name, kind, free):
                found |= _those(rows[name], test)
        return found

    def _test(self, name: str, kind: Any, free: Collection[str]) -> Callable[[Any], bool] | None:
        if isinstance(kind, pl.Struct | pl.List | pl.Array):
            return lambda value: self._field(name, value) or self.within(value)
        if any(s.column == name.lower() for s in self.subjects):
            return lambda value: self._is(name, value) or (name in free and self.tells(str(value)))
        if kind == pl.String and (name in OWN or name in free):
            return lambda text: self.tells(text, broken=name == BROKEN)
        if kind == pl.Binary and name in free:
            return lambda body: self.says(body.decode(errors="replace"))
        return None

    def _is(self, column: str, value: Any) -> bool:
        mine = [s for s in self.subjects if s.column == column.lower()]
        return any(_hash(s.salt, "value", s.column, text) == s.value for s in mine for text in _spelled(value))

    def keyed(self, text: str) -> bool:
        """Whether an item's key, one value or the JSON of several, is or holds a subject's value."""
        try:
            found = json.loads(text)
        except ValueError:
            found = text
        parts = [text, *(found if isinstance(found, list) else [])]
        return any(self._is(s.column, part) for s in self.subjects for part in parts)

    def within(self, value: Any) -> bool:
        """Whether a field of a nested value is a subject's."""
        match value:
            case dict():
                return any(self._field(str(name), inner) or self.within(inner) for name, inner in value.items())
            case list() | tuple() | pl.Series():
                return any(self.within(inner) for inner in value)
        return False

    def _field(self, name: str, value: Any) -> bool:
        return any(self._is(name, one) for one in (value if isinstance(value, list) else [value]))

    def tells(self, text: str, *, broken: bool = False) -> bool:
        """Whether a text is a subject's: JSON by its fields, any other by its words."""
        if text[:1] in ("{", "["):
            try:
                return self.within(json.loads(text))
            except (ValueError, RecursionError):
                pass
        return self.says(text, short=broken)

    def says(self, text: str, *, short: bool = False) -> bool:
        """Whether a subject's value stands in a text, word for word. `short`: though it be of few letters.

        An object's key also says it by a folder that is a field: `customer=ann/`.
        """
        if any(self._is(name, value) for name, value in told(f"{text}/").items()):
            return True
        chosen = [s for s in self.subjects if s.words and (short or not s.short)]
        if not chosen:
            return False
        words = WORD.findall(text)
        passages = {count: {*_passages(words, count)} for count in {s.words for s in chosen}}
        return any(_hash(s.salt, "said", one) == s.said for s in chosen for one in passages[s.words])


def _passages(words: list[str], count: int) -> Iterator[str]:
    return (" ".join(words[at : at + count]) for at in range(len(words) - count + 1))


def _those(values: pl.Series, test: Callable[[Any], bool]) -> pl.Series:
    """Of each value whether the test holds; each is asked about once."""
    if isinstance(values.dtype, pl.Struct | pl.List | pl.Array):
        return pl.Series([test(value) for value in values.to_list()], dtype=pl.Boolean)
    distinct = values.drop_nulls().unique()
    hits = distinct.filter(pl.Series([test(value) for value in distinct], dtype=pl.Boolean))
    return values.is_in(hits.implode()).fill_null(False)


def _spelled(value: Any) -> tuple[str, ...]:
    """A value as a person may write it: a whole number with and without its fraction, times as ISO."""
    match value:
        case bool():
            return (str(value), str(value).lower())
        case float() if value.is_integer():
            return (str(value), str(int(value)))
        case date() | datetime() | time():
            return (value.isoformat(), str(value))
    return (str(value),)


def erased(lake: Lake) -> Erased:
    """Open this after the table that is written to: who opened that before an erasure is refused his commit."""
    table = lake.open(NAME)
    if table is None:
        return Erased()
    rows = table.scan().select(list(Subject.__annotations__)).collect()
    return Erased(tuple(Subject(**row) for row in rows.to_dicts()))


def subject(lake: Lake, column: str, value: str) -> Subject:
    """By the salt that the list has, or a new one."""
    known = erased(lake).subjects
    return Subject.of(column, value, known[0].salt if known else secrets.token_hex(16))


def remembered(lake: Lake, one: Subject) -> set[str]:
    """The tables that an earlier call found the subject in."""
    table = lake.open(NAME)
    rows = table.scan().filter(pl.col("value") == one.value).collect() if table else pl.DataFrame()
    return set(json.loads(rows["tables"][0])) if len(rows) else set()


def remember(lake: Lake, one: Subject, tables: Collection[str]) -> None:
    """Put the subject on the list, with the tables that it is found in."""
    row = {**asdict(one), "at": datetime.now(UTC), "tables": json.dumps(sorted(tables))}
    table = lake.ensure(NAME, SCHEMA, key=["value"])
    table.apply(pl.DataFrame([row], schema=SCHEMA), pl.DataFrame(schema={"value": pl.String}), ["value"])
