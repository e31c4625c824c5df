"""raw → balance: what became of each object's records, counted apart from the tables that hold them.

Of every object generation: read = kept + refused + overtaken + dropped. Kept are the records that stand in
cleaned, refused those in quarantine, overtaken those whose key a later record carries, dropped those that the
dataset's `clean` left out. Overtaken is not counted apart: it is what kept leaves of the fit, so that a row
taken out of cleaned is not noticed here.
"""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.lake import Desired, Hopped, Lake, News, Table, walk
from lakehouse.lake.table import schema
from lakehouse.layers import cleaned, raw
from lakehouse.layers.portion import portion, told

AT = ["_object", "_generation"]
COUNTS = schema(
    {
        "_object": pl.String,
        "_generation": pl.Int64,
        "_read": pl.Int64,
        "_fit": pl.Int64,
        "_refused": pl.Int64,
        "_dropped": pl.Int64,
    }
)


def name(dataset: str) -> str:
    return f"balance/{dataset}"


def open_balance(lake: Lake, dataset: str) -> Table:
    return lake.ensure(name(dataset), COUNTS)


def weigh(lake: Lake, dataset: Dataset) -> Hopped:
    """Count the records of each current generation into `balance/<dataset>`."""
    return walk(
        lambda: open_balance(lake, dataset.name),
        lambda: told(lake, dataset.name),
        lambda target, news, after: _weighed(dataset, target, news, after),
        key=["_object"],
        code=dataset.fingerprint,
    )


def _weighed(dataset: Dataset, target: Table, news: News, after: str) -> tuple[Desired, str]:
    taken = portion(dataset, news, after)
    rows, parts = cleaned.records(dataset, taken)
    counts = [_count(rows, "_read"), _count(parts.good, "_fit")]
    counts += [_count(parts.bad, "_refused"), _count(parts.dropped, "_dropped")]
    frame = pl.concat(counts, how="align").select(list(COUNTS)).with_columns(pl.exclude(AT).fill_null(0))
    return taken.desired(target, frame)


def _count(rows: pl.DataFrame, label: str) -> pl.DataFrame:
    return rows.group_by(AT).agg(pl.len().cast(pl.Int64).alias(label))


def unbalanced(lake: Lake, dataset: Dataset, objects: Collection[str] | None = None) -> pl.DataFrame:
    """One row an object whose counts disagree: with its head, among themselves, or with cleaned and quarantine."""
    heads = raw.current_heads(raw.open_raw(lake, dataset.name), dataset).filter(pl.col("_state") == "read")
    found = [
        heads.select(*AT, "_records"),
        open_balance(lake, dataset.name).scan(),
        _standing(cleaned.open_cleaned(lake, dataset), "_kept"),
        _standing(cleaned.open_quarantine(lake, dataset), "_quarantined"),
    ]
    if objects is not None:
        found = [frame.filter(pl.col("_object").is_in(list(objects))) for frame in found]
    counts = pl.concat([f.collect() for f in found], how="align").with_columns(pl.exclude(AT).fill_null(0))
    counts = counts.with_columns(_overtaken=pl.col("_fit") - pl.col("_kept"))
    return counts.filter(
        (pl.col("_records") != pl.col("_read"))
        | (pl.col("_read") != pl.col("_fit") + pl.col("_refused") + pl.col("_dropped"))
        | (pl.col("_refused") != pl.col("_quarantined"))
        | (pl.col("_overtaken") < 0)
    )


def _standing(table: Table, label: str) -> pl.LazyFrame:
    return table.scan().group_by(AT).agg(pl.len().cast(pl.Int64).alias(label))
