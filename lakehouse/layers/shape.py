"""schema on read: raw's records in the contract's columns and types, and what becomes of all that does not fit.

A value that its column's type cannot hold breaks the rule `column|dtype`. It is rescued instead, and its row
stays, where the file told its own types or the dataset declares `rescue`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.landing.refusal import OWN
from lakehouse.layers.columns import Ledger
from lakehouse.layers.nested import conform
from lakehouse.layers.rescued import NESTED, RESCUED, as_text, dumped, exact, nothing

SPELLED = (pl.Date, pl.Datetime, pl.Time, pl.Boolean)
"""Types that dataframely does not read out of text."""
TRUTH = {"true": True, "false": False}
MEND = "add them to the contract, or take them out of the file"


@dataclass(frozen=True)
class Shape:
    """`table`: the contract's columns. `further`: by `_row`, what goes to cleaned beside them.

    `faults`: `_row` and `_rules`. A row in them is refused, whatever the contract says of it.
    """

    table: pl.DataFrame
    further: pl.DataFrame
    faults: pl.DataFrame


def shaped(table: pl.DataFrame, dataset: Dataset, ledger: Ledger) -> Shape:
    """What `clean` gave back, in the contract's types."""
    contract = dataset.contract.columns()
    lenient = pl.Series("_lenient", [dataset.schema_evolution == "rescue"]).new_from_index(0, len(table))
    if "_typed" in table.columns:
        lenient = lenient | table["_typed"].fill_null(False)
    read = [_read(table[name], column.dtype, table["_row"], lenient, ledger) for name, column in contract.items()]
    extra = [c for c in table.columns if c not in contract and c.lower() not in OWN]
    for name in extra if dataset.schema_evolution != "add" else []:
        filled = table.filter(pl.col(name).is_not_null()).select("_row", name)
        for row, value in filled.iter_rows():
            ledger.surprise(row, {name: value})
    kept = extra if dataset.schema_evolution == "add" else []
    further = table.select("_row", *kept).cast({pl.Null: pl.String})
    if dataset.schema_evolution == "rescue" or ledger.rescued:
        texts = [dumped(ledger.text(row)) for row in table["_row"]]
        further = further.with_columns(pl.Series(RESCUED, texts, dtype=pl.String))
    faults = [*ledger.broken, *_refused(table, dataset, ledger)]
    told = pl.DataFrame(faults, schema={"_row": table.schema["_row"], "_rules": pl.String}, orient="row")
    return Shape(table.drop([*contract]).with_columns(read), further, told)


def _refused(table: pl.DataFrame, dataset: Dataset, ledger: Ledger) -> Iterator[tuple[int, str]]:
    """In `fail`: every record of an object that brings columns which nobody declared."""
    if dataset.schema_evolution != "fail" or not ledger.unknown:
        return
    objects = dict(table.select("_row", "_object").iter_rows())
    brought: dict[str, set[str]] = {}
    for row, names in ledger.unknown.items():
        if row in objects:
            brought.setdefault(objects[row], set()).update(names)
    for row, key in objects.items():
        if key in brought:
            yield row, f"columns beyond the contract: {', '.join(sorted(brought[key]))}; {MEND}"


def _read(values: pl.Series, kind: Any, rows: pl.Series, lenient: pl.Series, ledger: Ledger) -> pl.Series:
    """One column in the contract's type, as far as dataframely would not read it so by itself."""
    if isinstance(kind, NESTED):
        return _nested(values, kind, rows, lenient, ledger)
    plain_text = values.dtype == pl.String and not isinstance(kind, SPELLED)
    if isinstance(kind, pl.Enum | pl.Categorical | pl.Object) or (plain_text and not lenient.any()):
        return values
    held = _held(values, kind)
    lost = values.is_not_null() & held.is_null()
    for row, value in zip(rows.filter(lost & lenient), values.filter(lost & lenient), strict=True):
        ledger.rescue(row, {values.name: value})
    if plain_text:
        return values.set(lost & lenient, None)
    ledger.broken += [(row, f"{values.name}|dtype") for row in rows.filter(lost & ~lenient)]
    return held


def _held(values: pl.Series, kind: Any) -> pl.Series:
    """The values in another type, null where it cannot hold one; by text, if the types have nothing in common."""
    here = values.dtype
    if here == kind:
        return values
    if here.is_temporal() and kind.is_temporal():
        return _moved(values, kind)
    if here.is_numeric() and kind.is_numeric():
        return _cast(values, kind) if kind.is_float() else exact(values, kind)
    text = as_text(values)
    if isinstance(kind, pl.Boolean):
        return text.str.to_lowercase().replace_strict(TRUTH, default=None, return_dtype=kind)
    return _calendar(text, kind) if kind.is_temporal() else _cast(text, kind)


def _moved(values: pl.Series, kind: Any) -> pl.Series:
    """Times in another zone or unit; where one side names no zone, it is UTC."""
    if isinstance(values.dtype, pl.Datetime):
        zoned = values if values.dtype.time_zone else values.dt.replace_time_zone("UTC")
        zone = kind.time_zone if isinstance(kind, pl.Datetime) else None
        values = zoned.dt.convert_time_zone(zone or "UTC")
        values = values if zone else values.dt.replace_time_zone(None)
    elif isinstance(kind, pl.Datetime) and kind.time_zone:
        values = values.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").dt.convert_time_zone(kind.time_zone)
    return exact(values, kind)


def _calendar(text: pl.Series, kind: Any) -> pl.Series:
    """ISO text to dates and times. Midnight is a date, and a date is its midnight."""
    found = _parse(text, kind)
    missed = text.is_not_null() & found.is_null()
    if not missed.any() or isinstance(kind, pl.Time | pl.Duration):
        return found
    other = pl.Datetime("us") if isinstance(kind, pl.Date) else pl.Date()
    return found.zip_with(~missed, _moved(_parse(text, other), kind))


def _parse(text: pl.Series, kind: Any) -> pl.Series:
    try:
        return text.str.strptime(cast(Any, kind), strict=False)
    except pl.exceptions.PolarsError:  # no value tells a format
        return nothing(text, kind)


def _cast(values: pl.Series, kind: Any) -> pl.Series:
    try:
        return values.cast(kind, strict=False)
    except pl.exceptions.PolarsError:
        return nothing(values, kind)


def _nested(values: pl.Series, kind: Any, rows: pl.Series, lenient: pl.Series, ledger: Ledger) -> pl.Series:
    """Structs and lists, field by field. What the contract's type has no field for is as a column it has not."""
    if values.dtype == kind:
        return values
    found = []
    for row, value, keep in zip(rows, values.to_list(), lenient, strict=True):
        made = conform(_parsed(value) if isinstance(value, str) else value, kind, values.name)
        found.append(made.value)
        if made.unknown:
            ledger.surprise(row, made.unknown)
        if made.lost and keep:
            ledger.rescue(row, made.lost)
        elif made.lost:
            ledger.broken.append((row, f"{values.name}|dtype"))
    return pl.Series(values.name, found, dtype=kind)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
