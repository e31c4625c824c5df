"""Avro → rows: its schema tells the columns' types.

What a column has no type for, a map, a union of several types or a type within itself, stands there as JSON.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from typing import IO, Any

import polars as pl

from lakehouse.formats import Avro, Format
from lakehouse.landing.columnar import ROW, typed
from lakehouse.landing.content import PIECE, spooled
from lakehouse.landing.packing import Budget
from lakehouse.landing.refusal import Unreadable, check_names

MAGIC = b"Obj\x01"
PLAIN: dict[str, Any] = {
    "null": pl.Null(),
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "bytes": pl.Binary(),
    "fixed": pl.Binary(),
    "string": pl.String(),
    "enum": pl.String(),
}
LOGICAL: dict[str, Any] = {
    "int-date": pl.Date(),
    "int-time-millis": pl.Time(),
    "long-time-micros": pl.Time(),
    "long-timestamp-millis": pl.Datetime("us", "UTC"),
    "long-timestamp-micros": pl.Datetime("us", "UTC"),
    "long-local-timestamp-millis": pl.Datetime("us"),
    "long-local-timestamp-micros": pl.Datetime("us"),
}
DIGITS = 38
"""What a decimal column holds."""


def is_avro(body: bytes, _: bool) -> bool:
    return body.startswith(MAGIC)


def read_avro(body: bytes, budget: Budget) -> pl.DataFrame:
    """Block by block. A block that has more or less than it says is refused with its file."""
    return pl.concat(_parts(io.BytesIO(body), lambda: budget))


def avro_pieces(pieces: Iterator[bytes], _: Avro | None) -> Iterator[pl.DataFrame]:
    """It goes to disk first: its library goes back and forth in it."""
    with spooled(pieces) as file:
        yield from _parts(file, Budget)


def _parts(source: IO[bytes], budget: Callable[[], Budget]) -> Iterator[pl.DataFrame]:
    """The records of some blocks at a time, each block within the budget; of a file without any, no rows."""
    import fastavro
    from fastavro.schema import expand_schema

    blocks: Any = fastavro.block_reader(source)
    schema: Any = expand_schema(blocks.writer_schema)
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise Unreadable("its schema is not that of records")
    check_names([field["name"] for field in schema["fields"]])
    records: list[dict[str, Any]] = []
    taken = 0
    for block in blocks:
        size = max(len(block.bytes_.getbuffer()), block.num_records * ROW)
        budget().spend(size)
        records += block
        if block.bytes_.read(1):
            raise Unreadable("a block that has more in it than the records that it tells of")
        taken += size
        if taken >= PIECE:
            yield _rows(schema, records)
            records, taken = [], 0
    yield _rows(schema, records)


def _rows(schema: dict[str, Any], records: list[dict[str, Any]]) -> pl.DataFrame:
    return typed(pl.DataFrame([_column(field, records) for field in schema["fields"]]))


def cut_avro(body: bytes, keep: Sequence[bool], _: Format | None = None) -> bytes:
    """The file with the records that are kept, of the same schema, codec and metadata."""
    import fastavro

    told: Any = {"return_record_name": True, "return_record_name_override": True, "return_named_type": True}
    records, left = fastavro.reader(io.BytesIO(body), **told), io.BytesIO()
    about = {name: value for name, value in records.metadata.items() if not name.startswith("avro.")}
    fastavro.writer(left, records.writer_schema, compress(records, keep), codec=records.codec, metadata=about)
    return left.getvalue()


def _column(field: dict[str, Any], records: list[dict[str, Any]]) -> pl.Series:
    name, kind = field["name"], _kind(field["type"])
    values = [record[name] for record in records]
    return pl.Series(name, [*map(_text, values)] if kind is None else values, kind or pl.String(), strict=True)


def _kind(told: Any) -> Any:
    """The column type for an Avro type, expanded; None where there is none."""
    match told:
        case str():
            return PLAIN.get(told)
        case list():
            some = [one for one in told if one != "null"]
            return _kind(some[0]) if len(some) == 1 else None if some else pl.Null()
        case {"type": "bytes" | "fixed", "logicalType": "decimal", "precision": int(digits)} if digits <= DIGITS:
            return pl.Decimal(digits, told.get("scale", 0))
        case {"type": "bytes" | "fixed", "logicalType": "decimal"}:
            return None
        case {"type": str(base), "logicalType": str(name)} if f"{base}-{name}" in LOGICAL:
            return LOGICAL[f"{base}-{name}"]
        case {"type": "string", "logicalType": "uuid"}:
            return None
        case {"type": "array", "items": items}:
            return pl.List(inner) if (inner := _kind(items)) else None
        case {"type": "record", "fields": fields}:
            kinds = {field["name"]: _kind(field["type"]) for field in fields}
            return None if not kinds or any(kind is None for kind in kinds.values()) else pl.Struct(kinds)
        case {"type": str() | list() as inner}:
            return _kind(inner)
    return None


def _text(value: Any) -> str | None:
    if isinstance(value, bool | int | float | list | dict):
        return json.dumps(value, ensure_ascii=False, default=_plain)
    return None if value is None else _plain(value)


def _plain(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
