"""Every reader lags beyond what compaction and vacuum left, and ends in the same tables by the difference."""

import pytest

from lakehouse.dynamodb.sync import publish
from lakehouse.layers import cleaned, ingest, serving
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import check, items_of, land


def lapse(road: Road, name: str, reader: str) -> None:
    """All history of a table is gone, and with it what its reader has not read."""
    source = road.lake.open(name)
    target = road.lake.open(reader)
    assert source is not None
    assert target is not None
    cursor = target.cursor(name)
    assert cursor is not None
    assert cursor.version < source.version
    forget(road, name)
    source.delta.update_incremental()
    assert source.changes(cursor.version) is None


def forget(road: Road, name: str) -> None:
    table = road.lake.open(name)
    assert table is not None
    table.delta.optimize.compact()
    table.delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)


@pytest.mark.parametrize("root", ["disk", pytest.param("s3", marks=pytest.mark.slow)], indirect=True)
def test_every_reader_that_lags_beyond_retention_ends_where_the_others_do(road: Road) -> None:
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    later = {
        "flights/2.csv": sample.flights(("AA", 3, 31), ("DL", 4, 4)),
        "flights/3.csv": sample.flights(("UA", 2, 41), ("UA", 5, 50)),
        "airlines/airlines.csv": b"carrier,name\nAA,American\nUA,United\nDL,Delta\n",
    }
    land(road, later)
    road.announce(*later)
    forget(road, "landing/inbox")
    for name in ("flights", "airlines"):
        dataset = road.datasets[name]
        ingest.ingest(road.lake, road.bucket, dataset)
        lapse(road, f"raw/{name}", f"cleaned/{name}")
        cleaned.clean(road.lake, dataset)
        cleaned.quarantine(road.lake, dataset)
    one = next(s for s in road.servings() if s.name == "carrier_punctuality")
    lapse(road, "cleaned/flights", "tally/carrier_punctuality")
    lapse(road, "cleaned/airlines", "serving/carrier_punctuality")
    serving.serve(road.lake, one, road.datasets)
    forget(road, "serving/carrier_punctuality")
    assert publish(road.lake, one, road.items(one)) is not None
    assert items_of(road, "carrier_punctuality")["DL"]["airline"] == "Delta"
    road.hops()
    check(road, {**sample.FILES, **later})
