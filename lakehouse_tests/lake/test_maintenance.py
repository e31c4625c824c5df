"""Fewer files, a shorter log, and nothing that a reader could notice."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.table import TableOptimizer

from lakehouse.lake import Lake, Table, hop, maintain
from lakehouse.lake import table as delta
from lakehouse.lake.maintenance import CROWD, ORDERED, clean, crowded, order, tidy
from lakehouse.lake.table import RETENTION, Cursor
from lakehouse.landing import inbox
from lakehouse_tests.lake.test_hop import SCHEMA, carry, copy, put, rows

MONTH = 30 * 86_400


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path))


def source(lake: Lake) -> Table:
    table = lake.open("source")
    assert table is not None
    return table


def crowd(lake: Lake, count: int = CROWD) -> None:
    for number in range(count):
        put(lake, {f"k{number:03}": number})


def age(lake: Lake, name: str) -> None:
    """Everything in a table's folder happened a month ago, the removals that its log tells of included."""
    then, folder = int(time.time()) - MONTH, Path(lake.root) / name
    removed = r'"deletionTimestamp":\d+'
    for path in (folder / "_delta_log").glob("*checkpoint*"):
        path.unlink()
    for path in (folder / "_delta_log").glob("*.json"):
        path.write_text(re.sub(removed, f'"deletionTimestamp":{then}000', path.read_text()))
    table = lake.open(name)
    assert table is not None
    table.delta.create_checkpoint()
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


def test_a_few_small_files_are_left_alone(lake: Lake) -> None:
    crowd(lake, CROWD - 1)
    assert not tidy(source(lake))


def test_a_crowd_of_small_files_becomes_one_with_the_same_rows(lake: Lake) -> None:
    crowd(lake)
    before = rows(lake, "source")
    assert tidy(source(lake))
    assert rows(lake, "source") == before
    assert len(source(lake).delta.file_uris()) == 1
    assert not crowded(source(lake))


def test_partitions_are_counted_apart(lake: Lake) -> None:
    for number in range(CROWD):
        inbox.announce(lake, f"d{number % 2}", [f"k{number}"], event="test")
    assert not crowded(inbox.open_inbox(lake))


def test_every_cursor_outlives_compaction_checkpoint_and_vacuum(lake: Lake) -> None:
    crowd(lake, 1)
    cursors = [Cursor("raw/a", 7, 1), Cursor("raw/b", 9, 2)]
    source(lake).append(pl.DataFrame(schema=SCHEMA), cursors)
    crowd(lake)
    age(lake, "source")
    (done,) = maintain([source(lake)])
    assert done.compacted
    assert done.removed >= CROWD
    maintain([source(lake)])
    assert [source(lake).cursor(c.source) for c in cursors] == cursors


def test_a_compaction_is_no_change_to_a_reader_of_the_feed(lake: Lake) -> None:
    crowd(lake)
    carry(lake)
    put(lake, {"k000": 100})
    seen = source(lake).version
    assert tidy(source(lake))
    feed = source(lake).changes(seen)
    assert feed is not None
    assert feed.is_empty()
    assert carry(lake).upserted == 1
    assert rows(lake) == rows(lake, "source")


def test_a_compaction_gives_way_to_a_writer_that_came_between(lake: Lake) -> None:
    crowd(lake, CROWD + 2)
    stale = source(lake)
    put(lake, {"k000": 100}, deletes=("k001",))
    expected = rows(lake, "source")
    assert not tidy(stale)
    assert rows(lake, "source") == expected
    assert tidy(source(lake))
    assert rows(lake, "source") == expected


def test_cleaning_takes_nothing_that_is_young(lake: Lake) -> None:
    crowd(lake)
    tidy(source(lake))
    version = source(lake).version
    assert clean(source(lake)) == 0
    assert source(lake).version == version
    assert source(lake).changes(0) is not None


def test_cleaning_takes_old_files_change_data_orphans_and_log(lake: Lake, tmp_path: Path) -> None:
    crowd(lake, CROWD + 2)
    put(lake, {"k000": 100}, deletes=("k001",))
    assert any((tmp_path / "source" / "_change_data").iterdir())
    (tmp_path / "source" / "part-of-a-crash.parquet").write_bytes(b"half")
    assert tidy(source(lake))
    expected = rows(lake, "source")
    age(lake, "source")
    assert clean(source(lake)) > CROWD
    left = {p.name for p in (tmp_path / "source").rglob("*.parquet") if "checkpoint" not in p.name}
    assert left == {Path(uri).name for uri in source(lake).delta.file_uris()}
    assert len(list((tmp_path / "source" / "_delta_log").glob("*.json"))) < 20
    assert rows(lake, "source") == expected


def test_a_reader_that_lags_beyond_retention_compares_whole_tables(lake: Lake) -> None:
    crowd(lake, 3)
    carry(lake)
    crowd(lake)
    put(lake, {}, deletes=("k000",))
    age(lake, "source")
    maintain([source(lake)])
    read = lake.open("target").cursor("source")  # type: ignore[union-attr]
    assert read is not None
    assert source(lake).changes(read.version) is None
    carry(lake)
    assert rows(lake) == rows(lake, "source")


def test_a_hop_tidies_its_target(lake: Lake) -> None:
    for number in range(CROWD + 2):
        put(lake, {f"k{number}": number})
        hop(lambda: lake.ensure("target", SCHEMA), [lambda: source(lake)], copy, key=["k"], code="1")
    target = lake.open("target")
    assert target is not None
    assert len(target.delta.file_uris()) < CROWD
    assert rows(lake) == rows(lake, "source")


