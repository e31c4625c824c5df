"""A lake that an earlier commit wrote is opened and carried on, not built again."""

import shutil
from pathlib import Path

import pytest

from lakehouse.landing.reconcile import reconcile
from lakehouse.layers import raw
from lakehouse.layers.tables import standing
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import check, land

LAKES = sorted((Path(__file__).parent / "fixtures").glob("lake-*"))
MORE = {"flights/3.csv": sample.flights(("AA", 9, 90), ("UA", 2, 41))}


def ids(road: Road) -> dict[str, str]:
    return {name: table.id for name, table in standing(road.lake, road.datasets).items()}


@pytest.mark.parametrize("lake", LAKES, ids=lambda p: p.name)
def test_a_lake_of_an_earlier_commit_is_carried_on(road: Road, lake: Path) -> None:
    shutil.copytree(lake, road.lake.root)
    before, held = ids(road), raw.open_raw(road.lake, "flights")
    land(road, MORE)
    road.announce(*MORE)
    road.hops()
    check(road, {**sample.FILES, **MORE})
    assert before.items() <= ids(road).items()
    changes = raw.open_raw(road.lake, "flights").changes(held.version)
    assert changes is not None
    assert changes["_object"].unique().to_list() == ["flights/3.csv"]
    table = road.lake.open("cleaned/flights")
    assert table is not None
    changed = table.changes(lake_version(lake, "cleaned/flights"))
    assert changed is not None
    assert set(changed["flight"]) == {9, 2}


def lake_version(lake: Path, name: str) -> int:
    return max(int(entry.stem) for entry in (lake / name / "_delta_log").glob("*.json"))


@pytest.mark.parametrize("lake", LAKES, ids=lambda p: p.name)
def test_reconcile_knows_the_objects_of_an_earlier_lake(road: Road, lake: Path) -> None:
    shutil.copytree(lake, road.lake.root)
    assert reconcile(road.lake, road.bucket, road.datasets) == {
        name: sum(key.startswith(f"{name}/") for key in sample.FILES) for name in road.datasets
    }


def test_there_is_a_lake_to_open() -> None:
    assert LAKES
