"""Many objects live at once, each another life; in the end every table says what the last state of each says.

The expectation is told by `csv` and dicts from what was put, told and removed.
"""

import csv
import io
import itertools
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any, Literal

import dataframely as dy
import polars as pl
import pytest

from lakehouse.dataset import Dataset, Serving, check
from lakehouse.landing import inbox
from lakehouse.landing.reconcile import reconcile
from lakehouse.layers import balance, cleaned, ingest, raw
from lakehouse.layers.lag import lagging
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import items_of

Policy = Literal["keep", "retract"]
HEADER = "id,place,value\n"
GONE = "gone"
LIVES = {
    "v1": HEADER + "{o}-a,p{o},1\n{o}-b,r{o},2\n{o}-bad,p0,x\n",
    "v2": HEADER + "{o}-b,q{o},20\n{o}-c,p{o},3\n{o}-worse,p0,-1\n{o}-ragged\n",
    "nothing": "",
    "header": HEADER,
    "refused": "id,id,value\n{o}-a,p0,1\n",
    GONE: "",
}
PAIRS = {
    "x": HEADER + "{o}-both,p{o},1\n{o}-x,p{o},2\n",
    "x'": HEADER + "{o}-x,p{o},3\n",
    "y": HEADER + "{o}-both,q{o},10\n",
    "y'": HEADER + "{o}-y,q{o},20\n",
    "-x": "",
    "-y": "",
}


class Reading(dy.Schema):
    """One reading."""

    id = dy.String(primary_key=True)
    place = dy.String(nullable=False)
    value = dy.Int64(nullable=False, min=0)


def by_place(readings: pl.LazyFrame) -> pl.LazyFrame:
    """What each place adds up to."""
    return readings.group_by("place").agg(readings=pl.len(), total=pl.col("value").sum())


@dataclass
class Thing:
    """What an object was in the eyes of the lake: `now` is its true state, `seen` what was told."""

    now: tuple[int, str, datetime | None] = (0, GONE, None)
    seen: list[tuple[int, str, datetime | None]] = field(default_factory=list)

    def tell(self) -> None:
        if not self.seen or self.seen[-1][0] != self.now[0]:
            self.seen.append(self.now)

    def stands(self, policy: Policy) -> tuple[str, datetime | None]:
        """The content that counts, and when it was written."""
        told = [s for s in self.seen if policy == "retract" or s[1] is not GONE]
        return told[-1][1:] if told else (GONE, None)


