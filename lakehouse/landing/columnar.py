"""self-typed files → rows: columns of their own types, each row marked `_typed`."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator

import polars as pl

from lakehouse.formats import Parquet
from lakehouse.landing.content import PIECE
from lakehouse.landing.refusal import check_names

PARQUET = Parquet()


def read_parquet(body: bytes, _: Parquet = PARQUET) -> pl.DataFrame:
    return _typed(pl.read_parquet(io.BytesIO(body)))


def parquet_pieces(pieces: Iterator[bytes], _: Parquet | None) -> Iterator[pl.DataFrame]:
    """Its index is its end: so it goes to disk first, and from there a part of its rows at a time."""
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        size = sum(file.write(piece) for piece in pieces)
        file.flush()
        rows = pl.scan_parquet(file.name, glob=False)
        count = rows.select(pl.len()).collect().item()
        step = max(1, count * PIECE // size)
        for begin in range(0, count, step):
            yield _typed(rows.slice(begin, step).collect())


def _typed(rows: pl.DataFrame) -> pl.DataFrame:
    check_names(rows.columns)
    return rows.with_columns(_typed=pl.lit(True))
