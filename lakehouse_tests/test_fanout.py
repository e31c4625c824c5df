"""A backfill by many workers ends as one by one worker does, whoever comes, dies or is late."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl
import pytest

from lakehouse.dataset import Dataset
from lakehouse.lake import Hopped, Lake, Table
from lakehouse.layers import balance, fanout, raw
from lakehouse.layers import cleaned as cleaned_layer
from lakehouse.layers.backfill import backfill, help_out
from lakehouse.layers.tables import of_raw
from lakehouse_tests.conftest import Road


class Price(dy.Schema):
    """One price a product and shop."""

    sku = dy.String(primary_key=True)
    shop = dy.String(primary_key=True)
    price = dy.Int32(nullable=False, max=99)


class Low(Price):
    """None above six."""

    price = dy.Int32(nullable=False, max=6)


PRICES = Dataset(
    "prices", "prices/*.csv", Price, order_by=["price"], on_delete="retract", history=True, partition_by="shop"
)
HEADER = "sku,shop,price\n"
FILES = {
    "prices/1.csv": "a,north,3\nb,north,5\nc,south,100\n",
    "prices/2.csv": "a,north,2\nd,south,4\n",
    "prices/3.csv": "d,south,9\ne,west,1\n",
    "prices/4.csv": "",
    "prices/5.csv": "f,west,x\ng,east,7\n",
}
THEN = {"prices/2.csv": "a,north,8\n", "prices/3.csv": "e,west,3\nd,south,1\n"}
LAYERS = of_raw(PRICES)


def take(road: Road, files: dict[str, str]) -> None:
    for key, body in files.items():
        road.bucket.put(key, (HEADER + body).encode())
    road.announce(*files)
    road.hops()


@pytest.fixture
def prices(road: Road, monkeypatch: pytest.MonkeyPatch) -> Road:
    """Five objects, two of them overwritten and one gone, of which each is a portion from now on."""
    return laid(road, monkeypatch, apart=0)


@pytest.fixture
def apart(road: Road, monkeypatch: pytest.MonkeyPatch) -> Road:
    """The same, overwritten a second later: S3 tells which is newer, and so what portions come first."""
    return laid(road, monkeypatch, apart=1)


def laid(road: Road, monkeypatch: pytest.MonkeyPatch, apart: int) -> Road:
    road = replace(road, datasets={"prices": PRICES})
    take(road, FILES)
    time.sleep(apart)
    take(road, THEN)
    road.bucket.client.delete_object(Bucket=road.bucket.name, Key="prices/5.csv")
    road.announce("prices/5.csv")
    road.hops()
    monkeypatch.setattr(raw, "BATCH", 1)
    return road


def tables(lake: Lake) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all layers."""
    found = {}
    for layer in LAYERS:
        table = lake.open(f"{layer}/prices")
        assert table is not None
        rows = table.scan().collect()
        found[layer] = rows.select(sorted(rows.columns)).sort(pl.all()).rows()
    return found


def beside(lake: Lake) -> Lake:
    return replace(lake, paths={f"{layer}/prices": 1 for layer in LAYERS})


def cleaned(lake: Lake) -> Table:
    found = lake.open("cleaned/prices")
    assert found is not None
    return found


def run(
    lake: Lake, worker: int, workers: int, fatal: int = 0, batch: int = 1, path: int = 1
) -> subprocess.Popen[bytes]:
    words = [lake.root, *map(str, (path, worker, workers, fatal, batch))]
    return subprocess.Popen([sys.executable, "-m", "lakehouse_tests.fanout_worker", *words])


def level(lake: Lake, before: dict[str, list[tuple[Any, ...]]]) -> None:
    assert tables(lake) == before
    assert balance.unbalanced(lake, PRICES).is_empty()


@pytest.mark.parametrize("workers", [2, pytest.param(7, marks=pytest.mark.slow)])
def test_any_share_may_be_taken_first_and_the_tables_are_the_same(prices: Road, workers: int) -> None:
    before, taken = tables(prices.lake), []
    done = backfill(
        prices.lake,
        PRICES,
        workers=workers,
        start=lambda path, n: taken.append(help_out(prices.lake, PRICES, path, n, workers, lambda _: None)),
    )
    assert done.path == 1
    assert sum(taken) == 5
    level(prices.lake, before)
    take(prices, {"prices/6.csv": "a,north,9\nh,east,1\n"})
    assert len(cleaned(prices.lake).scan().collect()) == len(before["cleaned"]) + 1


