"""A subject is erased from everywhere, stays away, and nobody else's record is touched.

What is left is searched for by `leftovers`, which shares nothing with the package.
"""

import gzip
import io
import json
import signal
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl
import pyarrow.orc as orc
import pytest
from click.testing import CliRunner

from lakehouse.cli import erasing, main
from lakehouse.dataset import Dataset, Serving, check
from lakehouse.dynamodb.items import to_row
from lakehouse.dynamodb.table import ItemTable
from lakehouse.lake import Conflict, Lake, Table, maintain, oblivion
from lakehouse.lake.past import Forgotten, restore, resume
from lakehouse.landing import inbox, packing
from lakehouse.landing.dead_letters import redrive
from lakehouse.landing.documents import read_document
from lakehouse.landing.erased import Erased, erased, remember, subject
from lakehouse.landing.objects import Bucket, Identity, Version
from lakehouse.landing.queue import Budget, Queue
from lakehouse.landing.readers import Unreadable
from lakehouse.landing.reconcile import reconcile
from lakehouse.layers import balance, history, refused
from lakehouse.layers.backfill import backfill
from lakehouse.layers.erase import NAMELESS, Site, erase, plan
from lakehouse.layers.lag import lagging
from lakehouse_tests.conftest import Road
from lakehouse_tests.landing.files import pdf, workbook
from lakehouse_tests.leftovers import leftovers
from lakehouse_tests.test_road import land

ANN, BOB = "ann@example.org", "bob@example.org"
BOTH = pytest.mark.parametrize("root", ["disk", pytest.param("s3", marks=pytest.mark.slow)], indirect=True)


class Order(dy.Schema):
    """One order."""

    number = dy.Int64(primary_key=True)
    customer = dy.String(nullable=False)
    amount = dy.Float64(min=0)


class Visit(dy.Schema):
    """One visit; its file calls the customer something else."""

    id = dy.Int64(primary_key=True)
    customer = dy.String(nullable=False)


class Event(dy.Schema):
    """One event."""

    id = dy.Int64(primary_key=True)
    customer = dy.String()


class Paper(dy.Schema):
    """One document."""

    uri = dy.String(primary_key=True)
    text = dy.String()


def spent(orders: pl.LazyFrame) -> pl.LazyFrame:
    """What each customer spent."""
    return orders.group_by("customer").agg(total=pl.col("amount").sum())


def visitors(visits: pl.LazyFrame) -> pl.LazyFrame:
    """How often each was there, under another name."""
    return visits.group_by(who="customer").agg(times=pl.len())


def named(visits: pl.LazyFrame) -> pl.LazyFrame:
    return visits.rename({"mail": "customer"})


DATASETS = check(
    [
        Dataset(
            "orders",
            "orders/**",
            Order,
            history=True,
            serving=[Serving(spent, key="customer", group="customer", publish=True)],
        ),
        Dataset("visits", "visits/**", Visit, clean=named, serving=[Serving(visitors, key="who", publish=True)]),
        Dataset("events", "events/**", Event),
        Dataset("papers", "papers/**", Paper, reader=read_document),
    ]
)
HEADER = "number,customer,amount\n"


def orders(*rows: str) -> bytes:
    return (HEADER + "".join(f"{row}\n" for row in rows)).encode()


def zipped(**members: bytes) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return body.getvalue()


def tarred(**members: bytes) -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("_", "."))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return body.getvalue()


def parquet(**columns: list[Any]) -> bytes:
    body = io.BytesIO()
    pl.DataFrame(columns).write_parquet(body)
    return body.getvalue()


def lines(*records: dict[str, Any]) -> bytes:
    return "".join(f"{json.dumps(one)}\n" for one in records).encode()


DEEP = {"id": 3, "customer": BOB, "more": {"to": [{"customer": ANN}]}}
FILES = {
    "orders/1.csv": orders(f"1,{ANN},10", f"2,{BOB},5", f'3,"{ANN}",7', f"4,{ANN},oops"),
    "orders/2.csv": orders(f"5,{ANN},1"),
    "orders/broken.csv": orders(f"6,{ANN},1,1", f"7,{BOB},2", f"8,{BOB},2,2"),
    "orders/wide.csv": orders(f"9,{ANN},3", f"10,{BOB},3").decode().encode("utf-16"),
    "orders/packed.csv.gz": gzip.compress(orders(f"11,{ANN},1", f"12,{BOB},1")),
    "orders/all.zip": zipped(a_csv=orders(f"13,{ANN},1", f"14,{BOB},1"), b_csv=orders(f"15,{ANN},1")),
    "orders/all.tar.gz": gzip.compress(tarred(c_csv=orders(f"16,{ANN},1", f"17,{BOB},1"))),
    "visits/1.parquet": parquet(id=[1, 2, 3], mail=[ANN, BOB, ANN]),
    "events/1.ndjson": lines({"id": 1, "customer": ANN}, {"id": 2, "customer": BOB}, DEEP),
    "events/2.json": json.dumps([{"id": 4, "customer": ANN}, {"id": 5, "customer": BOB}]).encode(),
    "events/3.json": json.dumps({"id": 6, "customer": ANN}).encode(),
    "papers/letter.pdf": pdf(f"Dear {ANN}, how are you?", title="A letter"),
    "papers/other.txt": b"Nobody is named here.",
    f"papers/{ANN}.txt": b"A file of hers.",
    "notes/1.log": f"{ANN} came\n{BOB} came\n".encode(),
    f"stray-{ANN}.csv": b"a\n1\n",
}


