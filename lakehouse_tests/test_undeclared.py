"""What nobody has declared: a raw table of its prefix, by the same road, and on to a dataset once there is one."""

import json
import re
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import dataframely as dy
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.dataset import Dataset, DeclarationError, check, load
from lakehouse.definitions import build
from lakehouse.lake import Lake, Table
from lakehouse.landing import inbox, reconcile, undeclared
from lakehouse.landing.events import decode
from lakehouse.landing.objects import Bucket
from lakehouse.landing.queue import Budget, Message
from lakehouse.layers import raw, refused
from lakehouse.layers import undeclared as layer
from lakehouse.layers.lag import distances, lagging
from lakehouse.layers.tables import standing
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_crash import STRIDE, die
from lakehouse_tests.test_road import check as arrived
from lakehouse_tests.test_road import land

LANDED = {
    "orders/1.csv": b"id,amount\n1,10\n2,x\n",
    "orders/2.csv": b"id,amount\n3,30\n",
    "Odd Name/a.ndjson": b'{"a": 1.10}\n',
}


class Order(dy.Schema):
    """One order."""

    id = dy.Int64(primary_key=True)
    amount = dy.Int64(nullable=False)


def orders(name: str = "orders", landing: str = "orders/**") -> Dataset:
    return Dataset(name, landing, Order)


def receive(road: Road, prefixes: bool = True) -> None:
    place = (road.queue, road.bucket.name, road.lake, road.datasets)
    while inbox.receive(*place, wait=1, budget=Budget(), prefixes=prefixes).height:
        pass


def reroute(road: Road, prefixes: bool = True) -> int:
    return inbox.reroute(road.lake, road.bucket.name, road.datasets, prefixes=prefixes)


@pytest.fixture
def landed(road: Road) -> Road:
    road.datasets = {}
    land(road, LANDED)
    receive(road)
    road.hops()
    return road


def rows(road: Road, name: str) -> list[dict[str, Any]]:
    table = road.lake.open(name)
    assert table is not None
    found = table.scan().collect()
    if "_part" in found.columns:
        found = found.filter(pl.col("_part") == "row")
    return found.sort("_object", "_record").to_dicts()


def amounts(road: Road, name: str) -> dict[Any, Any]:
    return {row["id"]: row["amount"] for row in rows(road, name)}


def test_a_prefix_without_a_dataset_has_a_raw_table_of_text(landed: Road) -> None:
    assert amounts(landed, "raw/orders") == {"1": "10", "2": "x", "3": "30"}
    (odd,) = [name for name in layer.tables(landed.lake, landed.datasets) if name != "orders"]
    assert re.fullmatch("odd_name_[0-9a-f]{8}", odd)
    assert rows(landed, f"raw/{odd}")[0]["_text"] == '{"a": 1.10}'
    assert lagging(landed.lake, landed.datasets, landed.items) == {}
    assert standing(landed.lake, landed.datasets).keys() == {"landing/inbox", "raw/orders", f"raw/{odd}"}


def test_what_landed_and_was_not_yet_read_lags(road: Road) -> None:
    land(road, LANDED)
    receive(road)
    assert lagging(road.lake, road.datasets, road.items)["undeclared"].startswith("raw/")
    assert distances(road.lake, road.datasets, road.items)["raw/orders"] == 2
    road.hops()
    assert distances(road.lake, road.datasets, road.items)["raw/orders"] == 0


def test_events_that_come_twice_or_in_another_order_change_nothing(landed: Road) -> None:
    before = {name: table.version for name, table in standing(landed.lake, landed.datasets).items()}
    inbox.announce(landed.lake, "orders", ["orders/2.csv", "orders/1.csv", "orders/1.csv"], event="test")
    landed.hops()
    heads = raw.heads(raw.open_raw(landed.lake, "orders")).collect()
    assert heads["_generation"].to_list() == [1, 1]
    after = {name: table.version for name, table in standing(landed.lake, landed.datasets).items()}
    assert {n for n in after if after[n] != before[n]} == {"landing/inbox", "raw/orders"}


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1, 1 + STRIDE))
def test_a_road_that_dies_again_and_again_ends_with_every_record_once(road: Road, start: int) -> None:
    land(road, LANDED)
    passage = start
    while (code := die(road, passage)) == -signal.SIGKILL:
        passage += STRIDE
    assert code == 0
    receive(road)
    road.hops()
    assert [row["id"] for row in rows(road, "raw/orders")] == ["1", "2", "3"]
    assert lagging(road.lake, road.datasets, road.items) == {}


