"""SQL → rows: a query is parsed for the tables that it names, and only these are opened."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import polars as pl
import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.optimizer.scope import traverse_scope

from lakehouse.dataset import Dataset
from lakehouse.lake import Lake, Table
from lakehouse.lake.past import Forgotten, as_of, moment
from lakehouse.landing import inbox, reconcile
from lakehouse.layers import raw
from lakehouse.layers.history import STOOD
from lakehouse.layers.tables import standing
from lakehouse.ml.tables import standing as learned
from lakehouse.model import Model

NONE: Mapping[str, Model] = MappingProxyType({})
COLUMNS = "polars SQL; in the prompt of `lakehouse sql`, \\d lists the tables, \\d TABLE its columns"
KEPT = "files and log are kept for 7 days"


class QueryError(Exception):
    """A query that cannot be answered: what is wrong, and a hint."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


def ask(lake: Lake, datasets: dict[str, Dataset], query: str, models: Mapping[str, Model] = NONE) -> pl.DataFrame:
    """The answer to a query in polars SQL. Raises `QueryError`.

    `layer.name` is a table as it is, `"layer.name@12"` as of a version, `"layer.name@2026-11-01T10:00:00Z"` as of
    a time. Of raw the name stands for the rows, of history for what ever stood; `landing.name` are raw's heads,
    `refused.name` those of the objects that could not be read.
    """
    lake = lake.pinned()
    try:
        frames = {name: _frame(lake, datasets, name, models) for name in named(query)}
        return pl.SQLContext(frames).execute(query, eager=True)
    except Forgotten as error:
        raise QueryError(str(error), KEPT) from error
    except FileNotFoundError as error:
        past = ", ".join(name for name in named(query) if "@" in name)
        raise QueryError(f"{past}: retention has removed files of it", KEPT) from error
    except (SqlglotError, pl.exceptions.PolarsError, OSError) as error:
        raise QueryError(_told(error), COLUMNS) from error


def columns(lake: Lake, datasets: dict[str, Dataset], models: Mapping[str, Model] = NONE) -> dict[str, pl.Schema]:
    """Of every table that can be asked, by its name, its columns."""
    known = _known(lake, datasets, models)
    return {name: _frame(lake, datasets, name, models).collect_schema() for name in known}


def named(query: str) -> list[str]:
    """The tables that a query reads, as it writes them; names of its own (`with …`) are none."""
    tree = sqlglot.parse_one(query, dialect="duckdb")
    if not isinstance(tree, exp.Query):
        raise ParseError("a query begins with select or with")
    return [*dict.fromkeys(_names(tree))]


def _names(tree: exp.Query) -> Iterator[str]:
    for scope in traverse_scope(tree):
        for source in scope.sources.values():
            if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
                yield ".".join(part.name for part in source.parts)


def _frame(lake: Lake, datasets: dict[str, Dataset], written: str, models: Mapping[str, Model]) -> pl.LazyFrame:
    name, at, when = written.partition("@")
    layer, _, bare = name.partition(".")
    of_raw = layer == "refused" or (layer == "landing" and f"landing/{bare}" not in (inbox.NAME, reconcile.NAME))
    stored = f"raw/{bare}" if of_raw else f"{layer}/{bare}"
    try:
        table = as_of(lake, stored, moment(when)) if at else lake.open(stored)
    except ValueError as error:
        raise QueryError(f"{when} is neither a version nor a time", 'as in "cleaned.flights@12"') from error
    if table is None or not bare:
        known = _known(lake, datasets, models)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.7)
        raise QueryError(
            f"no table {name}" + (f"; near it: {', '.join(near)}" if near else ""),
            f"tables: {', '.join(known) or 'none yet'}",
        )
    return _rows(table, layer)


def _rows(table: Table, layer: str) -> pl.LazyFrame:
    if layer == "refused":
        return raw.refused_heads(table)
    part = {"landing": "head", "raw": "row"}.get(layer) if table.name.startswith("raw/") else None
    rows = table.scan().filter(STOOD) if layer == "history" else table.scan()
    return rows.filter(pl.col("_part") == part) if part else rows


def _known(lake: Lake, datasets: dict[str, Dataset], models: Mapping[str, Model]) -> list[str]:
    found = []
    for name in standing(lake, datasets) | learned(lake, models):
        layer, _, bare = name.partition("/")
        layers = ("landing", "raw", "refused") if layer == "raw" else (layer,)
        found += [f"{one}.{bare}" for one in layers]
    return found


def _told(error: Exception) -> str:
    """What an error says, without the plan of the query and the colours that a parser puts there."""
    if isinstance(error, ParseError):
        for first in error.errors:
            return f"{first['description']} at line {first['line']}, column {first['col']}"
    return str(error).partition("\n\n")[0]
