"""values → what a column's type holds exactly; the rest is kept as JSON, a column and its value each."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from typing import Any

import polars as pl

from lakehouse.landing.refusal import OWN

RESCUED = "_rescued"
COLUMNS = 1_000
"""Columns that files may bring into a table, beside those that it has for itself or its contract declares."""
NESTED = (pl.Struct, pl.List, pl.Array)


@dataclass
class Columns:
    """A table's columns with their types, and those that come with one commit: the first of a name tells its type.

    Names are spelled as the table or an earlier frame spelled them: Delta tells no upper from lower case.
    """

    kinds: dict[str, pl.DataType]
    spelled: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.spelled = {name.lower(): name for name in self.kinds}

    def fit(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame in these columns and types.

        What a type cannot hold exactly is null and in `_rescued`; so is all of a column that comes when the table
        has `COLUMNS` already.
        """
        if [*frame.columns] != (names := [self.spelled.setdefault(c.lower(), c) for c in frame.columns]):
            frame = frame.rename(dict(zip(frame.columns, names, strict=True)))
        beyond = excess(self.kinds, names)
        for name, kind in frame.schema.items():
            if name not in self.kinds and name not in beyond:
                self.kinds[name] = storable_kind(kind)
        return _fitted(frame, self.kinds, beyond)


def excess(there: Collection[str], coming: Sequence[str]) -> list[str]:
    """The columns for which a table that has some already has no room left."""
    new = [name for name in coming if name not in there and name.lower() not in OWN]
    return new[max(0, COLUMNS - sum(name.lower() not in OWN for name in there)) :] if new else []


def _fitted(frame: pl.DataFrame, kinds: Mapping[str, pl.DataType], beyond: Sequence[str]) -> pl.DataFrame:
    unlike = [name for name, kind in frame.schema.items() if name not in beyond and kind != kinds[name]]
    if not unlike and not beyond:
        return frame
    held = [exact(frame[name], kinds[name]) for name in unlike]
    lost = [frame[h.name].set(h.is_not_null(), None) if h.null_count() else frame[h.name].clear() for h in held]
    lost = [one for one in [*lost, *frame[beyond]] if one.null_count() < len(one)]
    texts = [as_json(pl.DataFrame(lost)).alias(RESCUED)] if lost else []
    return frame.drop(beyond).with_columns(*held, *texts)


def put_aside(rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The rows without some columns: what stands in these is in `_rescued`, beside what is there already."""
    if not names:
        return rows
    before = rows[RESCUED].to_list() if RESCUED in rows.columns else [None] * len(rows)
    told = [
        dumped({**json.loads(text or "{}"), **{name: as_word(value) for name, value in row.items()}})
        for text, row in zip(before, rows.select(sorted(names)).rows(named=True), strict=True)
    ]
    return rows.drop(names).with_columns(pl.Series(RESCUED, told, dtype=pl.String))


def exact(values: pl.Series, kind: pl.DataType) -> pl.Series:
    """The values that `kind` holds exactly, null for the others."""
    if values.dtype == kind:
        return values
    try:
        if kind == storable_kind(values.dtype) and isinstance(kind, NESTED):
            return values.cast(kind)
        if isinstance(values.dtype, NESTED) or isinstance(kind, NESTED):
            return nothing(values, kind)
        there = as_text(values) if kind == pl.String() else values.cast(kind, strict=False)
        same = there.cast(values.dtype, strict=False).eq_missing(values)
    except pl.exceptions.PolarsError:
        return nothing(values, kind)
    return there.set(~same, None)


def nothing(values: pl.Series, kind: pl.DataType) -> pl.Series:
    """As many nulls of another type."""
    return pl.Series(values.name, [None], dtype=kind).new_from_index(0, len(values))


def as_json(rows: pl.DataFrame) -> pl.Series:
    """Each row's values that are there, as one JSON object; null where there is none."""
    return pl.Series([dumped(row) for row in rows.rows(named=True)], dtype=pl.String)


def as_text(values: pl.Series) -> pl.Series:
    """The values as a file of text would tell them: whole numbers without a fraction, times as ISO."""
    kind = values.dtype
    if isinstance(kind, pl.Datetime):
        return values.dt.to_string("iso:strict")
    if isinstance(kind, (*NESTED, pl.Binary)):
        return pl.Series(values.name, [as_word(v) for v in values.to_list()], dtype=pl.String)
    text = values.cast(pl.String)
    if kind.is_float() or kind.is_decimal():
        whole = exact(values, pl.Int64()).cast(pl.String)
        return text.zip_with(whole.is_null(), whole)
    return text


def as_word(value: Any) -> str | None:
    """A value as a column of text has it; structs and lists as JSON."""
    told = plain(value)
    return told if told is None or isinstance(told, str) else json.dumps(told, ensure_ascii=False)


def dumped(values: Mapping[str, Any]) -> str | None:
    told = {name: value for name, value in values.items() if value is not None}
    return json.dumps(plain(told), ensure_ascii=False) if told else None


def plain(value: Any) -> Any:
    """The value as JSON has it: numbers that JSON lacks, times and decimals as their text, bytes in base64."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case dict():
            return {str(k): plain(v) for k, v in value.items()}
        case list() | tuple():
            return [plain(v) for v in value]
        case bytes():
            return base64.b64encode(value).decode()
        case date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
    return str(value)


def storable_kind(kind: pl.DataType) -> pl.DataType:
    """The type in which raw keeps a file's own: itself wherever Delta has it."""
    match kind:
        case pl.List(inner=inner) | pl.Array(inner=inner):
            return pl.List(storable_kind(inner))  # type: ignore[arg-type]  # an instance, wherever data is
        case pl.Struct(fields=fields):
            return pl.Struct({f.name: storable_kind(f.dtype) for f in fields})  # type: ignore[arg-type]
        case pl.UInt8() | pl.UInt16():
            return pl.Int32()
        case pl.UInt32() | pl.UInt64():
            return pl.Int64()
        case pl.Datetime(time_zone=zone):
            return pl.Datetime("us", "UTC" if zone else None)
        case pl.Boolean() | pl.Date() | pl.Binary() | pl.Decimal() | pl.Float32() | pl.Float64():
            return kind
        case pl.Int8() | pl.Int16() | pl.Int32() | pl.Int64():
            return kind
    return pl.String()
