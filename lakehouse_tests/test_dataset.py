"""What a dataset file may declare, and what it may not."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import dataframely as dy
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.dataset import Dataset, DeclarationError, check
from lakehouse.globs import claimed, common


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


LETTERS = "ab/.[]-+ "
PATTERNS = st.lists(st.sampled_from([*LETTERS, "?", "*", "**"]), max_size=5).map("".join)


@given(PATTERNS, st.text(LETTERS, max_size=5))
def test_what_polars_takes_for_claimed_is_what_the_glob_matches_and_the_members_of_it(glob: str, key: str) -> None:
    told = pl.Series([key, f"{key}!/x/y.csv"]).str.contains(claimed(glob))
    assert told[0] == claims(glob).matches(key) or "!/" in key
    assert told[1] or not claims(glob).matches(key)


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


SHOP = {
    "rates.py": "LATE = 15\nUNUSED = 1\n\ndef rounded(x):\n    return x.round(DIGITS)\n\nDIGITS = 2\n",
    "shop.py": '''"""What a shop sells."""

import dataframely as dy
import polars as pl

from lakehouse.dataset import Dataset, Serving
from {package} import rates
from {package}.rates import rounded

LEAST = 0
NAMES = {{"b", "a", "c", "d", "e"}}
NEVER = "named"
FRAME = pl.DataFrame({{"sku": [str(n) for n in range(40)]}})
kept = lambda rows: rows.filter(pl.col("sku").is_in(NAMES))


class Base(dy.Schema):
    sku = dy.String(primary_key=True)


class Sale(Base):
    price = dy.Float64(nullable=False, min=LEAST)


def tidy(rows):
    def inner(rows):
        return kept(rows).join(FRAME.lazy(), on="sku")
    return inner(rows)


def sold(shop):
    return shop.select("sku", price=rounded(pl.col("price")), late=pl.lit(f"{{rates.LATE}}"))


dataset = Dataset("shop", "shop/*", Sale, clean=tidy, serving=[Serving(sold, key="sku")])
''',
}


def prints(place: Path, file: str = "", old: str = "", new: str = "", seed: str = "0") -> tuple[str, str]:
    """The shop's fingerprints, the dataset's and the serving table's, told by a process of its own."""
    package = place / "shops"
    package.mkdir(exist_ok=True)
    for name, text in SHOP.items():
        body = text.replace("{{", "{").replace("}}", "}").replace("{package}", "shops")
        assert name != file or old in body
        (package / name).write_text(body.replace(old, new) if name == file else body)
    script = "from shops.shop import dataset as d; print(d.fingerprint, d.serving[0].fingerprint)"
    path = os.pathsep.join([str(place), str(Path(__file__).parents[1])])
    told = subprocess.run(
        [sys.executable, "-B", "-c", script],
        env=os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": seed},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    return told[0], told[1]


@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
        ("shop.py", "LEAST = 0", "LEAST = 1", (True, False)),
        ("shop.py", '"e"}', '"f"}', (True, False)),
        ("shop.py", "range(40)", "range(39)", (True, False)),
        ("shop.py", "rows.filter(", "rows.remove(", (True, False)),
        ("shop.py", "String(primary_key=True)", "String(primary_key=True, min_length=1)", (True, False)),
        ("rates.py", "LATE = 15", "LATE = 20", (False, True)),
        ("rates.py", "DIGITS = 2", "DIGITS = 3", (False, True)),
        ("rates.py", "UNUSED = 1", "UNUSED = 2", (False, False)),
        ("shop.py", 'NEVER = "named"', 'NEVER = "told"', (False, False)),
    ],
)
def test_a_change_of_what_the_code_names_makes_its_table_stale_and_no_other(
    tmp_path: Path, file: str, old: str, new: str, stale: tuple[bool, bool]
) -> None:
    before, after = prints(tmp_path), prints(tmp_path, file, old, new)
    assert tuple(a != b for a, b in zip(before, after, strict=True)) == stale


def test_a_fingerprint_is_the_same_in_every_process(tmp_path: Path) -> None:
    assert len({prints(tmp_path, seed=seed) for seed in "1234"}) == 1


TOLD = """
from lakehouse.dataset import load
from lakehouse.model import load as models
served = [s for d in load().values() for s in d.serving]
print([d.fingerprint for d in load().values()], [s.fingerprint for s in served])
print([s.over.fingerprint for s in served if s.over])
print([m.recipe for m in models().values()])
"""


def test_what_is_shipped_has_one_fingerprint_in_every_process() -> None:
    """A table whose code looks new to each run is computed again and again."""
    told = {
        subprocess.run(
            [sys.executable, "-c", TOLD],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1