@pytest.fixture
def place(road: Road) -> Road:
    """A road over these datasets, on which the files have landed, some of them twice."""
    road.datasets = DATASETS
    land(road, {"orders/2.csv": orders(f"5,{ANN},99", f"18,{BOB},99")})
    carried(road)
    land(road, FILES)
    carried(road)
    return road


def carried(road: Road) -> None:
    while road.receive():
        pass
    road.hops()


def site(road: Road) -> Site:
    return Site(road.lake, road.bucket, road.datasets, road.servings(), road.items)


def rows(road: Road, name: str, *columns: str) -> list[tuple[Any, ...]]:
    table = road.lake.open(name)
    assert table is not None
    return sorted(table.scan().select(columns).drop_nulls().collect().rows())


def spendings(road: Road, name: str = "spent") -> dict[str, Any]:
    one = next(s for s in road.servings() if s.name == name)
    return {item["_key"]["S"]: to_row(item) for item in road.items(one).scan(tombstones=True)}


def sound(road: Road) -> None:
    """Bob's records are all there, the tables agree, and nothing lags."""
    told = rows(road, "cleaned/orders", "number", "customer", "amount")
    assert told == [(2, BOB, 5.0), (7, BOB, 2.0), (10, BOB, 3.0), (12, BOB, 1.0), (14, BOB, 1.0), (17, BOB, 1.0)]
    assert rows(road, "cleaned/visits", "id", "customer") == [(2, BOB)]
    assert rows(road, "cleaned/events", "id", "customer") == [(2, BOB), (5, BOB)]
    assert [text for (text,) in rows(road, "cleaned/papers", "text")] == ["Nobody is named here."]
    assert {*rows(road, "raw/notes", "line")} == {(f"{BOB} came",)}
    assert [text for (text,) in rows(road, "quarantine/orders", "_text")] == [f"8,{BOB},2,2"]
    assert spendings(road) == {BOB: {"customer": BOB, "total": 13}}
    assert spendings(road, "visitors") == {BOB: {"who": BOB, "times": 1}}
    assert lagging(road.lake, road.datasets, road.items) == {}
    for dataset in road.datasets.values():
        assert balance.unbalanced(road.lake, dataset).is_empty()
    agreed = history.disagreement(road.lake, DATASETS["orders"])
    assert agreed is not None
    assert agreed.is_empty()


@pytest.mark.slow
@BOTH
def test_not_a_byte_of_a_subject_is_left_and_nobody_else_misses_one(place: Road) -> None:
    one = subject(place.lake, "customer", ANN)
    assert leftovers(place, ANN)
    erase(site(place), one, plan(site(place), one))
    assert leftovers(place, ANN) == []
    carried(place)
    assert leftovers(place, ANN) == []
    sound(place)
    assert plan(site(place), one) == []


def generations(road: Road) -> list[tuple[Any, ...]]:
    return [one for d in DATASETS for one in rows(road, f"raw/{d}", "_object", "_generation") if ANN not in one[0]]


@pytest.mark.slow
def test_what_an_erasure_rewrote_is_not_read_again_and_reconcile_has_nothing_to_say(place: Road) -> None:
    before = generations(place)
    one = subject(place.lake, "customer", ANN)
    erase(site(place), one)
    carried(place)
    gone = {("orders/2.csv", 3), ("events/3.json", 2), ("papers/letter.pdf", 2)}
    assert {*generations(place)} == {*before} | gone
    for _ in range(2):
        found = reconcile(place.lake, place.bucket, dict(DATASETS))
        assert set(found.values()) == {0}


def redriven(road: Road) -> int:
    """The messages that wait become dead letters, and are sent again; gives how many."""
    dead = Queue(
        road.queue.client, road.queue.client.create_queue(QueueName=f"{road.bucket.name}-dead")["QueueUrl"]
    )
    while messages := road.queue.drain(Budget(), 1):
        for message in messages:
            dead.send(message.body)
        road.queue.delete(messages)
    return redrive(dead, road.queue)


@pytest.mark.slow
def test_a_subject_does_not_come_back(place: Road) -> None:
    land(place, FILES)
    one = subject(place.lake, "customer", ANN)
    erase(site(place), one)
    land(place, FILES)
    assert redriven(place) >= 2 * len(FILES)
    carried(place)
    assert [one for one in leftovers(place, ANN) if not one.startswith("landing ")] == []
    land(place, FILES)
    carried(place)
    reconcile(place.lake, place.bucket, dict(DATASETS), prefixes=True)
    refused.replay(place.lake, place.bucket.name, DATASETS)
    carried(place)
    for dataset in DATASETS.values():
        backfill(place.lake, dataset)
    carried(place)
    assert [one for one in leftovers(place, ANN) if not one.startswith("landing ")] == []
    sound(place)


