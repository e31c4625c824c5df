"""An oversized backlog that many workers take, where the layers lie, ends as one walk does."""

import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lakehouse.dataset import Dataset
from lakehouse.lake import Hopped, Lake, past
from lakehouse.lake.hop import unfinished
from lakehouse.layers import balance, fanout, ingest, raw
from lakehouse.layers import cleaned as cleaned_layer
from lakehouse.layers.portion import Follower
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_fanout import FILES, HEADER, LAYERS, PRICES, cleaned, died, run, tables, take

BACKLOG = {
    "prices/1.csv": "b,north,6\nz,west,1\n",
    "prices/3.csv": "a,north,9\ne,west,3\n",
    "prices/6.csv": "a,north,4\nd,south,5\ni,east,x\n",
}


@pytest.fixture
def behind(road: Road, monkeypatch: pytest.MonkeyPatch) -> Road:
    """Layers that hold five objects, and of raw the news of four: two overwritten, one gone, one new."""
    return lagging(road, monkeypatch, PRICES)


def lagging(road: Road, monkeypatch: pytest.MonkeyPatch, dataset: Dataset) -> Road:
    road = replace(road, datasets={"prices": dataset})
    take(road, FILES)
    time.sleep(1)
    land(road, BACKLOG)
    road.bucket.client.delete_object(Bucket=road.bucket.name, Key="prices/2.csv")
    land(road, {}, "prices/2.csv")
    monkeypatch.setattr(raw, "BATCH", 1)
    monkeypatch.setattr(fanout, "OVERSIZED", 4)
    return road


def land(road: Road, files: dict[str, str], *gone: str) -> None:
    """Into raw, and no further."""
    for key, body in files.items():
        road.bucket.put(key, (HEADER + body).encode())
    road.announce(*files, *gone)
    ingest.ingest(road.lake, road.bucket, PRICES)


def copied(lake: Lake, place: Path) -> Lake:
    return Lake(shutil.copytree(lake.root, str(place)))


def walk(lake: Lake) -> None:
    for follower in fanout.FOLLOWERS.values():
        follower.follow(lake, PRICES)


