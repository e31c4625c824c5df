"""inbox → why an object is gone: what hid its key first, after it was last written.

A key is hidden by a delete marker, or by a deletion in a bucket without versions. That a version below it is
removed hides nothing: a rule that later takes away the versions and the marker of what was deleted does not make
an expiry of that. Where somebody took the markers away and the object is gone nevertheless, somebody deleted it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import polars as pl

from lakehouse.lake import Table

REMOVED = ("gone", "expired")
"""States of heads that say that the object is not there any more: deleted, or removed by a lifecycle rule. A
`gone` without a reason is one whose event has not told why."""
TIME = pl.Datetime("us", "UTC")
BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
EVENT = ["key", "kind", "event_name", "version_id", "sequencer", "event_time"]


@dataclass(frozen=True)
class Removal:
    """What hid a key, in S3's own word, and when."""

    name: str
    at: datetime

    @property
    def state(self) -> str:
        return "expired" if "LifecycleExpiration:" in self.name else "gone"


def removals(box: Table, dataset: str, written: Mapping[str, datetime | None]) -> dict[str, Removal]:
    """Of these keys, all of them gone, those of which the inbox tells why; whatever order its events came in.

    `written`: when the last content of each that is known was. That is told to the second, and what came before or
    with it does not count; no lifecycle rule removes what is younger.
    """
    mine = (pl.col("dataset") == dataset) & pl.col("key").is_in(list(written))
    since = pl.lit(None, TIME) if not written else pl.col("key").replace_strict(written, return_dtype=TIME)
    later = pl.col("event_time") >= (since + pl.duration(seconds=1)).fill_null(BEGINNING)
    events = replace(box, part=None).scan().filter(mine).filter(later).select(EVENT).unique().collect()
    plain = pl.col("version_id").is_null() | (pl.col("version_id") == "null")
    marks = pl.col("event_name").str.ends_with("DeleteMarkerCreated")
    removed, expired = pl.col("kind") == "removed", pl.col("event_name").str.contains("LifecycleExpiration:")
    lifts = events.filter(removed & ~marks & ~plain & ~expired).select("key", "version_id", lift="event_name")
    hides = events.filter(~removed | marks | plain).join(lifts, on=["key", "version_id"], how="left")
    told = hides.with_columns(_sequence()).sort("_sequence", "event_time")
    after = told.filter((~removed).cum_sum(reverse=True).over("key") == 0)
    first = after.sort(pl.col("lift").is_not_null(), maintain_order=True).unique("key", keep="first")
    name = pl.coalesce("lift", "event_name")
    return {key: Removal(*why) for key, *why in first.select("key", name, "event_time").iter_rows()}


def _sequence() -> pl.Expr:
    """Sequencers of one key compare as text of one length; where one lacks, the times decide."""
    whole = pl.col("sequencer").null_count().over("key") == 0
    return pl.when(whole).then(pl.col("sequencer").str.to_uppercase().str.pad_end(64, "0")).alias("_sequence")
