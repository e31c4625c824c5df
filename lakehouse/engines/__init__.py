"""a function and its frames → rows: on Polars, or, if it is portable, on the engine of the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import narwhals as nw
import polars as pl

from lakehouse.engines import portable, spark
from lakehouse.engines.frame import Frame, Narrowed
from lakehouse.engines.portable import NotPortable
from lakehouse.engines.spark import EngineFailed
from lakehouse.lake.scope import within
from lakehouse.settings import Settings

__all__ = ["EngineFailed", "Frame", "Narrowed", "NotPortable", "compute"]


def compute(function: Callable[..., Any], frames: Sequence[Frame]) -> pl.DataFrame:
    """What the function gives of the frames, in the same columns and types whichever engine computed it.

    Nothing is committed here: who calls compares and commits as ever. Raises `NotPortable` before anything is
    computed, `EngineFailed` where another engine did not answer or could not, and what the function raises.
    """
    lazy = [one.scan() if isinstance(one, Narrowed) else one.lazy() for one in frames]
    rows: pl.DataFrame
    if not portable.is_portable(function):
        rows = function(*lazy).collect()
        return rows
    schema = portable.columns(function, [one.collect_schema() for one in lazy])
    engine = Settings.load().engine
    if engine == "polars" or any(isinstance(one, pl.DataFrame) and one.is_empty() for one in frames):
        rows = function(*map(nw.from_native, lazy)).to_native().collect()
        return rows
    rows = spark.compute(function, frames, engine).select(schema.names()).cast(schema)
    for one in frames:
        if isinstance(one, Narrowed) and one.beyond and one.groups is not None:
            rows = within(rows.lazy(), one.groups).collect()
    return rows