@pytest.mark.slow
def test_workers_that_race_commit_each_portion_once(prices: Road) -> None:
    before, lake, told, faults = tables(prices.lake), beside(prices.lake), [], []
    fanout.begin(lake, PRICES)

    def work(number: int) -> None:
        try:
            fanout.carry(lake, PRICES, number, 3, told.append)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert tables(lake) == before
    assert len([one for one in told if one.table == "cleaned/prices"]) == 5


@pytest.mark.slow
def test_processes_that_share_a_backfill_end_as_one_does(prices: Road) -> None:
    before, started = tables(prices.lake), []
    backfill(prices.lake, PRICES, workers=3, start=lambda _, n: started.append(run(prices.lake, n, 3)))
    assert [one.wait(60) for one in started] == [0, 0]
    level(prices.lake, before)


def died(lake: Lake, fatal: int, batch: int = 1, path: int = 1) -> bool:
    code = run(lake, 1, 2, fatal, batch, path).wait(60)
    assert code in (0, -signal.SIGKILL)
    return code != 0


@pytest.mark.slow
def test_a_worker_that_dies_leaves_its_share_to_the_others(prices: Road) -> None:
    before, dead = tables(prices.lake), []
    backfill(prices.lake, PRICES, workers=2, start=lambda _, __: dead.append(died(prices.lake, 10)))
    assert dead == [True]
    level(prices.lake, before)


@pytest.mark.slow
def test_a_worker_may_die_at_any_passage_and_another_call_ends_it(
    prices: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "BATCH", 3)
    before, fatal = tables(prices.lake), 0
    fanout.begin(beside(prices.lake), PRICES)
    lived = False
    while not lived:
        fatal += 1
        lake = Lake(shutil.copytree(prices.lake.root, str(tmp_path / f"lake{fatal}")))
        lived = not died(lake, fatal, 3)
        assert tables(lake) == before
        assert backfill(lake, PRICES).path == 1
        level(lake, before)
    assert fatal > 20


