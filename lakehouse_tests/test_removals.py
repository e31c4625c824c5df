"""Deletions and expiries, told late, twice and in any order, end as what happened in the bucket says.

The expectation is folded over what was done to each object; the events are delivered apart from it, shuffled.
"""

import itertools
import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote_plus

import polars as pl
import pytest

from lakehouse.dataset import Dataset, DeclarationError, Serving, check
from lakehouse.landing import inbox
from lakehouse.landing.queue import Message
from lakehouse.layers import balance, ingest, raw
from lakehouse.layers.lag import lagging
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_lives import HEADER, Reading, by_place
from lakehouse_tests.test_road import items_of

Policy = Literal["keep", "retract"]
OPS = ["put", "overwrite", "delete", "expire", "unmark", "put again"]
MIXED = [("retract", "keep"), pytest.param("keep", "retract", marks=pytest.mark.slow)]
ALIKE = [pytest.param(p, p, marks=pytest.mark.slow) for p in ("keep", "retract")]


def told(key: str, name: str, version: str | None, number: int, at: datetime) -> str:
    """S3's own record of an event. Sequencers differ in length, as S3's do."""
    sequencer = f"00{number:02X}" + "0" * (number % 3)
    thing = {"key": quote_plus(key), "size": 9, "versionId": version, "sequencer": sequencer}
    s3 = {"bucket": {"name": "b"}, "object": {k: v for k, v in thing.items() if v is not None}}
    return json.dumps({"Records": [{"eventName": name, "eventTime": at.isoformat(), "s3": s3}]})


@dataclass
class Thing:
    """An object, what was done to it, and what of it ought to stand."""

    key: str
    ops: tuple[str, ...]
    stack: list[tuple[str, int | None]] = field(default_factory=list)
    """Its versions, the newest last: a number, None for a delete marker."""
    events: list[str] = field(default_factory=list)
    stands: int | None = None

    def turn(self, road: Road, number: int, on_delete: Policy, on_expiry: Policy) -> None:
        op, s3, place = self.ops[number], road.bucket.client, {"Bucket": road.bucket.name, "Key": self.key}
        at = datetime.now(UTC)
        if op == "expire" and not (self.stack and self.stack[-1][1] is not None):
            return  # a rule expires what is there
        if op in ("delete", "expire"):
            version = s3.delete_object(**place)["VersionId"]
            family = "ObjectRemoved" if op == "delete" else "LifecycleExpiration"
            self.events.append(told(self.key, f"{family}:DeleteMarkerCreated", version, number, at))
            shown = self.stack[-1:] and self.stack[-1][1] is not None
            if shown and (on_delete if op == "delete" else on_expiry) == "retract":
                self.stands = None
            self.stack.append((version, None))
        elif op == "unmark":
            if self.stack and self.stack[-1][1] is None:
                version, _ = self.stack.pop()
                s3.delete_object(**place, VersionId=version)
                self.events.append(told(self.key, "ObjectRemoved:Delete", version, number, at))
                if self.stack and self.stack[-1][1] is not None:
                    self.stands = self.stack[-1][1]
        else:
            version = road.bucket.put(self.key, f"{HEADER}{self.key},p,{number}\n".encode())
            self.events.append(told(self.key, "ObjectCreated:Put", version, number, at))
            self.stack.append((str(version), number))
            self.stands = number


def turn_all(road: Road, things: list[Thing], number: int, on_delete: Policy, on_expiry: Policy) -> None:
    with ThreadPoolExecutor(8) as pool:
        [*pool.map(lambda thing: thing.turn(road, number, on_delete, on_expiry), things)]


