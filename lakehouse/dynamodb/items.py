"""rows → items → rows: the types of a Delta row in DynamoDB's own notation, made by Polars' expressions."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

KEY, VERSION, DELETED, EXPIRES = "_key", "_version", "_deleted", "_expires"
RESERVED = (KEY, VERSION, DELETED, EXPIRES)
CONTROL = "#cursor"
LARGEST = 400 * 1024
LONGEST_KEY = 2048
UNFIT = "\0"
"""Around the reason in the JSON of what does not fit: a character that no JSON text holds as it is."""

Item = dict[str, Any]


class Unfit(ValueError):
    """A row that DynamoDB cannot hold. Terminal: the row is kept aside with this reason."""


def key_of(row: Mapping[str, Any], key: Sequence[str]) -> str:
    """The item's key: the one key column's text, or several as a JSON array."""
    values = [row[k] for k in key]
    if any(v is None for v in values):
        raise Unfit(f"a null in the key {list(key)}")
    text = _plain(values[0]) if len(values) == 1 else json.dumps([_plain(v) for v in values], ensure_ascii=False)
    if not text:
        raise Unfit("an empty key")
    if text == CONTROL:
        raise Unfit(f"the key {CONTROL} is reserved")
    if len(text.encode()) > LONGEST_KEY:
        raise Unfit(f"a key of more than {LONGEST_KEY} bytes")
    return text


def name_of(row: Mapping[str, Any], key: Sequence[str]) -> str:
    """What a person may call the row by: its item's key, or the bare values where they are none."""
    try:
        return key_of(row, key)
    except Unfit:
        return repr([row.get(k) for k in key])


@dataclass(frozen=True, slots=True)
class Encoded:
    """A row as its item's JSON, without a version: `text`; or, where it does not fit, the `reason`.

    `name` is the item's key; where the key itself is unfit, what a person may call the row by (`keyed` is False).
    """

    name: str
    text: str | None
    reason: str | None = None
    keyed: bool = True


def encode(rows: pl.DataFrame, key: Sequence[str]) -> Iterator[Encoded]:
    """Every row as an item in DynamoDB's own notation, the columns' types deciding; none raises.

    Dates and times are ISO 8601 text, a binary is base64. A float has the fewest digits that make it again, a
    decimal all those of its scale.
    """
    taken = [c for c in rows.columns if c in RESERVED]
    reserved = f"reserved column names: {', '.join(taken)}" if taken else None
    names = [_named(row, key) for row in rows.select(key).iter_rows(named=True)]
    made = _texts(rows, [name for name, _ in names])
    for (name, unkeyed), text, reason in zip(names, made["text"], made["reason"], strict=True):
        if why := reserved or unkeyed or reason or _too_large(text):
            yield Encoded(name, None, why, keyed=unkeyed is None)
        else:
            yield Encoded(name, text)


def to_item(text: str) -> Item:
    """An item's JSON as boto3 hands items out."""
    return dict(json.loads(text, object_hook=_with_bytes))


def to_row(item: Item) -> dict[str, Any]:
    """The item as plain Python values, without the reserved attributes. Numbers are int or Decimal."""
    return {name: from_value(value) for name, value in item.items() if name not in RESERVED}


def from_value(value: Mapping[str, Any]) -> Any:
    ((kind, inner),) = value.items()
    match kind:
        case "NULL":
            return None
        case "N":
            return int(inner) if inner.lstrip("-").isdigit() else Decimal(inner)
        case "M":
            return {k: from_value(v) for k, v in inner.items()}
        case "L":
            return [from_value(v) for v in inner]
    return inner


def _named(row: Mapping[str, Any], key: Sequence[str]) -> tuple[str, str | None]:
    """(the item's key, None), or (the row's name, why it has no key)."""
    try:
        return key_of(row, key), None
    except Unfit as error:
        return name_of(row, key), str(error)