def test_portions_of_another_size_are_another_plan(prices: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, before = beside(prices.lake), tables(prices.lake)
    fanout.begin(lake, PRICES)
    plan = fanout.joined(lake, PRICES)
    assert plan is not None
    newest = next(iter(fanout.bounded(plan.heads)))
    fanout._take(plan, 0, newest, lambda _: None)
    monkeypatch.setattr(raw, "BATCH", 2)
    assert fanout.joined(lake, PRICES) is None
    backfill(prices.lake, PRICES, workers=2)
    level(prices.lake, before)


def test_raws_cursor_comes_only_with_the_last_portion(prices: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, turns, take_one = beside(prices.lake), iter(range(4)), fanout._take

    def some(*args: Any) -> bool:
        if next(turns, None) is None:
            raise KeyboardInterrupt
        return take_one(*args)

    fanout.begin(lake, PRICES)
    monkeypatch.setattr(fanout, "_take", some)
    with pytest.raises(KeyboardInterrupt):
        fanout.carry(lake, PRICES)
    plan = fanout.joined(lake, PRICES)
    assert plan is not None
    for layer in LAYERS:
        fanout._finish(plan, layer, 5)
        assert len(plan.left(layer, 5)) == 1
    monkeypatch.undo()
    monkeypatch.setattr(raw, "BATCH", 1)
    assert fanout.carry(lake, PRICES) == 1
    assert fanout.joined(lake, PRICES) is None
    assert tables(lake) == tables(prices.lake)


@pytest.mark.slow
def test_what_lands_meanwhile_comes_behind_the_portions(prices: Road) -> None:
    def land(_: int, __: int) -> None:
        take(prices, {"prices/1.csv": "a,north,1\nz,west,2\n", "prices/6.csv": "b,north,4\n"})

    backfill(prices.lake, PRICES, workers=2, start=land)
    now = tables(prices.lake)
    assert {row["sku"] for row in cleaned(prices.lake).scan().collect().to_dicts()} == {"a", "b", "d", "e", "z"}
    assert balance.unbalanced(prices.lake, PRICES).is_empty()
    backfill(prices.lake, PRICES)
    assert tables(prices.lake) == now


def test_who_is_late_has_nothing_to_do(prices: Road) -> None:
    backfill(prices.lake, PRICES, workers=2)
    take(prices, {"prices/1.csv": "a,north,1\n"})
    before = tables(prices.lake)
    versions = [cleaned(prices.lake).version]
    assert help_out(prices.lake, PRICES, 1, 1, 2, lambda _: None) == 0
    assert tables(prices.lake) == before
    assert [cleaned(prices.lake).version] == versions


def test_a_worker_of_an_abandoned_plan_writes_nothing_into_another(prices: Road) -> None:
    lake, low = beside(prices.lake), replace(PRICES, contract=Low)
    fanout.begin(lake, PRICES)
    stale = fanout.joined(lake, PRICES)
    assert stale is not None
    assert fanout.carry(lake, replace(PRICES, contract=Low)) == 0
    fanout.begin(lake, low)
    with pytest.raises(fanout.Over):
        fanout._take(stale, 0, [stale.heads["_object"][0]], lambda _: None)
    assert cleaned(lake).count == 0
    backfill(prices.lake, low, workers=2)
    assert sorted(cleaned(prices.lake).scan().collect()["price"]) == [1, 3, 3, 5]


def test_a_walk_that_comes_between_has_the_table_to_itself(apart: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first portion is believed alone, whatever newer rows of the keys the workers have brought."""
    lake, before, apply = beside(apart.lake), tables(apart.lake), Table.apply
    fanout.begin(lake, PRICES)
    plan = fanout.joined(lake, PRICES)
    assert plan is not None
    portions = [*fanout.bounded(plan.heads)]
    for number, objects in enumerate(portions[2:], 2):
        fanout._take(plan, number, objects, lambda _: None)

    def die(self: Table, *args: Any) -> Any:
        stood = self.version
        if (done := apply(self, *args)).version == stood:
            return done
        raise KeyboardInterrupt

    monkeypatch.setattr(Table, "apply", die)
    with pytest.raises(KeyboardInterrupt):
        cleaned_layer.clean(lake, PRICES)
    monkeypatch.setattr(Table, "apply", apply)
    with pytest.raises(fanout.Over):
        fanout._take(plan, 0, portions[0], lambda _: None)
    backfill(apart.lake, PRICES, workers=2)
    level(apart.lake, before)


def test_of_a_plan_taken_up_again_no_portion_counts_that_another_emptied(prices: Road) -> None:
    lake, before = beside(prices.lake), tables(prices.lake)
    plans = iter([PRICES, replace(PRICES, contract=Low), PRICES])
    told: list[Hopped] = []
    for dataset in plans:
        fanout.begin(lake, dataset)
        plan = fanout.joined(lake, dataset)
        assert plan is not None
        fanout._take(plan, 0, [plan.heads["_object"][0]], told.append)
    fanout.begin(lake, replace(PRICES, contract=Low))
    fanout.begin(lake, PRICES)
    fanout.carry(lake, PRICES)
    assert tables(lake) == before


class Exact(Price):
    """Prices with a fraction."""

    price = dy.Float64(nullable=False, max=99)


def test_a_plan_taken_up_again_by_another_contract_is_begun_in_its_types(prices: Road) -> None:
    lake, exact = beside(prices.lake), replace(PRICES, contract=Exact)
    fanout.begin(lake, PRICES)
    fanout.begin(lake, exact)
    fanout.carry(lake, exact)
    assert cleaned(lake).kinds["price"] == pl.Float64
    assert cleaned(lake).cursor("raw/prices") is not None


def test_a_plan_whose_raw_can_no_longer_be_read_is_begun_anew(prices: Road) -> None:
    lake, before = beside(prices.lake), tables(prices.lake)
    fanout.begin(lake, PRICES)
    source = raw.open_raw(prices.lake, "prices")
    source.delta.optimize.compact()
    source.delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    assert fanout.joined(lake, PRICES) is None
    backfill(prices.lake, PRICES, workers=2)
    level(prices.lake, before)
