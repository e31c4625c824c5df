"""Rows as items."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.dynamodb.items import Unfit, key_of, to_item, to_row, to_value

plain = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(max_size=9)
nested = st.recursive(
    plain, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3)
)


@given(nested)
def test_a_nested_value_comes_back_as_it_went_in(value: Any) -> None:
    assert to_row(to_item({"k": "a", "v": value}, ["k"])) == {"k": "a", "v": value}


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e100, max_value=1e100).filter(
    lambda x: x == 0 or abs(x) > 1e-100))  # fmt: skip
def test_a_float_keeps_its_shortest_decimal(value: float) -> None:
    assert float(to_row(to_item({"k": "a", "v": value}, ["k"]))["v"]) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("1" * 39), 10**40 + 1, object()])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(Unfit):
        to_value(value)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"k": None}, "null"),
        ({"k": ""}, "empty"),
        ({"k": "x" * 2049}, "2048"),
        ({"k": "#cursor"}, "reserved"),
        ({"k": "a", "_version": 1}, "reserved"),
        ({"k": "a", "v": "x" * 410_000}, "larger"),
    ],
)
def test_a_row_that_does_not_fit_says_why(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unfit, match=reason):
        to_item(row, ["k"])


def test_several_key_columns_become_one_unambiguous_text() -> None:
    assert key_of({"a": "x", "b": 1}, ["a", "b"]) == '["x", "1"]'
    assert key_of({"a": 'x", "', "b": ""}, ["a", "b"]) != key_of({"a": "x", "b": '", "'}, ["a", "b"])


def test_dates_and_times_are_iso_text() -> None:
    assert to_value(date(2013, 1, 1)) == {"S": "2013-01-01"}
    assert to_value(datetime(2013, 1, 1, tzinfo=UTC)) == {"S": "2013-01-01T00:00:00+00:00"}
