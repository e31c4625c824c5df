"""A dataset file told from what landed: importable as it is, and right for its own data."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import dataframely as dy
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakehouse.dataset import Dataset, check
from lakehouse.landing import inbox, undeclared
from lakehouse.layers import balance, cleaned, raw
from lakehouse.layers.inferred import Nothing, infer
from lakehouse.layers.ingest import ingest
from lakehouse.local import feed
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import land


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of dataset files."""
    package = tmp_path / "saved"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield package
    for name in [n for n in sys.modules if n == "saved" or n.startswith("saved.")]:
        del sys.modules[name]


def saved(folder: Path, name: str, text: str) -> ModuleType:
    """The file as it was printed, imported."""
    (folder / f"{name}.py").write_text(text)
    spec = importlib.util.spec_from_file_location(f"saved.{name}", folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"saved.{name}"] = module
    spec.loader.exec_module(module)
    return module


def bring(road: Road, files: dict[str, bytes]) -> None:
    road.datasets = {}
    land(road, files)
    for key in files:
        name = undeclared.name_of(key.split("/")[0])
        inbox.announce(road.lake, name, [key], event="test")
        ingest(road.lake, road.bucket, undeclared.stand_in(name))


def declared(road: Road, folder: Path, prefix: str) -> Dataset:
    """The dataset that `infer` declares, down the road: all that landed is in cleaned or was overtaken."""
    module = saved(folder, prefix, infer(road.lake, prefix, {}))
    dataset: Dataset = module.dataset
    road.datasets = check([dataset])
    road.hops()
    quarantine = road.lake.open(f"quarantine/{dataset.name}")
    assert quarantine is not None
    assert quarantine.scan().filter(pl.col("_rules").str.contains("|", literal=True)).collect().to_dicts() == []
    assert balance.unbalanced(road.lake, dataset).is_empty()
    return dataset


def kinds(dataset: Dataset) -> dict[str, Any]:
    return {name: column.dtype for name, column in dataset.contract.columns().items()}


def rows(road: Road, dataset: Dataset) -> pl.DataFrame:
    return cleaned.open_cleaned(road.lake, dataset).scan().collect()


def test_flights(road: Road, folder: Path) -> None:
    files = dict(feed.flights(3))
    bring(road, files)
    dataset = declared(road, folder, "flights")
    assert set(dataset.keys) <= {"time_hour", "carrier", "flight", "origin", "dest"}
    found = kinds(dataset)
    assert found["time_hour"] == pl.Datetime("us", "UTC")
    assert (found["carrier"], found["flight"], found["dep_delay"]) == (pl.String, pl.Int64, pl.Int64)
    columns = dataset.contract.columns()
    assert (columns["dep_delay"].nullable, columns["sched_dep_time"].nullable) == (True, False)
    assert len(rows(road, dataset)) == sum(body.count(b"\n") - 1 for body in files.values())


def test_airlines(road: Road, folder: Path) -> None:
    bring(road, dict(f for f in feed.reference() if f[0].startswith("airlines/")))
    dataset = declared(road, folder, "airlines")
    assert dataset.keys == ["carrier"]
    assert len(rows(road, dataset)) == 16


def test_weather_as_ndjson(road: Road, folder: Path) -> None:
    files = dict(feed.weather(3))
    bring(road, files)
    dataset = declared(road, folder, "weather")
    assert set(dataset.keys) == {"origin", "time_hour"}
    found = kinds(dataset)
    assert (found["time_hour"], found["temp"]) == (pl.Datetime("us", "UTC"), pl.Float64)
    assert len(rows(road, dataset)) == sum(map(len, (body.splitlines() for body in files.values())))


def test_every_table_of_the_sample_passes_its_own_declaration(road: Road, folder: Path) -> None:
    bring(road, dict(chain(feed.reference())))
    for prefix in ("planes", "airports"):
        dataset = declared(road, folder, prefix)
        assert dataset.keys == [{"planes": "tailnum", "airports": "faa"}[prefix]]


def test_types_are_told_by_every_value_and_ids_keep_their_zeros(road: Road, folder: Path) -> None:
    body = (
        b"id,zip,paid,day,at,local,half,big,mixed,none\n"
        b"1,00123,true,2024-01-31,2024-01-31T10:00:00Z,2024-01-31 10:00,0.5,12345678901234567890,1,\n"
        b"2,00456,False,2024-02-01,2024-02-01T10:00:00+02:00,2024-01-31 11:00:01.5,1e3,1,x,\n"
    )
    bring(road, {"things/a.csv": body.replace(b"False", b"false")})
    dataset = declared(road, folder, "things")
    found = kinds(dataset)
    assert found == {
        "id": pl.Int64,
        "zip": pl.String,
        "paid": pl.Boolean,
        "day": pl.Date,
        "at": pl.Datetime("us", "UTC"),
        "local": pl.Datetime("us"),
        "half": pl.Float64,
        "big": pl.String,
        "mixed": pl.String,
    }
    assert "Left out, since no record has a value: none." in (folder / "things.py").read_text()
    held = rows(road, dataset).sort("id")
    assert held["paid"].to_list() == [True, False]
    assert held["zip"].to_list() == ["00123", "00456"]
    assert held["at"].dt.hour().to_list() == [10, 8]


