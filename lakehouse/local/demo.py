"""The main job, start to end, on real flights: land, wait, look, and hold the result against the guarantees."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from lakehouse.dataset import Dataset, Serving, load
from lakehouse.dynamodb import sync
from lakehouse.dynamodb.table import ItemTable
from lakehouse.lake import Lake
from lakehouse.landing.objects import Bucket
from lakehouse.layers import raw, undeclared
from lakehouse.layers.lag import lagging
from lakehouse.layers.tables import standing
from lakehouse.local import feed
from lakehouse.settings import Settings, client

Say = Callable[[str], None]
Upload = tuple[str, str | None]
"""An object's key and the version that its upload made."""
PATIENCE = 150


@dataclass
class Summary:
    """What the demo saw. `broken` names each guarantee that did not hold; empty is what it should be."""

    rows: dict[str, int] = field(default_factory=dict)
    events: int = 0
    items: dict[str, int] = field(default_factory=dict)
    latency_seconds: float = 0.0
    item: dict[str, Any] | None = None
    broken: list[str] = field(default_factory=list)


def run(settings: Settings, say: Say, days: int) -> Summary:
    """Land the sample, wait for every hop, land one more day and time it, then verify."""
    datasets, lake = load(), Lake(settings.lake)
    bucket = Bucket(client("s3"), settings.required("bucket"))

    def items(serving: Serving) -> ItemTable:
        return sync.items_of(settings, serving)

    files = [*feed.sample(days)]
    say(f"landing {len(files)} files in s3://{bucket.name}")
    _settle(lake, datasets, items, {(key, bucket.put(key, body)) for key, body in files}, say)
    say("landing one more day, and timing it")
    (key, body), *_ = feed.flights(1, start=days)
    began = time.monotonic()
    _settle(lake, datasets, items, {(key, bucket.put(key, body))}, lambda _: None)
    summary = Summary(latency_seconds=time.monotonic() - began)
    _look(summary, lake, datasets, items, {k: b for k, b in [*files, (key, body)]})
    return summary


def _settle(
    lake: Lake,
    datasets: dict[str, Dataset],
    items: Callable[[Serving], ItemTable],
    uploads: set[Upload],
    say: Say,
) -> None:
    """Wait until every upload has its head row, this one and not that of an earlier run, and nothing lags."""
    end = time.monotonic() + PATIENCE
    told = ""
    while time.monotonic() < end:
        behind = lagging(lake, datasets, items)
        missing = uploads - _known(lake, datasets)
        there = f"{len(uploads) - len(missing)} of {len(uploads)} files in raw"
        now = f"{there}; behind: {', '.join(behind) or 'nothing'}"
        if now != told:
            say(now)
            told = now
        if not missing and not behind:
            return
        time.sleep(0.1)
    raise TimeoutError(f"after {PATIENCE} s: {told}")


def _known(lake: Lake, datasets: dict[str, Dataset]) -> set[Upload]:
    tables = [t for name in (*datasets, *undeclared.tables(lake, datasets)) if (t := lake.open(raw.name(name)))]
    return {row for t in tables for row in raw.heads(t).select("_object", "_object_version").collect().iter_rows()}


def _look(
    summary: Summary,
    lake: Lake,
    datasets: dict[str, Dataset],
    items: Callable[[Serving], ItemTable],
    files: dict[str, bytes],
) -> None:
    for name, table in standing(lake, datasets).items():
        rows = table.scan().filter(pl.col("_part") == "row") if name.startswith("raw/") else table.scan()
        summary.rows[name] = rows.select(pl.len()).collect().item()
    summary.events = summary.rows["landing/inbox"]
    landed = sum(body.count(b"\n") - 1 for key, body in files.items() if key.startswith("flights/"))
    flown = summary.rows["cleaned/flights"] + summary.rows["quarantine/flights"]
    arrived = sum(_of(lake, f"{layer}/flights", files) for layer in ("cleaned", "quarantine"))
    if arrived < landed:
        summary.broken.append(f"no loss: {landed} flights landed, {arrived} are in cleaned and quarantine")
    if flown > _unique_flights(lake):
        summary.broken.append("no double: a flight stands twice in cleaned")
    for serving in (s for d in datasets.values() for s in d.serving if s.publish):
        held = items(serving)
        summary.items[held.name] = sum(1 for _ in held.scan())
        if differences := sync.verify(lake, serving, held):
            summary.broken.append(f"agreement: {held.name} differs in {len(differences)} items")
    punctuality = next(s for s in datasets["flights"].serving if s.name == "carrier_punctuality")
    summary.item = items(punctuality).get({"carrier": "UA"}, punctuality.keys)
    if summary.item is None:
        summary.broken.append("no item for carrier UA")


def _of(lake: Lake, name: str, files: dict[str, bytes]) -> int:
    """How many rows of a table came of these files."""
    table = lake.open(name)
    assert table is not None
    return int(table.scan().filter(pl.col("_object").is_in([*files])).select(pl.len()).collect().item())


def _unique_flights(lake: Lake) -> int:
    table, bad = lake.open("cleaned/flights"), lake.open("quarantine/flights")
    assert table is not None
    assert bad is not None
    key = ["time_hour", "carrier", "flight"]
    unique = table.scan().select(key).unique().select(pl.len()).collect().item()
    return int(unique + bad.scan().select(pl.len()).collect().item())
