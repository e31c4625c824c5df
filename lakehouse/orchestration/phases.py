"""run → where its time went, from the message in the queue to the items; a tag of the run tells it."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise

import dagster as dg
import polars as pl

from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.orchestration.sensor import DATASET

SECONDS = "lakehouse/seconds"
"""The tag: `1.14 = queue 0.02 + tick 0.11 + launch 0.20 + …`."""
LAST = "dynamodb__"
"""The steps at whose end an application reads what landed."""


def phases(marks: Mapping[str, float | None], ends: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Seconds from each moment to the next, by what happened in them.

    `marks`: the ways to the run's start, and when each ended, in epoch seconds, the first when it began; None
    where nobody knows. `ends`: each step, and when it ended. Steps after the last of items are left out.
    """
    known = [(name, at) for name, at in marks.items() if at is not None]
    steps = sorted(ends, key=lambda step: step[1])
    last = max((n for n, (name, _) in enumerate(steps) if name.startswith(LAST)), default=len(steps) - 1)
    passed = [*known, *steps[: last + 1]]
    return {name: end - start for (_, start), (name, end) in pairwise(passed)}


def told(found: Mapping[str, float]) -> str:
    """In a line; what took less than a hundredth of a second is left out."""
    parts = [f"{name} {seconds:.2f}" for name, seconds in found.items() if seconds >= 0.005]
    return f"{sum(found.values()):.2f} = {' + '.join(parts)}"


def of_run(instance: dg.DagsterInstance, lake: Lake, run_id: str, objects: Iterable[str]) -> dict[str, float]:
    """The phases of a run that has come to its checks; `objects`: those that it read.

    Where several messages caused it, the queue is that of the one that waited longest.
    """
    record = instance.get_run_record_by_id(run_id)
    if record is None:
        return {}
    created = record.create_timestamp.timestamp()
    sent, received = _message(lake, record.dagster_run.tags.get(DATASET, ""), [*objects], created)
    marks = {"": sent, "queue": received, "tick": created, "launch": record.start_time}
    stats = instance.get_run_step_stats(run_id)
    return phases(marks, [(one.step_key, one.end_time) for one in stats if one.end_time])


def _message(lake: Lake, dataset: str, objects: list[str], until: float) -> tuple[float | None, float | None]:
    """When the first of the messages that caused a run was sent, and when the last of them was in the inbox."""
    box = lake.open(inbox.NAME)
    if box is None or not objects:
        return None, None
    mine = (pl.col("dataset") == dataset) & pl.col("key").is_in(objects) & pl.col("message_id").is_not_null()
    events = box.scan().filter(mine).filter(pl.col("received_at").dt.timestamp() <= int(until * 1e6))
    newest = events.group_by("key").agg(pl.col("sent_at", "received_at").sort_by("received_at").last())
    sent, received = newest.select(pl.col("sent_at").min(), pl.col("received_at").max()).collect().row(0)
    return _epoch(sent), _epoch(received)


def _epoch(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None