def test_a_text_that_is_no_truth_is_quarantined_and_not_nulled(road: Road, folder: Path) -> None:
    class Paid(dy.Schema):
        """One."""

        id = dy.Int64(primary_key=True)
        paid = dy.Bool(nullable=True)

    bring(road, {"paid/a.csv": b"id,paid\n1,true\n2,maybe\n3,\n"})
    road.datasets = check([Dataset("paid", "paid/**", Paid)])
    road.hops()
    assert rows(road, road.datasets["paid"])["id"].to_list() == [1, 3]
    bad = cleaned.open_quarantine(road.lake, road.datasets["paid"]).scan().collect()
    assert bad["_rules"].to_list() == ["paid|dtype"]


def test_the_key_has_its_evidence_and_ranges_are_told(road: Road) -> None:
    bring(road, {"orders/a.csv": b"amount,id\n10,1\n10,2\n,3\n"})
    told = infer(road.lake, "orders/", {})
    assert "# Likely key: 3 records, none null, distinct of all." in told
    assert "    amount = dy.Int64(nullable=True)  # 10 … 10; 1 null\n" in told
    assert "    id = dy.Int64(primary_key=True)  # 1 … 3\n" in told
    assert 'dataset = Dataset("orders", landing="orders/**", contract=Orders)\n' in told


def test_snapshots_are_told_by_the_key_within_each(road: Road, folder: Path) -> None:
    bring(road, {f"stock/{day}.csv": b"id,count\n1,5\n2,6\n3,5\n" for day in (1, 2)})
    dataset = declared(road, folder, "stock")
    assert dataset.keys == ["id"]
    assert "6 repeat between objects, of which the newest stays" in (folder / "stock.py").read_text()
    assert len(rows(road, dataset)) == 3


def test_records_that_nothing_tells_apart_are_told_by_where_they_stand(road: Road, folder: Path) -> None:
    bring(road, {"clicks/1.csv": b"page\nhome\nhome\n", "clicks/2.csv": b"page\nhome\n"})
    dataset = declared(road, folder, "clicks")
    assert dataset.keys == ["landed_object", "landed_record"]
    assert len(rows(road, dataset)) == 3


def test_bad_records_are_counted_and_no_part_of_it(road: Road, folder: Path) -> None:
    bring(road, {"some/1.ndjson": b'{"a": 1}\nno\n{"a": 2, "_text": 1}\n'})
    dataset = declared(road, folder, "some")
    assert dataset.keys == ["a"]
    told = (folder / "some.py").read_text()
    assert "1 records could not be split" in told
    assert "Left out, since no column here can have such a name or type: _text." in told


def test_objects_without_records_are_declared_as_documents(road: Road, folder: Path) -> None:
    bring(road, {"photos/a.png": b"\x89PNG\r\n\x1a\n", "photos/b.png": b"x"})
    dataset = declared(road, folder, "photos")
    assert dataset.reader is not None
    assert len(rows(road, dataset)) == 1


def test_where_nothing_landed_it_is_said(road: Road) -> None:
    with pytest.raises(Nothing, match="nothing has landed below nowhere/"):
        infer(road.lake, "nowhere", {})


def test_below_a_prefix_of_two_parts_it_is_said_that_the_first_is_the_table(road: Road) -> None:
    bring(road, {"deep/orders/a.csv": b"id\n1\n"})
    with pytest.raises(Nothing, match="below deep/: `lakehouse infer deep`"):
        infer(road.lake, "deep/orders/", {})
    with pytest.raises(Nothing, match="nothing has landed below other/orders/"):
        infer(road.lake, "other/orders/", {})


def test_a_changed_object_is_told_by_what_it_is_now(road: Road) -> None:
    bring(road, {"orders/a.csv": b"id\nx\n"})
    bring(road, {"orders/a.csv": b"id\n1\n"})
    assert len(raw.heads(raw.open_raw(road.lake, "orders")).collect()) == 2
    assert "id = dy.Int64(primary_key=True)  # 1 … 1" in infer(road.lake, "orders", {})


NAMES = st.one_of(
    st.sampled_from(["class", "filter", "dy", "columns", "None", 'a"b', "a\\", "a#b", "ü", "1", "a b", "$x"]),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=5),
)
NUMBERS = st.integers(-9, 9) | st.floats(-9, 9)
VALUES = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=4), st.just([1]))


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=4), min_size=1, max_size=4))
def test_whatever_records_call_their_columns_the_file_is_python(
    road: Road, folder: Path, records: list[dict[str, Any]]
) -> None:
    body = "\n".join(json.dumps(record) for record in records).encode()
    bring(road, {"odd/a.ndjson": body})
    dataset = saved(folder, "odd", infer(road.lake, "odd", {})).dataset
    held = raw.current(raw.open_raw(road.lake, "odd"), dataset).collect()
    parts = cleaned.split(dataset, held.filter(pl.col("_bad").is_null()))
    assert parts.bad.to_dicts() == []
    assert len(parts.good) == held["_bad"].null_count()
