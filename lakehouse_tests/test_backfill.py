"""A dataset's layers are computed anew from raw beside those that are read, and replace them by one commit."""

import csv
import io
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl
import pytest

from lakehouse.dataset import Dataset, Serving, load
from lakehouse.dynamodb.sync import publish, verify
from lakehouse.dynamodb.table import Written
from lakehouse.lake import Conflict, Hopped, KeyChanged, Lake, Table, paths
from lakehouse.lake.past import resume
from lakehouse.lake.table import HELD, POINTERS
from lakehouse.layers import balance, cleaned, ingest, raw, retention, serving
from lakehouse.layers.backfill import NotNow, backfill
from lakehouse.layers.lag import lagging
from lakehouse.query import ask
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_retention import forget
from lakehouse_tests.test_road import check, land

BOTH = pytest.mark.parametrize("root", ["disk", pytest.param("s3", marks=pytest.mark.slow)], indirect=True)
LAYERS = ["cleaned", "quarantine", "balance"]
LATER = {"flights/3.csv": sample.flights(("UA", 2, 41), ("UA", 5, 50), ("DL", 6, "x"))}


class Price(dy.Schema):
    """One price a product."""

    sku = dy.String(primary_key=True)
    shop = dy.String(nullable=False)
    price = dy.Int32(nullable=False)


class Low(Price):
    """None above three."""

    price = dy.Int32(nullable=False, max=3)


class ByShop(Price):
    """One price a product and shop."""

    shop = dy.String(primary_key=True)


def cheapest(prices: pl.LazyFrame) -> pl.LazyFrame:
    """The lowest price of each product."""
    return prices.group_by("sku").agg(price=pl.col("price").min(), shops=pl.len())


SERVING = [Serving(cheapest, key="sku", group="sku", publish=True)]
PRICES = Dataset("prices", "prices/*.csv", Price, history=True, serving=SERVING)
FILES = {
    "prices/1.csv": b"sku,shop,price\na,north,3\nb,north,5\nc,north,1\n",
    "prices/2.csv": b"sku,shop,price\na,south,2\n",
}


def told(files: dict[str, bytes], key: list[str], most: int = 99) -> dict[tuple[str, ...], int]:
    """The last fit price of each key, from the files alone."""
    rows = [row for body in files.values() for row in csv.DictReader(io.StringIO(body.decode()))]
    return {tuple(row[k] for k in key): int(row["price"]) for row in rows if int(row["price"]) <= most}


@pytest.fixture
def flights(road: Road) -> Road:
    """Flights and what they are served with, and no more, since every hop is walked again and again."""
    airlines, flights = (road.datasets[name] for name in ("airlines", "flights"))
    served = [one for one in flights.serving if one.name == "carrier_punctuality"]
    road = replace(road, datasets={"airlines": airlines, "flights": replace(flights, serving=served)})
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    return road


@pytest.fixture
def prices(road: Road) -> Road:
    road = replace(road, datasets={"prices": PRICES})
    land(road, FILES)
    road.announce(*FILES)
    road.hops()
    return road


def declared(road: Road, **changes: Any) -> tuple[Road, Dataset]:
    dataset = replace(PRICES, **changes)
    return replace(road, datasets={"prices": dataset}), dataset


def table(lake: Lake, name: str) -> Table:
    found = lake.open(name)
    assert found is not None
    return found


def held(source: Table, key: list[str]) -> dict[tuple[str, ...], int]:
    rows = source.scan().select(*key, "price").collect()
    assert not rows.select(key).is_duplicated().any()
    return {row[:-1]: row[-1] for row in rows.iter_rows()}


def published(road: Road) -> Written:
    """The serving hop, and what it sends to DynamoDB."""
    (one,) = road.servings()
    serving.serve(road.lake, one, road.datasets)
    written = publish(road.lake, one, road.items(one))
    assert verify(road.lake, one, road.items(one)) == []
    return written or Written()


def arrived(road: Road) -> int:
    return len(table(road.lake, "cleaned/flights").scan().filter(pl.col("_object").is_in([*LATER])).collect())