def walked(lake: Lake, place: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What one walk makes of a copy."""
    one = copied(lake, place)
    walk(one)
    return tables(one)


def shared(lake: Lake) -> fanout.Plan:
    fanout.share(lake, PRICES)
    plan = fanout.joined(lake, PRICES)
    assert plan is not None
    assert {*plan.begun} == {*LAYERS}
    return plan


def taken(plan: fanout.Plan, numbers: Iterable[int]) -> None:
    portions = [*fanout.bounded(plan.heads)]
    for number in numbers:
        assert fanout._take(plan, number, portions[number], lambda _: None)


def level(lake: Lake, wanted: dict[str, list[tuple[Any, ...]]]) -> None:
    assert tables(lake) == wanted
    assert fanout.joined(lake, PRICES) is None
    assert balance.level(lake, PRICES)
    assert balance.unbalanced(lake, PRICES).is_empty()


@pytest.mark.slow
def test_portions_in_any_order_end_as_one_walk_does(behind: Road, tmp_path: Path) -> None:
    """Rows of objects that are yet to be taken stand beside: each order meets other ones."""
    wanted = walked(behind.lake, tmp_path / "walked")
    for number, order in enumerate(permutations(range(4))):
        lake = copied(behind.lake, tmp_path / str(number))
        taken(shared(lake), order)
        assert fanout.carry(lake, PRICES) == 0
        level(lake, wanted)


def test_a_run_shares_what_is_oversized_and_its_own_hops_find_nothing_left(behind: Road, tmp_path: Path) -> None:
    wanted, told = walked(behind.lake, tmp_path / "walked"), list[Hopped]()
    assert fanout.together(behind.lake, PRICES, 2, told.append) == 4
    assert {one.table for one in told} == {f"{layer}/prices" for layer in LAYERS}
    assert not cleaned_layer.clean(behind.lake, PRICES).moved
    level(behind.lake, wanted)
    take(behind, {"prices/7.csv": "z,west,2\n"})
    assert ("z", "west", 2) in cleaned(behind.lake).scan().select("sku", "shop", "price").collect().rows()


def test_nothing_moves_before_all_is_looked_at_where_a_rule_fails_the_run(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = replace(PRICES, fail=["sku|nullability"])
    behind = lagging(road, monkeypatch, strict)
    before = tables(behind.lake)
    assert fanout.together(behind.lake, strict, 2) == 0
    assert tables(behind.lake) == before


def test_one_worker_walks(behind: Road) -> None:
    before = tables(behind.lake)
    assert fanout.together(behind.lake, PRICES, 1) == 0
    assert tables(behind.lake) == before
    assert fanout.together(behind.lake, PRICES, 2) > 0


@pytest.mark.parametrize(("oversized", "changes"), [(5, {}), (4, {"order_by": []})])
def test_what_is_small_or_of_other_code_is_one_walks(
    behind: Road, monkeypatch: pytest.MonkeyPatch, oversized: int, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(fanout, "OVERSIZED", oversized)
    before = tables(behind.lake)
    assert fanout.together(behind.lake, replace(PRICES, **changes), 2) == 0
    assert tables(behind.lake) == before
    assert cleaned(behind.lake).mark("shared") is None


def test_a_table_that_is_held_stays_as_it_is(behind: Road) -> None:
    version = cleaned(behind.lake).version
    past.restore(behind.lake, "cleaned/prices", version, ["raw/prices"], hold=True)
    before = tables(behind.lake)
    assert fanout.together(behind.lake, PRICES, 2) == 0
    assert tables(behind.lake) == before
    assert cleaned(behind.lake).mark("shared") is None


def test_a_first_load_is_shared_and_nobody_takes_it_for_all_before_it_is(
    road: Road, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    road = replace(road, datasets={"prices": PRICES})
    land(road, FILES)
    monkeypatch.setattr(raw, "BATCH", 1)
    monkeypatch.setattr(fanout, "OVERSIZED", 5)
    wanted = walked(road.lake, tmp_path / "walked")
    monkeypatch.setattr(fanout, "carry", lambda *_: 0)
    fanout.together(road.lake, PRICES, 2)
    assert unfinished(cleaned(road.lake), "raw/prices")
    monkeypatch.undo()
    monkeypatch.setattr(raw, "BATCH", 1)
    assert fanout.together(road.lake, PRICES, 2) == 5
    level(road.lake, wanted)


def test_what_raw_gets_meanwhile_comes_behind_the_plan(behind: Road, tmp_path: Path) -> None:
    plan = shared(behind.lake)
    taken(plan, [0, 2])
    land(behind, {"prices/6.csv": "a,north,1\n", "prices/7.csv": "q,west,4\n"})
    wanted = walked(behind.lake, tmp_path / "walked")
    assert fanout.together(behind.lake, PRICES, 2) == 2
    assert tables(behind.lake) != wanted
    walk(behind.lake)
    level(behind.lake, wanted)


def test_a_walk_ends_the_plan_and_nobody_brings_back_what_it_has_outdone(behind: Road, tmp_path: Path) -> None:
    plan = shared(behind.lake)
    taken(plan, [1])
    land(behind, {"prices/6.csv": "a,north,1\n"})
    wanted = walked(behind.lake, tmp_path / "walked")
    walk(behind.lake)
    for number in range(4):
        with pytest.raises(fanout.Over):
            taken(plan, [number])
    level(behind.lake, wanted)


def test_a_walk_that_dies_has_ended_the_plan(
    behind: Road, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What it brought of a later raw no worker takes back to an earlier one."""
    plan = shared(behind.lake)
    land(behind, {"prices/6.csv": "a,north,1\n"})
    wanted = walked(behind.lake, tmp_path / "walked")
    work, turns = fanout.FOLLOWERS["cleaned"].work, iter(range(1))

    def dying(*args: Any) -> Any:
        if next(turns, None) is None:
            raise KeyboardInterrupt
        return work(*args)

    one = fanout.FOLLOWERS["cleaned"]
    with pytest.raises(KeyboardInterrupt):
        Follower(one.open, dying, one.key, one.empty, one.partition_by).follow(behind.lake, PRICES)
    with pytest.raises(fanout.Over):
        taken(plan, [0])
    fanout.together(behind.lake, PRICES, 2)
    walk(behind.lake)
    level(behind.lake, wanted)


@pytest.mark.parametrize("done", [0, 2])
def test_what_a_restore_took_back_no_cursor_of_a_portion_hides(behind: Road, tmp_path: Path, done: int) -> None:
    wanted, plan = walked(behind.lake, tmp_path / "walked"), shared(behind.lake)
    taken(plan, range(done))
    version = cleaned(behind.lake).version
    taken(plan, range(done, 3))
    past.restore(behind.lake, "cleaned/prices", version, ["raw/prices"], hold=False)
    with pytest.raises(fanout.Over):
        taken(plan, [3])
    fanout.together(behind.lake, PRICES, 2)
    walk(behind.lake)
    level(behind.lake, wanted)


def test_a_plan_whose_raw_can_no_longer_be_read_is_one_walks(behind: Road, tmp_path: Path) -> None:
    wanted = walked(behind.lake, tmp_path / "walked")
    taken(shared(behind.lake), [0])
    source = raw.open_raw(behind.lake, "prices")
    source.delta.optimize.compact()
    source.delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    assert fanout.together(behind.lake, PRICES, 2) == 0
    walk(behind.lake)
    level(behind.lake, wanted)


@pytest.mark.slow
def test_workers_that_race_carry_each_portion_once(behind: Road, tmp_path: Path) -> None:
    wanted, told, faults = walked(behind.lake, tmp_path / "walked"), list[Hopped](), list[BaseException]()

    def work() -> None:
        try:
            fanout.together(behind.lake, PRICES, 3, told.append)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    walk(behind.lake)
    level(behind.lake, wanted)
    assert len([one for one in told if one.table == "cleaned/prices"]) == 4


@pytest.mark.slow
def test_processes_take_what_a_run_shares(behind: Road, tmp_path: Path) -> None:
    wanted = walked(behind.lake, tmp_path / "walked")
    shared(behind.lake)
    started = [run(behind.lake, worker, 4, path=0) for worker in range(4)]
    assert [one.wait(120) for one in started] == [0] * 4
    level(behind.lake, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("alone", [True, False])
def test_a_worker_may_die_at_any_passage_and_the_next_run_ends_it(
    behind: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    monkeypatch.setattr(raw, "BATCH", 3)
    monkeypatch.setattr(fanout, "OVERSIZED", 2)
    wanted, fatal, lived = walked(behind.lake, tmp_path / "walked"), 0, False
    shared(behind.lake)
    while not lived:
        fatal += 1
        lake = copied(behind.lake, tmp_path / f"lake{fatal}")
        lived = not died(lake, fatal, 3, path=0)
        if not alone:
            fanout.together(lake, PRICES, 2)
        walk(lake)
        level(lake, wanted)
    assert fatal > 8


def test_a_plan_says_of_what_it_is(behind: Road) -> None:
    cursor = cleaned(behind.lake).cursor("raw/prices")
    assert cursor
    plan = shared(behind.lake)
    assert plan.name == f"raw/prices@{cursor.version}-{raw.open_raw(behind.lake, 'prices').version}"
    assert {*plan.heads["_object"]} == {*BACKLOG, "prices/2.csv"}
    assert plan.heads.filter(pl.col("_object") == "prices/4.csv").is_empty()
