"""Rows as items."""

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from boto3.dynamodb.types import Binary, TypeSerializer
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.dynamodb.items import Encoded, encode, key_of, to_item, to_row

NAMES = ["a", "^b$", "*", 'q"\\', "é\n"]
LEAVES: dict[pl.DataType, st.SearchStrategy[Any]] = {
    pl.Boolean(): st.booleans(),
    pl.Int8(): st.integers(-128, 127),
    pl.Int64(): st.integers(-(2**63), 2**63 - 1),
    pl.Float32(): st.floats(width=32),
    pl.Float64(): st.floats().filter(lambda x: not 1e-130 <= abs(x) < 1e-128),  # boto3 knows of none so small
    pl.Decimal(38, 10): st.decimals(-(10**27), 10**27, places=10),
    pl.String(): st.text(max_size=9),
    pl.Binary(): st.binary(max_size=9),
    pl.Date(): st.dates(),
    pl.Datetime("us"): st.datetimes(),
    pl.Datetime("us", "UTC"): st.datetimes(timezones=st.just(UTC)),
    pl.Null(): st.none(),
}


def _struct(kinds: list[pl.DataType]) -> pl.DataType:
    return pl.Struct(dict(zip(NAMES, kinds, strict=False)))


KINDS = st.recursive(
    st.sampled_from(list(LEAVES)),
    lambda kinds: kinds.map(pl.List) | st.lists(kinds, min_size=1, max_size=4).map(_struct),
    max_leaves=5,
)


def values(kind: pl.DataType) -> st.SearchStrategy[Any]:
    match kind:
        case pl.List():
            found: st.SearchStrategy[Any] = st.lists(values(kind.inner), max_size=3)
        case pl.Struct(fields=fields):
            found = st.fixed_dictionaries({f.name: values(f.dtype) for f in fields})
        case _:
            found = LEAVES[kind]
    return st.none() | found


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    kinds = draw(st.lists(KINDS, min_size=1, max_size=3))
    rows = draw(st.lists(st.tuples(*map(values, kinds)), max_size=4))
    columns = [pl.Series(str(i), [row[i] for row in rows], kind) for i, kind in enumerate(kinds)]
    made = pl.DataFrame([pl.Series("k", [f"{n}é" for n in range(len(rows))], pl.String), *columns])
    made.columns = ["k", *NAMES[: len(kinds)]]
    return made


def told(value: Any) -> Any:
    """What boto3's own serialiser takes, of what Polars hands out."""
    match value:
        case float():
            if not math.isfinite(value) or abs(value) >= 1e126 or 0 < abs(value) < 1e-130:
                raise ValueError(value)
            return Decimal(repr(value))
        case date():
            return value.isoformat()
        case list():
            return [told(v) for v in value]
        case Mapping():
            return {k: told(v) for k, v in value.items()}
    return value


def alike(value: Any) -> Any:
    """A typed value, its numbers by value and its bytes as bytes."""
    match value:
        case {"N": str(number), **rest} if not rest:
            return {"N": Decimal(number)}
        case Binary():
            return value.value
        case list():
            return [alike(v) for v in value]
        case dict():
            return {k: alike(v) for k, v in value.items()}
    return value


@settings(deadline=None, max_examples=40)
@given(frames())
def test_rows_of_every_type_become_the_items_that_boto3_makes_of_them(rows: pl.DataFrame) -> None:
    boto3 = TypeSerializer()
    for row, made in zip(rows.iter_rows(named=True), encode(rows, ["k"]), strict=True):
        try:
            wanted = {"_key": row["k"], **told(row)}
        except ValueError:
            assert (made.name, made.text, made.keyed) == (row["k"], None, True)
            assert made.reason
            continue
        assert made.text is not None
        assert alike(to_item(made.text)) == alike({n: boto3.serialize(v) for n, v in wanted.items()})


def encoded(**row: Any) -> Encoded:
    (made,) = encode(pl.DataFrame([row]), ["k"])
    return made


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, "nan is no number in DynamoDB"),
        (-math.inf, "-inf is no number in DynamoDB"),
        ([{"deep": [1.0, math.inf]}], "inf is no number in DynamoDB"),
        (1e126, "a number outside 1E-130 to 9.9E+125"),
        (9e-131, "a number outside 1E-130 to 9.9E+125"),
        (timedelta(1), "no item type for Duration(time_unit='us')"),
        (9e125, None),
        (1e-130, None),
        ('\\u0000no item "type\0\0for\0', None),
    ],
)
def test_what_is_no_number_is_refused_however_deep(value: Any, reason: str | None) -> None:
    assert encoded(k="a", v=value).reason == reason


@pytest.mark.parametrize(
    ("row", "reason", "name"),
    [
        ({"k": None}, "null", None),
        ({"k": ""}, "empty", None),
        ({"k": "x" * 2049}, "2048", None),
        ({"k": "#cursor"}, "reserved", None),
        ({"k": "a", "_version": 1}, "reserved", "a"),
        ({"k": "a", "v": "x" * 410_000}, "larger", "a"),
        ({"k": "a", "v": ["é" * 1000] * 205}, "larger", "a"),
    ],
)
def test_a_row_that_does_not_fit_says_why(row: dict[str, Any], reason: str, name: str | None) -> None:
    made = encoded(**row)
    assert reason in str(made.reason)
    assert (made.text, made.keyed, made.name) == (None, bool(name), name or repr([row["k"]]))


def test_an_item_is_measured_as_dynamodb_does_and_not_by_its_json() -> None:
    largest = encoded(k="a", v='"' * (400 * 1024 - 8))
    assert largest.text is not None
    assert len(largest.text) > 800_000
    assert encoded(k="a", v='"' * (400 * 1024 - 7)).text is None


def test_several_key_columns_become_one_unambiguous_text() -> None:
    assert key_of({"a": "x", "b": 1}, ["a", "b"]) == '["x", "1"]'
    assert key_of({"a": 'x", "', "b": ""}, ["a", "b"]) != key_of({"a": "x", "b": '", "'}, ["a", "b"])


def test_an_item_comes_back_as_the_row_that_went_in() -> None:
    row = {"k": "a", "n": 10**18, "x": Decimal("1.25"), "b": b"\0\xff", "l": [1, None], "m": {"B": "b", "N": None}}
    made = encoded(**row)
    assert made.text is not None
    assert to_row(to_item(made.text)) == row


def test_dates_and_times_are_iso_text() -> None:
    made = encoded(k=date(2013, 1, 1), at=datetime(2013, 1, 1, tzinfo=UTC), then=datetime(2013, 1, 1, 1, 2, 3, 4))
    assert made.text is not None
    assert to_row(to_item(made.text)) == {
        "k": "2013-01-01",
        "at": "2013-01-01T00:00:00+00:00",
        "then": "2013-01-01T01:02:03.000004",
    }
