"""raw → balance: what became of each object's records, counted apart from the tables that hold them.

Of every object generation: read = kept + overtaken + refused + dropped. Kept are the records that stand in
cleaned, overtaken those for whose key cleaned holds a newer row, refused those in quarantine, dropped those that
the dataset's `clean` left out. A record that was fit and is neither kept nor overtaken is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.lake import Desired, Hopped, Lake, News, Table
from lakehouse.lake.hop import lags
from lakehouse.lake.scope import within
from lakehouse.lake.table import schema, storable
from lakehouse.layers import cleaned, raw
from lakehouse.layers.portion import Follower, Portion, bounded, portion, told

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
    return BALANCE.follow(lake, dataset)


def _weighed(dataset: Dataset, target: Table, news: News, after: str) -> tuple[Desired, str]:
    taken = portion(dataset, news, after)
    rows, parts = cleaned.records(dataset, taken)
    counts = [_count(rows, "_read"), _count(parts.good, "_fit")]
    counts += [_count(parts.bad, "_refused"), _count(parts.dropped, "_dropped")]
    frame = pl.concat(counts, how="align").select(list(COUNTS)).with_columns(pl.exclude(AT).fill_null(0))
    return taken.desired(target, frame)


BALANCE = Follower(
    lambda lake, dataset: open_balance(lake, dataset.name),
    _weighed,
    lambda _: ["_object"],
    lambda _: pl.DataFrame(schema=COUNTS),
)


def _count(rows: pl.DataFrame, label: str) -> pl.DataFrame:
    return rows.group_by(AT).agg(pl.len().cast(pl.Int64).alias(label))


def level(lake: Lake, dataset: Dataset) -> tuple[int, ...] | None:
    """The versions of raw and of all that is held against it; None where one of them lags."""
    source = told(lake, dataset.name)
    names = [f"{layer}/{dataset.name}" for layer in ("cleaned", "quarantine", "balance")]
    tables = [t for name in names if (t := lake.open(name)) and not lags(t, source, dataset.fingerprint)]
    return (source.version, *(t.version for t in tables)) if len(tables) == len(names) else None


def unbalanced(lake: Lake, dataset: Dataset, objects: Collection[str] | None = None) -> pl.DataFrame:
    """One row an object whose counts disagree: with its head, among themselves, or with cleaned and quarantine.

    Costs another split of the objects' records, a portion at a time, unless they are the last that were split.
    """
    source, table = raw.open_raw(lake, dataset.name), cleaned.open_cleaned(lake, dataset)
    refused = cleaned.open_quarantine(lake, dataset)
    gone = cleaned.is_expired(refused, dataset).cast(pl.Int64).alias("_expired")
    frames = [
        raw.current_heads(source, dataset).filter(pl.col("_state") == "read").select(*AT, "_records", gone),
        open_balance(lake, dataset.name).scan(),
        _standing(table, "_kept"),
        _standing(refused, "_quarantined"),
    ]
    found = [_of(frame, objects).collect() for frame in frames]
    absent = [_absent(dataset, table, fit) for fit in _fit(dataset, source, objects)]
    found.append(pl.concat([ABSENT, *absent]))
    counts = pl.concat(found, how="align").with_columns(pl.exclude(AT).fill_null(0))
    return counts.filter(
        (pl.col("_records") != pl.col("_read"))
        | (pl.col("_read") != pl.col("_fit") + pl.col("_refused") + pl.col("_dropped"))
        | (pl.col("_refused") * (1 - pl.col("_expired")) != pl.col("_quarantined"))
        | (pl.col("_fit") != pl.col("_kept") + pl.col("_overtaken"))
        | (pl.col("_lost") > 0)
    )


def _of(frame: pl.LazyFrame, objects: Collection[str] | None) -> pl.LazyFrame:
    return frame if objects is None else frame.filter(pl.col("_object").is_in(list(objects)))


def _fit(dataset: Dataset, source: Table, objects: Collection[str] | None) -> Iterator[pl.DataFrame]:
    """The records that ought to stand in cleaned or be overtaken, a portion at a time."""
    heads = _of(raw.current_heads(source, dataset), objects).collect()
    parts = [*bounded(heads)]
    for part in parts:
        taken = Portion(source, part, [], last=len(parts) == 1, whole=False)
        yield storable(cleaned.records(dataset, taken)[1].good)


ABSENT = pl.DataFrame(schema={**{c: COUNTS[c] for c in AT}, "_overtaken": pl.Int64, "_lost": pl.Int64})


def _absent(dataset: Dataset, table: Table, fit: pl.DataFrame) -> pl.DataFrame:
    """Of the fit records that cleaned does not hold, by generation: for how many it holds a newer row, or none."""
    columns = list(dict.fromkeys([*dataset.keys, *cleaned.order(dataset), *raw.ORIGIN]))
    rows = table.scan().select(columns)
    mine = rows.filter(pl.col("_object").is_in(fit["_object"].unique().to_list())).collect()
    away = fit.select(columns).join(mine, on=raw.ORIGIN, how="anti", nulls_equal=True)
    there = within(rows, away.select(dataset.keys)).collect()
    both = pl.concat([away.with_columns(_there=pl.lit(False)), there.with_columns(_there=pl.lit(True))])
    ordered = both.sort(cleaned.order(dataset), nulls_last=False).with_row_index("_at")
    newest = pl.col("_at").filter("_there").max().over(dataset.keys)
    judged = ordered.with_columns(_newer=(newest > pl.col("_at")).fill_null(False)).filter(~pl.col("_there"))
    counts = [pl.col("_newer").sum().alias("_overtaken"), (~pl.col("_newer")).sum().alias("_lost")]
    return judged.group_by(AT).agg(c.cast(pl.Int64) for c in counts)


def _standing(table: Table, label: str) -> pl.LazyFrame:
    return table.scan().group_by(AT).agg(pl.len().cast(pl.Int64).alias(label))