@BOTH
def test_a_backfill_of_what_is_right_changes_no_row_and_no_item(flights: Road) -> None:
    before = {layer: table(flights.lake, f"{layer}/flights") for layer in LAYERS}
    done = backfill(flights.lake, flights.datasets["flights"])
    now = {layer: table(flights.lake, f"{layer}/flights") for layer in LAYERS}
    assert done.rows == {f"{layer}/flights": before[layer].count for layer in LAYERS}
    assert all(now[layer].id != before[layer].id for layer in LAYERS)
    for layer in LAYERS:
        assert now[layer].scan().collect().sort(pl.all()).equals(before[layer].scan().collect().sort(pl.all()))
    (one,) = flights.servings()
    assert serving.serve(flights.lake, one, flights.datasets).upserted == 0
    written = publish(flights.lake, one, flights.items(one))
    assert written is not None
    assert (written.put, written.deleted) == (0, 0)
    land(flights, LATER)
    flights.announce(*LATER)
    flights.hops()
    check(flights, sample.FILES | LATER)


def test_what_was_damaged_is_right_again_and_only_that_is_written_to_dynamodb(prices: Road) -> None:
    table(prices.lake, "cleaned/prices").delta.delete("sku = 'a'")
    assert published(prices).deleted == 1
    backfill(prices.lake, PRICES)
    assert held(table(prices.lake, "cleaned/prices"), ["sku"]) == told(FILES, ["sku"])
    written = published(prices)
    assert (written.put, written.deleted) == (1, 0)


def test_rows_follow_a_changed_contract_and_items_only_where_they_really_changed(prices: Road) -> None:
    road, low = declared(prices, contract=Low)
    backfill(road.lake, low)
    assert held(table(road.lake, "cleaned/prices"), ["sku"]) == told(FILES, ["sku"], most=3)
    assert held(table(road.lake, "cleaned/prices"), ["sku"]) != told(FILES, ["sku"])
    assert table(road.lake, "quarantine/prices").scan().collect()["_rules"].to_list() == ["price|max"]
    stood = ask(road.lake, road.datasets, "select * from history.prices where is_current")
    assert dict(stood.select("sku", "price").iter_rows()) == {"a": 2, "c": 1}
    written = published(road)
    assert (written.put, written.deleted) == (0, 1)
    assert balance.unbalanced(road.lake, low).is_empty()
    road.hops()
    assert lagging(road.lake, road.datasets, road.items) == {}


def test_readers_see_the_old_rows_until_the_switch_and_whoever_began_goes_on_seeing_them(prices: Road) -> None:
    began, road = prices.lake.pinned(), declared(prices, contract=Low)[0]
    seen = []
    counts = "select (select count(*) from cleaned.prices) as c, (select count(*) from quarantine.prices) as q"

    def look(_: Hopped) -> None:
        seen.append(ask(Lake(road.lake.root), road.datasets, counts).row(0))

    backfill(road.lake, road.datasets["prices"], look)
    assert set(seen) == {(3, 0)}
    assert len(seen) >= 4
    look(Hopped(""))
    assert seen[-1] == (2, 1)
    assert held(table(began, "cleaned/prices"), ["sku"]) == told(FILES, ["sku"])


@pytest.mark.parametrize("hop", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 2))])
def test_what_lands_meanwhile_is_read_where_it_stands_and_is_in_the_new_path(flights: Road, hop: int) -> None:
    turns = iter(range(99))

    def arrive(_: Hopped) -> None:
        if next(turns) == hop:
            land(flights, LATER)
            flights.announce(*LATER)
            flights.hops()
            check(flights, sample.FILES | LATER)

    before = table(flights.lake, "cleaned/flights").id
    backfill(flights.lake, flights.datasets["flights"], arrive)
    assert table(flights.lake, "cleaned/flights").id != before
    assert arrived(flights) == 2
    flights.hops()
    check(flights, sample.FILES | LATER)