def letters(_: Bucket, found: Identity, body: bytes) -> pl.DataFrame:
    """A document of several records: a letter a line, and to whom."""
    if not found.key.endswith(".txt"):
        raise Unreadable("no letters")
    told = [(n, line.partition(":")[0]) for n, line in enumerate(body.decode().splitlines(), found.size)]
    return pl.DataFrame(told, schema={"id": pl.Int64, "customer": pl.String}, orient="row")


def of_arrow(rows: pl.DataFrame) -> bytes:
    body = io.BytesIO()
    rows.write_ipc(body)
    return body.getvalue()


def of_avro(rows: pl.DataFrame) -> bytes:
    body = io.BytesIO()
    rows.write_avro(body)
    return body.getvalue()


def of_orc(rows: pl.DataFrame) -> bytes:
    body = io.BytesIO()
    orc.write_table(rows.to_arrow(compat_level=pl.CompatLevel.oldest()), body)
    return body.getvalue()


def of_xml(rows: pl.DataFrame) -> bytes:
    events = (f"<event><id>{n}</id><customer>{who}</customer></event>" for n, who in rows.iter_rows())
    return f"<?xml version='1.0'?><events>{''.join(events)}</events>".encode()


def of_excel(rows: pl.DataFrame) -> bytes:
    return workbook({"one": [rows.columns, *rows.rows()]})


def shut(rows: pl.DataFrame) -> bytes:
    return shut_in(a_csv=rows.write_csv().encode())