class World:
    def __init__(self, road: Road, policy: Policy, seed: int) -> None:
        one = Serving(by_place, key="place", group="place", publish=True)
        readings = Dataset("readings", "readings/*.csv", Reading, on_delete=policy, serving=[one])
        road.datasets = check([readings])
        self.road, self.policy, self.dice, self.turns = road, policy, random.Random(seed), count(seed)
        self.things: dict[str, Thing] = {}

    def become(self, states: dict[str, str]) -> None:
        """Put or remove objects, many at once; a body of `GONE` removes."""
        with ThreadPoolExecutor(8) as pool:
            for key, now in zip(states, pool.map(lambda s: self._become(*s), states.items()), strict=True):
                thing = self.things.setdefault(key, Thing())
                thing.now = (thing.now[0] + 1, *now)

    def _become(self, key: str, body: str) -> tuple[str, datetime | None]:
        bucket = self.road.bucket
        if body is GONE:
            bucket.client.delete_object(Bucket=bucket.name, Key=key)
            return GONE, None
        bucket.put(key, body.encode())
        found = bucket.look(key)
        assert found is not None
        return body, found.modified

    def tell(self, keys: list[str]) -> None:
        """Announce objects twice or thrice, shuffled, in portions; then go on, every third time only to raw."""
        told = keys * 2 + self.dice.choices(keys, k=len(keys) // 2)
        self.dice.shuffle(told)
        cut = self.dice.randrange(1, len(told))
        for portion in (told[:cut], told[cut:]):
            inbox.announce(self.road.lake, "readings", portion, event="test")
            if self.dice.random() < 0.5:
                ingest.ingest(self.road.lake, self.road.bucket, self.road.datasets["readings"])
        for key in keys:
            self.things[key].tell()
        ingest.ingest(self.road.lake, self.road.bucket, self.road.datasets["readings"])
        if next(self.turns) % 3:
            self.road.hops()

    def live(self, lives: list[tuple[dict[str, str], ...]], dropped: float = 0) -> None:
        """Let all lives pass, step by step. A change is told at once or later; the last one always, but for
        a share of events that are `dropped`."""
        for step in range(max(map(len, lives))):
            states: dict[str, str] = {}
            told: list[str] = []
            for life in lives:
                if step < len(life):
                    states |= life[step]
                    if step + 1 == len(life) or self.dice.random() < 0.6:
                        told += {key for past in life[: step + 1] for key in past}
            self.become(states)
            self.tell([key for key in told if self.dice.random() >= dropped])
        self.road.hops()

    def rows(self) -> tuple[dict[str, tuple[str, int]], set[tuple[str, int]]]:
        """The good rows by key, the newest of each, and where the bad ones stand."""
        good: dict[str, tuple[str, int]] = {}
        bad: set[tuple[str, int]] = set()
        standing = [(t.stands(self.policy), key) for key, t in self.things.items()]
        content = [(when, key, body) for (body, when), key in standing if when is not None]
        for _, key, body in sorted(content):
            lines = list(csv.reader(io.StringIO(body)))
            if not lines or len(set(lines[0])) < 3:
                continue
            for number, line in enumerate(lines[1:], 1):
                if len(line) == 3 and line[2].isdigit():
                    good[line[0]] = (line[1], int(line[2]))
                else:
                    bad.add((key, number))
        return good, bad

    def check(self) -> None:
        good, bad = self.rows()
        assert {i: (p, v) for i, p, v in self._table("cleaned/readings", "id", "place", "value")} == good
        assert set(self._table("quarantine/readings", "_object", "_record")) == bad
        totals: dict[str, dict[str, Any]] = {}
        for place, value in good.values():
            one = totals.setdefault(place, {"place": place, "readings": 0, "total": 0})
            one["readings"] += 1
            one["total"] += value
        serving = self._table("serving/by_place", "place", "readings", "total")
        assert {p: {"place": p, "readings": n, "total": t} for p, n, t in serving} == totals
        assert items_of(self.road, "by_place") == totals
        generations = dict(self._heads().group_by("_object").len().iter_rows())
        assert generations == {k: n for k, t in self.things.items() if (n := counted(t))}
        assert lagging(self.road.lake, self.road.datasets, self.road.items) == {}
        assert balance.unbalanced(self.road.lake, self.road.datasets["readings"]).is_empty()

    def _table(self, name: str, *columns: str) -> list[tuple[Any, ...]]:
        table = self.road.lake.open(name)
        assert table is not None
        return table.scan().select(columns).collect().rows()

    def _heads(self) -> pl.DataFrame:
        return raw.heads(raw.open_raw(self.road.lake, "readings")).collect()


def counted(thing: Thing) -> int:
    """How many generations an object made: a removal of what is not there makes none."""
    states = [GONE, *(state for _, state, _ in thing.seen)]
    return sum(after is not GONE or before is not GONE for before, after in itertools.pairwise(states))


def hidden(thing: Thing) -> bool:
    """Whether the object is not what the lake was last told of it."""
    last = thing.seen[-1] if thing.seen else (0, GONE, None)
    return last[0] != thing.now[0] and not last[1] is thing.now[1] is GONE


def one_object(number: int, life: tuple[str, ...]) -> tuple[dict[str, str], ...]:
    key = f"readings/{number:04}.csv"
    return tuple({key: state(op, LIVES[op], number)} for op in life)


def two_objects(number: int, life: tuple[str, ...]) -> tuple[dict[str, str], ...]:
    return tuple({f"readings/{number:04}{side(op)}.csv": state(op, PAIRS[op], number)} for op in life)


def side(op: str) -> str:
    return "x" if "x" in op else "y"


def state(op: str, body: str, number: int) -> str:
    return GONE if op.startswith(("-", GONE)) else body.format(o=number)


def lives(ops: list[str], upto: int, longer: int, seed: int) -> list[tuple[str, ...]]:
    """Every life of up to `upto` steps, repeats included, and some that are longer."""
    short = [life for n in range(1, upto + 1) for life in itertools.product(ops, repeat=n)]
    return short + [tuple(random.Random(n * seed).choices(ops, k=upto + 2)) for n in range(longer)]


@pytest.mark.parametrize("policy", [pytest.param("keep", marks=pytest.mark.slow), "retract"])
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_every_life_of_an_object_ends_as_its_last_state_says(road: Road, policy: Policy, seed: int) -> None:
    world = World(road, policy, seed)
    world.live([one_object(n, life) for n, life in enumerate(lives([*LIVES], 3 if seed > 1 else 2, 40, seed))])
    world.check()


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["keep", "retract"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_key_that_two_objects_carry_falls_back_to_the_other(road: Road, policy: Policy, seed: int) -> None:
    world = World(road, policy, seed)
    orders = [*itertools.permutations(["x", "y", "y'", "-x", "-y"], 3)]
    orders += [tuple(world.dice.sample([*PAIRS], 6)) for _ in range(20 * seed)]
    world.live([two_objects(n, life) for n, life in enumerate(orders)])
    world.check()


@pytest.mark.parametrize("policy", [pytest.param("keep", marks=pytest.mark.slow), "retract"])
def test_what_a_tenth_of_lost_events_hid_is_found_by_reconcile(road: Road, policy: Policy) -> None:
    world = World(road, policy, 5)
    world.live([one_object(n, life) for n, life in enumerate(lives([*LIVES], 2, 40, 7))], dropped=0.1)
    unseen = {k for k, t in world.things.items() if hidden(t)}
    missed = {(bool(world.things[k].seen), world.things[k].now[1] is GONE) for k in unseen}
    assert missed == {(False, False), (True, False), (True, True)}, "a creation, an overwrite and a removal"
    assert reconcile(road.lake, road.bucket, road.datasets) == {"readings": len(unseen)}
    for key in unseen:
        world.things[key].tell()
    road.hops()
    world.check()
    assert reconcile(road.lake, road.bucket, road.datasets) == {"readings": 0}


def test_of_two_objects_the_one_written_later_wins_whatever_its_name_and_its_turn(road: Road) -> None:
    world = World(road, "keep", 1)
    world.become({"readings/2y.csv": state("y", PAIRS["y"], 1)})
    time.sleep(1.1)
    world.become({"readings/1x.csv": state("x", PAIRS["x"], 1)})
    for key in ("readings/1x.csv", "readings/2y.csv"):
        world.tell([key])
    road.hops()
    world.check()
    assert world.rows()[0]["1-both"] == ("p1", 1)


@pytest.mark.parametrize(("policy", "left"), [("keep", {"1-both": ("p1", 1)}), ("retract", {})])
def test_a_key_falls_back_to_a_deleted_object_only_where_its_rows_are_kept(
    road: Road, policy: Policy, left: dict[str, tuple[str, int]]
) -> None:
    world = World(road, policy, 1)
    for op in ("x", "y", "-x", "y'"):
        (states,) = two_objects(1, (op,))
        world.become(states)
        world.tell([*states])
        cleaned.clean(road.lake, road.datasets["readings"])
    road.hops()
    world.check()
    assert {k: v for k, v in world.rows()[0].items() if k == "1-both"} == left