def _texts(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """`text` and `reason`: of each row the item's JSON, and why it does not fit."""
    kinds = {name: kind for name, kind in rows.schema.items() if name not in RESERVED}
    parts = [pl.lit("{" + json.dumps(KEY) + ":"), _string(pl.col("key"))]
    for number, (name, kind) in enumerate(kinds.items()):
        parts += [pl.lit(f",{json.dumps(name)}:"), _value(pl.col(str(number)), kind)]
    columns = {str(number): rows[name] for number, name in enumerate(kinds)}
    made = pl.DataFrame({"key": pl.Series(keys, dtype=pl.String), **columns})
    made = made.select(text=pl.concat_str(*parts, pl.lit("}")))
    return made.with_columns(reason=pl.col("text").str.extract(f"{UNFIT}([^{UNFIT}]*){UNFIT}"))


def _value(value: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """One value, typed, as JSON."""
    return pl.when(value.is_null()).then(pl.lit('{"NULL":true}')).otherwise(_known(value, kind))


def _known(value: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """As `_value`, of what is no null. What does not fit is its reason between two `UNFIT`."""
    match kind:
        case pl.Boolean():
            return _around('{"BOOL":', value.cast(pl.String), "}")
        case pl.Float64() | pl.Float32():
            return _around('{"N":"', _digits(value.cast(pl.Float64)), '"}')
        case pl.Decimal() | pl.Null():
            return _around('{"N":"', value.cast(pl.String), '"}')
        case pl.String():
            return _string(value)
        case pl.Binary():
            return _around('{"B":"', value.bin.encode("base64"), '"}')
        case pl.Date():
            return _around('{"S":"', value.dt.strftime("%Y-%m-%d"), '"}')
        case pl.Datetime(time_zone=zone):
            iso = value.dt.strftime(f"%Y-%m-%dT%H:%M:%S%.6f{'%:z' if zone else ''}")
            return _around('{"S":"', iso.str.replace(".000000", "", literal=True), '"}')
        case pl.List():
            inner = _value(pl.element(), kind.inner)  # type: ignore[arg-type]
            return _around('{"L":[', value.list.eval(inner).list.join(","), "]}")
        case pl.Struct(fields=fields):
            numbered = value.struct.rename_fields([str(number) for number in range(len(fields))])
            parts = [pl.lit('{"M":{')]
            for number, field in enumerate(fields):
                parts.append(pl.lit(f"{',' if number else ''}{json.dumps(field.name)}:"))
                parts.append(_value(numbered.struct.field(str(number)), field.dtype))  # type: ignore[arg-type]
            return pl.concat_str(*parts, pl.lit("}}"))
        case _ if kind.is_integer():
            return _around('{"N":"', value.cast(pl.String), '"}')
    return pl.lit(f"{UNFIT}no item type for {kind}{UNFIT}")


def _digits(value: pl.Expr) -> pl.Expr:
    """The shortest digits that make the same float again."""
    size = value.abs()
    return (
        pl.when(value.is_nan())
        .then(pl.lit(f"{UNFIT}nan is no number in DynamoDB{UNFIT}"))
        .when(value.is_infinite())
        .then(_around(UNFIT, value.cast(pl.String), f" is no number in DynamoDB{UNFIT}"))
        .when((size >= 1e126) | (size < 1e-130) & (size > 0))
        .then(pl.lit(f"{UNFIT}a number outside 1E-130 to 9.9E+125{UNFIT}"))
        .otherwise(value.cast(pl.String))
    )


def _string(value: pl.Expr) -> pl.Expr:
    return pl.struct(S=value).struct.json_encode()


def _around(before: str, value: pl.Expr, after: str) -> pl.Expr:
    return pl.concat_str(pl.lit(before), value, pl.lit(after))


def _too_large(text: str) -> str | None:
    """The JSON of an item is longer than what DynamoDB counts, so that few are counted."""
    if len(text) > LARGEST // 4 and len(text.encode()) > LARGEST and _size(to_item(text)) > LARGEST:
        return f"the item is larger than {LARGEST} bytes"
    return None


def _with_bytes(found: dict[str, Any]) -> dict[str, Any]:
    return {"B": b64decode(found["B"])} if isinstance(found.get("B"), str) else found


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _size(item: Item) -> int:
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, inner),) = value.items()
    match kind:
        case "S":
            return len(inner.encode())
        case "N":
            return len(inner) // 2 + 2
        case "B":
            return len(inner)
        case "M":
            return 3 + sum(len(k.encode()) + 1 + _value_size(v) for k, v in inner.items())
        case "L":
            return 3 + sum(1 + _value_size(v) for v in inner)
    return 1
