"""what is old → gone: objects of the landing bucket that raw has read, and records that stay refused.

Both are off unless a setting, or a dataset of its objects, tells for how long. Log and files of the
tables themselves are maintenance's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.lake import Conflict, Lake, Table
from lakehouse.landing import documents
from lakehouse.landing.objects import Bucket
from lakehouse.landing.packing import ARCHIVE
from lakehouse.layers import cleaned, raw
from lakehouse.layers.cleaned import EXPIRED, JUDGE, JUDGED
from lakehouse.layers.portion import told
from lakehouse.settings import Settings

MOST = 10_000
"""Objects of a dataset that one call deletes."""


def refuse(datasets: Iterable[Dataset], setting: timedelta | None) -> None:
    """Raise where an object that is deleted for its age would take its rows with it."""
    for dataset in datasets:
        dataset.retention(setting)


def sweep(
    lake: Lake, bucket: Callable[[], Bucket], datasets: Mapping[str, Dataset], settings: Settings
) -> dict[str, int]:
    """Delete what retention has passed, of all datasets; gives how much: objects by raw's table, refused
    records by quarantine's.
    """
    refuse(datasets.values(), settings.landing_retention)
    found = {}
    for name, dataset in datasets.items():
        if keep := settings.quarantine_retention:
            found[f"quarantine/{name}"] = expire(lake, dataset, keep)
        if keep := dataset.retention(settings.landing_retention):
            found[raw.name(name)] = retire(lake, bucket(), dataset, keep)
    return found


def retire(lake: Lake, bucket: Bucket, dataset: Dataset, keep: timedelta) -> int:
    """Delete the objects that raw read longer ago than `keep`; gives how many. Raw is then the only copy.

    Only the very version that was read and older ones: a bucket without versions is left alone. So is an object
    of which a record is refused, or an archive of which a member is: only from the object can it be read again.
    And so is a document that raw keeps by reference.
    """
    refuse([dataset], keep)
    table = lake.open(raw.name(dataset.name))
    if table is None:
        return 0
    archive = pl.col("_object").str.extract(ARCHIVE)
    bound = [cleaned.open_quarantine(lake, dataset).scan(), raw.refused_heads(table), _referred(table, dataset)]
    needed = pl.concat([one.select(pl.coalesce(archive, "_object")) for one in bound]).unique()
    read = (pl.col("_state") == "read") & (pl.col("_ingested_at") < datetime.now(UTC) - keep) & archive.is_null()
    old = raw.last_heads(table).filter(read & pl.col("_object_version").is_not_null())
    old = old.join(needed, on="_object", how="anti").sort("_ingested_at").head(MOST)
    return sum(bucket.retire(*one) for one in old.select("_object", "_object_version").collect().iter_rows())


def _referred(table: Table, dataset: Dataset) -> pl.LazyFrame:
    """The rows of documents whose bytes are in the bucket alone; told by their size, which is quick to read."""
    if dataset.reader is None or not {"bytes", "size"} <= {*table.columns}:
        return raw.heads(table).clear()
    return table.scan().filter(pl.col("_part") == "row", pl.col("size") > documents.INLINE)


def expire(lake: Lake, dataset: Dataset, keep: timedelta) -> int:
    """Remove records that this code has refused for longer than `keep`; gives how many.

    The moment before which nothing stands any more is a mark of the table, so that the balance and a walk that
    takes the table anew agree. It counts from the change of the code at the earliest: what a new rule refuses of
    old files is shown for as long as all else. It yields to a hop that came between.
    """
    if lake.open(raw.name(dataset.name)) is None:
        return 0
    target, source = cleaned.open_quarantine(lake, dataset), told(lake, dataset.name)
    code, now = cleaned.judge(dataset), datetime.now(UTC)
    if target.mark(JUDGE) != code:
        target.append(
            pl.DataFrame(schema=cleaned.BAD), marks={JUDGE: code, JUDGED: int(now.timestamp()), EXPIRED: 0}
        )
        return 0
    until = int((now - keep).timestamp())
    if until < (target.mark(JUDGED) or 0):
        return 0
    key, read = ["_object", "_record"], pl.col("_ingested_at") < datetime.fromtimestamp(until, UTC)
    heads = raw.heads(raw.open_raw(lake, dataset.name)).filter(read)
    old = target.scan().join(heads, on=["_object", "_generation"], how="semi").select(key).collect()
    cursor = target.cursor(source.name)
    try:
        if not old.is_empty() and cursor:
            target.apply(pl.DataFrame(schema=cleaned.BAD), old, key, [cursor], {EXPIRED: until})
    except Conflict:
        return 0
    return len(old)
