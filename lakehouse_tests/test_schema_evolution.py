"""Columns come, go, change type and nest deeper: each case a row of a table, told by input files and tables.

The names of the first part are of Databricks Auto Loader's documentation ("Configure schema inference and
evolution"). Where this project does otherwise, the case says so.
"""

import io
import itertools
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

import dataframely as dy
import polars as pl
import pytest

from lakehouse.dataset import Clean, Dataset, Serving
from lakehouse.layers import balance, columns, raw, rescued
from lakehouse.layers.lag import lagging
from lakehouse_tests.conftest import Road

Row = dict[str, Any]


class Reading(dy.Schema):
    """What a sensor told."""

    id = dy.String(primary_key=True)
    value = dy.Int32(nullable=True)
    day = dy.Date(nullable=True)


class Place(dy.Schema):
    """A sensor and where it stands."""

    id = dy.String(primary_key=True)
    place = dy.Struct({"town": dy.String(nullable=True), "floor": dy.Int64(nullable=True)}, nullable=True)
    tags = dy.List(dy.String(nullable=True), nullable=True)


class Long(Reading):
    """What a sensor told, of more digits."""

    value = dy.Int64(nullable=True)


class Double(Reading):
    """What a sensor told, with fractions."""

    value = dy.Float64(nullable=True)


class Sold(dy.Schema):
    """What was sold, and in which folder its file lies."""

    id = dy.String(primary_key=True)
    month = dy.Int8(primary_key=True)
    value = dy.Int32(nullable=True)


class Deeper(dy.Schema):
    """A sensor and where it stands, more exactly."""

    id = dy.String(primary_key=True)
    place = dy.Struct(
        {
            "town": dy.String(nullable=True),
            "floor": dy.Int64(nullable=True),
            "at": dy.Struct({"lat": dy.Float64(nullable=True)}, nullable=True),
        },
        nullable=True,
    )
    tags = dy.List(dy.String(nullable=True), nullable=True)


def csv(*lines: str) -> bytes:
    return "\n".join([*lines, ""]).encode()


def ndjson(*rows: Row) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(rows: list[Row], **kinds: Any) -> bytes:
    body = io.BytesIO()
    pl.DataFrame(rows, schema_overrides=kinds).write_parquet(body)
    return body.getvalue()


