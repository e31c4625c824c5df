"""raw's rows → the same rows with what the folders of their objects say, where the files say nothing."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from lakehouse.landing.folders import names, told
from lakehouse.layers.rescued import as_text, exact


def filled(rows: pl.DataFrame, contract: Iterable[str], further: bool) -> pl.DataFrame:
    """The rows, filled. `further`: whether folders bring columns beyond those of the files and the contract.

    Names that differ by case alone are one column. One of the contract becomes text, any other keeps its type.
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
