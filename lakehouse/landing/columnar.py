"""self-typed files → rows: columns of their own types, each row marked `_typed`.

What Arrow's library makes of bytes that nobody vouches for is checked before anything else looks at it.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import polars as pl

from lakehouse.formats import Format, Parquet
from lakehouse.landing.content import PIECE
from lakehouse.landing.packing import Budget
from lakehouse.landing.refusal import Unreadable, check_names

ROW = 8
"""Bytes that a row counts for at least: one of nulls alone takes none, and a file may claim any number of them."""


def is_parquet(body: bytes, whole: bool) -> bool:
    """Told by its begin, where that is all there is."""
    return body.startswith(b"PAR1") and (not whole or (body.endswith(b"PAR1") and len(body) >= 12))


def is_arrow(body: bytes, whole: bool) -> bool:
    return _is_arrow_file(body, whole) or _is_arrow_stream(body)


def is_orc(body: bytes, whole: bool) -> bool:
    return body.startswith(b"ORC") and (not whole or (body[-4:-1] == b"ORC" and len(body) > 4))


def read_parquet(body: bytes, _: Budget) -> pl.DataFrame:
    return typed(pl.read_parquet(io.BytesIO(body)))


def read_arrow(body: bytes, budget: Budget) -> pl.DataFrame:
    """A file or a stream. A stream that ends before its bytes do is refused: what follows would be lost."""
    import pyarrow as pa

    if _is_arrow_file(body, whole=True):
        file = pa.ipc.open_file(pa.py_buffer(body))
        return _table(file.schema, (file.get_batch(n) for n in range(file.num_record_batches)), budget)
    source = pa.BufferReader(body)
    stream = pa.ipc.open_stream(source)
    rows = _table(stream.schema, stream, budget)
    if source.tell() < len(body):
        raise Unreadable(f"an Arrow stream that ends {len(body) - source.tell():,} bytes before its object")
    return rows


def read_orc(body: bytes, budget: Budget) -> pl.DataFrame:
    from pyarrow.orc import ORCFile

    file = ORCFile(io.BytesIO(body))
    rows = _table(file.schema, (file.read_stripe(n) for n in range(file.nstripes)), budget)
    if len(rows) != file.nrows:
        raise Unreadable(f"it tells of {file.nrows:,} rows and has {len(rows):,}")
    return rows


def cut_parquet(body: bytes, keep: Sequence[bool], _: Format | None = None) -> bytes:
    """The file with the rows that are kept."""
    left = io.BytesIO()
    pl.read_parquet(io.BytesIO(body)).filter(pl.Series(keep, dtype=pl.Boolean)).write_parquet(left)
    return left.getvalue()


def cut_arrow(body: bytes, keep: Sequence[bool], _: Format | None = None) -> bytes:
    """The file or stream with the rows that are kept, not compressed: how it was, it does not tell."""
    import pyarrow as pa

    filed, left = _is_arrow_file(body, whole=True), io.BytesIO()
    rows = (pa.ipc.open_file if filed else pa.ipc.open_stream)(pa.py_buffer(body)).read_all()
    frame = pl.DataFrame(rows).filter(pl.Series(keep, dtype=pl.Boolean))  # Arrow's own filter knows no views
    kept = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    bare = pa.Table.from_arrays([*map(_retyped, kept.columns, rows.schema.types)], schema=rows.schema)
    with (pa.ipc.new_file if filed else pa.ipc.new_stream)(left, rows.schema) as sink:
        sink.write_table(bare)
    return left.getvalue()


def cut_orc(body: bytes, keep: Sequence[bool], _: Format | None = None) -> bytes:
    """The file with the rows that are kept."""
    import pyarrow as pa
    from pyarrow.orc import ORCFile, write_table

    file, left = ORCFile(io.BytesIO(body)), io.BytesIO()
    write_table(file.read().filter(pa.array(keep)), left, compression=file.compression)
    return left.getvalue()


def parquet_pieces(pieces: Iterator[bytes], _: Parquet | None) -> Iterator[pl.DataFrame]:
    """Its index is its end: so it goes to disk first, and from there a part of its rows at a time."""
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        size = sum(file.write(piece) for piece in pieces)
        file.flush()
        rows = pl.scan_parquet(file.name, glob=False)
        count = rows.select(pl.len()).collect().item()
        step = max(1, count * PIECE // size)
        for begin in range(0, count, step):
            yield typed(rows.slice(begin, step).collect())


def typed(rows: pl.DataFrame) -> pl.DataFrame:
    check_names(rows.columns)
    return rows.with_columns(_typed=pl.lit(True))


def _table(schema: Any, batches: Iterable[Any], budget: Budget) -> pl.DataFrame:
    """The batches as one table, each within the budget and sound by itself.

    A system that gives memory before it has it denies only what nothing could hold: a length that is a lie.
    """
    import pyarrow as pa

    check_names(schema.names)
    taken = []
    try:
        for batch in batches:
            budget.spend(max(batch.nbytes, batch.num_rows * ROW))
            batch.validate(full=True)
            taken.append(batch)
    except pa.ArrowMemoryError as error:
        raise Unreadable(f"asks for more memory than there can be: {error}") from error
    rows = pl.from_arrow(pa.Table.from_batches(taken, schema))
    assert isinstance(rows, pl.DataFrame)
    return typed(rows)


def _retyped(column: Any, kind: Any) -> Any:
    """The column as of a type; a dictionary has no word in it that no row says any more."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type).cast(kind)
    if "dictionary<" in str(kind):
        raise TypeError(f"a dictionary within {kind}")
    return column.cast(kind)


def _is_arrow_file(body: bytes, whole: bool) -> bool:
    return body.startswith(b"ARROW1\0\0") and (not whole or body.endswith(b"ARROW1"))


def _is_arrow_stream(body: bytes) -> bool:
    """Whether it begins with a message: a mark, and the length of what tells it, a multiple of 8."""
    length = int.from_bytes(body[4:8], "little")
    return body.startswith(b"\xff\xff\xff\xff") and 0 < length <= len(body) and not length % 8
