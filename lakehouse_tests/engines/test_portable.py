"""What engines would not compute alike is refused before anything is computed."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl
import pytest

from lakehouse.dataset import DeclarationError, Serving
from lakehouse.engines import NotPortable, compute
from lakehouse.engines.portable import FRAME, OPERANDS, columns, is_portable
from lakehouse.layers import porting
from lakehouse.settings import SettingError, Settings
from lakehouse_tests.engines.punctual import DATASETS, FLIGHTS

KINDS = {"key": pl.String(), "n": pl.Int32(), "w": pl.Int64(), "x": pl.Float64(), "at": pl.Datetime("us", "UTC")}

REFUSED: dict[str, Callable[[nw.LazyFrame], Any]] = {
    "round": lambda rows: rows.select(nw.col("x").round(2)),
    "sum of float": lambda rows: rows.group_by("key").agg(nw.col("x").sum()),
    "sum of boolean": lambda rows: rows.group_by("key").agg((nw.col("n") > 1).sum()),
    "sum of short integer": lambda rows: rows.group_by("key").agg(nw.col("n").sum()),
    "min of float": lambda rows: rows.select(nw.col("x").min()),
    "dt.weekday": lambda rows: rows.filter(nw.col("at").dt.weekday() == 7),
    "dt.convert_time_zone": lambda rows: rows.select(nw.col("at").dt.convert_time_zone("America/New_York")),
    "str.replace": lambda rows: rows.select(nw.col("key").str.replace("a", "b")),
    "str.contains": lambda rows: rows.filter(nw.col("key").str.contains("^a")),
    "map_batches": lambda rows: rows.with_columns(nw.col("n").map_batches(lambda s: s)),
    "__truediv__": lambda rows: rows.select(nw.col("w") / 3),
    "cast of text": lambda rows: rows.select(nw.col("key").cast(nw.Int64)),
    "cast of time": lambda rows: rows.select(nw.col("at").cast(nw.String)),
    "fill_null": lambda rows: rows.select(nw.col("w").fill_null(strategy="forward").over("key", order_by="at")),
    "over": lambda rows: rows.select(nw.col("w").sum().over("key", order_by="at")),
    "over by float": lambda rows: rows.select(nw.col("w").sum().over("x")),
    "group_by by float": lambda rows: rows.group_by("x").agg(nw.len()),
    "join by float": lambda rows: rows.join(rows, on="x"),
    "unique by float": lambda rows: rows.unique(),
    "unique of some columns": lambda rows: rows.unique("key", keep="any"),
    "LazyFrame.join_asof": lambda rows: rows.join_asof(rows, on="at"),
    "LazyFrame.head": lambda rows: rows.head(3),
    "LazyFrame.to_native": lambda rows: rows.to_native().select("n"),
    "LazyFrame.collect": lambda rows: rows.collect().lazy(),
    "round in a condition": lambda rows: rows.select(nw.when(nw.col("x").round(1) > 1).then("n")),
    "round in a key": lambda rows: rows.group_by(nw.col("x").round(1)).agg(nw.len()),
    "round after a join": lambda rows: rows.join(rows, on="key").select(nw.col("x_right").round()),
    "round in a list": lambda rows: rows.select([[nw.col("x").round()]]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_engines_differ_on_is_refused_by_name(what: str) -> None:
    with pytest.raises(NotPortable, match=re.escape(what.split(" in ")[0].split(" after ")[0])):
        columns(REFUSED[what], [KINDS])


def test_the_columns_are_those_that_polars_gives() -> None:
    def counted(rows: nw.LazyFrame) -> nw.LazyFrame:
        return rows.group_by("key").agg(nw.len().alias("rows"), nw.col("n").mean())

    assert columns(counted, [KINDS]) == {"key": pl.String, "rows": pl.get_index_type(), "n": pl.Float64}
    assert compute(counted, [pl.DataFrame(schema=KINDS)]).schema == columns(counted, [KINDS])


def test_a_function_is_portable_by_the_frames_that_it_names() -> None:
    def ours(rows: nw.LazyFrame) -> None: ...
    def theirs(rows: pl.LazyFrame) -> None: ...
    def told(rows: "nw.LazyFrame", others: "Unknown") -> None: ...  # type: ignore[name-defined]  # noqa: F821
    def plain(rows): ...  # type: ignore[no-untyped-def]

    assert [is_portable(one) for one in (ours, theirs, plain)] == [True, False, False]
    with pytest.raises(NotPortable, match="either all"):
        is_portable(told)


def rounded(flights: nw.LazyFrame) -> nw.LazyFrame:
    return flights.group_by("carrier").agg(nw.col("arr_delay").mean().round(2))


def numbered(raw: nw.LazyFrame) -> nw.LazyFrame:
    return raw.with_columns(flight=nw.col("flight").cast(nw.Int64))


def widened(raw: nw.LazyFrame) -> nw.LazyFrame:
    return raw.with_columns(carrier=nw.col("airline"))


def test_definitions_do_not_load_with_what_engines_differ_on() -> None:
    porting.refuse(DATASETS)
    with pytest.raises(DeclarationError, match=r"rounded: .*round is not the same on every engine"):
        porting.refuse(DATASETS | {"flights": replace(FLIGHTS, serving=[Serving(rounded, key="carrier")])})
    with pytest.raises(DeclarationError, match=r"flights: .*cast of text .*leave the reading of text"):
        porting.refuse(DATASETS | {"flights": replace(FLIGHTS, clean=numbered)})
    porting.refuse(DATASETS | {"flights": replace(FLIGHTS, clean=widened)})


def test_the_page_lists_what_is_let_through() -> None:
    page = (Path(__file__).parents[2] / "docs" / "engines.md").read_text()
    names = {name for name in OPERANDS if not name.startswith("__")} - {"when_then", "clip_lower", "clip_upper"}
    assert [name for name in sorted(names | FRAME) if f"`{name}`" not in page] == []


def test_an_engine_that_nobody_knows_is_refused() -> None:
    with pytest.raises(SettingError, match="LAKEHOUSE_ENGINE is 'daft'"):
        Settings.load({"LAKEHOUSE_ENGINE": "daft"})
    assert Settings.load({}).engine == "polars"
