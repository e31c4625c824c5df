"""object key → columns: folders that are named `column=value`, as Hive, Spark and Athena lay files out."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

import polars as pl

from lakehouse.landing.packing import INSIDE
from lakehouse.landing.refusal import OWN
from lakehouse.layers.rescued import as_text, exact

NULL = "__HIVE_DEFAULT_PARTITION__"


def told(key: str) -> dict[str, str]:
    """What the folders say, as text; of a name that two have the inner one's. An archive's name is no folder."""
    found: dict[str, str] = {}
    for folder in key.split("/")[:-1]:
        name, equals, value = map(unquote, folder.partition("="))
        if equals and name and "\0" not in name and name.lower() not in OWN and not folder.endswith(INSIDE[:-1]):
            found[name] = value
    return {name: value for name, value in found.items() if value != NULL}


def names(objects: Iterable[str]) -> list[str]:
    """The columns that the folders of some objects are named after, one of each spelling."""
    return [*dict.fromkeys(name for key in sorted(objects) for name in told(key))]


def filled(rows: pl.DataFrame, contract: Iterable[str], further: bool) -> pl.DataFrame:
    """The rows with what their folders say where the files say nothing.

    `further`: whether folders bring columns beyond those of the files and the contract. Names that differ by case
    alone are one column. A column of the contract becomes text by it, any other keeps its type.
    """
    declared = {*contract}
    known = {name.lower(): name for name in (*rows.columns, *declared)}
    by_object = {key: told(key) for key in rows["_object"].unique()}
    for name in names(by_object):
        column = known.setdefault(name.lower(), name) if further else known.get(name.lower())
        if column is None:
            continue
        values = {key: said[name] for key, said in by_object.items() if name in said}
        texts = rows["_object"].replace_strict(values, default=None, return_dtype=pl.String).alias(column)
        if column not in rows.columns:
            rows = rows.with_columns(texts)
            continue
        there = as_text(rows[column]) if column in declared else rows[column]
        rows = rows.with_columns(there.zip_with(there.is_not_null(), exact(texts, there.dtype)))
    return rows