def only_declared(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.select("id", "value", "^_.*$")


@dataclass(frozen=True)
class Case:
    """Files in the order of their arrival; what cleaned and quarantine hold then, in any order of arrival."""

    name: str
    files: dict[str, bytes]
    cleaned: list[Row]
    quarantine: dict[str, str] = field(default_factory=dict)
    mode: Literal["add", "rescue", "fail"] = "add"
    contract: type[dy.Schema] = Reading
    clean: Clean | None = None
    rescued: dict[str, Row] = field(default_factory=dict)
    lacking: tuple[str, ...] = ()
    ordered: bool = False
    """Whether the type of a column beyond the contract is the first file's, so that the order tells."""


TWO = {"1.csv": csv("id,value", "a,1"), "2.csv": csv("id,value,unit", "b,2,mm")}
JSONS = {"1.ndjson": ndjson({"id": "a", "value": 1}), "2.ndjson": ndjson({"id": "b", "value": 2, "unit": "mm"})}
A, B = {"id": "a", "value": 1}, {"id": "b", "value": 2}
TYPED = {"1.parquet": parquet([A]), "2.parquet": parquet([B | {"unit": "mm"}])}
C = {"id": "c", "value": None}
AT = {"at": datetime(2024, 5, 6, 7), "cost": Decimal("1.50")}
MISMATCHED = {
    "1.csv": csv("id,value,day", "a,1,", "b,two,", "c,3,soon"),
    "2.ndjson": ndjson({"id": "d", "value": "four"}),
}
DEEP = {
    "1.ndjson": ndjson({"id": "a", "place": {"town": "Ulm", "at": {"lat": 48.4}}}),
    "2.parquet": parquet([{"id": "b", "place": {"town": "Bonn", "at": {"lat": 50.5}}}]),
    "3.parquet": parquet([{"id": "c", "place": {"town": "Jena", "floor": 1}}]),
}
BEYOND = "columns beyond the contract: unit; add them to the contract"

CASES = [
    Case("addNewColumns: csv", TWO, [A | {"unit": None}, B | {"unit": "mm"}]),
    Case("addNewColumns: json", JSONS, [A | {"unit": None}, B | {"unit": "mm"}]),
    Case("addNewColumns: parquet", TYPED, [A | {"unit": None}, B | {"unit": "mm"}]),
    Case(
        "addNewColumns: a typed column keeps its type",
        {"1.parquet": parquet([A]), "2.parquet": parquet([B | AT])},
        [A | {"at": None, "cost": None}, B | AT],
    ),
    Case("rescue: csv", TWO, [A, B], mode="rescue", rescued={"b": {"unit": "mm"}}, lacking=("unit",)),
    Case("rescue: json", JSONS, [A, B], mode="rescue", rescued={"b": {"unit": "mm"}}, lacking=("unit",)),
    Case("rescue: parquet", TYPED, [A, B], mode="rescue", rescued={"b": {"unit": "mm"}}, lacking=("unit",)),
    Case("failOnNewColumns: csv", TWO, [A], {"b": BEYOND}, mode="fail", lacking=("unit",)),
    Case("failOnNewColumns: json", JSONS, [A], {"b": BEYOND}, mode="fail", lacking=("unit",)),
    Case("failOnNewColumns: parquet", TYPED, [A], {"b": BEYOND}, mode="fail", lacking=("unit",)),
    Case(
        "failOnNewColumns: an object is refused with all its records, and its neighbours are not",
        {"1.ndjson": ndjson(A), "2.ndjson": ndjson(B, {"id": "c", "unit": "mm"}), "3.csv": csv("id", "d")},
        [A, {"id": "d", "value": None}],
        {"b": BEYOND, "c": BEYOND},
        mode="fail",
    ),
    Case("none: clean selects what it declares", TWO, [A, B], clean=only_declared, lacking=("unit", "_rescued")),
    Case(
        "missing columns are null",
        {"1.csv": csv("id,value,day", "a,1,2024-05-06"), "2.csv": csv("id", "b"), "3.ndjson": ndjson({"id": "c"})},
        [A | {"day": date(2024, 5, 6)}, C | {"id": "b", "day": None}, C | {"day": None}],
    ),
    Case(
        "a column that vanished is null from then on",
        {"1.csv": csv("id,value,unit", "a,1,mm"), "2.csv": csv("id,value", "b,2")},
        [A | {"unit": "mm"}, B | {"unit": None}],
    ),
    Case(
        "rescued data: a type mismatch of a typed file is rescued and its row stays",
        {"1.parquet": parquet([A]), "2.parquet": parquet([{"id": "b", "value": "two"}]),
         "3.parquet": parquet([{"id": "c", "value": 1.5}]), "4.parquet": parquet([{"id": "d", "value": 2**40}])},
        [A, *({"id": i, "value": None} for i in "bcd")],
        rescued={"b": {"value": "two"}, "c": {"value": 1.5}, "d": {"value": 2**40}},
    ),
    Case(
        "rescued data: a type mismatch of text is rescued where rescue is declared",
        MISMATCHED,
        [A, {"id": "b", "value": None}, {"id": "c", "value": 3, "day": None}, {"id": "d", "value": None}],
        mode="rescue",
        rescued={"b": {"value": "two"}, "c": {"day": "soon"}, "d": {"value": "four"}},
    ),
    Case(
        "otherwise than there: a type mismatch of text breaks the contract",
        MISMATCHED,
        [A],
        {"b": "value|dtype", "c": "day|dtype", "d": "value|dtype"},
    ),
    Case(
        "rescued data: a key cannot be rescued",
        {"1.parquet": parquet([A]), "2.parquet": parquet([{"id": None, "value": 2}], id=pl.String)},
        [A],
        {"": "id|nullability"},
    ),
    Case(
        "a type that holds more is no mismatch",
        {"1.parquet": parquet([A], value=pl.Int8), "2.parquet": parquet([B], value=pl.UInt64),
         "3.parquet": parquet([{"id": "c", "value": 3.0}]), "4.csv": csv("id,value", "d,4"),
         "5.parquet": parquet([{"id": "e", "value": "5"}]), "6.ndjson": ndjson({"id": "f", "value": 6})},
        [A, B, *({"id": i, "value": n} for n, i in enumerate("cdef", 3))],
        lacking=("_rescued",),
    ),
    Case(
        "dates and their midnights are the same",
        {"1.parquet": parquet([{"id": "a", "day": date(2024, 5, 6)}]),
         "2.parquet": parquet([{"id": "b", "day": datetime(2024, 5, 6)}]),
         "3.parquet": parquet([{"id": "c", "day": "2024-05-06"}]), "4.csv": csv("id,day", "d,2024-05-06T00:00:00"),
         "5.parquet": parquet([{"id": "e", "day": datetime(2024, 5, 6, 7)}])},
        [*({"id": i, "day": date(2024, 5, 6)} for i in "abcd"), {"id": "e", "day": None}],
        rescued={"e": {"day": "2024-05-06T07:00:00"}},
    ),
    Case(
        "readerCaseSensitive=false: other cases are the same column",
        {"1.csv": csv("id,value", "a,1"), "2.csv": csv("ID,Value", "b,2"),
         "3.ndjson": ndjson({"Id": "c", "VALUE": 3}), "4.parquet": parquet([{"iD": "d", "vaLue": 4}])},
        [A, B, {"id": "c", "value": 3}, {"id": "d", "value": 4}],
        lacking=("_rescued",),
    ),
    Case(
        "rescued data: a case mismatch beside the column itself",
        {"1.ndjson": ndjson({"id": "a", "value": 1, "Value": 9}, {"id": "b", "Value": 2})},
        [A, B],
        rescued={"a": {"Value": 9}},
    ),
    Case(
        "a column of names that the lake keeps for itself is rescued",
        {"1.ndjson": ndjson(A | {"_object": "mine", "": 7})},
        [A],
        rescued={"a": {"_object": "mine", "": 7}},
    ),
    Case(
        "an unknown column of two types: the first file's type holds, and no value is lost",
        {"1.parquet": parquet([A | {"level": 7}]), "2.csv": csv("id,value,level", "b,2,8"),
         "3.csv": csv("id,level", "c,high"), "4.parquet": parquet([{"id": "d", "level": 7.5}]),
         "5.ndjson": ndjson({"id": "e", "level": 9}, {"id": "f", "level": {"of": 1}})},
        [A | {"level": 7}, B | {"level": 8}, {"id": "c", "level": None}, {"id": "d", "level": None},
         {"id": "e", "level": 9}, {"id": "f", "level": None}],
        rescued={"c": {"level": "high"}, "d": {"level": 7.5}, "f": {"level": {"of": 1}}},
        ordered=True,
    ),
    Case(
        "structs and lists of JSON and Parquet",
        {"1.ndjson": ndjson({"id": "a", "place": {"town": "Ulm", "floor": 2}, "tags": ["x", "y"]}),
         "2.parquet": parquet([{"id": "b", "place": {"town": "Bonn", "floor": 3}, "tags": ["z"]}]),
         "3.parquet": parquet([{"id": "c", "place": {"floor": 4}}])},
        [{"id": "a", "place": {"town": "Ulm", "floor": 2}, "tags": ["x", "y"]},
         {"id": "b", "place": {"town": "Bonn", "floor": 3}, "tags": ["z"]},
         {"id": "c", "place": {"town": None, "floor": 4}, "tags": None}],
        contract=Place,
        lacking=("_rescued",),
    ),
    Case(
        "addNewColumns: a nested field that nobody declared is rescued under its path",
        DEEP,
        [{"id": "a", "place": {"town": "Ulm", "floor": None}},
         {"id": "b", "place": {"town": "Bonn", "floor": None}},
         {"id": "c", "place": {"town": "Jena", "floor": 1}}],
        contract=Place,
        rescued={"a": {"place.at": {"lat": 48.4}}, "b": {"place.at": {"lat": 50.5}}},
    ),
    Case(
        "a nested field that the contract has is there",
        DEEP,
        [{"id": "a", "place": {"town": "Ulm", "floor": None, "at": {"lat": 48.4}}},
         {"id": "b", "place": {"town": "Bonn", "floor": None, "at": {"lat": 50.5}}},
         {"id": "c", "place": {"town": "Jena", "floor": 1, "at": None}}],
        contract=Deeper,
        lacking=("_rescued",),
    ),
    Case(
        "failOnNewColumns: a nested field is a new column, too",
        {"1.ndjson": ndjson({"id": "a", "place": {"town": "Ulm", "at": 1}}), "2.ndjson": ndjson({"id": "b"})},
        [{"id": "b", "place": None}],
        {"a": "columns beyond the contract: place.at;"},
        mode="fail",
        contract=Place,
    ),
    Case(
        "a nested value of another type",
        {"1.ndjson": ndjson({"id": "a", "place": {"town": "Ulm", "floor": "top"}}, {"id": "b", "place": "Bonn"}),
         "2.parquet": parquet([{"id": "c", "place": {"town": "Jena", "floor": 1.5}, "tags": [1]}])},
        [{"id": "c", "place": {"town": "Jena", "floor": None}, "tags": ["1"]}],
        {"a": "place|dtype", "b": "place|dtype"},
        contract=Place,
        rescued={"c": {"place.floor": 1.5}},
    ),
    Case(
        "otherwise than there: a struct that nobody declared takes no further field; its value is rescued",
        {"1.parquet": parquet([A | {"at": {"lat": 48.4}}]),
         "2.parquet": parquet([B | {"at": {"lat": 50.5, "up": 7}}])},
        [A | {"at": {"lat": 48.4}}, B | {"at": None}],
        rescued={"b": {"at": {"lat": 50.5, "up": 7}}},
        ordered=True,
    ),
    Case(
        "inferColumnTypes=false: what text files bring beyond the contract is text, nested values as JSON",
        {"1.csv": csv("id,value,level,on", "a,1,7,true"),
         "2.ndjson": ndjson(B | {"level": 1.5, "at": {"lat": 50.5}})},
        [A | {"level": "7", "on": "true", "at": None}, B | {"level": "1.5", "on": None, "at": '{"lat":50.5}'}],
    ),
    Case(
        "schemaHints: the contract types some columns, and the rest is found out",
        {"1.ndjson": ndjson({"id": "a", "value": "1", "day": "2024-05-06", "level": 7})},
        [A | {"day": date(2024, 5, 6), "level": "7"}],
    ),
    Case(
        "schemaHints: a column that no file has is there, and null",
        {"1.csv": csv("id", "a"), "2.parquet": parquet([{"id": "b"}])},
        [{"id": "a", "value": None, "day": None}, {"id": "b", "value": None, "day": None}],
    ),
    Case(
        "schemaHints: the contract tells how a name is spelled",
        {"1.csv": csv("ID,VALUE,Unit", "a,1,mm"), "2.csv": csv("Id,vaLue,UNIT", "b,2,cm")},
        [A | {"Unit": "mm"}, B | {"Unit": "cm"}],
        ordered=True,
    ),
    Case(
        "otherwise than there: what is no record at all goes to quarantine, in rescue, too, and is not dropped",
        {"1.csv": csv("id,value", "a,1", "b,2,3"),
         "2.ndjson": ndjson({"id": "c", "value": 3}) + b'{"id": "d", \n'},
        [A, {"id": "c", "value": 3}],
        {"b,2,3": "3 fields where the header has 2", '{"id": "d", ': "not JSON"},
        mode="rescue",
    ),
    Case(
        "addNewColumns: the type of a column that is there stays, and what is wider than it is rescued",
        {"1.parquet": parquet([A | {"level": 7}], level=pl.Int32), "2.parquet": parquet([B | {"level": 2**40}]),
         "3.parquet": parquet([{"id": "c", "level": 1.5}]), "4.parquet": parquet([{"id": "d", "level": 8.0}])},
        [A | {"level": 7}, B | {"level": None}, {"id": "c", "level": None}, {"id": "d", "level": 8}],
        rescued={"b": {"level": 2**40}, "c": {"level": 1.5}},
        ordered=True,
    ),
    Case(
        "partition columns: folders named column=value are columns of text",
        {"event=click/day=2024-05-06/1.csv": csv("id,value", "a,1"),
         "event=view/day=2024-05-07%3A08/2.ndjson": ndjson(B),
         "event=__HIVE_DEFAULT_PARTITION__/3.parquet": parquet([{"id": "c", "value": 3}])},
        [A | {"event": "click", "day": date(2024, 5, 6)}, {"id": "c", "value": 3, "event": None, "day": None}],
        {"b": "day|dtype"},
    ),
    Case(
        "partition columns: the contract types them, and a key may be one of them",
        {"month=1/1.csv": csv("id,value", "a,1"), "month=2/1.parquet": parquet([A]),
         "month=13000/1.csv": csv("id", "b"), "month=03/1.ndjson": ndjson(B)},
        [A | {"month": 1}, A | {"month": 2}, B | {"month": 3}],
        {"b": "month|dtype"},
        contract=Sold,
    ),
    Case(
        "partition columns: they are no new columns to the other modes",
        {"event=click/Value=5/1.csv": csv("id", "a"), "event=view/2.csv": csv("id,unit", "b,mm")},
        [{"id": "a", "value": 5}, {"id": "b", "value": None}],
        mode="rescue",
        rescued={"b": {"unit": "mm"}},
        lacking=("event",),
    ),
    Case(
        "otherwise than there: folders that differ from file to file are columns all the same",
        {"event=click/1.csv": csv("id,value", "a,1"), "2.csv": csv("id,value", "b,2"),
         "event=view/hour=7/3.csv": csv("id,value", "c,3"), "hour=1/event=x/hour=8/hour=9.csv": csv("id", "d")},
        [A | {"event": "click", "hour": None}, B | {"event": None, "hour": None},
         {"id": "c", "event": "view", "hour": "7"}, {"id": "d", "event": "x", "hour": "8"}],
    ),
    Case(
        "partition columns: what a file itself says stands",
        {"value=9/level=5/1.csv": csv("id,value", "a,1", "b,"), "level=low/2.parquet": parquet([C | {"level": 7}]),
         "level=6/3.csv": csv("id", "d")},
        [A | {"level": 5}, {"id": "b", "value": 9, "level": 5}, C | {"level": 7}, {"id": "d", "level": 6}],
    ),
]  # fmt: skip


def word(value: Any) -> str:
    """A rescued value as `_rescued` has it."""
    return value if isinstance(value, str) else json.dumps(value)


def take(road: Road, case: Case, order: Callable[[list[str]], list[str]], at_once: bool) -> None:
    dataset = Dataset("things", "things/**", case.contract, clean=case.clean, schema_evolution=case.mode)
    road.datasets.clear()
    road.datasets["things"] = dataset
    for name, body in case.files.items():
        road.bucket.put(f"things/{name}", body)
    for name in order([*case.files]):
        road.announce(f"things/{name}")
        if not at_once:
            road.hops()
    road.hops()


def rows(road: Road, name: str) -> pl.DataFrame:
    table = road.lake.open(name)
    assert table is not None
    return table.scan().collect()


def check(road: Road, case: Case) -> None:
    found = rows(road, "cleaned/things").sort("id")
    for expected, row in itertools.zip_longest(sorted(case.cleaned, key=lambda r: str(r["id"])), found.to_dicts()):
        assert expected is not None
        assert row is not None
        assert {name: row[name] for name in expected} == expected
        told = {name: word(value) for name, value in case.rescued.get(str(row["id"]), {}).items()}
        assert json.loads(row.get("_rescued") or "{}") == told
        assert row["_object"].removeprefix("things/") in case.files, "where the record stands: `_file_path` there"
    assert not set(case.lacking) & set(found.columns)
    refused = rows(road, "quarantine/things")
    told = {}
    for text, rules in refused.select("_text", "_rules").iter_rows():
        told[_id(text)] = rules
    assert told.keys() == case.quarantine.keys()
    assert {k: rule for k, rule in told.items() if case.quarantine[k] not in rule} == {}
    assert balance.unbalanced(road.lake, road.datasets["things"]).is_empty()
    assert lagging(road.lake, road.datasets, road.items) == {}


def _id(text: str) -> str:
    """The record's id; its text, where that is no record."""
    with suppress(ValueError):
        return str(json.loads(text).get("id") or "")
    return text


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one by one"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_documented_behaviour(road: Road, case: Case, at_once: bool) -> None:
    take(road, case, lambda names: names, at_once)
    check(road, case)


SEVERAL = [case for case in CASES if not case.ordered and len(case.files) > 1]


@pytest.mark.parametrize("case", SEVERAL, ids=lambda case: case.name)
def test_the_order_of_arrival_decides_nothing(road: Road, case: Case) -> None:
    take(road, case, lambda names: names[::-1], at_once=False)
    check(road, case)


def test_what_was_refused_for_its_columns_arrives_once_the_contract_has_them(road: Road) -> None:
    class More(Reading):
        """What a sensor told, with its unit."""

        unit = dy.String(nullable=True)

    case = next(c for c in CASES if c.name == "failOnNewColumns: csv")
    take(road, case, lambda names: names, at_once=True)
    road.datasets["things"] = replace(road.datasets["things"], contract=More)
    road.hops()
    check(road, replace(case, cleaned=[A | {"unit": None}, B | {"unit": "mm"}], quarantine={}, lacking=()))


def test_a_declared_type_is_widened_by_its_contract_and_every_value_that_landed_comes(road: Road) -> None:
    """What addNewColumnsWithTypeWidening does as files come is done here where the contract says so."""
    name = "rescued data: a type mismatch of a typed file is rescued and its row stays"
    case = next(c for c in CASES if c.name == name)
    take(road, case, lambda names: names, at_once=False)
    wider: dict[type[dy.Schema], Row] = {
        Long: {"a": 1, "d": 2**40},
        Double: {"a": 1.0, "c": 1.5, "d": 2.0**40},
    }
    for contract, told in wider.items():
        road.datasets["things"] = replace(road.datasets["things"], contract=contract)
        road.hops()
        cleaned = [{"id": i, "value": told.get(i)} for i in "abcd"]
        left = {i: value for i, value in case.rescued.items() if i not in told}
        check(road, replace(case, cleaned=cleaned, rescued=left))


def test_an_older_record_that_comes_late_takes_no_further_column_from_the_newer(road: Road) -> None:
    files = {"1.ndjson": ndjson({"id": "a", "value": 0}), "2.ndjson": ndjson(A | {"unit": "mm"})}
    case = Case("late", files, [A | {"unit": "mm"}])
    take(road, case, lambda names: names[::-1], at_once=False)
    check(road, case)


EVER_NEW = {
    "1.csv": csv("id,value,a,b,c", "a,1,x,,z"),
    "2.ndjson": ndjson({"id": "b", "value": 2, "d": {"e": 5}, "day": "2024-05-06", "": 7}, {"id": "c", "f": "g"}),
    "3.parquet": parquet([{"id": "d", "value": 3, "few": [1, 2]}]),
    "4.csv": csv("id,day,A,C", "e,2024-05-07,y,w"),
}
BROUGHT: dict[str, Row] = {
    "a": {"a": "x", "c": "z"},
    "b": {"d": {"e": 5}, "": 7},
    "c": {"f": "g"},
    "d": {"few": [1, 2]},
    "e": {"a": "y", "c": "w"},
}


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "in reverse"])
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one by one"])
def test_ever_new_columns_stop_at_a_bound_and_no_value_is_lost(
    road: Road, monkeypatch: pytest.MonkeyPatch, order: int, at_once: bool
) -> None:
    for room in (rescued, columns):
        monkeypatch.setattr(room, "COLUMNS", 4)
    take(road, Case("ever new", EVER_NEW, []), lambda names: names[::order], at_once)
    names = [c for c in raw.open_raw(road.lake, "things").columns if not c.startswith("_")]
    assert len(names) == 4
    found = rows(road, "cleaned/things").sort("id")
    further = [c for c in found.columns if c not in Reading.column_names() and not c.startswith("_")]
    assert len(further) == 1
    told = {}
    for row in found.to_dicts():
        here = {c.lower(): row[c] for c in further if row[c] is not None}
        told[row["id"]] = here | {c.lower(): v for c, v in json.loads(row["_rescued"] or "{}").items()}
    assert told == {i: {name: word(value) for name, value in more.items()} for i, more in BROUGHT.items()}
    assert found["value"].to_list() == [1, 2, None, 3, None]
    assert found["day"].to_list() == [None, date(2024, 5, 6), None, None, date(2024, 5, 7)]
    assert balance.unbalanced(road.lake, road.datasets["things"]).is_empty()
    assert lagging(road.lake, road.datasets, road.items) == {}


