"""self-typed files → rows: columns of their own types, each row marked `_typed`."""

from __future__ import annotations

import io

import polars as pl

from lakehouse.formats import Parquet
from lakehouse.landing.refusal import check_names

PARQUET = Parquet()


def read_parquet(body: bytes, _: Parquet = PARQUET) -> pl.DataFrame:
    return _typed(pl.read_parquet(io.BytesIO(body)))


def _typed(rows: pl.DataFrame) -> pl.DataFrame:
    check_names(rows.columns)
    return rows.with_columns(_typed=pl.lit(True))
