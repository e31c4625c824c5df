"""row ↔ item: the types of a Delta row in DynamoDB's own notation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

KEY, VERSION, DELETED, EXPIRES = "_key", "_version", "_deleted", "_expires"
RESERVED = (KEY, VERSION, DELETED, EXPIRES)
CONTROL = "#cursor"
LARGEST = 400 * 1024
LONGEST_KEY = 2048
DIGITS = 38

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


def to_item(row: Mapping[str, Any], key: Sequence[str]) -> Item:
    """The row as an item, without its version. Raises `Unfit`."""
    if taken := [c for c in row if c in RESERVED]:
        raise Unfit(f"reserved column names: {', '.join(taken)}")
    item = {KEY: {"S": key_of(row, key)}, **{name: to_value(value) for name, value in row.items()}}
    if _size(item) > LARGEST:
        raise Unfit(f"the item is larger than {LARGEST} bytes")
    return item


def to_value(value: Any) -> dict[str, Any]:
    """One value, typed. Dates and times are ISO 8601 text, durations seconds. Raises `Unfit`."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int() | float() | Decimal():
            return {"N": _number(value)}
        case str():
            return {"S": value}
        case bytes():
            return {"B": value}
        case datetime() | date():
            return {"S": value.isoformat()}
        case timedelta():
            return {"N": _number(value.total_seconds())}
        case Mapping():
            return {"M": {str(k): to_value(v) for k, v in value.items()}}
        case list() | tuple():
            return {"L": [to_value(v) for v in value]}
    raise Unfit(f"no item type for {type(value).__name__}")


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


def _number(value: float | Decimal) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise Unfit(f"{value} is no number in DynamoDB")
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    if not exact.is_finite() or len("".join(map(str, exact.as_tuple().digits)).strip("0")) > DIGITS:
        raise Unfit(f"a number of more than {DIGITS} digits")
    if exact and not -130 <= exact.adjusted() <= 125:
        raise Unfit("a number outside 1E-130 to 9.9E+125")
    return str(exact)


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
