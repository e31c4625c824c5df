"""self-typed files → rows: columns of their own types, each row marked `_typed`.

What Arrow's library makes of bytes that nobody vouches for is checked before anything else looks at it. A file
that is too large to be read at once goes to disk first, since its index is at its end, and from there a part at a
time: Arrow's batches as their writer made them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any

import polars as pl

from lakehouse.formats import Arrow, Format, Orc, Parquet
from lakehouse.landing.content import PIECE, spooled
from lakehouse.landing.packing import Budget
from lakehouse.landing.refusal import Unreadable, check_names

ROW = 8
"""Bytes that a row counts for at least: one of nulls alone takes none, and a file may claim any number of them."""


FILED = b"ARROW1\0\0"


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

    return _together(*_arrow(pa.BufferReader(body)), budget)


def read_orc(body: bytes, budget: Budget) -> pl.DataFrame:
    return _together(*_orc(io.BytesIO(body)), budget)


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
    with spooled(pieces) as file:
        size = file.seek(0, io.SEEK_END)
        rows = pl.scan_parquet(file.name, glob=False)
        count = rows.select(pl.len()).collect().item()
        step = max(1, count * PIECE // size)
        for begin in range(0, count, step):
            yield typed(rows.slice(begin, step).collect())


def arrow_pieces(pieces: Iterator[bytes], _: Arrow | None) -> Iterator[pl.DataFrame]:
    import pyarrow as pa

    with spooled(pieces) as file:
        yield from _apart(*_arrow(pa.memory_map(file.name)))


def orc_pieces(pieces: Iterator[bytes], _: Orc | None) -> Iterator[pl.DataFrame]:
    from pyarrow.dataset import dataset
    from pyarrow.orc import ORCFile

    with spooled(pieces) as file:
        size, told = file.seek(0, io.SEEK_END), ORCFile(file)
        rows = dataset(file.name, format="orc", schema=told.schema)
        step = max(1, told.nrows * PIECE // size)
        batches = rows.to_batches(batch_size=step, batch_readahead=0, fragment_readahead=0, use_threads=False)
        yield from _apart(told.schema, _counted(batches, told.nrows))


def typed(rows: pl.DataFrame) -> pl.DataFrame:
    check_names(rows.columns)
    return rows.with_columns(_typed=pl.lit(True))


def _arrow(source: Any) -> tuple[Any, Iterator[Any]]:
    """The schema, and the batches as the file has them."""
    import pyarrow as pa

    begin = source.read(8)
    source.seek(0)
    if begin.startswith(FILED):
        file = pa.ipc.open_file(source)
        return file.schema, (file.get_batch(n) for n in range(file.num_record_batches))
    stream = pa.ipc.open_stream(source)
    return stream.schema, _streamed(stream, source)


def _streamed(stream: Any, source: Any) -> Iterator[Any]:
    yield from stream
    if source.tell() < source.size():
        raise Unreadable(f"an Arrow stream that ends {source.size() - source.tell():,} bytes before its object")


def _orc(source: IO[bytes]) -> tuple[Any, Iterator[Any]]:
    """The schema, and the stripes as batches."""
    from pyarrow.orc import ORCFile

    file = ORCFile(source)
    return file.schema, _counted((file.read_stripe(n) for n in range(file.nstripes)), file.nrows)


def _counted(batches: Iterable[Any], told: int) -> Iterator[Any]:
    count = 0
    for batch in batches:
        count += batch.num_rows
        yield batch
    if count != told:
        raise Unreadable(f"it tells of {told:,} rows and has {count:,}")


def _together(schema: Any, batches: Iterable[Any], budget: Budget) -> pl.DataFrame:
    """The batches as one table, all of them within the budget."""
    return _rows(schema, [*_sound(schema, batches, lambda: budget)])


def _apart(schema: Any, batches: Iterable[Any]) -> Iterator[pl.DataFrame]:
    """Each batch as a table, within a budget of its own."""
    for batch in _sound(schema, batches, Budget):
        yield _rows(schema, [batch])


def _sound(schema: Any, batches: Iterable[Any], budget: Callable[[], Budget]) -> Iterator[Any]:
    """The batches, each within the budget and sound by itself.

    A system that gives memory before it has it denies only what nothing could hold: a length that is a lie.
    """
    import pyarrow as pa

    check_names(schema.names)
    try:
        for batch in batches:
            budget().spend(max(batch.nbytes, batch.num_rows * ROW))
            batch.validate(full=True)
            yield batch
    except pa.ArrowMemoryError as error:
        raise Unreadable(f"asks for more memory than there can be: {error}") from error


def _rows(schema: Any, batches: Sequence[Any]) -> pl.DataFrame:
    import pyarrow as pa

    rows = pl.from_arrow(pa.Table.from_batches(batches, schema))
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
    return body.startswith(FILED) and (not whole or body.endswith(b"ARROW1"))


def _is_arrow_stream(body: bytes) -> bool:
    """Whether it begins with a message: a mark, and the length of what tells it, a multiple of 8."""
    length = int.from_bytes(body[4:8], "little")
    return body.startswith(b"\xff\xff\xff\xff") and 0 < length <= len(body) and not length % 8
