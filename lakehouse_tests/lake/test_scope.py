"""Rows by keys: all that a join finds, from the files that can hold them."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from lakehouse.lake import Lake, Table
from lakehouse.lake.scope import typed, within

MOMENT = datetime(2013, 7, 1, 0, 0, 0, 1, UTC)
VALUES = {
    "integer": list(range(40)),
    "text": [f"{i:02}{'long' * 20}" for i in range(40)],
    "moment": [MOMENT + timedelta(microseconds=333 * i) for i in range(40)],
    "date": [date(1600, 1, 1) + timedelta(days=i) for i in range(40)],
    "fraction": [float("nan"), *(i / 3 for i in range(39))],
    "decimal": [Decimal(1123456789012345678 + i).scaleb(-18) for i in range(40)],
    "truth": [i % 2 == 0 for i in range(40)],
}


def table(root: Path, values: list[object]) -> Table:
    """Four files of ten rows, and one of a null."""
    lake, rows = Lake(str(root)), pl.DataFrame({"k": values, "n": range(len(values))}, strict=False)
    nothing = pl.DataFrame({"k": [None], "n": [-1]}, schema=rows.schema)
    for part in [*rows.iter_slices(10), nothing]:
        lake.ensure("a/b", rows.schema).apply(part, part.clear().select("n"), ["n"])
    found = lake.open("a/b")
    assert found is not None
    return found


@pytest.mark.parametrize("kind", VALUES)
def test_the_rows_of_some_keys_are_those_that_a_join_finds(tmp_path: Path, kind: str) -> None:
    rows = table(tmp_path, VALUES[kind]).scan()
    for at in ([], [3], [3, 17, 17, 40], list(range(41)), list(range(0, 41, 3)), [40]):
        keys = rows.collect().select("k")[[*at]]
        joined = rows.join(keys.lazy(), on="k", how="semi", nulls_equal=True)
        assert within(rows, keys).sort("n").collect().equals(joined.sort("n").collect())
        assert within(rows, keys).collect().height >= len(set(at))


@pytest.mark.parametrize("kind", ["integer", "text", "moment", "date"])
def test_files_that_hold_none_of_the_keys_are_not_read(tmp_path: Path, kind: str) -> None:
    spread = [one for number, one in enumerate(VALUES[kind]) if number < 10 or number >= 30]
    found = table(tmp_path, [*VALUES[kind][10:30], *spread])
    files = pl.DataFrame(found.delta.get_add_actions(flatten=True)).filter(
        pl.col("min.k") == pl.col("min.k").max()
    )
    keys = found.scan().filter(pl.col("n").is_between(12, 13)).select("k").collect()
    for path in files["path"]:
        (tmp_path / "a" / "b" / path).unlink()
    assert within(found.scan(), keys).collect().height == 2


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (pl.String(), "7", "7"),
        (pl.Int64(), "7", 7),
        (pl.Int64(), "seven", None),
        (pl.Decimal(10, 2), "1.5", Decimal("1.50")),
        (pl.Boolean(), "True", True),
        (pl.Boolean(), "yes", None),
        (pl.Date(), "2013-01-02", date(2013, 1, 2)),
        (pl.Date(), "soon", None),
        (pl.Time(), "12:30:00", time(12, 30)),
        (pl.Datetime("us", "UTC"), "2013-01-02T03:00:00Z", datetime(2013, 1, 2, 3, tzinfo=UTC)),
        (pl.List(pl.Int64()), "7", None),
    ],
)
def test_a_value_is_read_in_its_columns_type_or_is_none(kind: pl.DataType, text: str, value: object) -> None:
    assert pl.select(a=typed(text, kind)).item() == value
