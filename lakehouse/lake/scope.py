"""keys → the rows of a table that have one of them, passing over the files that cannot."""

from __future__ import annotations

from functools import reduce
from operator import and_, or_

import polars as pl

RANGES = 8
"""Ranges of a column that are told to the scan. Each is two comparisons a row where no file is passed over."""


def within(rows: pl.LazyFrame, keys: pl.DataFrame) -> pl.LazyFrame:
    """The rows whose values of the columns of `keys` stand there together; a null is like a null.

    A join alone reads every file. What it could find lies between literals, which the scan holds against the
    statistics of files and row groups.
    """
    found = [near(keys[name]) for name, kind in keys.schema.items() if told(kind)]
    near_all = reduce(and_, found, pl.lit(True))
    return rows.filter(near_all).join(keys.lazy(), on=keys.columns, how="semi", nulls_equal=True)


def told(kind: pl.DataType) -> bool:
    """Whether statistics of such a column can be trusted: those of decimals are rounded, and NaN has no place."""
    return kind.is_integer() or kind.is_temporal() or kind == pl.String()


def near(values: pl.Series) -> pl.Expr:
    """True of every value in `values`, and of few others: a text lies in one range, a number in one of some."""
    column = pl.col(values.name)
    known = values.drop_nulls().unique().sort()
    most = 1 if known.dtype == pl.String() else RANGES
    size = max(1, -(-len(known) // most))
    parts = [known[start : start + size] for start in range(0, len(known), size)]
    ranges = [column.is_between(_literal(part, 0), _literal(part, -1)) for part in parts]
    return reduce(or_, ranges, column.is_null() if values.null_count() else pl.lit(False))


def typed(text: str, kind: pl.DataType) -> pl.Expr:
    """A value as a person types it, in a column's type; null where it is none. A time without a zone is UTC."""
    given = pl.lit(text)
    if isinstance(kind, pl.Datetime):
        return given.str.to_datetime(time_unit="us", time_zone=kind.time_zone, strict=False)
    if isinstance(kind, pl.Date):
        return given.str.to_date(strict=False)
    if isinstance(kind, pl.Time):
        return given.str.to_time(strict=False)
    if isinstance(kind, pl.Boolean):
        return given.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None)
    return pl.lit(None, dtype=kind) if kind.is_nested() else given.cast(kind, strict=False)


def _literal(values: pl.Series, at: int) -> pl.Expr:
    return pl.lit(values[at], dtype=values.dtype)
