"""Work on this project's own road, without Dagster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl

from benchmarks import years
from benchmarks.folder import Folder
from benchmarks.way import Steps
from benchmarks.ways.peers import LAKE, LANDING, bytes_at
from lakehouse.dataset import Dataset, load
from lakehouse.dynamodb.sync import items_of, publish
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.landing.objects import Bucket
from lakehouse.layers import ingest, raw, serving
from lakehouse.layers.lag import lagging
from lakehouse.settings import Settings, client

REFUSED = ("latin", "empty", "doubled")
"""How a file is named that raw refuses whole."""


class Row(dy.Schema):
    """A contract that raw does not look at."""

    key = dy.String(primary_key=True)


def to_raw(data: Path, out: Path, _: float) -> Steps:
    """From the events in the inbox to rows, heads and cursor in raw."""
    return _carried(Folder(data), Lake(str(out)))


def s3_to_raw(_: Path, out: Path, __: float) -> Steps:
    """The same from S3 to S3."""
    place = f"s3://{LAKE}/{out.parent.name}"
    yield from _carried(Bucket(client("s3"), LANDING), Lake(place))
    return {"bytes": bytes_at(place)}


def _carried(bucket: Bucket, lake: Lake) -> Steps:
    """Fails where an object's head does not say of it what its name does."""
    found = {one.key: one.size for one in bucket.list()}
    name = min(found).partition("/")[0]
    dataset, now = Dataset(name=name, landing=f"{name}/*", contract=Row), datetime.now(UTC)
    event = {"dataset": name, "kind": "created", "event_name": "benchmark", "sent_at": now, "received_at": now}
    events = [{**event, "key": key, "size": size} for key, size in found.items()]
    inbox.open_inbox(lake).append(pl.DataFrame(events, schema=inbox.SCHEMA))
    yield
    ingest.ingest(lake, bucket, dataset, run="benchmark")
    yield
    heads = raw.heads(raw.open_raw(lake, name)).select("_object", "_state").collect()
    states = {key: "refused" if Path(key).stem.endswith(REFUSED) else "read" for key in found}
    assert sorted(heads.rows()) == sorted(states.items())
    return None


def smallest(data: Path, out: Path, size: float) -> Steps:
    return _day(data / "1")


def middle(data: Path, out: Path, size: float) -> Steps:
    return _day(data / f"{years.middle(size)}")


def largest(data: Path, out: Path, size: float) -> Steps:
    return _day(data / f"{size:.0f}")


def _day(home: Path) -> Steps:
    """One more day of flights, from its event in the inbox to the items; a day before it warms up."""
    with years.local(home):
        lake, bucket = years.at(home)
        datasets, settings = load(), Settings.load()
        years.land(bucket, lake, "flights", years.next_day(bucket))
        _served(lake, bucket, datasets, settings)
        years.land(bucket, lake, "flights", years.next_day(bucket))
        yield
        told = _served(lake, bucket, datasets, settings)
        yield
        return told


def _served(lake: Lake, bucket: Folder, datasets: dict[str, Dataset], settings: Settings) -> dict[str, Any]:
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
