"""raw → the file that declares it: types, nullability, a likely key, and what was seen of each column.

What is printed is a proposal, to be saved, read and mended. Before it is printed it is held against the rows that
it was told from, by the split that cleaned itself makes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import combinations
from math import prod
from typing import Any

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.lake import Lake, Table
from lakehouse.landing import folders
from lakehouse.landing.readers import OWN
from lakehouse.landing.undeclared import name_of, stand_in
from lakehouse.layers import cleaned, raw
from lakehouse.layers.columns import Ledger
from lakehouse.layers.columns import columns as spelled
from lakehouse.layers.folders import filled
from lakehouse.layers.printed import Column, as_contract, documents, placed, plain, printed

ROWS = 1_000_000
"""Records that are looked at, the newest objects first."""
SAMPLE = 10_000
"""Records on which a key must hold before it is tried on all."""
WIDEST = 3
CANDIDATES = 12
DAY, CLOCK = "[0-9]{4}-[0-9]{2}-[0-9]{2}", r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
SHAPES = {
    "Bool": "^(true|false)$",
    "Int64": "^-?(0|[1-9][0-9]{0,17})$",
    "Float64": r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$",
    "Date": f"^{DAY}$",
    "Datetime": f"^{DAY}[T ]{CLOCK}$",
    "Zoned": f"^{DAY}[T ]{CLOCK}(Z|[+-][0-9]{{2}}:?[0-9]{{2}})$",
}
"""What every value of a column looks like if it is of a type. `007` is text: a number would lose its zeros."""
TYPES: dict[str, Any] = {
    "Bool": pl.Boolean,
    "Int64": pl.Int64,
    "Float64": pl.Float64,
    "Date": pl.Date,
    "Datetime": pl.Datetime("us"),
    "Zoned": pl.Datetime("us", "UTC"),
    "String": pl.String,
}
RANKS = {"Zoned": 1, "Datetime": 1, "Date": 1, "String": 2, "Int64": 3}
"""What a key is rather made of; other types never."""
NAMED = r"(?i)(^|_)(id|key|code|uuid|number|no)$"
UNFIT = set("'\\\0*^")
"""In a name these end a JSON path, or say more than a name to polars."""


class Nothing(Exception):
    """There is nothing below the prefix from which a dataset could be told."""


def infer(lake: Lake, prefix: str, datasets: dict[str, Dataset]) -> str:
    """The text of a dataset file for what landed below a prefix. Raises `Nothing`."""
    prefix = prefix.strip("/")
    table = _landed(lake, prefix, datasets)
    if table is None:
        top = prefix.partition("/")[0]
        if top != prefix and _landed(lake, top, datasets):
            raise Nothing(
                f"what landed below {prefix}/ is in one table with all below {top}/: `lakehouse infer {top}`"
            )
        raise Nothing(f"nothing has landed below {prefix}/, or its raw table has not been made yet")
    name = table.name.removeprefix("raw/")
    heads = raw.current_heads(table, stand_in(name)).sort("_modified", descending=True).collect()
    if heads.is_empty():
        raise Nothing(f"nothing is left below {prefix}/")
    prefix = heads["_object"][0].split("/")[0]
    whole = heads.with_columns(pl.col("_records").fill_null(0).cum_sum().alias("_upto"))
    taken = whole.filter((pl.col("_upto") <= ROWS) | (pl.col("_upto") == pl.col("_records")))
    rows = raw.current(table, stand_in(name), taken["_object"].to_list()).head(ROWS).collect()
    if rows.is_empty():
        return documents(name, prefix, heads)
    return _file(name, prefix, heads, rows)


def _landed(lake: Lake, prefix: str, datasets: dict[str, Dataset]) -> Table | None:
    name = prefix if prefix in datasets else name_of(prefix, datasets)
    return lake.open(raw.name(name)) or lake.open(raw.name(prefix))


def _file(name: str, prefix: str, heads: pl.DataFrame, rows: pl.DataFrame) -> str:
    readable = rows.filter(pl.col("_bad").is_null())
    names, left = _names(readable)
    texts = as_contract([Column(n, "String", True, "") for n in names])
    values = filled(spelled(readable.with_row_index("_row"), texts, Ledger()), names, further=False)
    columns = [_column(n, values[n]) for n in names]
    key, why = _key(values, columns)
    columns = _held(name, readable, [replace(c, key=c.name in key) for c in columns])
    objects = rows["_object"].n_unique()
    notes = [f"{len(rows)} records of {objects} objects were seen, of {len(heads)} that landed."]
    if bad := len(rows) - len(readable):
        notes.append(f"{bad} records could not be split and will be in quarantine.")
    if left:
        told = ", ".join(map(plain, left))
        notes.append(f"Left out, since no column here can have such a name or type: {told}.")
    if empty := [c for c in rows.columns if not c.startswith("_") and rows[c].null_count() == len(rows)]:
        notes.append(f"Left out, since no record has a value: {', '.join(map(plain, empty))}.")
    return printed(name, prefix, columns, why, notes)


def _names(rows: pl.DataFrame) -> tuple[list[str], list[str]]:
    """The columns that records have of their own, in order, and those that none can be called by here."""
    found = dict.fromkeys(c for c in rows.columns if not c.startswith("_") and rows[c].null_count() < len(rows))
    for text in rows["_text"].drop_nulls():
        with suppress(ValueError, RecursionError, TypeError):
            found |= json.loads(text)
    found |= dict.fromkeys(folders.names(rows["_object"].unique()))
    kept: dict[str, str] = {}
    for one in found:
        typed = one not in rows.columns or _typed(rows.schema[one])
        if typed and one and one.lower() not in OWN and not UNFIT & set(one):
            kept.setdefault(one.lower(), one)
    return [*kept.values()], [one for one in found if one not in kept.values()]


def _column(name: str, values: pl.Series) -> Column:
    """Typed by what every value looks like; a column that its file typed keeps that type."""
    there = values.drop_nulls()
    kind = _shape(there) if values.dtype == pl.String else _typed(values.dtype) or "String"
    return Column(name, kind, bool(values.null_count()), _seen(there, kind, values.null_count()))


def _shape(there: pl.Series) -> str:
    for kind, shape in SHAPES.items():
        if len(there) and there.str.contains(shape).all():
            return kind
    return "String"


def _typed(dtype: pl.DataType) -> str | None:
    """The column type for a type that the file told; None where there is none."""
    if dtype.is_integer():
        return "Int64"
    if isinstance(dtype, pl.Datetime):
        return "Zoned" if dtype.time_zone else "Datetime"
    if dtype.is_float():
        return "Float64"
    return {pl.Boolean: "Bool", pl.Date: "Date", pl.String: "String"}.get(dtype.base_type())


def _seen(there: pl.Series, kind: str, nulls: int) -> str:
    """What was seen, in a comment's words: a range, or how many values and some of them."""
    missing = f"; {nulls} null" if nulls else ""
    if there.is_empty():
        return "no value"
    if kind in ("String", "Bool"):
        some = ", ".join(ascii(v)[:40] for v in there.unique().sort().head(3))
        return f"{there.n_unique()} distinct: {some}{missing}"
    values = _cast(there, kind)
    return f"{values.min()!s} … {values.max()!s}{missing}"


