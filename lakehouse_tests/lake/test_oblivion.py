"""A table forgets what stood there before, beside whoever is writing."""

import os
import time
from pathlib import Path

import polars as pl
import pytest

from lakehouse.lake import Conflict, Lake, Table, maintain, oblivion
from lakehouse.lake.oblivion import forget, places
from lakehouse.lake.table import Cursor

ANN = "ann@example.org"
ROWS = pl.DataFrame({"k": [ANN, "bob"]})
CURSOR = [Cursor("source", 1, 1)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with a table from which a row was deleted."""
    lake = Lake(str(tmp_path))
    table = lake.ensure("cleaned/t", ROWS.schema, key=["k"])
    table.append(ROWS, indexed=["k"])
    table.apply(ROWS.clear(), ROWS.head(1), ["k"])
    return lake


def opened(lake: Lake) -> Table:
    table = lake.open("cleaned/t")
    assert table is not None
    return table


def left(lake: Lake) -> list[str]:
    files = [path for path in Path(lake.root).rglob("*") if path.is_file()]
    return [str(path) for path in files if ANN.encode() in path.read_bytes()]


def is_ann(rows: pl.DataFrame) -> bool:
    return ANN in rows["k"]


def test_dead_files_change_data_and_statistics_go_and_rows_and_commits_stay(lake: Lake) -> None:
    assert left(lake)
    version = opened(lake).version
    done = forget(opened(lake), is_ann, fenced=True)
    assert left(lake) == []
    assert done.files == 2
    table = opened(lake)
    assert table.scan().collect()["k"].to_list() == ["bob"]
    assert [one["version"] for one in table.delta.history()] == [*reversed(range(version + 2))]
    assert table.changes(0) is None
    assert places(lake) == ["cleaned/t"]


def test_a_writer_who_looked_before_is_refused_or_comes_behind_and_is_never_lost(lake: Lake) -> None:
    fenced, free = opened(lake), opened(lake)
    forget(opened(lake), is_ann, fenced=True)
    with pytest.raises(Conflict):
        fenced.append(pl.DataFrame({"k": ["eve"]}), CURSOR)
    free.append(pl.DataFrame({"k": ["carl"]}))
    assert sorted(opened(lake).scan().collect()["k"]) == ["bob", "carl"]
    assert free.count == 2


def test_a_file_that_a_writer_has_yet_to_commit_is_left_alone(lake: Lake) -> None:
    table = opened(lake)
    action = table._file({}, pl.DataFrame({"k": [ANN]}), [])
    done = forget(opened(lake), is_ann, fenced=False)
    assert done.left == 1
    kept = pl.read_parquet(Path(lake.root) / "cleaned/t" / action.path)
    assert kept["k"].to_list() == [ANN]
    assert forget(opened(lake), is_ann, fenced=True).left == 0


def test_what_a_refused_writer_leaves_goes_with_the_next_maintenance(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = opened(lake)
    forget(opened(lake), is_ann, fenced=True)
    with pytest.raises(Conflict):
        late.append(pl.DataFrame({"k": [ANN]}), CURSOR)
    maintain([opened(lake)])
    strays = [path for path in (Path(lake.root) / "cleaned/t").glob("*.parquet")]
    assert len(strays) == 2
    monkeypatch.setattr(oblivion, "ALIVE", -1)
    maintain([opened(lake)])
    assert opened(lake).scan().collect()["k"].to_list() == ["bob"]
    assert len([path for path in strays if path.exists()]) == 1


def test_who_has_written_files_for_too_long_is_refused_before_they_are_deleted(lake: Lake) -> None:
    forget(opened(lake), is_ann, fenced=True)
    slow = opened(lake)
    written = slow.write(pl.DataFrame({"k": ["eve"]}), ["k"], {})
    then = time.time() - oblivion.ALIVE - 1
    for path in Path(lake.root).rglob("*.parquet"):
        os.utime(path, (then, then))
    maintain([opened(lake)])
    with pytest.raises(Conflict):
        slow.append(ROWS.clear(), CURSOR, written=[written])
    assert opened(lake).scan().collect()["k"].to_list() == ["bob"]


def test_what_strays_is_left_to_the_next_maintenance_where_a_writer_comes_between(lake: Lake) -> None:
    forget(opened(lake), is_ann, fenced=True)
    path = Path(lake.root) / "cleaned/t" / opened(lake)._file({}, pl.DataFrame({"k": [ANN]}), []).path
    os.utime(path, (time.time() - 2 * oblivion.ALIVE,) * 2)
    stale = opened(lake)
    opened(lake).overwrite(pl.DataFrame({"k": ["bob"], "other": [1]}), CURSOR)
    maintain([stale])
    assert path.exists()
    maintain([opened(lake)])
    assert not path.exists()