def shut_in(**members: bytes) -> bytes:
    """An archive of which a member, too, cannot be read, and so not be kept."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, content in {**members, "b_csv": b"shut"}.items():
            archive.writestr(name.replace("_", "."), content)
    return body.getvalue().replace(b"shut", b"open")


def linked(rows: pl.DataFrame) -> bytes:
    """An archive with a link, of which raw has nothing but a refusal."""
    body = io.BytesIO(tarred(a_csv=rows.write_csv().encode()))
    with tarfile.open(fileobj=body, mode="a") as archive:
        link = tarfile.TarInfo("b.csv")
        link.type, link.linkname = tarfile.SYMTYPE, f"{ANN}.csv" if rows["id"][0] % 2 else "a.csv"
        archive.addfile(link)
    return body.getvalue()


MADE = {
    "a.arrow": of_arrow,
    "a.avro": of_avro,
    "a.orc": of_orc,
    "a.xml": of_xml,
    "a.xlsx": of_excel,
    "a.tar": linked,
    "shut.zip": shut,
}
EMPTIED = ("events/a.xlsx", "events/shut.zip", "letters/a.txt")


@pytest.fixture
def mixed(road: Road, request: pytest.FixtureRequest) -> Road:
    """Records of Ann and of others in files of each format, of datasets that do this when an object is deleted."""
    told = {"on_delete": request.param}
    events = Dataset("events", "events/**", Event, **told)
    road.datasets = check([events, Dataset("letters", "letters/**", Event, reader=letters, **told)])
    files = {
        "letters/a.txt": f"{ANN}: come\n{BOB}: go\n".encode(),
        "letters/no": b"no",
        "letters/hers": ANN.encode(),
    }
    for n, (key, made) in enumerate(MADE.items()):
        rows = pl.DataFrame({"id": [3 * n, 3 * n + 1, 3 * n + 2], "customer": [ANN, BOB, "eve"]})
        files[f"events/{key}"] = made(rows)
    land(road, files)
    carried(road)
    return road


def others(road: Road) -> list[tuple[Any, ...]]:
    known = [row for name in road.datasets for row in rows(road, f"cleaned/{name}", "id", "customer")]
    return [row for row in known if row[1] != ANN]


@pytest.mark.slow
@pytest.mark.parametrize("mixed", ["keep", "retract"], indirect=True)
def test_nobody_elses_record_goes_with_a_file_whatever_its_format_and_what_a_deletion_does(mixed: Road) -> None:
    before, one = others(mixed), subject(mixed.lake, "customer", ANN)
    assert len(before) == 2 * len(MADE) + 1
    told = plan(site(mixed), one)
    erase(site(mixed), one)
    for _ in range(2):
        carried(mixed)
        assert leftovers(mixed, ANN) == []
        assert others(mixed) == before
        reconcile(mixed.lake, mixed.bucket, dict(mixed.datasets))
    for dataset in mixed.datasets.values():
        again = dict.fromkeys(EMPTIED, 1)
        inbox.announce(mixed.lake, dataset.name, again, event=inbox.REPLAY, generations=again)
        backfill(mixed.lake, dataset)
        assert balance.unbalanced(mixed.lake, dataset).is_empty()
    carried(mixed)
    assert others(mixed) == before
    assert plan(site(mixed), one) == []
    assert set(reconcile(mixed.lake, mixed.bucket, dict(mixed.datasets)).values()) == {0}
    emptied = {f.place for f in told if f.how.startswith("emptied") and f.how.endswith("records of others")}
    assert emptied == {f"s3://{mixed.bucket.name}/{key}" for key in EMPTIED}


@pytest.mark.slow
@pytest.mark.parametrize("mixed", ["retract"], indirect=True)
def test_a_run_amid_an_erasure_takes_an_emptied_file_for_no_news(
    mixed: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, drop = others(mixed), Bucket.drop

    def late(bucket: Bucket, which: Version) -> None:
        if which.key in EMPTIED:
            carried(mixed)
            assert others(mixed) == before
        drop(bucket, which)

    monkeypatch.setattr(Bucket, "drop", late)
    erase(site(mixed), subject(mixed.lake, "customer", ANN))
    carried(mixed)
    assert others(mixed) == before
    assert leftovers(mixed, ANN) == []
    fresh = replace(mixed, lake=Lake(f"{mixed.lake.root}-anew"), prefix=f"{mixed.prefix}anew-")
    fresh.announce(*EMPTIED)
    fresh.hops()
    told = [one for name in mixed.datasets for one in rows(fresh, f"raw/{name}", "_object", "_reason")]
    assert {key: reason.partition(",")[0] for key, reason in told} == dict.fromkeys(
        EMPTIED, "an erasure left nothing of it"
    )


@pytest.mark.slow
@pytest.mark.parametrize("mixed", ["retract"], indirect=True)
def test_an_erasure_that_dies_when_a_file_is_emptied_is_taken_up_and_nobody_else_loses_a_record(
    mixed: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, one, drop = others(mixed), subject(mixed.lake, "customer", ANN), Bucket.drop

    def dies(bucket: Bucket, which: Version) -> None:
        if which.key == EMPTIED[-1]:
            raise KeyboardInterrupt
        drop(bucket, which)

    monkeypatch.setattr(Bucket, "drop", dies)
    with pytest.raises(KeyboardInterrupt):
        erase(site(mixed), one)
    monkeypatch.undo()
    carried(mixed)
    assert others(mixed) == before
    erase(site(mixed), one)
    carried(mixed)
    assert others(mixed) == before
    assert leftovers(mixed, ANN) == []
    assert set(reconcile(mixed.lake, mixed.bucket, dict(mixed.datasets)).values()) == {0}


@pytest.mark.slow
@pytest.mark.parametrize("mixed", ["retract"], indirect=True)
def test_a_file_of_others_that_raw_has_not_read_is_left_until_it_has(mixed: Road) -> None:
    one = subject(mixed.lake, "customer", ANN)
    land(mixed, {"events/new.xlsx": of_excel(pl.DataFrame({"id": [90, 91], "customer": [ANN, BOB]}))})
    assert {f.how.partition(":")[0] for f in erase(site(mixed), one) if "new.xlsx" in f.place} == {"left"}
    assert leftovers(mixed, ANN) == ["landing events/new.xlsx"]
    carried(mixed)
    erase(site(mixed), one)
    carried(mixed)
    assert leftovers(mixed, ANN) == []
    assert (91, BOB) in rows(mixed, "cleaned/events", "id", "customer")


DOUBLED = b"id,id\n1,2\n"
PART_REFUSED = {
    "events/member.zip": shut_in(a_csv=f"id,customer\n1,{ANN}\n2,{BOB}\n".encode(), c_csv=DOUBLED),
    "events/alone.zip": shut_in(a_csv=f"id,customer\n3,{ANN}\n".encode(), c_csv=DOUBLED),
    "events/book.zip": shut_in(a_csv=f"id,customer\n4,{ANN}\n".encode(), c_xlsx=workbook({"one": [["id"], [5]]})),
    "events/shut.xlsx": workbook({"one": [["id", "customer"], [9, BOB]], "two": [["id", "id"], [1, f"to {ANN}"]]}),
    "events/sheet.xlsx": workbook({"one": [["id", "customer"], [6, ANN]], "two": [["id", "id"], [1, 2]]}),
}


@pytest.mark.slow
def test_a_file_of_which_raw_refused_a_part_that_is_others_is_left(road: Road) -> None:
    """What is the subject's, or closed to everybody, holds nobody back."""
    road.datasets = check([Dataset("events", "events/**", Event, on_delete="retract")])
    hers = shut_in(a_csv=f"id,customer\n7,{ANN}\n8,{BOB}\n".encode(), c_bin=ANN.encode())
    land(road, {**PART_REFUSED, "events/hers.zip": hers})
    carried(road)
    one = subject(road.lake, "customer", ANN)
    done = {f.place.rpartition("/")[2]: f.how for f in erase(site(road), one) if f.what == "records"}
    carried(road)
    told = dict.fromkeys((key.rpartition("/")[2] for key in PART_REFUSED), "left") | {"hers.zip": "emptied"}
    assert {key: how.partition(":")[0] for key, how in done.items()} == told
    assert "1 members of it cannot be unpacked" in done["hers.zip"]
    assert leftovers(road, ANN) == [f"landing {key}" for key in sorted(PART_REFUSED)]
    assert rows(road, "cleaned/events", "id", "customer") == [(2, BOB), (8, BOB), (9, BOB)]


