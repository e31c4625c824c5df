"""Serving tables, held against what their functions say at once."""

import polars as pl
import pytest

from lakehouse.dataset import Serving
from lakehouse.lake import Table
from lakehouse.layers import cleaned, ingest, serving
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import land


@pytest.fixture
def served(road: Road) -> Road:
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    return road


def punctuality(road: Road) -> tuple[Serving, Table]:
    table = road.lake.open("serving/carrier_punctuality")
    assert table is not None
    return next(s for s in road.servings() if s.name == "carrier_punctuality"), table


def wrong(road: Road, seed: int = 1, groups: int = 100) -> list[str] | None:
    found = serving.disagreement(road.lake, punctuality(road)[0], road.datasets, seed=seed, groups=groups)
    return None if found is None else found["carrier"].to_list()


def test_a_table_as_its_function_says_has_no_wrong_key(served: Road) -> None:
    assert wrong(served) == []


def test_a_group_that_only_the_table_still_has_is_noticed(served: Road) -> None:
    _, table = punctuality(served)
    table.append(table.scan().filter(pl.col("carrier") == "AA").with_columns(carrier=pl.lit("ZZ")).collect())
    assert wrong(served) == ["ZZ"]


def test_every_seed_draws_other_groups(served: Road) -> None:
    _, table = punctuality(served)
    table.delta.update({"late": "99"})
    drawn = [wrong(served, seed, groups=1) for seed in range(12)]
    assert sorted({carrier for found in drawn if found for carrier in found}) == ["AA", "UA"]


def test_a_table_that_lags_is_not_compared(served: Road) -> None:
    land(served, {"airlines/airlines.csv": b"carrier,name\nAA,Other\n"})
    served.announce("airlines/airlines.csv")
    ingest.ingest(served.lake, served.bucket, served.datasets["airlines"])
    assert wrong(served) == []
    cleaned.clean(served.lake, served.datasets["airlines"])
    assert wrong(served) is None


def test_a_first_load_lies_by_the_group(served: Road) -> None:
    _, table = punctuality(served)
    assert table.scan().collect()["carrier"].is_sorted()
