"""cleaned → features: what was known when each question was asked, and the proof that nothing else was used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl

from lakehouse.lake import Lake, Table
from lakehouse.lake.table import schema, storable
from lakehouse.model import ASKED, Model, Source

Frames = Mapping[str, pl.LazyFrame]
LABEL = "label"
LEAKS = schema({"feature": pl.String, "rows": pl.Int64})


class NotYet(Exception):
    """There is too little to learn from, or nothing to predict with: what is missing."""


def opened(lake: Lake, model: Model) -> dict[str, Table]:
    """The cleaned tables that a model reads. Raises `NotYet` where one is not made yet."""
    tables = {name: lake.open(f"cleaned/{name}") for name in model.inputs}
    if absent := [name for name, table in tables.items() if table is None]:
        raise NotYet(f"{model.name} reads cleaned/{absent[0]}, and nothing has come there")
    return {name: table for name, table in tables.items() if table}


def frames_of(tables: Mapping[str, Table]) -> dict[str, pl.LazyFrame]:
    return {name: table.scan() for name, table in tables.items()}


def features(model: Model, frames: Frames) -> pl.DataFrame:
    """One row a key, in the order of the questions: the key, `asked`, the features."""
    rows = storable(model.features(**frames).collect())
    if rows.select(model.key).is_duplicated().any():
        raise ValueError(f"{model.name}: {list(model.key)} is not unique in its features")
    return rows.sort(ASKED, *model.key)


def names(model: Model, rows: pl.DataFrame) -> list[str]:
    """The columns that a model learns from. A key column is one only if it is text: a category."""
    known = [c for c, t in rows.schema.items() if c not in model.key or t == pl.String]
    return [c for c in known if c not in (ASKED, LABEL)]


def labels(model: Model, frames: Frames) -> pl.LazyFrame:
    return frames[model.population].select(*model.key, model.label.alias(LABEL))


def labelled(model: Model, frames: Frames, rows: pl.DataFrame) -> pl.DataFrame:
    """The features with their label, null where the truth is not known or never will be."""
    return rows.join(labels(model, frames).collect(), on=list(model.key), how="left").sort(ASKED, *model.key)


def within(model: Model, frames: Frames, first: datetime, last: datetime) -> dict[str, pl.LazyFrame]:
    """What the features of the rows from `first` to `last` may look at: not further back than the horizon."""

    def narrowed(name: str) -> pl.LazyFrame:
        source = model.sources.get(name)
        if source is None:
            return frames[name]
        return frames[name].filter(pl.col(source.time).is_between(first - model.horizon, last))

    return {name: narrowed(name) for name in frames}


def known_at(model: Model, frames: Frames, moment: datetime) -> dict[str, pl.LazyFrame]:
    """The tables as they could be known at a moment."""
    return {name: _known(frame, model.sources.get(name), moment) for name, frame in frames.items()}


def _known(frame: pl.LazyFrame, source: Source | None, moment: datetime) -> pl.LazyFrame:
    if source is None:
        return frame
    if source.known is not None:
        frame = frame.filter(source.known <= moment)
    columns = frame.collect_schema()
    later = {column: at for column, at in source.later.items() if column in columns}
    there = {column: pl.when(at <= moment).then(pl.col(column)) for column, at in later.items()}
    return frame.with_columns(**there)


def leaks(model: Model, frames: Frames, moments: int = 12, seed: int = 0) -> pl.DataFrame:
    """The features that change where all that was not known at the cut-off, or is older than the horizon, is gone.

    One row a feature: how many values differ, of the rows of some moments, drawn by `seed`. Empty is what it
    should be. A feature that looks at its own label, or past its cut-off, has another value then.
    """
    rows = features(model, frames)
    drawn = rows[ASKED].unique(maintain_order=True)
    drawn = drawn.sample(min(moments, len(drawn)), seed=seed)
    found = [_leaks(model, frames, rows.filter(pl.col(ASKED) == moment), moment) for moment in drawn]
    none = pl.DataFrame(schema=LEAKS)
    return pl.concat([none, *found]).group_by("feature").agg(pl.col("rows").sum()).sort("feature")


def _leaks(model: Model, frames: Frames, rows: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    first, last = rows[model.time].min(), rows[model.time].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    honest = features(model, known_at(model, within(model, frames, first, last), moment))
    columns: Sequence[str] = [c for c in rows.columns if c not in model.key]
    both = rows.join(honest, on=list(model.key), how="left", suffix=":honest")
    differ = [pl.col(c).ne_missing(pl.col(f"{c}:honest")).sum().cast(pl.Int64).alias(c) for c in columns]
    counts = both.select(differ).unpivot(variable_name="feature", value_name="rows")
    return counts.filter(pl.col("rows") > 0)
