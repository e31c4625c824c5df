"""The checks of every day: what is wrong is told as it stands, and nothing is said of what still moves."""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from lakehouse.definitions import build
from lakehouse.layers import cleaned, ingest, serving
from lakehouse.orchestration.daily import unmoved
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import items_of, land

pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run:DeprecationWarning")
"""Dagster 1.13 calls its own deprecated method where one resource holds another."""


@pytest.fixture
def house(road: Road, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Road:
    """A road that was walked, as Dagster finds it."""
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    monkeypatch.setenv("LAKEHOUSE_LAKE", road.lake.root)
    monkeypatch.setenv("LAKEHOUSE_TABLE_PREFIX", road.prefix)
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    return road


def verified(road: Road) -> dict[str, dg.AssetCheckEvaluation]:
    """What the daily job says, by `layer/name: check`. Its run fails where one of them does."""
    job = build(dg.in_process_executor).resolve_job_def("verify")
    done = job.execute_in_process(raise_on_error=False)
    assert done.success == all(one.passed for one in done.get_asset_check_evaluations())
    return {f"{e.asset_key.to_user_string()}: {e.check_name}": e for e in done.get_asset_check_evaluations()}


BALANCE, AGREEMENT = "cleaned/flights: balance_of_all", "dynamodb/carrier_punctuality: agreement_of_all"
COMPUTED = "serving/carrier_punctuality: as_computed"


def test_a_lake_that_is_up_to_date_and_right_passes(house: Road) -> None:
    told = verified(house)
    assert [name for name, one in told.items() if not one.passed] == []
    assert not any("not compared" in told[name].metadata for name in (BALANCE, AGREEMENT, COMPUTED))


def test_nothing_is_said_of_what_lags(house: Road) -> None:
    late = {"flights/3.csv": sample.flights(("UA", 2, 7))}
    land(house, late)
    house.announce(*late)
    ingest.ingest(house.lake, house.bucket, house.datasets["flights"])
    assert "not compared" in verified(house)[BALANCE].metadata
    cleaned.clean(house.lake, house.datasets["flights"])
    assert "not compared" in verified(house)[COMPUTED].metadata
    (punctuality,) = [s for s in house.servings() if s.name == "carrier_punctuality"]
    serving.serve(house.lake, punctuality, house.datasets)
    told = verified(house)
    assert "not compared" in told[AGREEMENT].metadata
    assert all(one.passed for one in told.values())


def test_items_that_differ_are_told_and_left_as_they_are(house: Road) -> None:
    (one,) = [s for s in house.servings() if s.name == "carrier_punctuality"]
    items = house.items(one)
    items.client.delete_item(TableName=items.name, Key={"_key": {"S": "AA"}})
    told = verified(house)[AGREEMENT]
    assert not told.passed
    assert told.metadata["count"].value == 1
    assert "AA" not in items_of(house, "carrier_punctuality")


def test_a_row_taken_from_cleaned_fails_the_balance(house: Road) -> None:
    cleaned.open_cleaned(house.lake, house.datasets["flights"]).delta.delete("carrier = 'UA'")
    told = verified(house)
    assert not told[BALANCE].passed
    assert {COMPUTED, AGREEMENT} <= told.keys()


def test_what_seems_wrong_while_something_moved_is_not_told() -> None:
    wrong, moves, still = pl.DataFrame({"k": [1]}), iter([1, 2]), iter([1, 1])
    assert unmoved(lambda: next(moves), lambda: wrong) is None
    assert unmoved(lambda: next(still), lambda: wrong) is wrong