class Sale(dy.Schema):
    """What was sold."""

    shop = dy.Int64(primary_key=True)
    area = dy.Int64(nullable=False)


class Shop(dy.Schema):
    """Who sold it."""

    shop = dy.Int64(primary_key=True)
    name = dy.String(nullable=False)


def areas(sales: pl.LazyFrame, shops: pl.LazyFrame) -> pl.LazyFrame:
    """The shops of an area."""
    named = sales.join(shops.select("shop", "name"), on="shop")
    return named.group_by("area").agg(pl.col("name").sort().str.join())


def test_a_column_of_a_files_own_is_no_group_of_a_serving_table(road: Road) -> None:
    road.datasets.clear()
    serving = [Serving(areas, key="area", group="area")]
    road.datasets["sales"] = Dataset("sales", "sales/*", Sale, serving=serving)
    road.datasets["shops"] = Dataset("shops", "shops/*", Shop)
    shops = csv("shop,name,area", "1,x,north", "2,y,north")
    sales = csv("shop,area", "1,7"), csv("shop,area", "2,7")
    for key, body in [("sales/1.csv", sales[0]), ("shops/1.csv", shops), ("sales/2.csv", sales[1])]:
        road.bucket.put(key, body)
        road.announce(key)
        road.hops()
    assert rows(road, "serving/areas").select("area", "name").rows() == [(7, "xy")]


def test_raw_keeps_every_column_and_the_types_of_files_that_tell_them(road: Road) -> None:
    case = next(c for c in CASES if c.name.startswith("addNewColumns: a typed"))
    for mode in ("fail", "rescue"):
        take(road, replace(case, mode=mode), lambda names: names, at_once=True)
        held = raw.open_raw(road.lake, "things").kinds
        assert (held["value"], held["at"], held["cost"]) == (pl.Int64(), pl.Datetime("us"), pl.Decimal(38, 2))
