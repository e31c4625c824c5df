"""SQS → inbox: every record in one append, then the messages are deleted.

The inbox is the lake's write-ahead log. A crash between the append and the delete brings the messages again;
the hop after this one is indifferent to repeats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

import polars as pl

from lakehouse.dataset import Dataset, route
from lakehouse.lake import Lake, Table
from lakehouse.lake.maintenance import tidy
from lakehouse.lake.table import NONE, Part, framed, schema, stamp
from lakehouse.landing import undeclared
from lakehouse.landing.erased import REASON, Erased, erased
from lakehouse.landing.events import ObjectEvent, decode, ignorable
from lakehouse.landing.queue import Budget, Message, Queue

NAME = "landing/inbox"
PARKED, UNROUTED, IGNORED = "_parked", "_unrouted", "_ignored"
REPLAY = "replay"
"""The name of an event that asks for an object to be read again though it is as its head says."""
REACH = 500
ROUTES = "routes"
"""The mark that tells by which datasets the events were last routed."""
REROUTED = 10_000
"""Objects that one tick sends another way."""
TIME = pl.Datetime("us", "UTC")
SCHEMA = schema(
    {
        "dataset": pl.String,
        "bucket": pl.String,
        "key": pl.String,
        "kind": pl.String,
        "event_name": pl.String,
        "version_id": pl.String,
        "etag": pl.String,
        "size": pl.Int64,
        "sequencer": pl.String,
        "event_time": TIME,
        "message_id": pl.String,
        "sent_at": TIME,
        "received_at": TIME,
        "reason": pl.String,
        "body": pl.String,
    }
)


NAMES = ("key", "body", "reason")
"""The columns that hold text from without."""
TOLD = ("key", "kind", "event_name", "version_id", "size", "sequencer")


def open_inbox(lake: Lake) -> Table:
    return lake.ensure(NAME, SCHEMA, partition_by=["dataset"])


def of(box: Table, dataset: str) -> Table:
    """What the inbox holds for one dataset: its keys, and what tells one event from another."""
    return replace(box, part=Part("dataset", dataset, TOLD, REACH))


def receive(
    queue: Queue,
    bucket: str,
    lake: Lake,
    datasets: dict[str, Dataset],
    *,
    wait: int,
    budget: Budget,
    prefixes: bool = True,
) -> pl.DataFrame:
    """One tick: drain, append, delete. Gives the records; messages not deleted come again.

    `bucket`: the name of the landing bucket. Another's objects cannot be got from it. `prefixes`: whether what no
    dataset claims goes to a table of its prefix.
    """
    messages = queue.drain(budget, wait)
    if not messages:
        return pl.DataFrame(schema=SCHEMA)
    box = open_inbox(lake)
    known = undeclared.known(box, datasets) if prefixes else None
    rows = _nameless(records(messages, bucket, datasets, known), erased(lake))
    box.append(rows)
    queue.delete(messages)
    tidy(box)
    return rows


def records(
    messages: Iterable[Message], bucket: str, datasets: dict[str, Dataset], known: set[str] | None = None
) -> pl.DataFrame:
    """The inbox rows of some messages: each event, and each foreign message with its body and reason.

    `known`: the tables of prefixes that no dataset claims; new ones are added. None: there are to be none.
    """
    now = datetime.now(UTC)
    rows: list[dict[str, object]] = []
    for message in messages:
        shared = {"message_id": message.id, "sent_at": message.sent_at, "received_at": now}
        decoded = decode(message.body)
        for event in decoded.events:
            name, reason = _routed(event, bucket, datasets, known)
            rows.append({**vars(event), **shared, "dataset": name, "reason": reason})
        if decoded.parked:
            rows.append({**shared, "dataset": PARKED, "reason": decoded.parked, "body": message.body})
    return framed(rows, SCHEMA)


def _nameless(rows: pl.DataFrame, gone: Erased) -> pl.DataFrame:
    """The rows, those that name an erased subject without the name."""
    named = gone.among(rows, NAMES)
    if not named.any():
        return rows
    bare = rows.filter(named).with_columns(pl.lit(None, pl.String).alias(name) for name in NAMES)
    bare = bare.with_columns(dataset=pl.lit(IGNORED), reason=pl.lit(REASON))
    return pl.concat([rows.filter(~named), bare])


def _routed(
    event: ObjectEvent, bucket: str, datasets: dict[str, Dataset], known: set[str] | None = None
) -> tuple[str, str | None]:
    """Where an event belongs, and why, if that is no dataset."""
    if event.bucket != bucket:
        return UNROUTED, f"of the bucket {event.bucket}, where {bucket} is the landing bucket"
    if reason := ignorable(event.key):
        return IGNORED, reason
    return placed(event.key, datasets, known)


def placed(key: str, datasets: dict[str, Dataset], known: set[str] | None) -> tuple[str, str | None]:
    """Where an object of the landing bucket belongs, or `UNROUTED` and why. `known`: as `records` takes it."""
    name, reason = route(datasets, key), "no dataset claims this key"
    if name is None and known is not None:
        name, told = undeclared.place(datasets, key, known)
        reason = told or reason
        known |= {name} if name else set()
    return (name, None) if name else (UNROUTED, reason)


def reroute(lake: Lake, bucket: str, datasets: dict[str, Dataset], *, prefixes: bool = True) -> int:
    """After the datasets changed: announce what lies elsewhere than it now belongs; gives how many objects.

    What belongs to a dataset by whose name its prefix already had a table lies there. A call sends `REROUTED`
    objects at most, and leaves the mark once none is left; an object announced twice is looked at twice.
    """
    box = lake.open(NAME)
    routes = stamp(*sorted(f"{d.name} {d.landing}" for d in datasets.values()), str(prefixes))
    if box is None or box.mark(ROUTES) == routes:
        return 0
    known = undeclared.known(box, datasets) if prefixes else None
    astray = [*islice(_astray(box, bucket, datasets, known), REROUTED + 1)]
    part = astray[:REROUTED]
    box.append(_announced(part, "reroute"), marks={ROUTES: routes} if len(part) == len(astray) else {})
    tidy(box)
    return len(part)


def _astray(
    box: Table, bucket: str, datasets: dict[str, Dataset], known: set[str] | None
) -> Iterator[tuple[str, str]]:
    """(dataset, key) of the objects whose newest event is not where it now belongs."""
    ours = pl.col("bucket").is_null() | (pl.col("bucket") == bucket)
    events = box.scan().filter(ours & ~pl.col("dataset").is_in([PARKED, IGNORED]))
    newest = events.group_by("key").agg(pl.col("dataset").sort_by("received_at").last()).sort("key").collect()
    for key, stands in newest.iter_rows():
        name, _ = placed(key, datasets, known)
        if name not in (stands, UNROUTED):
            yield name, key


def reread(
    rows: pl.DataFrame, bucket: str, datasets: dict[str, Dataset], known: set[str] | None = None
) -> pl.DataFrame | None:
    """What a message's parked row, or its unrouted rows of one key, are now; None where one is what it was.

    `known`: as `records` takes it.
    """
    if rows["dataset"][0] == PARKED:
        told = rows.row(0, named=True)
        message = Message(told["message_id"], "", told["body"], told["sent_at"])
        again = records([message], bucket, datasets, known)
    else:
        events = [{c: row[c] for c in ObjectEvent.__annotations__} for row in rows.to_dicts()]
        routed = [_routed(ObjectEvent(**event), bucket, datasets, known) for event in events]
        names, reasons = zip(*routed, strict=True)
        again = rows.with_columns(pl.Series("dataset", names), pl.Series("reason", reasons, pl.String))
    return None if set(again["dataset"]) & {PARKED, UNROUTED} else again


def announce(
    lake: Lake, dataset: str, keys: Iterable[str], *, event: str, generations: Mapping[str, int] = NONE
) -> int:
    """Put objects into the inbox without a message: how reconcile and replay send them down the road.

    `generations`: of each key the generation that a replay asks to be read again, and no later one.
    """
    gone = erased(lake)
    rows = _announced([(dataset, key) for key in keys if not gone.says(key)], event)
    if len(rows):
        asked = [str(generations[key]) if key in generations else None for key in rows["key"]]
        rows = rows.with_columns(pl.Series("sequencer", asked, pl.String))
        box = open_inbox(lake)
        box.append(rows)
        tidy(box)
    return len(rows)


def unname(lake: Lake, rows: pl.DataFrame) -> None:
    """Delete rows, and leave as many that name nothing: raw's lag is told by their number."""
    now, named = datetime.now(UTC), rows.filter(pl.col("key").is_not_null())
    bare = {"key": "", "kind": "erased", "event_name": "erased", "received_at": now, "reason": REASON}
    open_inbox(lake).append(framed([{**bare, "dataset": name} for name in named["dataset"]], SCHEMA))
    parked = rows.filter(pl.col("key").is_null())
    for gone in (named.select("dataset", "key"), parked.select("dataset", "message_id")):
        if len(gone):
            open_inbox(lake).apply(pl.DataFrame(schema=SCHEMA), gone.unique(), gone.columns)


def _announced(objects: Iterable[tuple[str, str]], event: str) -> pl.DataFrame:
    now = datetime.now(UTC)
    shared = {"kind": "created", "event_name": event, "sent_at": now, "received_at": now}
    return framed([{**shared, "dataset": name, "key": key} for name, key in objects], SCHEMA)
