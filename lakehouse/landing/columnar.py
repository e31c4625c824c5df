"""self-typed files → rows: columns of their own types, each row marked `_typed`."""

from __future__ import annotations

import io
from collections.abc import Sequence

import polars as pl

from lakehouse.formats import Parquet
from lakehouse.landing.refusal import check_names

PARQUET = Parquet()


def read_parquet(body: bytes, _: Parquet = PARQUET) -> pl.DataFrame:
    return _typed(pl.read_parquet(io.BytesIO(body)))


def cut_parquet(body: bytes, keep: Sequence[bool], _: Parquet = PARQUET) -> bytes:
    """The file with the rows that are kept."""
    left = io.BytesIO()
    pl.read_parquet(io.BytesIO(body)).filter(pl.Series(keep, dtype=pl.Boolean)).write_parquet(left)
    return left.getvalue()


def _typed(rows: pl.DataFrame) -> pl.DataFrame:
    check_names(rows.columns)
    return rows.with_columns(_typed=pl.lit(True))
