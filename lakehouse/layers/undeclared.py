"""inbox → raw/<prefix> of every prefix that no dataset claims; and on to a dataset, once one does."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from lakehouse.lake import Hopped, Lake
from lakehouse.landing import inbox
from lakehouse.landing.objects import Bucket
from lakehouse.landing.undeclared import known, stand_in
from lakehouse.layers import raw
from lakehouse.layers.ingest import ingest

NAME = "undeclared"
"""What a run of all of them is called."""
OPENERS = 8


def tables(lake: Lake, datasets: Collection[str]) -> list[str]:
    """The names of the prefixes without a dataset of which something landed."""
    box = lake.open(inbox.NAME)
    return sorted(known(box, datasets)) if box else []


def behind(lake: Lake, datasets: Collection[str]) -> list[str]:
    """Those of them of which raw has something to read."""
    names = tables(lake, datasets)
    with ThreadPoolExecutor(OPENERS) as pool:
        lags = pool.map(lambda name: raw.lag(lake, stand_in(name)) or _recalls(lake, name), names)
        return [name for name, lag in zip(names, lags, strict=True) if lag]


def carry(
    lake: Lake, bucket: Bucket, datasets: Collection[str], *, run: str = "", failures: int = 0
) -> list[Hopped]:
    """`ingest`, one prefix after the other. Where one fails the others go on, and then it is raised."""
    done, failed = list[Hopped](), list[Exception]()
    for name in behind(lake, datasets):
        try:
            done.append(ingest(lake, bucket, stand_in(name), run=run, failures=failures))
        except Exception as error:
            failed.append(error)
    if failed:
        raise failed[0]
    return done


def _recalls(lake: Lake, name: str) -> bool:
    table = lake.open(raw.name(name))
    return table is not None and raw.recalls(table)


def heads_of(lake: Lake, names: Collection[str], run: str) -> pl.DataFrame:
    """The heads that a run committed, in whichever table."""
    found = [raw.heads(table) for name in names if (table := lake.open(raw.name(name)))]
    return pl.concat([pl.LazyFrame(schema=raw.HEAD), *found]).filter(pl.col("_run") == run).collect()
