"""A dataset's layers are computed anew from raw beside those that are read, and replace them by one commit."""

import csv
import io
import json
import shutil
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
from click.testing import CliRunner

from lakehouse.cli import main
from lakehouse.dataset import Dataset, Serving, load
from lakehouse.dynamodb.sync import publish, verify
from lakehouse.dynamodb.table import Written
from lakehouse.lake import Conflict, Desired, Hopped, KeyChanged, Lake, News, Table, paths, walk
from lakehouse.lake.past import resume
from lakehouse.lake.table import HELD, POINTERS
from lakehouse.layers import balance, cleaned, ingest, retention, serving
from lakehouse.layers.backfill import NotNow, backfill
from lakehouse.layers.lag import lagging
from lakehouse.query import ask
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
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
def test_what_lands_meanwhile_is_read_where_it_stands_and_is_in_the_new_path_before_it_is(
    flights: Road, hop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, real = iter(range(99)), paths.switch

    def complete(lake: Lake, numbers: dict[str, int]) -> bool:
        assert arrived(replace(flights, lake=replace(lake, paths=numbers))) == 2
        return real(lake, numbers)

    def arrive(_: Hopped) -> None:
        if next(turns) == hop:
            land(flights, LATER)
            flights.announce(*LATER)
            flights.hops()
            check(flights, sample.FILES | LATER)

    monkeypatch.setattr("lakehouse.layers.backfill.switch", complete)
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


def test_a_walk_whose_table_is_switched_under_way_begins_anew_on_the_other(tmp_path: Path) -> None:
    """The other is at the very version that the walk left its own at."""
    lake, rows = Lake(str(tmp_path)), pl.DataFrame({"k": ["a", "b", "c"]})
    lake.ensure("source", rows.schema).append(rows)
    other = replace(lake, paths={"target": 1}).ensure("target", rows.schema)

    def part(target: Table, news: News, after: str) -> tuple[Desired, str]:
        left = news.source.scan().filter(pl.col("k") > after).sort("k").collect()
        if after == "a" and paths.switch(lake, {"target": 1}):
            while other.version <= target.version:
                other.append(rows.head(0))
        one, more = left.head(1), len(left) > 1
        return Desired(one, one, more=more, first=not after), one["k"].item() if more else ""

    walk(lambda: lake.ensure("target", rows.schema), lambda: table(lake, "source"), part, key=["k"], code="1")
    assert lake.numbers() == {"target": 1}
    assert table(lake, "target").scan().collect()["k"].sort().to_list() == ["a", "b", "c"]


def test_whoever_switches_second_on_one_look_looks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, turns, apply = Lake(str(tmp_path)), iter([True]), Table.apply

    def overtaken(self: Table, *args: Any) -> int:
        if next(turns, False):
            assert paths.switch(lake, {"cleaned/a": 1})
        return apply(self, *args)

    monkeypatch.setattr(Table, "apply", overtaken)
    assert not paths.switch(lake, {"cleaned/a": 1})
    assert table(lake, POINTERS).scan().select("table", "number").collect().rows() == [("cleaned/a", 1)]


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


def test_without_its_pointers_a_lake_reads_the_first_paths_and_fills_them_from_raw(flights: Road) -> None:
    backfill(flights.lake, flights.datasets["flights"])
    land(flights, LATER)
    flights.announce(*LATER)
    flights.hops()
    shutil.rmtree(flights.lake.uri(POINTERS))
    assert arrived(flights) == 0
    flights.hops()
    check(flights, sample.FILES | LATER)


def die(lake: Lake, passage: int) -> int:
    command = [sys.executable, "-m", "lakehouse_tests.backfill_worker", lake.root, str(passage)]
    return subprocess.run(command, check=False, timeout=120).returncode


def whole(lake: Lake, dataset: Dataset, before: Table) -> bool:
    """What is read is right, and all of it old or all of it new; whether it is new."""
    moved = {lake.numbers().get(f"{layer}/flights", 0) for layer in LAYERS}
    assert len(moved) == 1
    now = table(lake, "cleaned/flights")
    assert now.scan().collect().sort(pl.all()).equals(before.scan().collect().sort(pl.all()))
    assert balance.unbalanced(lake, dataset).is_empty()
    return now.id != before.id


def test_who_dies_on_the_way_is_taken_up_by_another_call(flights: Road) -> None:
    dataset, before = flights.datasets["flights"], table(flights.lake, "cleaned/flights")
    assert die(flights.lake, 12) == -signal.SIGKILL
    assert not whole(flights.lake, dataset, before)
    land(flights, LATER)
    flights.announce(*LATER)
    flights.hops()
    check(flights, sample.FILES | LATER)
    assert backfill(flights.lake, dataset).path == 1
    flights.hops()
    check(flights, sample.FILES | LATER)


@pytest.mark.slow
def test_who_dies_at_any_passage_leaves_all_old_or_all_new_and_another_call_ends_it(
    flights: Road, tmp_path: Path
) -> None:
    dataset, before = flights.datasets["flights"], table(flights.lake, "cleaned/flights")
    ends, code = [], -signal.SIGKILL
    while code == -signal.SIGKILL:
        lake = Lake(shutil.copytree(flights.lake.root, str(tmp_path / f"lake{len(ends)}")))
        code = die(lake, len(ends) + 1)
        ends.append(whole(lake, dataset, before))
        assert backfill(lake, dataset).path == 1 + ends[-1]
        assert whole(lake, dataset, before)
    assert code == 0
    assert ends == sorted(ends)
    assert ends.count(False) >= 15
    assert ends.count(True) >= 2


@pytest.fixture
def house(flights: Road, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Road:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    monkeypatch.setenv("LAKEHOUSE_LAKE", flights.lake.root)
    monkeypatch.setenv("LAKEHOUSE_LANDING_BUCKET", flights.bucket.name)
    return flights


def run(*words: str, code: int = 0) -> str:
    found = CliRunner().invoke(main, [*words])
    assert found.exit_code == code, found.output
    return found.output


def test_the_command_tells_what_it_wrote_and_where_tables_lie_now(house: Road) -> None:
    *hops, switched = run("backfill", "flights").splitlines()
    assert hops[0] == "cleaned/flights: 3 rows written, 0 removed"
    assert switched == "switched to path 1: cleaned/flights 3, quarantine/flights 1, balance/flights 2 rows"
    again = json.loads(run("backfill", "flights", "--json"))
    assert again == {
        "dataset": "flights",
        "path": 2,
        "rows": {"cleaned/flights": 3, "quarantine/flights": 1, "balance/flights": 2},
    }
    query = 'select "table", number from lake.pointers where "table" = \'cleaned/flights\''
    assert json.loads(run("sql", query, "--format", "json")) == [{"table": "cleaned/flights", "number": 2}]


@pytest.mark.slow
def test_the_command_shares_the_work_with_processes(house: Road) -> None:
    switched = run("backfill", "flights", "--workers", "3").splitlines()[-1]
    assert switched == "switched to path 1: cleaned/flights 3, quarantine/flights 1, balance/flights 2 rows"
    house.hops()
    check(house, sample.FILES)


def test_maintenance_tells_what_it_deleted_of_what_was_replaced(
    house: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("backfill", "flights")
    assert "replaced" not in run("maintain")
    monkeypatch.setattr(paths, "RETENTION", timedelta(0))
    files = table(replace(house.lake, paths={}), "cleaned/flights").size.files
    told = {one["table"]: one["retired"] for one in json.loads(run("maintain", "--json"))}
    assert told["cleaned/flights"] == files
    assert told["raw/flights"] == 0
    assert table(house.lake, "cleaned/flights").count == 3


@pytest.mark.parametrize(
    ("dataset", "told"), [("nothing", "one of: airlines"), ("weather", "nothing of weather has landed")]
)
def test_what_cannot_be_computed_anew_says_why(house: Road, dataset: str, told: str) -> None:
    assert told in run("backfill", dataset, code=1)
