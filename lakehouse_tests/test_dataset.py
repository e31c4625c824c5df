"""What a dataset file may declare, and what it may not."""

import itertools

import dataframely as dy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.dataset import Dataset, DeclarationError, check, common


class Thing(dy.Schema):
    """One thing."""

    id = dy.String(primary_key=True)


def claims(glob: str) -> Dataset:
    return Dataset(glob, glob, Thing)


KEYS = ["".join(letters) for n in range(6) for letters in itertools.product("ab/", repeat=n)]
globs = st.lists(st.sampled_from(["a", "b", "/", "?", "*", "**"]), max_size=5).map("".join)


@given(globs, globs)
def test_two_globs_have_a_common_key_exactly_where_some_key_matches_both(one: str, other: str) -> None:
    found = common(one, other)
    if found is None:
        assert [key for key in KEYS if claims(one).matches(key) and claims(other).matches(key)] == []
    else:
        assert claims(one).matches(found)
        assert claims(other).matches(found)


@pytest.mark.parametrize(
    ("one", "other", "key"),
    [("a/*.csv", "*/b*", "a/b.csv"), ("a/**", "**/z", "a/z"), ("a/?.csv", "a/[.csv", "a/[.csv"), ("x", "x", "x")],
)
def test_two_datasets_that_claim_one_key_are_refused_with_the_key(one: str, other: str, key: str) -> None:
    a, b = Dataset("first", one, Thing), Dataset("second", other, Thing)
    with pytest.raises(DeclarationError) as told:
        check([a, b])
    assert str(told.value) == f"first ({one}) and second ({other}) both claim {key!r}"


@pytest.mark.parametrize(("one", "other"), [("a/*", "b/*"), ("a/*", "a/*/*"), ("*.csv", "*.json"), ("?", "??")])
def test_two_datasets_that_share_no_key_stand_side_by_side(one: str, other: str) -> None:
    assert len(check([claims(one), claims(other)])) == 2