def test_the_inbox_of_many_ticks_stays_small(lake: Lake, tmp_path: Path) -> None:
    for number in range(3 * CROWD):
        inbox.announce(lake, "flights", [f"k{number}"], event="test")
    box = inbox.open_inbox(lake)
    assert len(box.delta.file_uris()) < CROWD
    assert box.scan().collect()["key"].n_unique() == 3 * CROWD
    log = tmp_path / "landing" / "inbox" / "_delta_log"
    checkpoint = max(int(p.name.split(".")[0]) for p in log.glob("*.checkpoint.parquet"))
    assert box.version - checkpoint < 20


def test_a_table_is_laid_by_its_z_order_once_and_again_when_it_was_written_to(lake: Lake) -> None:
    crowd(lake, 3)
    orders = {"source": ["v"]}

    def ordered() -> bool:
        (done,) = maintain([source(lake)], orders=orders)
        return done.ordered

    before = rows(lake, "source")
    assert [ordered(), ordered()] == [True, False]
    put(lake, {"k000": 100})
    assert [ordered(), ordered()] == [True, False]
    assert rows(lake, "source") == {**before, "k000": 100}
    assert source(lake).mark(ORDERED) is not None


def test_ordering_gives_way_to_a_writer_that_came_between_and_is_no_change(lake: Lake) -> None:
    crowd(lake, 3)
    carry(lake)
    seen, stale = source(lake).version, source(lake)
    put(lake, {"k000": 100})
    assert not order(stale, ["v"])
    assert order(source(lake), ["v"])
    feed = source(lake).changes(seen + 1)
    assert feed is not None
    assert feed.is_empty()
    carry(lake)
    assert rows(lake) == rows(lake, "source")


def beside(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, write: Callable[[], None]) -> None:
    """Have a writer commit before each call of a method of delta-rs, and after it."""
    real = getattr(owner, name)

    def call(*args: Any, **options: Any) -> Any:
        write()
        done = real(*args, **options)
        write()
        return done

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize(
    ("owner", "name"), [(DeltaTable, "vacuum"), (TableOptimizer, "z_order"), (DeltaTable, "create_checkpoint")]
)
def test_maintenance_gives_way_to_a_writer_that_comes_between_any_two_of_its_steps(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    crowd(lake, CROWD + 2)
    tidy(source(lake))
    age(lake, "source")
    put(lake, {"k000": 100})
    written = iter(range(200, 300))
    beside(monkeypatch, owner, name, lambda: put(lake, {"k000": next(written)}))
    for _ in range(2):
        maintain([source(lake)], orders={"source": ["v"]})
    monkeypatch.undo()
    expected = {f"k{n:03}": n for n in range(CROWD + 2)}
    assert rows(lake, "source") == {**expected, "k000": next(written) - 1}
    (done,) = maintain([source(lake)], orders={"source": ["v"]})
    assert done.ordered


def test_a_table_is_cleaned_though_a_writer_came_before_its_files_were_listed(lake: Lake) -> None:
    crowd(lake, CROWD + 2)
    tidy(source(lake))
    age(lake, "source")
    put(lake, {"k000": 100})
    stale = source(lake)
    put(lake, {"k000": 200})
    assert clean(stale) >= CROWD
    assert rows(lake, "source")["k000"] == 200


def test_maintenance_tells_files_and_bytes_before_and_after(lake: Lake) -> None:
    crowd(lake)
    age(lake, "source")
    (done,) = maintain([source(lake)])
    there = [p for p in (Path(lake.root) / "source").rglob("*") if p.is_file() and not p.name.startswith(".")]
    assert (done.after.files, done.after.bytes) == (len(there), sum(p.stat().st_size for p in there))
    assert done.before.files > done.after.files
    assert done.before.bytes > done.after.bytes


@pytest.mark.slow
def test_two_thousand_tiny_files_leave_a_bounded_number_and_a_sleeper_ends_right(lake: Lake) -> None:
    """A reader read the first row, slept through the other commits and retention, and takes the difference."""
    put(lake, {"k0": 0})
    carry(lake)
    most = 0
    for number in range(2000):
        put(lake, {f"k{number % 700}": number}, deletes=(f"k{(number + 350) % 700}",))
        tidy(source(lake))
        most = max(most, len(source(lake).delta.file_uris())) if number % 50 == 0 else most
    assert most <= 2 * CROWD
    age(lake, "source")
    (done,) = maintain([source(lake)])
    assert done.before.files > 2000
    assert done.after.files < 2 * CROWD
    carry(lake)
    assert rows(lake) == rows(lake, "source")


def test_what_a_dying_write_left_half_done_on_a_disk_goes_after_retention(lake: Lake) -> None:
    crowd(lake, 1)
    folder = Path(lake.root) / "source"
    old, young = folder / "part-1.parquet#1", folder / "part-2.parquet#1"
    for path in (old, young):
        path.write_bytes(b"half")
    past = time.time() - RETENTION.total_seconds() - 60
    os.utime(old, (past, past))
    before = rows(lake, "source")
    clean(source(lake))
    assert (old.exists(), young.exists()) == (False, True)
    assert rows(lake, "source") == before


def test_the_files_of_a_table_that_has_too_many_grow(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(delta.CONFIGURATION, delta.FILE_SIZE, "1000")
    monkeypatch.setattr(delta, "FILES", 4)
    crowd(lake)
    rows = source(lake).scan().collect()
    assert source(lake).file_size == 1_000
    whole = int(source(lake).files["size_bytes"].sum())
    maintain([source(lake)])
    assert source(lake).file_size == whole // 4 > 2_000
    assert source(lake).scan().collect().sort("k").equals(rows.sort("k"))
    before = source(lake).version
    maintain([source(lake)])
    assert source(lake).version == before
