"""SQS → inbox: every record in one append, then the messages are deleted.

The inbox is the lake's write-ahead log. A crash between the append and the delete brings the messages again;
the hop after this one is indifferent to repeats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl

from lakehouse.dataset import Dataset, route
from lakehouse.lake import Lake, Table
from lakehouse.lake.maintenance import tidy
from lakehouse.lake.table import NONE, Part, schema
from lakehouse.landing.events import ObjectEvent, decode, ignorable
from lakehouse.landing.queue import Budget, Message, Queue

NAME = "landing/inbox"
PARKED, UNROUTED, IGNORED = "_parked", "_unrouted", "_ignored"
REPLAY = "replay"
"""The name of an event that asks for an object to be read again though it is as its head says."""
REACH = 500
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


TOLD = ("key", "kind", "event_name", "version_id", "size", "sequencer")


def open_inbox(lake: Lake) -> Table:
    return lake.ensure(NAME, SCHEMA, partition_by=["dataset"])


def of(box: Table, dataset: str) -> Table:
    """What the inbox holds for one dataset: its keys, and what tells one event from another."""
    return replace(box, part=Part("dataset", dataset, TOLD, REACH))


def receive(
    queue: Queue, bucket: str, lake: Lake, datasets: dict[str, Dataset], *, wait: int, budget: Budget
) -> pl.DataFrame:
    """One tick: drain, append, delete. Gives the records; messages not deleted come again.

    `bucket`: the name of the landing bucket. Another's objects cannot be got from it.
    """
    messages = queue.drain(budget, wait)
    if not messages:
        return pl.DataFrame(schema=SCHEMA)
    rows = records(messages, bucket, datasets)
    box = open_inbox(lake)
    box.append(rows)
    queue.delete(messages)
    tidy(box)
    return rows


def records(messages: Iterable[Message], bucket: str, datasets: dict[str, Dataset]) -> pl.DataFrame:
    """The inbox rows of some messages: each event, and each foreign message with its body and reason."""
    now = datetime.now(UTC)
    rows: list[dict[str, object]] = []
    for message in messages:
        shared = {"message_id": message.id, "sent_at": message.sent_at, "received_at": now}
        decoded = decode(message.body)
        for event in decoded.events:
            name, reason = _routed(event, bucket, datasets)
            rows.append({**vars(event), **shared, "dataset": name, "reason": reason})
        if decoded.parked:
            rows.append({**shared, "dataset": PARKED, "reason": decoded.parked, "body": message.body})
    return pl.DataFrame(rows, schema=SCHEMA)


def _routed(event: ObjectEvent, bucket: str, datasets: dict[str, Dataset]) -> tuple[str, str | None]:
    """Where an event belongs, and why, if that is no dataset."""
    if event.bucket != bucket:
        return UNROUTED, f"of the bucket {event.bucket}, where {bucket} is the landing bucket"
    if reason := ignorable(event.key):
        return IGNORED, reason
    name = route(datasets, event.key)
    return (name, None) if name else (UNROUTED, "no dataset claims this key")


def reread(rows: pl.DataFrame, bucket: str, datasets: dict[str, Dataset]) -> pl.DataFrame | None:
    """What one message's parked or unrouted rows are now; None where one of them still is what it was."""
    if rows["dataset"][0] == PARKED:
        told = rows.row(0, named=True)
        again = records([Message(told["message_id"], "", told["body"], told["sent_at"])], bucket, datasets)
    else:
        events = [{c: row[c] for c in ObjectEvent.__annotations__} for row in rows.to_dicts()]
        routed = [_routed(ObjectEvent(**event), bucket, datasets) for event in events]
        names, reasons = zip(*routed, strict=True)
        again = rows.with_columns(pl.Series("dataset", names), pl.Series("reason", reasons, pl.String))
    return None if set(again["dataset"]) & {PARKED, UNROUTED} else again


def announce(
    lake: Lake, dataset: str, keys: Iterable[str], *, event: str, generations: Mapping[str, int] = NONE
) -> int:
    """Put objects into the inbox without a message: how reconcile and replay send them down the road.

    `generations`: of each key the generation that a replay asks to be read again, and no later one.
    """
    now = datetime.now(UTC)
    shared = {"dataset": dataset, "kind": "created", "event_name": event, "sent_at": now, "received_at": now}
    rows = [{**shared, "key": k, "sequencer": str(generations[k]) if k in generations else None} for k in keys]
    if rows:
        box = open_inbox(lake)
        box.append(pl.DataFrame(rows, schema=SCHEMA))
        tidy(box)
    return len(rows)
