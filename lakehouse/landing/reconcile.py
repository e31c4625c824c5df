"""bucket listing ↔ head rows: what no event brought, changed or removed is announced.

Both sides come in the order of keys, a stretch at a time, so that a million objects are never in memory at once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from os.path import commonprefix

import polars as pl

from lakehouse.dataset import Dataset, route
from lakehouse.lake import Conflict, Lake, Table
from lakehouse.lake.maintenance import tidy
from lakehouse.lake.table import schema
from lakehouse.landing import inbox, undeclared
from lakehouse.landing.events import ignorable
from lakehouse.landing.objects import Bucket, Identity, Unreachable
from lakehouse.landing.packing import ARCHIVE
from lakehouse.landing.removals import REMOVED

STRETCH = 20_000
"""Keys of the listing that are compared at once."""
ALL = "undeclared"
"""In the scope of a call for prefixes without a dataset too; no dataset has this name."""
FRESH = timedelta(days=1)
"""For how long a call that was cut off is taken up where it stopped."""
NAME = "landing/reconciled"
SCHEMA = schema({"scope": pl.String, "after": pl.String, "at": inbox.TIME})
Seen = tuple[str | None, int | None, datetime | None]
"""eTag, size, and LastModified to the second: a listing may tell it more finely than the object does."""
Range = tuple[str, str | None]
"""Keys behind the first up to the second, or to the end."""


def reconcile(
    lake: Lake, bucket: Bucket, datasets: dict[str, Dataset], *, prefixes: bool = False
) -> dict[str, int]:
    """Announce differing objects by dataset; gives how many. The raw hop takes the second look at each.

    After each stretch its last key is kept in the lake: a call that was cut off is taken up there by the next.

    `prefixes`: whether those that no dataset claims are announced to the tables of their prefixes. `datasets` are
    all that there are then.
    """
    scope, counts = ", ".join(sorted(datasets) + [ALL] * prefixes), dict.fromkeys(datasets, 0)
    known = _known(lake, datasets) if prefixes else None
    upto: str | None = _left_off(lake, scope)
    listing = bucket.list("" if prefixes else _prefix(datasets), upto or "")
    while upto is not None:
        stretch, after = [*islice(listing, STRETCH)], upto
        upto = stretch[-1].key if len(stretch) == STRETCH else None
        for name, objects in _listed(stretch, datasets, known).items():
            differing = _differing(bucket, objects, _standing(lake, name, (after, upto)))
            mine = sorted(key for key in differing if route(datasets, key) == (name if name in datasets else None))
            counts[name] = counts.get(name, 0) + inbox.announce(lake, name, mine, event="reconcile")
        _leave(lake, scope, upto or "")
    return counts


def _differing(bucket: Bucket, listed: set[tuple[str, Seen]], standing: set[tuple[str, Seen]]) -> set[str]:
    """The keys of which one side tells what the other does not.

    An object that an erasure rewrote is listed as of then, and is as of when its content was written: it is asked.
    """
    stands = dict(standing)
    later = {key for key, seen in listed - standing if key in stands and stands[key][:2] == seen[:2]}
    same = {key for key in later if _asked(bucket, key) == stands[key]}
    return {key for key, _ in listed ^ standing} - same


def _asked(bucket: Bucket, key: str) -> Seen | None:
    try:
        found = bucket.look(key)
    except Unreachable:
        return None
    return _seen(found.etag, found.size, found.modified) if found else None


def _prefix(datasets: dict[str, Dataset]) -> str:
    """What the keys of all datasets begin with."""
    begins = [re.split(r"[*?]", d.landing)[0] for d in datasets.values()]
    return commonprefix(begins)  # noqa: RUF071  # keys are no paths: `flights-2` and `flights/` begin alike


def _known(lake: Lake, datasets: Collection[str]) -> set[str]:
    box = lake.open(inbox.NAME)
    return undeclared.known(box, datasets) if box else set()


def _listed(
    stretch: Sequence[Identity], datasets: dict[str, Dataset], known: set[str] | None
) -> dict[str, set[tuple[str, Seen]]]:
    """What was listed of each dataset, and of each prefix that has a table or now gets one."""
    listed: dict[str, set[tuple[str, Seen]]] = {name: set() for name in [*datasets, *(known or ())]}
    for found in stretch:
        if ignorable(found.key):
            continue
        name, _ = inbox.placed(found.key, datasets, known)
        if name != inbox.UNROUTED:
            listed.setdefault(name, set()).add((found.key, _seen(found.etag, found.size, found.modified)))
    return listed


def _seen(etag: str | None, size: int | None, modified: datetime | None) -> Seen:
    return etag, size, modified.astimezone(UTC).replace(microsecond=0) if modified else None


def _standing(lake: Lake, dataset: str, keys: Range) -> set[tuple[str, Seen]]:
    """The objects in a range of keys whose last head does not say gone, as they were seen."""
    table = lake.open(f"raw/{dataset}")
    if table is None:
        return set()
    after, upto = keys
    heads = table.scan().filter((pl.col("_part") == "head") & (pl.col("_object") > after))
    heads = heads if upto is None else heads.filter(pl.col("_object") <= upto)
    newest = heads.filter(pl.col("_generation") == pl.col("_generation").max().over("_object"))
    there = newest.filter(~pl.col("_state").is_in(REMOVED))
    held = there.select("_object", "_etag", "_size", "_modified").collect(engine="streaming")
    return {(key, _seen(*told)) for key, *told in _outside(table, held).iter_rows()}


def _outside(raw: Table, heads: pl.DataFrame) -> pl.DataFrame:
    """Those of what the bucket lists: an archive's members go with the archive."""
    within = heads.with_columns(pl.col("_object").str.extract(ARCHIVE).alias("_archive"))
    named = within["_archive"].drop_nulls().unique().to_list()
    if not named:
        return heads
    archives = raw.scan().filter((pl.col("_part") == "head") & pl.col("_object").is_in(named))
    known = archives.select("_object").unique().collect()["_object"].to_list()
    return within.filter(~pl.col("_archive").is_in(known).fill_null(False)).drop("_archive")


def _left_off(lake: Lake, scope: str) -> str:
    """The last key that a call for the same datasets compared before it was cut off; "" where none was."""
    table = lake.open(NAME)
    if table is None:
        return ""
    recent = (pl.col("scope") == scope) & (pl.col("at") > datetime.now(UTC) - FRESH)
    rows = table.scan().filter(recent).select("after").collect()
    return "" if rows.is_empty() else str(rows.item())


def _leave(lake: Lake, scope: str, after: str) -> None:
    """Keep how far this came. Where another call was quicker, its word stands: all compare the same."""
    table = lake.ensure(NAME, SCHEMA, key=["scope"])
    row = pl.DataFrame({"scope": scope, "after": after, "at": datetime.now(UTC)}, schema=SCHEMA)
    with suppress(Conflict):
        table.apply(row, row.clear(), ["scope"])
        tidy(table)
