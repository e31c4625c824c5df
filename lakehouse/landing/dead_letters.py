"""The dead-letter queue: messages that were received again and again and never deleted; shown, and moved back."""

from __future__ import annotations

import polars as pl

from lakehouse.lake.table import schema
from lakehouse.landing.events import decode
from lakehouse.landing.inbox import TIME
from lakehouse.landing.queue import Budget, Message, Queue

SHOWN = 100
SCHEMA = schema({"id": pl.String, "reason": pl.String, "sent_at": TIME, "body": pl.String})


def dead_letters(queue: Queue, most: int = SHOWN) -> pl.DataFrame:
    """Up to `most` of them, the oldest first. They stay."""
    rows = [{"id": m.id, "reason": _reason(m), "sent_at": m.sent_at, "body": m.body} for m in queue.peek(most)]
    return pl.DataFrame(rows, schema=SCHEMA).sort("sent_at")


def _reason(message: Message) -> str:
    """SQS tells none. A foreign body is parked and deleted like any other: only what read it can have failed."""
    says = decode(message.body).parked or "an S3 event"
    return f"received {message.received} times in all and never deleted: what read it died or hung ({says})"


def redrive(dead: Queue, queue: Queue) -> int:
    """Move all of them back; gives how many.

    By send and delete, which every SQS can do. Who dies between the two repeats a message, which changes nothing.
    """
    moved = 0
    while messages := dead.drain(Budget(), wait=1):
        for message in messages:
            queue.send(message.body)
        dead.delete(messages)
        moved += len(messages)
    return moved