def _cast(there: pl.Series, kind: str) -> pl.Series:
    if there.dtype == pl.String and kind in ("Date", "Datetime", "Zoned"):
        return there.str.strptime(TYPES[kind], strict=False)
    return there.cast(TYPES[kind], strict=False)


def _key(values: pl.DataFrame, columns: Sequence[Column]) -> tuple[list[str], str]:
    """The fewest complete columns by which all records differ, and the evidence; none where there are none."""
    full = [c for c in columns if not c.nullable and c.kind in RANKS]
    counts = {c.name: values[c.name].n_unique() for c in full}
    ranks = {c.name: 0 if pl.Series([c.name]).str.contains(NAMED)[0] else RANKS[c.kind] for c in full}
    best = sorted(full, key=lambda c: ranks[c.name])[:CANDIDATES]
    named = [c.name for c in columns if c in best]
    for within, told in (([], "of all"), (["_object"], "within each object")):
        for width in range(1, WIDEST + 1):
            choices = sorted(combinations(named, width), key=lambda names: sum(ranks[n] for n in names))
            possible = (c for c in choices if within or prod(counts[n] for n in c) >= len(values))
            if found := [c for c in possible if _distinct(values, [*within, *c])]:
                return [*found[0]], _evidence(values, found, told)
    return [], "no columns tell the records apart"


def _distinct(values: pl.DataFrame, names: Sequence[str]) -> bool:
    return not any(part.select(names).is_duplicated().any() for part in (values.head(SAMPLE), values))


def _evidence(values: pl.DataFrame, found: Sequence[Sequence[str]], told: str) -> str:
    others = "; ".join(" + ".join(map(repr, names)) for names in found[1:4])
    repeated = int(values.select(found[0]).is_duplicated().sum())
    again = f"; {repeated} repeat between objects, of which the newest stays" if repeated else ""
    also = f"; as good: {others}" if others else ""
    return f"{len(values)} records, none null, distinct {told}{again}{also}"


def _held(name: str, rows: pl.DataFrame, columns: list[Column]) -> list[Column]:
    """The columns; text, where a value is none of the type by the contract's own account."""
    for _ in columns:
        bad = cleaned.split(Dataset(name, name, as_contract(columns), clean=placed), rows).bad
        broken = {rule.split("|")[0] for rules in bad["_rules"].unique() for rule in rules.split(", ")}
        if not broken & {c.name for c in columns if c.kind != "String"}:
            break
        columns = [replace(c, kind="String") if c.name in broken else c for c in columns]
    return columns
