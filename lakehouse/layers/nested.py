"""a JSON or Python value → a struct or list of declared types, and the parts that these do not have."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

import polars as pl

from lakehouse.layers.rescued import as_word


@dataclass
class Conformed:
    """`unknown`: fields that no type is declared for. `lost`: values of another type. Both by path."""

    value: Any = None
    unknown: dict[str, Any] = field(default_factory=dict)
    lost: dict[str, Any] = field(default_factory=dict)


def conform(value: Any, kind: Any, path: str) -> Conformed:
    made = Conformed()
    made.value = _conform(value, kind, path, made)
    return made


def _conform(value: Any, kind: Any, path: str, made: Conformed) -> Any:
    if value is None:
        return None
    match kind:
        case pl.Struct(fields=fields) if isinstance(value, dict):
            names = {f.name for f in fields}
            made.unknown |= {f"{path}.{k}": v for k, v in value.items() if k not in names and v is not None}
            return {f.name: _conform(value.get(f.name), f.dtype, f"{path}.{f.name}", made) for f in fields}
        case pl.List(inner=inner) | pl.Array(inner=inner) if isinstance(value, list | tuple):
            return [_conform(v, inner, f"{path}[{n}]", made) for n, v in enumerate(value)]
    try:
        return _scalar(value, kind)
    except (ValueError, TypeError, InvalidOperation, OverflowError):
        made.lost[path] = value
        return None


def _scalar(value: Any, kind: Any) -> Any:
    """Raises where the value is none of the kind."""
    if isinstance(value, dict | list | tuple) or (isinstance(value, bool) and not isinstance(kind, pl.Boolean)):
        if isinstance(kind, pl.String):
            return value if isinstance(value, str) else as_word(value)
        raise TypeError(value)
    match kind:
        case pl.String():
            return value if isinstance(value, str) else as_word(value)
        case pl.Boolean() if isinstance(value, bool):
            return value
        case pl.Float32() | pl.Float64():
            return float(value)
        case pl.Decimal():
            return Decimal(str(value))
        case pl.Date() if not isinstance(value, datetime):
            return value if isinstance(value, date) else date.fromisoformat(value)
        case pl.Time():
            return value if isinstance(value, time) else time.fromisoformat(value)
        case pl.Datetime():
            return value if isinstance(value, datetime) else datetime.fromisoformat(value)
        case pl.Binary() if isinstance(value, bytes):
            return value
    if not kind.is_integer() or int(value) != (float(value) if isinstance(value, str) else value):
        raise ValueError(value)
    pl.Series([int(value)], dtype=kind)
    return int(value)
