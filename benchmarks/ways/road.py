"""Work on this project's own road, without Dagster."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dataframely as dy

from benchmarks import years
from benchmarks.folder import Folder
from lakehouse.dataset import Dataset, load
from lakehouse.dynamodb.sync import items_of, publish
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.layers import ingest, raw, serving
from lakehouse.layers.lag import lagging
from lakehouse.settings import Settings

Steps = Generator[dict[str, Any] | None, None, dict[str, Any] | None]


class Row(dy.Schema):
    """A contract that raw does not look at."""

    key = dy.String(primary_key=True)


def to_raw(data: Path, out: Path, _: float) -> Steps:
    """From the events in the inbox to rows, heads and cursor in raw."""
    keys = [str(p.relative_to(data)) for p in sorted(data.rglob("*.csv"))]
    name = keys[0].partition("/")[0]
    lake, dataset = Lake(str(out)), Dataset(name=name, landing=f"{name}/*.csv", contract=Row)
    inbox.announce(lake, name, keys, event="landed")
    bucket = Folder(data)
    yield
    ingest.ingest(lake, bucket, dataset)
    table = raw.open_raw(lake, name)
    heads = raw.heads(table).collect()
    assert heads.height == len(keys)
    assert set(heads["_state"]) == {"read"}
    return {"rows": table.count - heads.height}


def smallest(data: Path, out: Path, size: float) -> Steps:
    yield from _day(data / "1", out)
    return None


def middle(data: Path, out: Path, size: float) -> Steps:
    yield from _day(data / f"{years.middle(size)}", out)
    return None


def largest(data: Path, out: Path, size: float) -> Steps:
    yield from _day(data / f"{size:.0f}", out)
    return None


def _day(home: Path, out: Path) -> Steps:
    """One more day of flights, from its event in the inbox to the items; a day before it warms up."""
    with years.local(home):
        lake, bucket = years.at(home)
        datasets, settings = load(), Settings.load()
        years.land(bucket, lake, "flights", years.next_day(bucket))
        _carried(lake, bucket, datasets, settings)
        years.land(bucket, lake, "flights", years.next_day(bucket))
        yield None
        yield _carried(lake, bucket, datasets, settings)


def _carried(lake: Lake, bucket: Folder, datasets: dict[str, Dataset], settings: Settings) -> dict[str, Any]:
    """Every hop that a run of `flights` makes, and what each took. Fails where items and changed rows differ."""
    told: dict[str, Any] = {}
    items = partial(items_of, settings)
    with _timed(told, "sweep"):
        assert lagging(lake, datasets, items)["flights"] == "raw/flights"
    flights = datasets["flights"]
    with _timed(told, "raw"):
        ingest.ingest(lake, bucket, flights)
    with _timed(told, "cleaned"):
        years.follow(lake, flights)
    changed = written = 0
    for one in flights.serving:
        with _timed(told, one.name):
            hopped = serving.serve(lake, one, datasets)
        with _timed(told, "dynamodb"):
            done = publish(lake, one, items(one))
        assert done is not None
        assert done.put + done.deleted == hopped.upserted + hopped.deleted
        changed += hopped.upserted + hopped.deleted
        written += done.put + done.deleted
    return {"changed": changed, "items": written, "processor_by_step": told}


@contextmanager
def _timed(told: dict[str, Any], step: str) -> Iterator[None]:
    began = time.process_time()
    yield
    told[step] = round(told.get(step, 0.0) + time.process_time() - began, 3)
