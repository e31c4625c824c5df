"""bucket listing ↔ head rows: what no event brought is announced, and so is what no event removed."""

from __future__ import annotations

import polars as pl

from lakehouse.dataset import Dataset, route
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.landing.events import ignorable
from lakehouse.landing.objects import Bucket


def reconcile(lake: Lake, bucket: Bucket, datasets: dict[str, Dataset]) -> dict[str, int]:
    """Announce differing objects by dataset; gives how many. The raw hop takes the second look at each."""
    listed: dict[str, set[str]] = {name: set() for name in datasets}
    for key in bucket.list():
        name = route(datasets, key)
        if name and not ignorable(key):
            listed[name].add(key)
    return {
        name: inbox.announce(lake, name, sorted(keys ^ _standing(lake, name)), event="reconcile")
        for name, keys in listed.items()
    }


def _standing(lake: Lake, dataset: str) -> set[str]:
    """The objects whose last head does not say gone."""
    table = lake.open(f"raw/{dataset}")
    if table is None:
        return set()
    heads = table.scan().filter(pl.col("_part") == "head")
    newest = heads.filter(pl.col("_generation") == pl.col("_generation").max().over("_object"))
    return set(newest.filter(pl.col("_state") != "gone").select("_object").collect()["_object"])
