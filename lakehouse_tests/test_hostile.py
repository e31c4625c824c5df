"""Names and values that are meant to be read as something else are data, and nothing else."""

import ast
from dataclasses import replace
from pathlib import Path

import dataframely as dy
import polars as pl
import pytest

import lakehouse
from lakehouse.dataset import Dataset, Serving
from lakehouse.dynamodb.items import CONTROL
from lakehouse.dynamodb.sync import verify
from lakehouse.landing import inbox
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import land

PACKAGE = Path(lakehouse.__file__).parent

PATHS = [
    "flights/../../../out.csv",
    "flights/..%2f..%2fout.csv",
    "flights//etc/passwd.csv",
    "flights/..\\..\\out.csv",
    "flights/_delta_log/00000000000000000000.json.csv",
    "flights/$(touch out).csv",
    "flights/`touch out`.csv",
    "flights/{out}.csv",
    "flights/s3:/other-bucket/out.csv",
]

VALUES = [
    "'; drop table cleaned.notes; --",
    "' or '1'='1",
    '" or 1=1 --',
    "`t`.`key` = s.`key`) --",
    "DELETE FROM \"items\" WHERE _key = 'x'",
    '{"S": "other"}',
    '["a", "b"]',
    "=cmd|' /C calc'!A0",
    "${jndi:ldap://127.0.0.1/a}",
    "{{7*7}}",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "_deleted",
    CONTROL,
    "#" + CONTROL,
    "\\u0000",
    "NaN",
    "null",
    "\u202e\u200b",
]


class Note(dy.Schema):
    """A text by a text."""

    name = dy.String(primary_key=True)
    text = dy.String()


def noted(notes: pl.LazyFrame) -> pl.LazyFrame:
    """The notes as they are."""
    return notes.select("name", "text")


NOTES = Dataset("notes", "notes/*.csv", Note, serving=[Serving(noted, key="name", group="name", publish=True)])


def test_a_key_is_a_name_and_no_path(road: Road, tmp_path: Path) -> None:
    before = {p for p in tmp_path.rglob("*") if (tmp_path / "lake") not in p.parents}
    land(road, {key: sample.flights(("AA", n, n)) for n, key in enumerate(PATHS, 600)})
    while road.receive():
        pass
    road.hops()
    box = inbox.open_inbox(road.lake).scan().collect()
    assert set(box["key"]) == set(PATHS)
    named = box.filter(pl.col("dataset") == "flights")["key"]
    cleaned = road.lake.open("cleaned/flights")
    assert cleaned
    assert set(cleaned.scan().collect()["_object"]) == set(named)
    folders = {p.relative_to(tmp_path / "lake").parts[0] for p in (tmp_path / "lake").rglob("*")}
    assert folders <= {"landing", "raw", "cleaned", "quarantine", "balance", "tally", "serving", "rejected"}
    after = {p for p in tmp_path.rglob("*") if (tmp_path / "lake") not in p.parents}
    assert after - before <= {tmp_path / "lake"}
    assert not Path("out").exists()


@pytest.mark.parametrize("change", [1, 2])
def test_a_value_is_a_value_in_every_layer_and_in_dynamodb(road: Road, change: int) -> None:
    road = replace(road, datasets={"notes": NOTES})
    expected = {}
    for turn in range(change):
        expected = {value: f"{turn} {value}" for value in VALUES}
        body = pl.DataFrame({"name": VALUES, "text": [*expected.values()]}).write_csv(quote_style="always")
        land(road, {"notes/1.csv": body.encode()})
        while road.receive():
            pass
        road.hops()
    (one,) = road.servings()
    held = road.lake.open("serving/noted")
    assert held
    assert dict(held.scan().collect().iter_rows()) == expected
    items = road.items(one)
    fit = [value for value in VALUES if value != CONTROL]
    found = {value: items.get({"name": value}, ["name"]) for value in fit}
    assert {value: item and item["text"] for value, item in found.items()} == {v: expected[v] for v in fit}
    rejected = road.lake.open("rejected/noted")
    assert rejected
    (kept,) = rejected.scan().collect()["_reason"]
    assert kept == f"the key {CONTROL} is reserved"
    assert items.cursor()
    assert [d for d in verify(road.lake, one, items) if CONTROL not in d.key] == []


READERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}


def test_nothing_ever_unpickles_or_runs_text() -> None:
    places = [PACKAGE, PACKAGE.parent / "deploy"]
    for path in (p for place in places for p in place.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Call):
                called = node.func
                name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
                assert not (isinstance(called, ast.Name) and name in {"eval", "exec"}), path
                assert name not in {"read_pickle", "unsafe_load", "full_load"}, path
            assert not {n.split(".")[0] for n in names} & READERS, path