def test_what_comes_with_the_switch_is_taken_behind_it(flights: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    real = paths.switch

    def late(lake: Lake, numbers: dict[str, int]) -> bool:
        land(flights, LATER)
        flights.announce(*LATER)
        flights.hops()
        return real(lake, numbers)

    monkeypatch.setattr("lakehouse.layers.backfill.switch", late)
    backfill(flights.lake, flights.datasets["flights"])
    assert (
        len(table(flights.lake, "cleaned/flights").scan().filter(pl.col("_object") == "flights/3.csv").collect())
        == 2
    )
    flights.hops()
    check(flights, sample.FILES | LATER)


def test_a_run_that_began_before_the_switch_loses_nothing(flights: Road) -> None:
    began, dataset = flights.lake.pinned(), flights.datasets["flights"]
    backfill(flights.lake, dataset)
    land(flights, LATER)
    flights.announce(*LATER)
    ingest.ingest(began, flights.bucket, dataset)
    assert cleaned.clean(began, dataset).upserted
    assert lagging(flights.lake, flights.datasets, flights.items)["flights"] == "cleaned/flights"
    flights.hops()
    check(flights, sample.FILES | LATER)


def test_a_walk_whose_table_is_switched_under_way_begins_anew_on_the_other(
    flights: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "BATCH", 1)
    dataset = flights.datasets["flights"]
    land(flights, LATER)
    flights.announce(*LATER)
    ingest.ingest(flights.lake, flights.bucket, dataset)
    apply, turns = Table.apply, iter([True])
    other = cleaned.open_cleaned(replace(flights.lake, paths={"cleaned/flights": 1}), dataset)

    def switched(self: Table, *args: Any) -> int:
        version = apply(self, *args)
        if self.name == "cleaned/flights" and next(turns, False):
            while other.version < version:
                other.append(other.scan().head(0).collect())
            paths.switch(flights.lake, {"cleaned/flights": 1})
        return version

    forget(flights, "raw/flights")
    monkeypatch.setattr(Table, "apply", switched)
    cleaned.clean(flights.lake, replace(dataset, order_by=["carrier", *dataset.order_by]))
    assert next(turns, None) is None
    flights.hops()
    check(flights, sample.FILES | LATER)


def test_a_second_backfill_beside_the_first_joins_it(flights: Road) -> None:
    dataset, turns, both = flights.datasets["flights"], iter([True]), []

    def second(_: Hopped) -> None:
        if next(turns, False):
            both.append(backfill(flights.lake, dataset))

    both.append(backfill(flights.lake, dataset, second))
    assert [one.path for one in both] == [1, 1]
    assert {*table(flights.lake, POINTERS).scan().collect()["number"]} == {1}
    flights.hops()
    check(flights, sample.FILES)


def test_backfills_that_race_end_as_one_does(flights: Road) -> None:
    dataset, ended = flights.datasets["flights"], []

    def run() -> None:
        try:
            ended.append(backfill(flights.lake, dataset).path)
        except Conflict:
            ended.append(0)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(ended) >= 1
    rows = table(flights.lake, POINTERS).scan().collect()
    assert sorted(rows["table"]) == sorted(f"{layer}/flights" for layer in LAYERS)
    assert {*rows["number"]} == {max(ended)}
    flights.hops()
    check(flights, sample.FILES)


def test_the_pointers_of_two_datasets_are_committed_at_once_and_none_is_lost(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    names = [f"cleaned/{n}" for n in range(6)]
    threads = [threading.Thread(target=paths.switch, args=(lake, {name: 1})) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lake.numbers() == dict.fromkeys(names, 1)
    assert not paths.switch(lake, {names[0]: 1})


def test_a_table_of_another_key_is_made_beside_the_one_that_is_read(prices: Road) -> None:
    road, rekeyed = declared(prices, contract=ByShop)
    with pytest.raises(KeyChanged):
        cleaned.clean(road.lake, rekeyed)
    backfill(road.lake, rekeyed)
    assert held(table(road.lake, "cleaned/prices"), ["sku", "shop"]) == told(FILES, ["sku", "shop"])
    written = published(road)
    assert (written.put, written.deleted) == (1, 0)
    road.hops()
    assert lagging(road.lake, road.datasets, road.items) == {}


def test_a_clean_that_fails_does_not_replace_what_stands(prices: Road) -> None:
    def broken(rows: pl.LazyFrame) -> pl.LazyFrame:
        raise RuntimeError("a typing error")

    road, dataset = declared(prices, clean=broken)
    with pytest.raises(NotNow, match="would lose all of its 3 rows") as told_why:
        backfill(road.lake, dataset)
    assert "a typing error" in told_why.value.hint
    assert held(table(road.lake, "cleaned/prices"), ["sku"]) == told(FILES, ["sku"])
    mended = replace(PRICES, contract=Low)
    assert backfill(road.lake, mended).path == 1
    assert held(table(road.lake, "cleaned/prices"), ["sku"]) == told(FILES, ["sku"], most=3)


def test_refused_records_that_retention_took_do_not_come_back(flights: Road) -> None:
    dataset, keep = flights.datasets["flights"], timedelta(microseconds=1)
    assert retention.expire(flights.lake, dataset, keep) == 0
    quarantined = table(flights.lake, "quarantine/flights")
    assert quarantined.count == 1
    quarantined.append(quarantined.scan().head(0).collect(), marks={cleaned.JUDGED: 0})
    assert retention.expire(flights.lake, dataset, timedelta(days=-1)) == 1
    backfill(flights.lake, dataset)
    assert table(flights.lake, "quarantine/flights").count == 0
    assert balance.unbalanced(flights.lake, dataset).is_empty()


def test_a_held_table_and_a_dataset_without_data_are_refused(flights: Road) -> None:
    with pytest.raises(NotNow, match="nothing of weather has landed"):
        backfill(flights.lake, load()["weather"])
    stands = table(flights.lake, "cleaned/flights")
    stands.append(stands.scan().head(0).collect(), marks={HELD: 1})
    with pytest.raises(NotNow, match=r"cleaned\.flights is held"):
        backfill(flights.lake, flights.datasets["flights"])
    assert flights.lake.numbers() == {}
    resume(table(flights.lake, "cleaned/flights"))
    assert backfill(flights.lake, flights.datasets["flights"]).path == 1


@BOTH
def test_what_was_replaced_goes_after_its_time_and_not_before(flights: Road) -> None:
    dataset, first = flights.datasets["flights"], table(flights.lake, "cleaned/flights")
    backfill(flights.lake, dataset)
    assert paths.retire(flights.lake) == {}
    second = table(flights.lake, "cleaned/flights")
    backfill(flights.lake, dataset)
    assert [t.id for t in paths.former(flights.lake, "cleaned/flights")] == [second.id, first.id]
    pointers = table(flights.lake, POINTERS)
    then = pl.lit(datetime.now(UTC) - timedelta(days=7, minutes=1)).cast(pl.Datetime("us", "UTC"))
    rows = pointers.scan().with_columns(since=then).collect()
    pointers.apply(rows, rows.clear(), ["table"])
    gone = paths.retire(flights.lake, pinned={first.id})
    assert gone.keys() == {f"{layer}/flights" for layer in LAYERS}
    assert [t.id for t in paths.former(flights.lake, "cleaned/flights")] == [first.id]
    assert first.count == second.count
    assert len(first.scan().collect()) == first.count
    files = first.size.files
    assert paths.retire(flights.lake) == {"cleaned/flights": files}
    assert [*paths.former(flights.lake, "cleaned/flights")] == []
    flights.hops()
    check(flights, sample.FILES)


def die(road: Road, passage: int) -> int:
    command = [sys.executable, "-m", "lakehouse_tests.backfill_worker", road.lake.root, str(passage)]
    return subprocess.run(command, check=False, timeout=120).returncode


def survive(road: Road, passage: int) -> int:
    """Die once. What is read is all old or all new, and whole; the road goes on without another call."""
    before = {layer: table(road.lake, f"{layer}/flights").id for layer in LAYERS}
    code = die(road, passage)
    moved = [layer for layer in LAYERS if table(road.lake, f"{layer}/flights").id != before[layer]]
    assert moved in ([], LAYERS)
    assert len(table(road.lake, "cleaned/flights").scan().collect()) == 3
    land(road, LATER)
    road.announce(*LATER)
    road.hops()
    check(road, sample.FILES | LATER)
    return code


@pytest.mark.parametrize("passage", [12, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 99))])
def test_who_dies_on_the_way_leaves_all_old_or_all_new_and_is_taken_up_by_another_call(
    flights: Road, passage: int
) -> None:
    assert survive(flights, passage) == (0 if passage == 99 else -signal.SIGKILL)
    backfill(flights.lake, flights.datasets["flights"])
    flights.hops()
    check(flights, sample.FILES | LATER)


@pytest.mark.slow
def test_every_passage_kills_once_and_the_next_call_goes_on(flights: Road) -> None:
    passage = 1
    while (code := die(flights, passage)) == -signal.SIGKILL:
        assert len(table(flights.lake, "cleaned/flights").scan().collect()) == 3
        flights.hops()
        check(flights, sample.FILES)
        passage += 1
    assert code == 0
    assert passage > 20
    flights.hops()
    check(flights, sample.FILES)
