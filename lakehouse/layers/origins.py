"""a function of tables → where each column that it gives comes from: what the engine reads to compute it alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import narwhals as nw
import polars as pl
from polars.io.plugins import register_io_source

from lakehouse.dataset import Dataset, Serving
from lakehouse.engines import portable
from lakehouse.layers import cleaned

Column = tuple[str, str]
"""A table's name in the lake, and a column of it."""
Origins = Mapping[str, Sequence[Column]]
"""Of each column those that it is computed from; none where it is computed from the number of rows alone."""
UNTOLD: Origins = {}
FAILED = (Exception, pl.exceptions.PanicException)
"""What a function may raise of tables that lack what only files bring: words on a page fail no run."""


def of_serving(serving: Serving, datasets: Mapping[str, Dataset]) -> Origins:
    """A serving table's columns, through its tally, back to those of cleaned tables.

    `UNTOLD` where it reads columns that no contract names.
    """
    given = {f"cleaned/{name}": cleaned.empty(datasets[name]).schema for name in serving.upstreams}
    try:
        if (over := serving.over) is None:
            return traced(serving.compute, given, serving.keys)
        source = f"cleaned/{over.upstream}"
        counted = traced(over.compute, {source: given[source]}, over.keys)
        tallied = over.compute(pl.LazyFrame(schema=given[source])).collect_schema()
        served = traced(serving.compute, given | {source: tallied}, serving.keys)
    except FAILED:
        return UNTOLD
    return {
        name: sorted({back for table, c in found for back in (counted[c] if table == source else [(table, c)])})
        for name, found in served.items()
    }


def of_cleaned(dataset: Dataset, raw: Mapping[str, pl.DataType] | None = None) -> Origins:
    """A cleaned table's columns, through `clean`, back to those of raw.

    `UNTOLD` where the dataset has a `clean` and raw's columns are not known, or lack what it reads.
    """
    source = f"raw/{dataset.name}"
    if dataset.clean is None:
        return {name: [(source, name)] for name in dataset.contract.column_names()}
    try:
        return traced(dataset.clean, {source: raw}, dataset.keys) if raw else UNTOLD
    except FAILED:
        return UNTOLD


def traced(
    function: Callable[..., Any], given: Mapping[str, Mapping[str, pl.DataType]], keys: Sequence[str]
) -> dict[str, list[Column]]:
    """What is read of empty tables with these columns for each column that a function gives.

    A row's key is read for all of its columns, to group or join, and is told of the key alone. What a filter reads
    is told of all that is computed behind it.
    """
    read: set[Column] = set()
    frames = [_watched(name, pl.Schema(schema), read) for name, schema in given.items()]
    if portable.is_portable(function):
        rows = function(*map(nw.from_native, frames)).to_native()
    else:
        rows = function(*frames)
    before = {*read}

    def needed(*names: str) -> set[Column]:
        read.clear()
        rows.select(names).collect()
        return before | read

    kept, found = {column for _, column in needed(*keys)} >= {*keys}, {}
    for name in rows.collect_schema():
        every = needed(*dict.fromkeys([*keys, name]))  # for a constant alone all of a table is read
        every = every if kept else every & needed(name)
        same = {one for one in every if one[1] == name}
        found[name] = sorted(same if name in keys and same else {one for one in every if one[1] not in keys})
    return found


def _watched(name: str, schema: pl.Schema, read: set[Column]) -> pl.LazyFrame:
    """An empty table that notes which of its columns are read."""

    def source(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        asked = columns if columns is not None else schema.names()
        read.update((name, column) for column in asked)
        frame = pl.DataFrame(schema={column: schema[column] for column in asked})
        if predicate is not None:
            read.update((name, column) for column in predicate.meta.root_names())
            frame = frame.filter(predicate)
        yield frame

    return register_io_source(source, schema=schema)
