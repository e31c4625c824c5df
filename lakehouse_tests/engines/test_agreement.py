"""What a portable function may say is computed on Polars and on Sail, and comes to the same values."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from itertools import product
from typing import Any

import narwhals as nw
import polars as pl
import pytest
from narwhals import col
from polars.testing import assert_frame_equal, assert_series_equal

from lakehouse.engines import compute, portable
from lakehouse.engines.portable import ANY, INTEGER, OPERANDS, OTHER

pytestmark = pytest.mark.slow

FIRST, EPOCH, WINTER, SPRING = (
    datetime(1900, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
    datetime(2013, 12, 29, tzinfo=UTC),
    datetime(2013, 3, 10, 6, 59, 59, 999_999, tzinfo=UTC),
)
LEAP = datetime(2024, 2, 29, 12, tzinfo=UTC)
NAN, INF = float("nan"), float("inf")
TIMES = [SPRING, EPOCH, None, WINTER, FIRST, LEAP, datetime(2013, 11, 3, 6, tzinfo=UTC), WINTER]
ROWS = pl.DataFrame(
    {
        "id": range(8),
        "group": ["a", "a", "a", "b", "b", "c", None, None],
        "i": pl.Series([1, -7, None, 2**31 - 1, 5, None, 0, 3], dtype=pl.Int32),
        "z": pl.Series([2, -2, 3, 0, None, 5, -3, 2], dtype=pl.Int32),
        "j": [2**40, -3, 7, None, -(2**40), None, 2, 2**53 + 1],
        "k": [2, -2, 3, 0, None, 5, -3, 2],
        "f": [1.5, -2.5, None, NAN, INF, None, -0.0, 0.125],
        "h": [0.1, 0.2, None, 2.675, -1.005, None, 1e16, 2.5],
        "s": ["Ab c", " x ", None, "ÄÖß", "", " \tz\n", "a.b", "ǅİ😀x"],
        "u": ["b", "a", None, "a", "Z", "z", "ä", ""],
        "b": [True, False, None, True, None, None, False, False],
        "c": [None, True, False, True, None, None, False, True],
        "t": TIMES,
        "v": TIMES[::-1],
        "n": [t and t.replace(tzinfo=None) for t in TIMES],
        "m": [t and t.replace(tzinfo=None) for t in TIMES[::-1]],
        "d": [t and t.date() for t in TIMES],
        "e": [t and t.date() for t in TIMES[::-1]],
        "l": [[1], [], None, [2, 3], [None], [4], None, []],
    },
    schema_overrides={"t": pl.Datetime("us", "UTC"), "v": pl.Datetime("us", "UTC")},
)
OTHERS = pl.DataFrame({"group": ["a", "c", None, "q"], "k": [2, 5, None, 9], "w": [10, 20, 30, 40]})
PAIRS = [
    ("i", "z"),
    ("j", "k"),
    ("i", "j"),
    ("f", "h"),
    ("s", "u"),
    ("b", "c"),
    ("t", "v"),
    ("n", "m"),
    ("d", "e"),
]
VALUES = {"i": 2, "j": 2, "f": 1.5, "s": "a.b", "b": True, "t": WINTER, "d": date(2013, 12, 29)}


def rowwise() -> dict[str, nw.Expr]:
    """Expressions of one row."""
    compared = ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__")
    reckoned = ("__add__", "__sub__", "__mul__", "__radd__", "__rsub__", "__rmul__")
    found: dict[str, nw.Expr] = {}
    for name, (one, other) in product(compared, PAIRS):
        found[f"{one} {name} {other}"] = getattr(col(one), name)(col(other))
    for name, (one, value) in product(compared, VALUES.items()):
        found[f"{one} {name} {value}"] = getattr(col(one), name)(nw.lit(value))
    for name, (one, other) in product(reckoned, [("j", "k"), ("k", "j"), ("f", "h"), ("h", "f"), ("k", "h")]):
        found[f"{one} {name} {other}"] = getattr(col(one), name)(col(other))
    for name, one in product(("__radd__", "__rsub__", "__rmul__"), ("k", "h")):
        found[f"{name} {one}"] = getattr(col(one), name)(7)
    for one in ("j", "f", "h"):
        found |= {f"-{one}": -col(one), f"abs {one}": col(one).abs()}
    for one in ROWS.columns:
        found |= {f"{one} is null": col(one).is_null(), f"alias {one}": col(one).alias("other")}
    for one, value in VALUES.items():
        found |= {
            f"{one} or {value}": nw.coalesce(one, nw.lit(value)),
            f"{one} in {value}": col(one).is_in([value]),
            f"{one} from {value}": col(one).is_between(nw.lit(value), nw.lit(value), closed="left"),
        }
    for one in "ijfsb":
        found[f"{one} else {VALUES[one]}"] = col(one).fill_null(VALUES[one])
    for one, other in PAIRS:
        if one != "i" or other != "j":
            found[f"{one} or {other}"] = nw.coalesce(one, other)
            found[f"{one} if b else {other}"] = nw.when(col("b")).then(one).otherwise(other)
        found[f"{one} between {other}"] = col(one).is_between(col(other), col(other))
    found["if without else"] = nw.when(col("i") > 1, col("b")).then(col("s"))
    for one, kind in [*product("izjb", (nw.Int64, nw.Float64, nw.String))]:
        found[f"{one} as {kind}"] = col(one).cast(kind)
    for one in ("f", "h"):
        found |= {f"root {one}": col(one).sqrt(), f"nan {one}": col(one).is_nan()}
        found |= {f"finite {one}": col(one).is_finite(), f"no nan {one}": col(one).fill_nan(0.0)}
    found |= {
        "clip": col("j").clip(0, 3),
        "at least": col("j").clip(lower_bound=0),
        "at most": col("j").clip(upper_bound=col("k")),
        "sum": nw.sum_horizontal("j", "k"),
        "least": nw.min_horizontal("j", "k"),
        "most": nw.max_horizontal("j", "k"),
        "and": col("b") & col("c"),
        "or": col("b") | col("c"),
        "not": ~col("b"),
        "all": nw.all_horizontal("b", "c", ignore_nulls=False),
        "all there": nw.all_horizontal("b", "c", ignore_nulls=True),
        "any": nw.any_horizontal("b", "c", ignore_nulls=False),
        "any there": nw.any_horizontal("b", "c", ignore_nulls=True),
        "lower": col("s").str.to_lowercase(),
        "upper": col("s").str.to_uppercase(),
        "length": col("s").str.len_chars(),
        "stripped": col("s").str.strip_chars(),
        "stripped of": col("s").str.strip_chars(" x"),
        "slice": col("s").str.slice(1, 2),
        "head": col("s").str.head(2),
        "tail": col("s").str.tail(2),
        "starts": col("s").str.starts_with("A"),
        "ends": col("s").str.ends_with("x"),
        "contains": col("s").str.contains("a.b", literal=True),
        "replaced": col("s").str.replace_all(".", r"$1\\", literal=True),
        "joined": nw.concat_str("s", "u", separator="-"),
        "joined there": nw.concat_str("s", "u", separator="-", ignore_nulls=True),
    }
    for one, part in product("tnd", ("year", "month", "day", "ordinal_day")):
        found[f"{part} of {one}"] = getattr(col(one).dt, part)()
    for one, part in product("tn", ("hour", "minute", "second", "date")):
        found[f"{part} of {one}"] = getattr(col(one).dt, part)()
    for one, unit in product("tn", ("y", "q", "mo", "d", "h", "m", "s")):
        found[f"{one} by 1{unit}"] = col(one).dt.truncate(f"1{unit}")
    found |= {f"{kind} value": nw.lit(value) for kind, value in VALUES.items()}
    return found


def grouped() -> dict[str, nw.Expr]:
    """Expressions of a group."""
    found = {"len": nw.len(), "any": col("b").any(), "all": col("b").all()}
    for one in ROWS.columns:
        found |= {f"count {one}": col(one).count(), f"nulls {one}": col(one).null_count()}
    for name, one in product(("min", "max"), "izjksubctnd"):
        found[f"{name} {one}"] = getattr(col(one), name)()
    for name, one in product(("mean", "median"), "izk"):
        found[f"{name} {one}"] = getattr(col(one), name)()
    found |= {"sum k": col("k").sum(), "sum j": col("j").sum()}
    found["counted"] = (col("i") > 1).cast(nw.Int64).sum()
    return found


def beside() -> dict[str, nw.Expr]:
    """Expressions of a row beside its group."""
    ranks = [col(one).rank(method) for one in "zk" for method in ("min", "max", "dense")]  # type: ignore[arg-type]
    within = {f"{rank} in its group": rank.over("group") for rank in ranks}
    return within | {f"{name} in its group": one.over("group") for name, one in grouped().items()}


def selected(frame: nw.LazyFrame) -> nw.LazyFrame:
    found = [*rowwise().values(), *beside().values()]
    return frame.select("id", **{f"_{place}": one for place, one in enumerate(found)})


def aggregated(frame: nw.LazyFrame) -> nw.LazyFrame:
    return frame.group_by("group").agg(**{f"_{place}": one for place, one in enumerate(grouped().values())})


def of_nothing(frame: nw.LazyFrame) -> nw.LazyFrame:
    return frame.filter(col("id") > 99).select(
        **{f"_{place}": one for place, one in enumerate(grouped().values())}
    )


def same(function: Callable[..., Any], names: list[str], by: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = compute(function, [ROWS]).sort(by)
    with monkeypatch.context() as here:
        here.setenv("LAKEHOUSE_ENGINE", "polars")
        wanted = compute(function, [ROWS]).sort(by)
    wrong = []
    for name, one, other in zip(names, found.drop(by), wanted.drop(by), strict=True):
        try:
            assert_series_equal(one, other, check_exact=True)
        except AssertionError as error:
            wrong.append(f"{name}: {error}")
    assert wrong == []


def test_expressions_of_a_row_agree(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    same(selected, [*rowwise(), *beside()], ["id"], monkeypatch)


@pytest.mark.parametrize(("function", "by"), [(aggregated, ["group"]), (of_nothing, [])])
def test_expressions_of_a_group_agree(
    engine: str, monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any], by: list[str]
) -> None:
    same(function, [*grouped()], by, monkeypatch)


def frames() -> list[Callable[..., nw.LazyFrame]]:
    """What is done with whole frames."""
    keyed = ROWS.drop("l", "f", "h").columns
    ways: list[Any] = ["inner", "left", "full", "semi", "anti"]
    return [
        *(lambda one, other, how=how: one.join(other, on="group", how=how) for how in ways),
        *(lambda one, other, how=how: one.join(other, on=["group", "k"], how=how) for how in ways),
        *(
            lambda one, other, how=how: one.join(other, left_on="u", right_on="group", how=how)
            for how in ways
            if how != "full"
        ),
        lambda one, other: one.select("id").join(other, how="cross"),
        lambda one, _: one.filter(col("i") > 1, col("b")),
        lambda one, _: one.filter(~(col("i") > 1)),
        lambda one, _: one.with_columns(i=col("z"), more=nw.lit(1)).drop("f"),
        lambda one, _: one.rename({"i": "I2"}),
        lambda one, _: one.drop_nulls("s"),
        lambda one, _: one.drop_nulls(),
        lambda one, _: one.select("group", "b").unique(),
        lambda one, _: one.select(*keyed).unique(),
        lambda one, _: one.group_by("group", drop_null_keys=True).agg(nw.len()),
        lambda one, _: one.group_by("group", "b").agg(nw.len()),
        lambda one, _: one.group_by(col("i").is_null().alias("none")).agg(nw.len()),
        lambda one, other: nw.concat([one.select("group"), other.select("group")]),
        lambda one, _: one.select(nw.all().count()),
        lambda one, _: one.select(nw.exclude("l").null_count()),
        lambda one, _: one.pipe(lambda frame: frame.select("d", "t")),
    ]


@pytest.mark.parametrize("place", range(len(frames())))
def test_frames_agree(engine: str, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    def function(one: nw.LazyFrame, other: nw.LazyFrame) -> nw.LazyFrame:
        return frames()[place](one, other)

    found = compute(function, [ROWS, OTHERS])
    monkeypatch.setenv("LAKEHOUSE_ENGINE", "polars")
    wanted = compute(function, [ROWS, OTHERS])
    assert_frame_equal(found, wanted, check_row_order=False, check_exact=True)


def test_every_expression_that_is_let_through_is_tried_on_each_kind_of_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: set[tuple[str, str]] = set()
    allow = portable._allow

    def told(name: str, more: Any, kinds: list[str]) -> None:
        tried.update((name, kind) for kind in kinds or ["nothing"])
        allow(name, more, kinds)

    monkeypatch.setattr(portable, "_allow", told)
    for function in (selected, aggregated):
        portable.columns(function, [ROWS.schema])
    for whole in frames():
        portable.columns(whole, [ROWS.schema, OTHERS.schema])
    sources = {"col", "all", "exclude", "lit", "len"}
    wanted = {(name, kind) for name, kinds in OPERANDS.items() if name not in sources for kind in kinds}
    wanted |= {(name, "nothing") for name in sources}
    assert wanted - tried <= {("over", OTHER), *(("over", kind) for kind in ANY - INTEGER)}