@pytest.mark.slow
def test_what_unpacks_to_too_much_is_named_as_not_looked_into(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    """Superseded members count here, which nobody reads: so raw can have read what an erasure cannot."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate name")
        for n in range(3):
            archive.writestr("a.csv", f"id,customer\n{n},{ANN}\n" + " " * 400)
    road.datasets = check([Dataset("events", "events/**", Event)])
    monkeypatch.setattr(packing, "LIMIT", 1000)
    land(road, {"events/a.zip": body.getvalue()})
    carried(road)
    assert rows(road, "cleaned/events", "id", "customer") == [(2, ANN)]
    one = subject(road.lake, "customer", ANN)
    found = {f.what: (f.place.rpartition("/")[2], f.count, f.how) for f in plan(site(road), one)}
    assert found["versions"] == ("a.zip", 1, "not looked into: unpacks to more than 1,000 bytes")
    erase(site(road), one)
    assert leftovers(road, ANN) == ["landing events/a.zip"]


def die(road: Road, passage: int) -> int:
    """Erase in a process of its own; gives how it ended."""
    places = [road.lake.root, road.bucket.name, road.queue.url, road.prefix]
    command = [sys.executable, "-m", "lakehouse_tests.erase_worker", str(passage), *places]
    return subprocess.run(command, check=False, timeout=120).returncode


@pytest.mark.slow
@pytest.mark.parametrize("start", [1, 2, 3])
def test_an_erasure_that_dies_again_and_again_is_taken_up_and_leaves_nothing(place: Road, start: int) -> None:
    passage = start
    while (code := die(place, passage)) == -signal.SIGKILL:
        passage += passage // 2 + start
    assert code == 0
    assert leftovers(place, ANN) == []
    carried(place)
    assert leftovers(place, ANN) == []
    sound(place)


SMALL = {"orders/1.csv": orders(f"1,{ANN},10", f"2,{BOB},5"), "orders/2.csv": orders(f"3,{BOB},1")}


@pytest.fixture
def small(road: Road) -> Road:
    road.datasets = {"orders": DATASETS["orders"]}
    land(road, SMALL)
    road.announce(*SMALL)
    road.hops()
    return road


@pytest.mark.slow
def test_a_subject_is_erased_from_file_to_item_and_another_keeps_his_generation(small: Road) -> None:
    one = subject(small.lake, "customer", ANN)
    assert {(f.what, f.count) for f in plan(site(small), one) if f.what != "files of its past"} == {
        ("records", 1),
        ("rows", 1),
        ("items", 1),
    }
    erase(site(small), one)
    assert leftovers(small, ANN) == []
    small.announce(*SMALL)
    small.hops()
    assert leftovers(small, ANN) == []
    assert rows(small, "cleaned/orders", "number", "_object") == [(2, "orders/1.csv"), (3, "orders/2.csv")]
    assert rows(small, "raw/orders", "_generation", "_record") == [(1, 1), (1, 2)]
    assert spendings(small) == {BOB: {"customer": BOB, "total": 6}}


@pytest.mark.slow
def test_a_run_that_looked_before_the_erasure_brings_nothing_back(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It commits at the worst moment: raw was looked through, and its past is about to be forgotten."""
    road.datasets = {"orders": DATASETS["orders"]}
    land(road, {"orders/2.csv": orders(f"3,{BOB},1")})
    road.announce("orders/2.csv")
    road.hops()
    land(road, {"orders/3.csv": orders(f"4,{ANN},2", f"5,{BOB},2")})
    road.announce("orders/3.csv")
    early, committed, append, forget = [Erased()], [], Table.append, oblivion.forget
    monkeypatch.setattr("lakehouse.layers.ingest.erased", lambda lake: early.pop() if early else erased(lake))

    def late(table: Table, *args: Any, **kwargs: Any) -> int:
        def meanwhile(*of: Any, **how: Any) -> Any:
            monkeypatch.setattr(oblivion, "forget", forget)
            with suppress(Conflict):
                committed.append(append(table, *args, **kwargs))
            return forget(*of, **how)

        if table.name != "raw/orders":
            return append(table, *args, **kwargs)
        monkeypatch.setattr(Table, "append", append)
        monkeypatch.setattr(oblivion, "forget", meanwhile)
        erase(site(road), subject(road.lake, "customer", ANN))
        raise Conflict("an erasure came between")

    monkeypatch.setattr(Table, "append", late)
    road.hops()
    assert committed == []
    assert rows(road, "cleaned/orders", "number") == [(3,), (5,)]
    monkeypatch.setattr(oblivion, "ALIVE", -1)
    maintain([table for name in ("raw/orders", "cleaned/orders") if (table := road.lake.open(name))])
    assert leftovers(road, ANN) == []


@pytest.mark.slow
def test_a_key_falls_back_to_whoever_else_carried_it(small: Road) -> None:
    land(small, {"orders/3.csv": orders(f"2,{ANN},7")})
    small.announce("orders/3.csv")
    small.hops()
    assert rows(small, "cleaned/orders", "number", "customer")[1] == (2, ANN)
    erase(site(small), subject(small.lake, "customer", ANN))
    small.hops()
    assert rows(small, "cleaned/orders", "number", "customer") == [(2, BOB), (3, BOB)]
    agreed = history.disagreement(small.lake, DATASETS["orders"])
    assert agreed is not None
    assert agreed.is_empty()


@pytest.mark.slow
def test_a_rewritten_object_is_no_newer_than_it_was(small: Road) -> None:
    land(small, {"orders/1.csv": orders(f"1,{ANN},10", f"2,{BOB},5")})
    time.sleep(1)
    land(small, {"orders/2.csv": orders(f"2,{BOB},50")})
    small.announce(*SMALL)
    small.hops()
    time.sleep(1)
    erase(site(small), subject(small.lake, "customer", ANN))
    fresh = replace(small, lake=Lake(f"{small.lake.root}-anew"), prefix=f"{small.prefix}anew-")
    fresh.announce(*SMALL)
    fresh.hops()
    for road in (small, fresh):
        assert rows(road, "cleaned/orders", "number", "amount") == [(2, 50.0)]


@pytest.mark.slow
def test_a_held_table_forgets_too_and_an_erased_version_is_not_restored(small: Road) -> None:
    restore(small.lake, "cleaned/orders", 1, ["raw/orders"], hold=True)
    before = [(n, t.version) for n in ("raw/orders", "cleaned/orders") if (t := small.lake.open(n))]
    erase(site(small), subject(small.lake, "customer", ANN))
    assert leftovers(small, ANN) == []
    for name, version in before:
        with pytest.raises(Forgotten):
            restore(small.lake, name, version, [], hold=False)


def test_the_search_finds_each_planted_leftover_and_nothing_else(road: Road) -> None:
    road.datasets = {"orders": DATASETS["orders"]}
    told = json.dumps({"add": {"stats": json.dumps({"minValues": {"customer": ANN}})}}).encode()
    plants = {
        "cleaned/orders/_change_data/part-0.parquet": parquet(customer=[ANN]),
        "raw/orders/_part=row/part-0.parquet": parquet(_text=[f"1,{ANN}"]),
        "serving/spent/_delta_log/00000000000000000000.json": told,
        "cleaned/orders/part-1.parquet": parquet(customer=[BOB]),
    }
    for name, body in plants.items():
        path = Path(road.lake.root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    packed = gzip.compress(tarred(x_csv=zipped(y_csv=ANN.encode("utf-16"))))
    for key, body in {"old": ANN.encode(), "packed": packed, ANN: b"", "letter": pdf(ANN), "bob": b"bob"}.items():
        road.bucket.put(key, body)
    road.bucket.put("old", b"")
    items = road.items(road.servings()[0])
    items.ensure()
    road.dynamodb.put_item(TableName=items.name, Item={"_key": {"S": ANN}, "_deleted": {"BOOL": True}})
    landed = {f"landing {key}" for key in ("old", "packed", ANN, "letter")}
    lake = {f"lake {name}" for name in [*plants][:3]}
    assert {*leftovers(road, ANN)} == landed | lake | {f"dynamodb {items.name}"}


def test_who_is_erased_is_kept_as_a_salted_hash_alone(small: Road) -> None:
    one = subject(small.lake, "customer", ANN)
    assert one != subject(small.lake, "customer", ANN)
    remember(small.lake, one, [])
    assert one == subject(small.lake, "customer", ANN)
    assert ANN not in repr(one)


@pytest.mark.slow
def test_a_plan_is_confirmed_before_anything_goes(
    small: Road, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(erasing, "_site", lambda: site(small))
    whom = f"customer={ANN}"
    told = CliRunner().invoke(main, ["erase", whom], input="n\n").output
    assert "orders/1.csv: 1 records, rewritten without them" in told
    assert "point-in-time" in told
    assert "Nothing was erased" in told
    assert leftovers(small, ANN)
    assert json.loads(CliRunner().invoke(main, ["erase", whom, "--json"]).output)["planned"]
    done = json.loads(CliRunner().invoke(main, ["erase", whom, "--yes", "--json"]).output)
    assert {f["place"] for f in done["done"]} >= {"raw/orders", f"dynamodb/{small.prefix}spent"}
    assert leftovers(small, ANN) == []
    report = small.lake.open("erased/report")
    assert report is not None
    assert {*report.scan().collect()["state"]} == {"planned", "done", "not reached"}
    assert CliRunner().invoke(main, ["erase", "customer"]).exit_code == 1


@pytest.mark.slow
@pytest.mark.parametrize(("who", "folder"), [(ANN, "customer=ann%40example.org"), ("eve", "customer=eve")])
def test_a_subject_whom_a_folder_names_is_erased_with_what_is_in_it(small: Road, who: str, folder: str) -> None:
    """Though the folder is written in another way than the value, or the value is short."""
    key = f"orders/{folder}/1.csv"
    land(small, {key: b"number,amount\n6,1\n"})
    small.announce(key)
    small.hops()
    assert (6, who) in rows(small, "cleaned/orders", "number", "customer")
    one = subject(small.lake, "customer", who)
    erase(site(small), one)
    assert leftovers(small, folder) == []
    land(small, {key: b"number,amount\n6,1\n"})
    small.announce(key)
    small.hops()
    assert reconcile(small.lake, small.bucket, small.datasets) == {"orders": 0}
    assert who not in {customer for _, customer in rows(small, "cleaned/orders", "number", "customer")}


@pytest.mark.slow
def test_a_report_names_no_object_after_one_who_is_erased_later(small: Road) -> None:
    key = f"orders/{BOB}.csv"
    land(small, {key: orders(f"6,{ANN},1", f"7,{BOB},2", "8,eve,3")})
    small.announce(key)
    small.hops()
    for who in (ANN, BOB):
        one = subject(small.lake, "customer", who)
        erase(site(small), one, plan(site(small), one))
        assert leftovers(small, who) == []
        assert plan(site(small), one) == []
    report = small.lake.open("erased/report")
    assert report is not None
    told = report.scan().filter(pl.col("place") == NAMELESS).collect()
    assert {*zip(told["state"], told["what"], told["count"], strict=True)} == {
        ("planned", "records", 1),
        ("done", "records", 1),
    }
    assert "rewritten" in told["how"][0]
    named = report.scan().filter(pl.col("how") == "deleted whole: it is named after the subject").collect()
    assert {*zip(named["state"], named["count"], strict=True)} == {("planned", 2), ("done", 2)}


@pytest.mark.slow
def test_an_erasure_that_dies_before_the_past_is_forgotten_is_taken_up(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    road.datasets = {"visits": DATASETS["visits"]}
    land(road, {"visits/1.parquet": parquet(id=[1], mail=[ANN]), "visits/2.parquet": parquet(id=[2], mail=[BOB])})
    road.announce("visits/1.parquet", "visits/2.parquet")
    road.hops()
    one, forget = subject(road.lake, "customer", ANN), oblivion.forget

    def dies(table: Table, *args: Any, **kwargs: Any) -> Any:
        if table.name == "serving/visitors":
            raise KeyboardInterrupt
        return forget(table, *args, **kwargs)

    monkeypatch.setattr(oblivion, "forget", dies)
    with pytest.raises(KeyboardInterrupt):
        erase(site(road), one)
    monkeypatch.undo()
    assert leftovers(road, ANN)
    erase(site(road), one)
    assert leftovers(road, ANN) == []


@pytest.mark.slow
def test_a_publish_that_an_erasure_overtook_takes_back_what_it_put(
    small: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(small, {"orders/3.csv": orders(f"4,{ANN},2")})
    small.announce("orders/3.csv")
    one, write = subject(small.lake, "customer", ANN), ItemTable.write

    def late(items: ItemTable, *args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(ItemTable, "write", write)
        erase(site(small), one)
        return write(items, *args, **kwargs)

    monkeypatch.setattr(ItemTable, "write", late)
    small.hops()
    assert spendings(small).keys() == {ANN, BOB}
    assert spendings(small)[ANN] == {}
    erase(site(small), one)
    assert spendings(small).keys() == {BOB}


def visited(road: Road) -> None:
    """A visit of each, in one file."""
    road.datasets = {"visits": DATASETS["visits"]}
    land(road, {"visits/1.parquet": parquet(id=[1, 2], mail=[ANN, BOB])})
    road.announce("visits/1.parquet")
    road.hops()


def some(visits: pl.LazyFrame) -> pl.LazyFrame:
    names = [name for name in ("customer", "mail") if name in visits.collect_schema()]
    return visits.with_columns(customer=pl.coalesce(names)).filter(pl.col("id") != "0")


@pytest.mark.slow
@pytest.mark.parametrize("who", [ANN, "eve"])
def test_a_record_that_clean_names_anew_and_that_became_no_row_is_erased_too(road: Road, who: str) -> None:
    """It was refused, or left out; others' stay: who has a name of their own, and whom another column says."""
    files = {
        "visits/1.csv": f"id,mail\n1,{who}\nx,{who}\n0,{who}\n2,{BOB}\n{who},{BOB}\n0,{BOB}\n",
        "visits/2.csv": f"id,customer,note\n3,{BOB},\ny,{BOB},with {who}\n4,{who},\nz,{who},\n",
    }
    stays = [("0", None, BOB, None), ("2", None, BOB, None), ("3", BOB, None, None),
             (who, None, BOB, None), ("y", BOB, None, f"with {who}")]  # fmt: skip
    road.datasets = {"visits": replace(DATASETS["visits"], clean=some)}

    def left() -> set[tuple[Any, ...]]:
        table = road.lake.open("raw/visits")
        assert table is not None
        records = table.scan().filter(pl.col("_part") == "row")
        return {*records.select("id", "customer", "mail", "note").collect().rows()}

    def carry() -> None:
        land(road, {key: body.encode() for key, body in files.items()})
        road.announce(*files)
        road.hops()

    carry()
    assert len(left()) == 10
    erase(site(road), subject(road.lake, "customer", who))
    road.hops()
    assert left() == {*stays}
    got = road.bucket.get("visits/1.csv")
    assert got is not None
    assert got[1] == f"id,mail\n2,{BOB}\n{who},{BOB}\n0,{BOB}\n".encode()
    assert rows(road, "cleaned/visits", "id", "customer") == [(2, BOB), (3, BOB)]
    assert len(rows(road, "quarantine/visits", "_text")) == 2
    carry()
    assert left() == {*stays}


@pytest.mark.slow
def test_a_held_table_whose_columns_have_other_names_forgets_too(road: Road) -> None:
    visited(road)
    held = road.lake.open("cleaned/visits")
    assert held is not None
    restore(road.lake, held.name, held.version, ["raw/visits"], hold=True)
    erase(site(road), subject(road.lake, "mail", ANN))
    assert rows(road, "cleaned/visits", "id") == [(2,)]
    assert leftovers(road, ANN) == []


def fails(visits: pl.LazyFrame) -> pl.LazyFrame:
    raise ValueError("no")


fails.__name__ = "visitors"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["held", "failed"])
def test_a_serving_table_that_does_not_follow_forgets_whom_its_keys_name_and_nobody_else(
    road: Road, how: str
) -> None:
    visited(road)
    served = road.lake.open("serving/visitors")
    assert served is not None
    if how == "held":
        restore(road.lake, served.name, served.version, ["cleaned/visits"], hold=True)
    land(road, {"visits/2.parquet": parquet(id=[3], mail=[BOB])})
    road.announce("visits/2.parquet")
    if how == "held":
        road.hops()
    else:
        (serving,) = DATASETS["visits"].serving
        broken = replace(serving, compute=fails)
        road.datasets = {"visits": replace(DATASETS["visits"], serving=[broken])}
    done = erase(site(road), subject(road.lake, "customer", ANN))
    assert {f.how.partition(":")[0] for f in done if f.place == served.name and f.what == "hops"} == {how}
    assert leftovers(road, ANN) == []
    assert rows(road, "serving/visitors", "who", "times") == [(BOB, 1)]
    assert spendings(road, "visitors") == {BOB: {"who": BOB, "times": 1}}


def comings(visits: pl.LazyFrame) -> pl.LazyFrame:
    return visits.select("id", who="customer")


@pytest.mark.slow
def test_what_a_held_table_kept_goes_when_it_is_resumed_and_the_subject_erased_again(road: Road) -> None:
    served = [Serving(comings, key="id", publish=True)]
    road.datasets = {"visits": replace(DATASETS["visits"], serving=served)}
    land(road, {"visits/1.parquet": parquet(id=[1, 2], mail=[ANN, BOB])})
    road.announce("visits/1.parquet")
    road.hops()
    held, one = road.lake.open("serving/comings"), subject(road.lake, "customer", ANN)
    assert held is not None
    restore(road.lake, held.name, held.version, ["cleaned/visits"], hold=True)
    assert any(f.how.startswith("held") for f in erase(site(road), one))
    assert rows(road, "serving/comings", "who") == [(ANN,), (BOB,)]
    held = road.lake.open("serving/comings")
    assert held is not None
    resume(held)
    assert not any(f.how.startswith("held") for f in erase(site(road), one))
    assert leftovers(road, ANN) == []
    assert rows(road, "serving/comings", "id", "who") == [(2, BOB)]


@pytest.mark.slow
def test_a_held_table_keeps_others_rows_of_which_raw_was_put_back_to_before_it_knew(road: Road) -> None:
    visited(road)
    raw = road.lake.open("raw/visits")
    assert raw is not None
    land(road, {"visits/2.parquet": parquet(id=[3], mail=[BOB])})
    road.announce("visits/2.parquet")
    road.hops()
    held = road.lake.open("cleaned/visits")
    assert held is not None
    restore(road.lake, held.name, held.version, ["raw/visits"], hold=True)
    restore(road.lake, raw.name, raw.version, [inbox.NAME], hold=True)
    erase(site(road), subject(road.lake, "mail", ANN))
    assert rows(road, "cleaned/visits", "id") == [(2,), (3,)]


class Call(dy.Schema):
    """One call. The phone is a number, whatever zeros it is written with."""

    number = dy.Int64(primary_key=True)
    phone = dy.Int64()
    customer = dy.String()


@pytest.mark.slow
def test_an_erased_row_leaves_cleaned_though_its_generation_stays(road: Road) -> None:
    road = replace(road, datasets=check([Dataset("calls", "calls/**", Call)]))
    header = b"number,phone,customer\n"
    for key, body in {
        "calls/0.csv": b"1,11,bob\n",
        "calls/1.csv": b"1,12,ann\n2,0491777,carl\n3,13,bob\n",
    }.items():
        road.bucket.put(key, header + body)
        time.sleep(1.1)
    road.announce("calls/0.csv", "calls/1.csv")
    road.hops()
    site = Site(road.lake, road.bucket, road.datasets, [], road.items)
    for column, value in (("customer", "ann"), ("phone", "0491777")):
        erase(site, subject(road.lake, column, value))
        road.hops()
    table = road.lake.open("cleaned/calls")
    assert table is not None
    rows = table.scan().select("number", "phone", "customer").sort("number").collect().rows()
    assert rows == [(1, 11, "bob"), (3, 13, "bob")]
    assert balance.unbalanced(road.lake, road.datasets["calls"]).is_empty()