class Lives:
    """Many objects live at once; after each turn the lake looks at them, and some of the events come."""

    def __init__(self, road: Road, on_delete: Policy, on_expiry: Policy, seed: int) -> None:
        one = Serving(by_place, key="place", group="place", publish=True)
        self.dataset = Dataset(
            "readings", "readings/*.csv", Reading, on_delete=on_delete, on_expiry=on_expiry, serving=[one]
        )
        road.datasets = check([self.dataset])
        self.road, self.policies, self.dice = road, (on_delete, on_expiry), random.Random(seed)

    def live(self, lives: list[tuple[str, ...]]) -> list[Thing]:
        things = [Thing(f"readings/{n:04}.csv", ops) for n, ops in enumerate(lives)]
        waiting: list[str] = []
        for number in range(max(map(len, lives))):
            time.sleep(1.1)
            active = [t for t in things if number < len(t.ops)]
            turn_all(self.road, active, number, *self.policies)
            inbox.announce(self.road.lake, "readings", [t.key for t in active], event="test")
            waiting += [t.events[-1] for t in active if t.events]
            coming = [e for e in waiting if self.dice.random() < 0.4]
            waiting = [e for e in waiting if e not in coming or self.dice.random() < 0.2]
            self.deliver(coming)
            ingest.ingest(self.road.lake, self.road.bucket, self.dataset)
            if number % 2:
                self.road.hops()
        for portion in (waiting[::2], waiting[1::2]):
            self.deliver(portion)
            self.road.hops()
        return things

    def deliver(self, bodies: list[str]) -> None:
        self.dice.shuffle(bodies)
        messages = [Message(str(n), "", body, None) for n, body in enumerate(bodies)]
        rows = inbox.records(messages, "b", self.road.datasets)
        assert (rows["dataset"] == "readings").all()
        inbox.open_inbox(self.road.lake).append(rows)

    def check(self, things: list[Thing]) -> None:
        table = self.road.lake.open("cleaned/readings")
        assert table is not None
        held = dict(table.scan().select("id", "value").collect().iter_rows())
        expected = {t.key: t.stands for t in things if t.stands is not None}
        wrong = [(t.ops, held.get(t.key), t.stands) for t in things if held.get(t.key) != t.stands]
        assert wrong == []
        assert held == expected
        total: dict[str, Any] = {"place": "p", "readings": len(expected), "total": sum(expected.values())}
        assert items_of(self.road, "by_place") == ({"p": total} if expected else {})
        assert lagging(self.road.lake, self.road.datasets, self.road.items) == {}
        assert balance.unbalanced(self.road.lake, self.dataset).is_empty()


def lives(dice: random.Random) -> Iterator[tuple[str, ...]]:
    """Every order of three of what can be done, and longer ones with repeats."""
    yield from itertools.permutations(OPS, 3)
    for _ in range(30):
        yield ("put", *dice.choices(OPS, k=4))


@pytest.mark.slow
@pytest.mark.parametrize(("on_delete", "on_expiry"), [*MIXED, *ALIKE])
def test_every_order_of_puts_and_removals_ends_as_the_dataset_declares(
    road: Road, on_delete: Policy, on_expiry: Policy
) -> None:
    world = Lives(road, on_delete, on_expiry, 11)
    world.check(world.live([*lives(world.dice)]))


@pytest.mark.parametrize(("on_delete", "on_expiry"), MIXED)
def test_one_life_ends_in_one_state_in_whatever_order_its_events_come(
    road: Road, on_delete: Policy, on_expiry: Policy
) -> None:
    """Put, overwrite, delete, put, expire have happened; the lake hears of it event by event, in every order."""
    world = Lives(road, on_delete, on_expiry, 1)
    ops = ("put", "overwrite", "delete", "put again", "expire")
    orders = [*itertools.permutations(range(5))]
    things = [Thing(f"readings/{n:04}.csv", ops[:4]) for n in range(len(orders))]
    for number in range(4):
        turn_all(road, things, number, on_delete, on_expiry)
    inbox.announce(road.lake, "readings", [t.key for t in things], event="test")
    road.hops()
    time.sleep(1.1)
    for thing in things:
        thing.ops = ops
        thing.turn(road, 4, on_delete, on_expiry)
    for step in range(5):
        world.deliver([t.events[order[step]] for t, order in zip(things, orders, strict=True)])
        road.hops()
    world.check(things)


