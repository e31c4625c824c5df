"""bucket listing ↔ head rows: what no event brought, changed or removed is announced."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from lakehouse.dataset import Dataset, route
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.landing.events import ignorable
from lakehouse.landing.objects import Bucket
from lakehouse.landing.packing import ARCHIVE
from lakehouse.landing.removals import REMOVED

Seen = tuple[str | None, int | None, datetime | None]
"""eTag, size, and LastModified to the second: a listing may tell it more finely than the object does."""


def reconcile(lake: Lake, bucket: Bucket, datasets: dict[str, Dataset]) -> dict[str, int]:
    """Announce differing objects by dataset; gives how many. The raw hop takes the second look at each."""
    listed: dict[str, set[tuple[str, Seen]]] = {name: set() for name in datasets}
    for found in bucket.list():
        name = route(datasets, found.key)
        if name and not ignorable(found.key):
            listed[name].add((found.key, _seen(found.etag, found.size, found.modified)))
    return {
        name: inbox.announce(
            lake, name, sorted({k for k, _ in objects ^ _standing(lake, name)}), event="reconcile"
        )
        for name, objects in listed.items()
    }


def _seen(etag: str | None, size: int | None, modified: datetime | None) -> Seen:
    return etag, size, modified.astimezone(UTC).replace(microsecond=0) if modified else None


def _listed(heads: pl.DataFrame) -> pl.DataFrame:
    """Those of what the bucket lists: an archive's members go with the archive."""
    archive = pl.col("_object").str.extract(ARCHIVE)
    return heads.filter(~archive.is_in(heads["_object"].implode()).fill_null(False))


def _standing(lake: Lake, dataset: str) -> set[tuple[str, Seen]]:
    """The objects whose last head does not say gone, as they were seen."""
    table = lake.open(f"raw/{dataset}")
    if table is None:
        return set()
    heads = table.scan().filter(pl.col("_part") == "head")
    newest = heads.filter(pl.col("_generation") == pl.col("_generation").max().over("_object"))
    there = newest.filter(~pl.col("_state").is_in(REMOVED))
    held = there.select("_object", "_etag", "_size", "_modified")
    return {(key, _seen(*told)) for key, *told in _listed(held.collect()).iter_rows()}
