"""The door to Delta: what an upsert reads, writes and leaves alone."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from lakehouse.lake import Lake
from lakehouse.lake.table import Applied

MOMENT = datetime(2013, 7, 1, 0, 0, 0, 1, UTC)
KEYS: dict[str, Callable[[int], object]] = {
    "integer": lambda i: i,
    "text": lambda i: f"it's {i:04}",
    "moment": lambda i: MOMENT + timedelta(hours=i),
    "local moment": lambda i: MOMENT.replace(tzinfo=None) + timedelta(hours=i),
    "microsecond": lambda i: MOMENT + timedelta(microseconds=i),
    "date": lambda i: date(2013, 7, 1) + timedelta(days=i),
}


def frame(kind: str, numbers: range, value: int) -> pl.DataFrame:
    found = pl.DataFrame({"k": [KEYS[kind](i) for i in numbers], "part": [0] * len(numbers)})
    return found.with_columns(v=pl.lit(value, pl.Int64))


def upsert(lake: Lake, rows: pl.DataFrame, deletes: pl.DataFrame | None = None) -> None:
    none = rows.clear() if deletes is None else deletes
    lake.ensure("a/b", rows.schema).apply(rows, none.select("k", "part"), ["k", "part"])


@pytest.mark.parametrize("kind", KEYS)
def test_an_upsert_changes_the_named_keys_alone(tmp_path: Path, kind: str) -> None:
    lake = Lake(str(tmp_path))
    upsert(lake, frame(kind, range(10), 0))
    upsert(lake, frame(kind, range(5, 12), 1), deletes=frame(kind, range(3), 0))
    table = lake.open("a/b")
    assert table is not None
    held = dict(table.scan().select("k", "v").collect().iter_rows())
    assert held == {KEYS[kind](i): int(i >= 5) for i in range(3, 12)}


@pytest.mark.parametrize("kind", sorted(KEYS.keys() - {"microsecond"}))
def test_an_upsert_reads_only_files_that_may_hold_its_keys(tmp_path: Path, kind: str) -> None:
    lake = Lake(str(tmp_path))
    for start in (0, 10, 20):
        upsert(lake, frame(kind, range(start, start + 10), 0))
    table = lake.open("a/b")
    assert table is not None
    files = pl.DataFrame(table.delta.get_add_actions(flatten=True)).sort("min.k")["path"]
    for outside in (files[0], files[2]):
        (tmp_path / "a" / "b" / outside).unlink()
    upsert(lake, frame(kind, range(12, 14), 1))
    table.delta.update_incremental()
    assert table.delta.history(1)[0]["operationMetrics"]["num_target_rows_updated"] == 2


def test_keys_a_microsecond_apart_are_found_though_statistics_hold_milliseconds(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    for start in (0, 1000):
        upsert(lake, frame("microsecond", range(start, start + 800), 0))
    upsert(lake, frame("microsecond", range(798, 1002), 1))
    table = lake.open("a/b")
    assert table is not None
    assert table.scan().collect().height == 1800
    assert table.scan().filter(pl.col("k") == KEYS["microsecond"](799)).collect()["v"].to_list() == [1]


def test_a_moment_in_another_zone_is_the_same_key(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    upsert(lake, frame("moment", range(3), 0))
    there = frame("moment", range(1, 2), 1).with_columns(pl.col("k").dt.convert_time_zone("America/New_York"))
    upsert(lake, there)
    table = lake.open("a/b")
    assert table is not None
    assert table.scan().select("v").collect()["v"].sort().to_list() == [0, 0, 1]


def test_null_values_are_written_over_and_stay_apart_from_keys(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    upsert(lake, frame("moment", range(3), 0))
    upsert(lake, frame("moment", range(2), 0).with_columns(v=pl.lit(None, pl.Int64)))
    table = lake.open("a/b")
    assert table is not None
    assert table.scan().sort("k").collect()["v"].to_list() == [None, None, 0]


def test_an_append_without_a_cursor_lands_behind_another_commit(tmp_path: Path) -> None:
    lake, rows = Lake(str(tmp_path)), frame("integer", range(1), 0)
    first, second = (lake.ensure("a/b", rows.schema) for _ in range(2))
    first.append(rows)
    second.append(rows)
    assert second.version == 2


def test_appended_files_say_what_they_hold_and_new_columns_join(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    first = pl.DataFrame({"part": ["a", "b", "b"], "k": ["y", "z", "x"], "n": [None, 1, 2]})
    lake.ensure("a/b", first.schema, ["part"]).append(first, indexed=["k", "n"])
    table = lake.open("a/b")
    assert table is not None
    table.append(first.head(1).with_columns(more=pl.lit("new")))
    files = pl.DataFrame(table.delta.get_add_actions(flatten=True)).sort("partition.part", "modification_time")
    told = files.select("num_records", "min.k", "max.k", "min.n", "max.n", "null_count.n").rows()
    assert told == [(1, "y", "y", None, None, 1), (1, None, None, None, None, None), (2, "x", "z", 1, 2, 0)]
    for path, size in files.select("path", "size_bytes").iter_rows():
        assert (tmp_path / "a" / "b" / path).stat().st_size == size
    assert table.scan().filter(pl.col("more").is_null()).collect().height == 3
    fed = table.changes(0)
    assert fed is not None
    assert sorted(fed["k"]) == ["x", "y", "y", "z"]


def test_rows_of_another_type_than_the_table_are_not_committed(tmp_path: Path) -> None:
    table = Lake(str(tmp_path)).ensure("a/b", pl.Schema({"k": pl.Int64}))
    with pytest.raises(pl.exceptions.InvalidOperationError):
        table.append(pl.DataFrame({"k": ["one"]}))
    assert table.version == 0


def test_a_written_file_is_no_part_of_its_table_until_an_append_adds_it(tmp_path: Path) -> None:
    made = Lake(str(tmp_path)).ensure("t", pl.Schema({"p": pl.String, "v": pl.Int64}), partition_by=["p"])
    files = [made.write(pl.DataFrame({"v": [n], "w": [str(n)]}), ["v"], {"p": "a"}) for n in (1, 2)]
    assert made.scan().collect().is_empty()
    made.append(pl.DataFrame({"p": ["b"], "v": [3]}), written=files[:1])
    assert made.scan().sort("v").select("p", "v", "w").collect().rows() == [("a", 1, "1"), ("b", 3, None)]


ANY = pl.DataFrame(
    {
        "k": [1, 2],
        "float": [float("nan"), None],
        "binary": [b"", None],
        "structs": [[{"a": 1, "b": None}], None],
        "texts": [["a", None], None],
        "deep": [{"x": {"y": [1.5, float("nan")]}}, None],
        "moment": [MOMENT, None],
        "local": [MOMENT.replace(tzinfo=None), None],
        "day": [date(1, 1, 1), None],
        "exact": [Decimal("1.10"), None],
        "so": [False, None],
    },
    schema_overrides={"exact": pl.Decimal(10, 2)},
)


def test_of_any_type_a_row_that_stands_so_is_left_and_one_with_a_null_instead_is_another(tmp_path: Path) -> None:
    lake, none = Lake(str(tmp_path)), ANY.clear().select("k")
    first = lake.ensure("any", ANY.schema).apply(ANY, none, ["k"])

    def again(rows: pl.DataFrame) -> Applied:
        return lake.ensure("any", ANY.schema).apply(rows, none, ["k"], (), {}, True)

    assert again(ANY) == Applied(first.version)
    values = ANY.columns[1:]
    for name in values:
        told = again(
            ANY.with_columns(pl.lit(None, ANY.schema[c]).alias(c) for c in values[: values.index(name) + 1])
        )
        assert (name, told.inserted, told.updated) == (name, 0, 1)


def test_an_upsert_tells_what_it_wrote_anew_and_what_it_copied(tmp_path: Path) -> None:
    lake, none = Lake(str(tmp_path)), frame("integer", range(0), 0).select("k")
    for start in (0, 10):
        upsert(lake, frame("integer", range(start, start + 10), 0))
    table = lake.open("a/b")
    assert table is not None
    done = table.apply(frame("integer", range(8, 11), 1), none, ["k"])
    assert (done.inserted, done.updated, done.deleted) == (0, 3, 0)
    assert (done.rewritten, done.copied) == (2, 17)


def test_a_null_in_a_key_is_one_key(tmp_path: Path) -> None:
    lake, none = Lake(str(tmp_path)), pl.DataFrame(schema={"k": pl.String})
    for value in (1, 2):
        rows = pl.DataFrame({"k": [None, "a"], "v": [value, value]})
        lake.ensure("t", rows.schema, key=["k"]).apply(rows, none, ["k"])
    table = lake.ensure("t", rows.schema, key=["k"])
    assert table.scan().sort("k").collect().rows() == [(None, 2), ("a", 2)]
    table.apply(rows.clear(), pl.DataFrame({"k": [None]}, schema=none.schema), ["k"])
    assert table.scan().collect().rows() == [("a", 2)]