def state(road: Road, dataset: Dataset, *bodies: str) -> tuple[str, str | None]:
    """What the last head says once an object that was read is gone and these events have come."""
    key = "readings/1.csv"
    road.bucket.put(key, f"{HEADER}a,p,1\n".encode())
    inbox.announce(road.lake, "readings", [key], event="test")
    road.hops()
    road.bucket.client.delete_object(Bucket=road.bucket.name, Key=key)
    if not bodies:
        inbox.announce(road.lake, "readings", [key], event="reconcile")
        road.hops()
    for number, body in enumerate(bodies):
        messages = [Message(str(number), "", body, None)]
        inbox.open_inbox(road.lake).append(inbox.records(messages, "b", road.datasets))
        road.hops()
    head = raw.last_heads(raw.open_raw(road.lake, "readings")).collect()
    return head["_state"][0], head["_reason"][0]


LATER = datetime(2100, 1, 1, tzinfo=UTC)
BRIDGE = {"bucket": {"name": "b"}, "object": {"key": "readings/1.csv"}}


def bridge(**told: str) -> str:
    told = {k.replace("_", "-"): v for k, v in told.items()}
    return json.dumps({"detail-type": "Object Deleted", "time": LATER.isoformat(), "detail": BRIDGE | told})


def s3(name: str, version: str | None, number: int) -> str:
    return told("readings/1.csv", name, version, number, LATER)


@pytest.mark.parametrize(
    ("bodies", "expected"),
    [
        ([], "gone"),
        ([bridge(reason="DeleteObject", deletion_type="Delete Marker Created")], "gone"),
        ([bridge(reason="Lifecycle Expiration", deletion_type="Delete Marker Created")], "expired"),
        ([s3("LifecycleExpiration:Delete", None, 1)], "expired"),
        ([s3("s3:LifecycleExpiration:DeleteMarkerCreated", "m", 1)], "expired"),
        (
            [
                s3("ObjectRemoved:DeleteMarkerCreated", "m", 1),
                s3("LifecycleExpiration:Delete", "v", 2),
                s3("LifecycleExpiration:Delete", "m", 3),
            ],
            "gone",
        ),
        ([s3("LifecycleExpiration:Delete", "v0", 1), s3("ObjectRemoved:DeleteMarkerCreated", "m", 2)], "gone"),
        ([s3("LifecycleExpiration:DeleteMarkerCreated", "m", 1), s3("ObjectRemoved:Delete", "v", 2)], "expired"),
        ([s3("LifecycleExpiration:DeleteMarkerCreated", "m", 1), s3("ObjectRemoved:Delete", "m", 2)], "gone"),
        ([s3("ObjectRemoved:Delete", "m", 2), s3("LifecycleExpiration:DeleteMarkerCreated", "m", 1)], "gone"),
        ([s3("ObjectRemoved:Delete", "v", 1)], "gone"),
    ],
)
def test_why_an_object_is_gone_is_told_by_what_hid_it(road: Road, bodies: list[str], expected: str) -> None:
    dataset = Dataset("readings", "readings/*.csv", Reading, on_delete="retract")
    road.datasets = check([dataset])
    assert state(road, dataset, *bodies)[0] == expected
    cleaned = road.lake.open("cleaned/readings")
    assert cleaned is not None
    assert cleaned.count == (1 if expected == "expired" else 0)


def test_the_head_of_an_object_that_is_gone_says_by_which_event(road: Road) -> None:
    dataset = Dataset("readings", "readings/*.csv", Reading)
    road.datasets = check([dataset])
    assert state(road, dataset, bridge(reason="Lifecycle Expiration")) == ("expired", "LifecycleExpiration:Delete")


def test_our_own_retention_with_retracting_expiry_is_refused() -> None:
    Dataset("a", "a/*", Reading, landing_retention=30)
    with pytest.raises(DeclarationError, match="landing_retention"):
        Dataset("a", "a/*", Reading, landing_retention=30, on_expiry="retract")


def test_a_deletion_is_kept_and_an_expiry_too_unless_declared_otherwise() -> None:
    dataset = Dataset("a", "a/*", Reading)
    assert raw.kept(dataset) == ["gone", "expired"]
    assert pl.Series(raw.silent(dataset)).is_in(["gone", "expired"]).sum() == 2
