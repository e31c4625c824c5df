"""raw → cleaned: what `clean` is given, and what the contract makes of what it gives back."""

import json
from dataclasses import replace

import dataframely as dy
import polars as pl
import pytest

from lakehouse.dataset import Clean, Dataset
from lakehouse.layers import balance
from lakehouse_tests.conftest import Road


class Aircraft(dy.Schema):
    """One aircraft."""

    tail = dy.String(primary_key=True)
    seats = dy.Int32(nullable=True)
    maker = dy.String(nullable=True)


def renamed(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.rename({"tailnum": "tail"})


def named_anew(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(tail=pl.col("tailnum").str.to_uppercase())


def upper(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(pl.col("maker").str.to_uppercase())


PLANES = Dataset("planes", "planes/*", Aircraft)


def take(road: Road, dataset: Dataset, files: dict[str, str]) -> None:
    road.datasets.clear()
    road.datasets[dataset.name] = dataset
    for key, body in files.items():
        road.bucket.put(key, body.encode())
    road.announce(*files)
    road.hops()


def rows(road: Road, name: str, *columns: str) -> list[tuple[object, ...]]:
    table = road.lake.open(name)
    assert table is not None
    return sorted(table.scan().select(columns).collect().rows())


@pytest.mark.parametrize("clean", [renamed, named_anew])
def test_clean_may_read_columns_that_the_contract_does_not_name(road: Road, clean: Clean) -> None:
    planes = replace(PLANES, clean=clean)
    take(road, planes, {"planes/1.csv": "tailnum,seats\nN1,3\nN2,x\n"})
    assert rows(road, "cleaned/planes", "tail", "seats", "maker") == [("N1", 3, None)]
    assert rows(road, "quarantine/planes", "_rules") == [("seats|dtype",)]
    assert balance.unbalanced(road.lake, planes).is_empty()


def test_a_file_without_a_column_that_clean_needs_goes_to_quarantine_and_its_neighbour_arrives(road: Road) -> None:
    planes = replace(PLANES, clean=renamed)
    take(road, planes, {"planes/0.csv": "seats\n9\n"})
    assert rows(road, "cleaned/planes", "tail") == []
    ((rules,),) = rows(road, "quarantine/planes", "_rules")
    assert "ColumnNotFoundError" in str(rules)
    take(road, planes, {"planes/1.csv": "tailnum,seats\nN1,3\n"})
    assert rows(road, "cleaned/planes", "tail", "seats") == [("N1", 3)]
    assert balance.unbalanced(road.lake, planes).is_empty()


def test_clean_finds_a_contract_column_that_the_file_lacks_as_nulls(road: Road) -> None:
    take(road, replace(PLANES, clean=upper), {"planes/1.csv": "tail,seats\nN1,3\n"})
    assert rows(road, "cleaned/planes", "tail", "maker") == [("N1", None)]


def test_clean_finds_the_contracts_columns_of_json_records(road: Road) -> None:
    files = {
        "planes/1.ndjson": json.dumps({"tail": "N1", "maker": "airbus"}),
        "planes/2.csv": "tail,maker\nN2,boeing\n",
    }
    take(road, replace(PLANES, clean=upper), files)
    assert rows(road, "cleaned/planes", "tail", "maker") == [("N1", "AIRBUS"), ("N2", "BOEING")]
