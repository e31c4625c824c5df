"""raw's rows → the file's columns under the contract's names, those of JSON records and of rescued values too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import dataframely as dy
import polars as pl

from lakehouse.landing.refusal import OWN
from lakehouse.layers.rescued import COLUMNS, RESCUED, as_text, as_word, exact

Told = dict[str, Any]
"""Columns and values of one record."""
SIMPLE = re.compile(r"[A-Za-z0-9_ .:/-]+")
"""Names that a JSON path takes as they are."""


@dataclass
class Ledger:
    """What did not fit, by `_row`: values to rescue, values that break a rule, columns that nobody declared."""

    rescued: dict[int, Told] = field(default_factory=dict)
    broken: list[tuple[int, str]] = field(default_factory=list)
    unknown: dict[int, set[str]] = field(default_factory=dict)

    def rescue(self, row: int, told: Told) -> None:
        self.rescued.setdefault(row, {}).update(told)

    def text(self, row: int) -> Told:
        """Each value as a column of text would have it, so that the type of raw's column makes no difference."""
        return {name: as_word(value) for name, value in self.rescued.get(row, {}).items()}

    def surprise(self, row: int, told: Told) -> None:
        """Columns beyond the contract that no column can be made for."""
        self.rescue(row, told)
        self.unknown.setdefault(row, set()).update(told)


def columns(rows: pl.DataFrame, contract: type[dy.Schema], ledger: Ledger) -> pl.DataFrame:
    wanted = {c.lower(): c for c in contract.column_names()}
    rows = rows.rename({c: wanted[c.lower()] for c in rows.columns if c.lower() in wanted})
    known = {c.lower(): c for c in rows.columns if c.lower() not in OWN} | wanted
    names, odd = _discovered(rows, contract, known)
    if rows["_text"].null_count() < len(rows):
        paths = {c: pl.col("_text").str.json_path_match(f"$['{c}']") for c in [*contract.column_names(), *names]}
        there = {c: as_text(rows[c]) for c in paths if c in rows.columns}
        rows = rows.with_columns(pl.coalesce(there.get(c), path).alias(c) for c, path in paths.items())
        rows = rows.drop(c for c in names if rows[c].null_count() == len(rows))
    more: dict[str, dict[int, tuple[str, Any]]] = {}
    for row, values in [*odd.items(), *_json(rows, RESCUED)]:
        for name, value in values.items():
            column = known.get(name.lower())
            if column is None or row in more.setdefault(column, {}):
                ledger.surprise(row, {name: value})
            else:
                more[column][row] = (name, value)
    return _with(rows, more, set(wanted.values()), ledger)


def _json(rows: pl.DataFrame, column: str) -> Iterator[tuple[int, Told]]:
    if column in rows.columns:
        for row, text in rows.filter(pl.col(column).is_not_null()).select("_row", column).iter_rows():
            yield row, json.loads(text)


def _discovered(
    rows: pl.DataFrame, contract: type[dy.Schema], known: dict[str, str]
) -> tuple[list[str], dict[int, Told]]:
    """Of JSON records the fields that the contract lacks: names that a path takes, and all else by row.

    A field that differs from a column by case alone is that column, unless the record has it, too. `known` grows
    by the new names, to `COLUMNS`.
    """
    declared = set(contract.column_names())
    before, names = set(known.values()), list[str]()
    straight: dict[tuple[str, ...], bool] = {}
    odd: dict[int, Told] = {}
    for row, values in _json(rows, "_text"):
        shape = tuple(values)
        if shape not in straight:
            new = [name for name in shape if name not in declared]
            for name in new:
                if SIMPLE.fullmatch(name) and _fits(name, known) and name.lower() not in known:
                    known[name.lower()] = name
                    names.append(name)
            straight[shape] = all(known.get(n.lower()) == n and n not in before for n in new)
        if not straight[shape]:
            odd[row] = _unread(values, declared | set(names), known)
    return names, odd


def _unread(values: Told, read: set[str], known: dict[str, str]) -> Told:
    """The values that no path takes out, and are there."""
    found: Told = {}
    for name, value in values.items():
        if value is None or name in read:
            continue
        if name and "\0" not in name and _fits(name, known):
            known.setdefault(name.lower(), name)
        found[name] = value
    return found


def _fits(name: str, known: dict[str, str]) -> bool:
    """Whether there may be a column of the name: not one of the lake's own, nor one too many."""
    return name.lower() not in OWN and len(known) < COLUMNS


def _with(
    rows: pl.DataFrame, more: dict[str, dict[int, tuple[str, Any]]], wanted: set[str], ledger: Ledger
) -> pl.DataFrame:
    """The rows with values of their own. A contract's column becomes text then, since it is read by the contract;
    any other keeps its type, and a value that this cannot hold is rescued.
    """
    for column, values in more.items():
        told = [as_word(values[row][1]) if row in values else None for row in rows["_row"]]
        texts = pl.Series(column, told, dtype=pl.String)
        if column not in rows.columns:
            rows = rows.with_columns(texts)
            continue
        there = as_text(rows[column]) if column in wanted else rows[column]
        held = exact(texts, there.dtype)
        lost = texts.is_not_null() & (held.is_null() | there.is_not_null())
        for row in rows["_row"].filter(lost):
            ledger.surprise(row, dict([values[row]]))
        rows = rows.with_columns(there.zip_with(there.is_not_null(), held))
    return rows
