"""A lake that holds a year of flights many times over.

The year itself goes through the road's own hops, from a folder of its 365 files. The years before it are copies of
its rows with their dates moved, written to the same tables in appends of a few years each, with the heads, the
events, the balance and the cursors that the hops would have left. Of the items those of `airport_hourly`, one an
hour and airport, are not put: their cursor says that they were.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import polars as pl
from deltalake import write_deltalake

from benchmarks.data import once
from benchmarks.folder import Folder
from lakehouse.dataset import Dataset, load
from lakehouse.dynamodb.sync import items_of, publish
from lakehouse.dynamodb.table import Cursor as Written
from lakehouse.lake import Lake, Table
from lakehouse.lake.hop import cursor_at
from lakehouse.lake.maintenance import tidy
from lakehouse.lake.table import Cursor
from lakehouse.landing import inbox
from lakehouse.layers import balance, cleaned, ingest, raw, serving
from lakehouse.layers.portion import told
from lakehouse.local import aws, feed
from lakehouse.settings import Settings

DAYS = 365
AT_ONCE = 4
"""Years an append: a file of about the size that compaction makes."""
UNPUT = "airport_hourly"
DAY = r"flights/(\d{4}-\d{2}-\d{2})\.csv"


def land(bucket: Folder, lake: Lake, name: str, objects: Iterator[tuple[str, bytes]]) -> None:
    keys = []
    for key, body in objects:
        bucket.put(key, body)
        keys.append(key)
    inbox.announce(lake, name, keys, event="landed")


@contextmanager
def local(home: Path) -> Iterator[None]:
    """The local AWS of this home, its items kept from one time to the next."""
    running = aws.start(home)
    os.environ.update(running.environment())
    try:
        yield
    finally:
        running.stop()


def at(home: Path) -> tuple[Lake, Folder]:
    return Lake(str(home / "lake")), Folder(home / "landing")


def middle(most: float) -> int:
    """Of three sizes that grow by one factor, from a year to the most, the second."""
    return round(math.sqrt(most))


def lakes(data: Path, most: float) -> Path:
    """Three lakes: of a year, of the most, and of some years between; each in a folder named by its years."""
    root = data / f"years-{most:.0f}"
    for years in sorted({1, middle(most), int(most)}):
        once(root / f"{years}", partial(_filled, years=years))
    return root


def _filled(home: Path, years: int) -> None:
    home = home.resolve()
    with local(home):
        build(*at(home), years)


def carry(lake: Lake, bucket: Folder, dataset: Dataset) -> None:
    """One dataset's hops, down to what serving reads."""
    ingest.ingest(lake, bucket, dataset)
    follow(lake, dataset)


def follow(lake: Lake, dataset: Dataset) -> None:
    for verb in (cleaned.clean, cleaned.quarantine, balance.weigh):
        verb(lake, dataset)


def build(lake: Lake, bucket: Folder, years: int) -> None:
    """Fill an empty lake with so many years that end with 2013, and bring its items up to it."""
    datasets = load()
    for name in ("airlines", "planes", "weather"):
        found = feed.weather(DAYS) if name == "weather" else (o for o in feed.reference() if o[0].startswith(name))
        land(bucket, lake, name, found)
        carry(lake, bucket, datasets[name])
    flights = datasets["flights"]
    land(bucket, lake, "flights", feed.flights(DAYS))
    carry(lake, bucket, flights)
    _copy(lake, flights, years - 1)
    settings = Settings.load()
    for one in flights.serving:
        serving.serve(lake, one, datasets)
        items, table = items_of(settings, one), lake.open(f"serving/{one.name}")
        assert table is not None
        if one.name == UNPUT:
            items.ensure()
            items.advance(None, Written(table.id, 1, table.version, tuple(one.keys)))
        else:
            publish(lake, one, items)


def _copy(lake: Lake, dataset: Dataset, years: int) -> None:
    box, source, table = (
        inbox.open_inbox(lake),
        raw.open_raw(lake, dataset.name),
        cleaned.open_cleaned(lake, dataset),
    )
    weighed = balance.open_balance(lake, dataset.name)
    events = box.scan().filter(pl.col("dataset") == dataset.name).collect()
    rows, good, counts = (one.scan().collect() for one in (source, table, weighed))
    for start in range(0, years, AT_ONCE):
        past = range(start + 1, min(start + AT_ONCE, years) + 1)
        _add(box, [events.with_columns(_named("key", year)) for year in past])
        _add(source, [rows.with_columns(_named("_object", year), _texts("time_hour", year)) for year in past])
        at = pl.col("time_hour")
        _add(table, [good.with_columns(_named("_object", y), at.dt.offset_by(f"{-y * DAYS}d")) for y in past])
        _add(weighed, [counts.with_columns(_named("_object", year)) for year in past])
    if years:
        _stand(lake, dataset)


def _stand(lake: Lake, dataset: Dataset) -> None:
    """Move the cursors of raw and of what follows it to where their sources are now."""
    source = raw.open_raw(lake, dataset.name)
    events = inbox.of(inbox.open_inbox(lake), dataset.name)
    _move(source, cursor_at(events, raw.code(dataset)))
    after = cursor_at(told(lake, dataset.name), dataset.fingerprint)
    for table in (
        cleaned.open_cleaned(lake, dataset),
        cleaned.open_quarantine(lake, dataset),
        balance.open_balance(lake, dataset.name),
    ):
        _move(table, after)


def _move(table: Table, cursor: Cursor) -> None:
    table.append(table.scan().head(0).collect(), [cursor])


def _add(table: Table, parts: list[pl.DataFrame]) -> None:
    write_deltalake(table.delta, pl.concat(parts).to_arrow(), mode="append")
    tidy(table)


def _named(column: str, years: int) -> pl.Expr:
    """The key of a day's file, so many years earlier."""
    day = pl.col(column).str.extract(DAY).str.to_date().dt.offset_by(f"{-years * DAYS}d").dt.to_string()
    return pl.format("flights/{}.csv", day).alias(column)


def _texts(column: str, years: int) -> pl.Expr:
    at = pl.col(column).str.to_datetime("%Y-%m-%dT%H:%M:%SZ").dt.offset_by(f"{-years * DAYS}d")
    return at.dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias(column)


def next_day(bucket: Folder) -> Iterator[tuple[str, bytes]]:
    return later(1, len([*bucket.root.glob("flights/2014-*")]))


def later(days: int, start: int = 0) -> Iterator[tuple[str, bytes]]:
    """(key, CSV) of the days that follow the last year: those of 2013, a year later."""
    for key, body in feed.flights(days, start):
        rows = pl.read_csv(body, infer_schema=False).with_columns(_texts("time_hour", -1))
        day = pl.DataFrame({"key": [key]}).select(_named("key", -1)).item()
        yield day, rows.write_csv().encode()