def test_an_overwritten_object_has_a_second_generation_and_an_unreadable_one_its_reason(landed: Road) -> None:
    land(landed, {"orders/1.csv": b"id,amount\n1,11\n", "orders/x.what": b"?"})
    receive(landed)
    landed.hops()
    table = raw.open_raw(landed.lake, "orders")
    current = raw.current(table, undeclared.stand_in("orders")).collect()
    assert dict(current.select("id", "amount").iter_rows()) == {"1": "11", "3": "30"}
    (refused,) = raw.heads(table).filter(pl.col("_state") == "refused").collect().to_dicts()
    assert "no reader" in refused["_reason"]


def test_what_is_refused_below_a_prefix_is_listed_and_sent_again(landed: Road) -> None:
    land(landed, {"orders/x.what": b"?"})
    landed.announce("orders/x.what")
    landed.hops()
    (told,) = refused.listing(landed.lake, landed.datasets).collect().to_dicts()
    assert (told["kind"], told["dataset"], told["id"]) == ("file", "orders", "orders/x.what")
    for generation, what in enumerate(["orders", "orders/x.what"], 2):
        assert refused.replay(landed.lake, landed.bucket.name, landed.datasets, what) == {"orders": 1}
        landed.hops()
        last = raw.last_heads(raw.open_raw(landed.lake, "orders"), ["orders/x.what"]).collect()
        assert last.select("_generation", "_state").row(0) == (generation, "refused")


@pytest.mark.parametrize(("prefixes", "passed"), [(True, {"messages": 2}), (False, {})])
def test_a_message_that_names_a_prefix_passes_where_prefixes_have_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefixes: bool, passed: dict[str, int]
) -> None:
    """One that was parked, for it could not be decoded, and one that came while prefixes had none."""
    lake = Lake(str(tmp_path))
    messages = [Message(f"m{n}", "r", event(f"orders/{n}.csv"), datetime.now(UTC)) for n in (1, 2)]
    with monkeypatch.context() as patch:
        patch.setattr(inbox, "decode", lambda body: decode("{}" if "1.csv" in body else body))
        rows = inbox.records(messages, "b", {})
    inbox.open_inbox(lake).append(rows)
    assert set(rows["dataset"]) == {inbox.PARKED, inbox.UNROUTED}
    assert refused.replay(lake, "b", {}, prefixes=prefixes) == passed
    assert layer.tables(lake, {}) == (["orders"] if prefixes else [])


@pytest.mark.parametrize("stretch", [1, 20_000])
def test_what_no_event_told_of_a_prefix_is_found_by_reconcile(
    landed: Road, stretch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that came, one that went, one of a new prefix; none of a dataset's, though the prefix has a table."""
    monkeypatch.setattr(reconcile, "STRETCH", stretch)
    landed.datasets = {"other": orders("other", "orders/1.csv")}
    land(landed, {"orders/3.csv": b"id,amount\n4,40\n", "new/1.csv": b"a\n1\n", "top.csv": b"a\n1\n"})
    landed.bucket.client.delete_object(Bucket=landed.bucket.name, Key="orders/2.csv")
    assert reconcile.reconcile(landed.lake, landed.bucket, landed.datasets) == {"other": 1}
    landed.hops()
    found = reconcile.reconcile(landed.lake, landed.bucket, landed.datasets, prefixes=True)
    assert {name: count for name, count in found.items() if count} == {"orders": 2, "new": 1}
    landed.hops()
    assert len(rows(landed, "raw/new")) == 1
    last = raw.last_heads(raw.open_raw(landed.lake, "orders")).select("_object", "_state").collect()
    assert dict(last.iter_rows()) == {"orders/1.csv": "read", "orders/2.csv": "gone", "orders/3.csv": "read"}
    assert not any(reconcile.reconcile(landed.lake, landed.bucket, landed.datasets, prefixes=True).values())


def event(key: str) -> str:
    s3 = {"bucket": {"name": "b"}, "object": {"key": key}}
    return json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": s3}]})


def test_one_prefix_that_fails_stops_no_other(landed: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    get = Bucket.get

    def failing(self: Bucket, key: str) -> Any:
        if key == "angry/1.csv":
            raise ConnectionError
        return get(self, key)

    land(landed, {"angry/1.csv": b"a\n1\n", "orders/3.csv": b"id,amount\n4,40\n"})
    receive(landed)
    monkeypatch.setattr(Bucket, "get", failing)
    with pytest.raises(ConnectionError):
        layer.carry(landed.lake, landed.bucket, landed.datasets)
    assert "4" in amounts(landed, "raw/orders")
    assert lagging(landed.lake, landed.datasets, landed.items) == {"undeclared": "raw/angry"}


def test_off_they_wait_unrouted_and_flow_once_it_is_on_again(road: Road) -> None:
    land(road, LANDED)
    receive(road, prefixes=False)
    assert layer.tables(road.lake, road.datasets) == []
    assert reroute(road, prefixes=False) == 0
    assert reroute(road) == len(LANDED)
    assert reroute(road) == 0
    road.hops()
    assert amounts(road, "raw/orders") == {"1": "10", "2": "x", "3": "30"}


def test_there_are_so_many_tables_and_no_more(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undeclared, "MOST", 2)
    land(road, {f"p{n}/x.csv": b"a\n1\n" for n in "abcd"})
    receive(road)
    land(road, {"pa/y.csv": b"a\n1\n"})
    receive(road)
    assert len(layer.tables(road.lake, road.datasets)) == 2
    box = inbox.open_inbox(road.lake).scan().collect()
    left = box.filter(pl.col("dataset") == inbox.UNROUTED)
    assert len(left) == 2
    assert set(left["reason"]) == {"no dataset claims this key, and 2 prefixes without one have a table already"}
    assert "pa/y.csv" not in left["key"].to_list()


def test_a_dataset_of_the_prefix_name_goes_on_from_what_landed_even_what_is_deleted_since(
    landed: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    landed.bucket.client.delete_object(Bucket=landed.bucket.name, Key="orders/2.csv")
    landed.datasets = check([*landed.datasets.values(), orders()])
    assert reroute(landed) == 0
    assert lagging(landed.lake, landed.datasets, landed.items) == {"orders": "cleaned/orders"}
    monkeypatch.setattr(Bucket, "get", lambda *_: pytest.fail("what was read is read again"))
    landed.hops()
    assert amounts(landed, "cleaned/orders") == {1: 10, 3: 30}
    (refused,) = rows(landed, "quarantine/orders")
    assert json.loads(refused["_text"]) == {"id": "2", "amount": "x"}
    assert lagging(landed.lake, landed.datasets, landed.items) == {}


def test_a_dataset_of_another_name_reads_the_objects_again(landed: Road) -> None:
    landed.datasets = check([*landed.datasets.values(), orders("sales")])
    assert reroute(landed) == 2
    assert reroute(landed) == 0
    landed.hops()
    assert amounts(landed, "cleaned/sales") == {1: 10, 3: 30}
    land(landed, {"orders/3.csv": b"id,amount\n4,40\n"})
    receive(landed)
    landed.hops()
    assert amounts(landed, "cleaned/sales") == {1: 10, 3: 30, 4: 40}
    assert "4" not in amounts(landed, "raw/orders")


def test_a_rerouting_goes_on_where_one_before_it_left_off_or_died_and_doubles_nothing(
    landed: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    landed.datasets = check([*landed.datasets.values(), orders("sales")])
    monkeypatch.setattr(inbox, "REROUTED", 1)
    append = Table.append

    def dying(self: Table, rows: pl.DataFrame, *args: Any, **kwargs: Any) -> int:
        if rows["key"].to_list() == ["orders/2.csv"]:
            raise KeyboardInterrupt
        return append(self, rows, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(Table, "append", dying)
        assert reroute(landed) == 1
        with pytest.raises(KeyboardInterrupt):
            reroute(landed)
    landed.hops()
    assert amounts(landed, "cleaned/sales") == {1: 10}
    assert reroute(landed) == 1
    landed.hops()
    assert amounts(landed, "cleaned/sales") == {1: 10, 3: 30}
    assert reroute(landed) == 0


def test_another_buckets_object_is_sent_nowhere(road: Road) -> None:
    from lakehouse_tests.landing.test_events import s3

    body = json.dumps({"Records": [s3("orders/1.csv")]})
    road.queue.client.send_message(QueueUrl=road.queue.url, MessageBody=body)
    receive(road)
    road.datasets = check([*road.datasets.values(), orders()])
    assert reroute(road) == 0
    assert lagging(road.lake, road.datasets, road.items) == {}


def test_the_declared_are_as_ever_beside_them(road: Road) -> None:
    land(road, {**sample.FILES, **LANDED, "flights/read.me": b"?"})
    receive(road)
    road.hops()
    arrived(road, sample.FILES)
    (beside,) = [name for name in layer.tables(road.lake, road.datasets) if name.startswith("flights_")]
    heads = raw.heads(raw.open_raw(road.lake, beside)).collect()
    assert heads["_object"].to_list() == ["flights/read.me"]


letters = st.characters(codec="utf-8", exclude_characters="/")


@given(st.lists(st.text(letters, min_size=1), unique=True, max_size=20))
def test_every_prefix_has_a_name_of_its_own_that_sql_takes(prefixes: list[str]) -> None:
    names = [undeclared.name_of(prefix, {"flights"}) for prefix in prefixes]
    assert len({*names}) == len(names)
    assert all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in names)
    assert "flights" not in names


@pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run:DeprecationWarning")
def test_one_asset_carries_and_tells_them(
    road: Road, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE", road.lake.root)
    monkeypatch.setenv("LAKEHOUSE_LANDING_BUCKET", road.bucket.name)
    land(road, {**LANDED, "orders/3.what": b"?"})
    receive(road)
    job = build(dg.in_process_executor).resolve_job_def("undeclared")
    done = job.execute_in_process(instance=instance)
    (told,) = done.asset_materializations_for_node("raw__undeclared")
    tables = {one.data["table"]: one.data for one in told.metadata["tables"].records}  # type: ignore[attr-defined]
    assert tables["raw/orders"]["columns"] == "id, amount"
    assert told.metadata["objects_read"].value == 4
    (check,) = done.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert amounts(road, "raw/orders") == {"1": "10", "2": "x", "3": "30"}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def test_their_runs_name_is_no_datasets() -> None:
    with pytest.raises(DeclarationError, match="undeclared"):
        check([orders("undeclared")])
    assert "undeclared" not in load()


def test_what_a_dataset_of_the_prefix_name_does_not_claim_is_none_of_its_rows(road: Road) -> None:
    land(road, {"orders/1.csv": b"id,amount\n1,10\n", "orders/notes.json": b'{"id": 7, "amount": 70}'})
    receive(road)
    road.hops()
    road.datasets = check([*road.datasets.values(), orders(landing="orders/*.csv")])
    reroute(road)
    road.hops()
    assert amounts(road, "cleaned/orders") == {1: 10}
    assert reconcile.reconcile(road.lake, road.bucket, road.datasets)["orders"] == 0
    road.datasets = check([d for d in road.datasets.values() if d.name != "orders"] + [orders(landing="orders/*")])
    reroute(road)
    road.hops()
    assert amounts(road, "cleaned/orders") == {1: 10, 7: 70}
