"""What is old goes where a setting says so, and nothing else with it."""

import time
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from typing import Self

import polars as pl
import pytest

from lakehouse.dataset import Dataset, DeclarationError
from lakehouse.landing import documents
from lakehouse.layers import balance, cleaned, retention
from lakehouse.layers.retention import expire, retire, sweep
from lakehouse.settings import Settings
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.landing.test_archives import zipped
from lakehouse_tests.test_road import check, land

NOW, LONG = timedelta(seconds=-60), timedelta(days=30)
"""Ages that everything and that nothing has reached."""


@pytest.fixture
def flights(road: Road) -> Dataset:
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    return road.datasets["flights"]


def refused(road: Road, dataset: Dataset) -> list[int]:
    return sorted(cleaned.open_quarantine(road.lake, dataset).scan().select("_record").collect().to_series())


def versions(road: Road, key: str) -> int:
    return len(road.bucket.client.list_object_versions(Bucket=road.bucket.name, Prefix=key).get("Versions", []))


def test_refused_records_expire_and_the_balance_knows(road: Road, flights: Dataset) -> None:
    assert [expire(road.lake, flights, LONG) for _ in range(2)] == [0, 0]
    assert refused(road, flights) == [3]
    assert expire(road.lake, flights, NOW) == 1
    assert refused(road, flights) == []
    check(road, sample.FILES)
    assert expire(road.lake, flights, NOW) == 0


def test_what_is_refused_after_the_first_look_is_not_expired_by_it(road: Road, flights: Dataset) -> None:
    assert expire(road.lake, flights, NOW) == 0
    assert refused(road, flights) == [3]


def test_what_has_expired_does_not_come_back_when_the_table_is_taken_anew(road: Road, flights: Dataset) -> None:
    expire(road.lake, flights, LONG)
    expire(road.lake, flights, NOW)
    table = cleaned.open_quarantine(road.lake, flights)
    table.append(pl.DataFrame(schema=cleaned.BAD), [replace(one, version=-1) for one in cursors(table)])
    assert cleaned.quarantine(road.lake, flights).moved
    assert refused(road, flights) == []
    assert balance.unbalanced(road.lake, flights).is_empty()


def cursors(table: cleaned.Table) -> list:
    (one,) = [c for c in [table.cursor("raw/flights")] if c]
    return [one]


def test_what_another_contract_refuses_of_old_files_is_shown(road: Road, flights: Dataset) -> None:
    expire(road.lake, flights, LONG)
    expire(road.lake, flights, NOW)
    other = replace(flights, order_by=["distance"])
    for verb in (cleaned.clean, cleaned.quarantine, balance.weigh):
        verb(road.lake, other)
    assert refused(road, other) == [3]
    assert balance.unbalanced(road.lake, other).is_empty()
    assert expire(road.lake, other, NOW) == 0
    assert refused(road, other) == [3]


def test_what_was_just_refused_of_an_old_file_waits_its_time(
    road: Road, flights: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file was uploaded two hours ago and its record is refused by this code since now."""

    def hours_later(hours: int) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Self:
                return super().now(tz) + timedelta(hours=hours)

        monkeypatch.setattr(retention, "datetime", Clock)

    hours_later(2)
    expire(road.lake, flights, LONG)
    assert expire(road.lake, flights, timedelta(hours=1)) == 0
    assert refused(road, flights) == [3]
    hours_later(4)
    assert expire(road.lake, flights, timedelta(hours=1)) == 1


def test_an_old_file_that_arrives_late_shows_what_is_refused_of_it(road: Road, flights: Dataset) -> None:
    late = {"flights/late.csv": sample.flights(("AA", 50, "x"))}
    land(road, late)
    time.sleep(2.1)
    expire(road.lake, flights, LONG)
    assert expire(road.lake, flights, timedelta(seconds=0)) == 1
    road.announce(*late)
    road.hops()
    assert refused(road, flights) == [1]
    assert balance.unbalanced(road.lake, flights).is_empty()


def test_objects_that_were_read_leave_the_bucket_and_their_rows_stay(road: Road, flights: Dataset) -> None:
    newer = {"flights/1.csv": sample.flights(("AA", 1, 6))}
    land(road, newer)
    road.announce("flights/1.csv")
    road.hops()
    assert retire(road.lake, road.bucket, flights, LONG) == 0
    assert versions(road, "flights/1.csv") == 2
    assert retire(road.lake, road.bucket, flights, NOW) == 1
    assert versions(road, "flights/1.csv") == 0
    assert versions(road, "flights/2.csv") == 1, "one of its records is refused"
    while road.receive():
        pass
    road.hops()
    check(road, {**sample.FILES, **newer})
    assert retire(road.lake, road.bucket, flights, NOW) == 0


def test_an_upload_that_raw_has_not_read_stays(road: Road, flights: Dataset) -> None:
    newer = {"flights/1.csv": sample.flights(("AA", 1, 6))}
    land(road, newer)
    assert retire(road.lake, road.bucket, flights, NOW) == 1
    assert versions(road, "flights/1.csv") == 1
    while road.receive():
        pass
    road.hops()
    check(road, {**sample.FILES, **newer})


@pytest.mark.parametrize("removal", ["on_delete", "on_expiry"])
def test_objects_whose_removal_takes_rows_away_are_never_retired(
    road: Road, flights: Dataset, removal: str
) -> None:
    with pytest.raises(DeclarationError, match=removal):
        retire(road.lake, road.bucket, replace(flights, **{removal: "retract"}), NOW)  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match=removal):
        replace(flights, landing_retention=30, **{removal: "retract"})  # type: ignore[arg-type]


def test_a_datasets_own_number_of_days_goes_before_the_setting(flights: Dataset) -> None:
    assert flights.retention(None) is None
    assert flights.retention(LONG) == LONG
    assert replace(flights, landing_retention=7).retention(LONG) == timedelta(days=7)
    with pytest.raises(DeclarationError, match="at least 1"):
        replace(flights, landing_retention=0)


def test_a_sweep_deletes_by_setting_and_by_a_datasets_own_number(road: Road, flights: Dataset) -> None:
    settings = replace(Settings.load({}), landing_retention=NOW)
    datasets = {**road.datasets, "flights": replace(flights, landing_retention=30)}
    gone = sweep(road.lake, lambda: road.bucket, datasets, settings)
    assert gone["raw/flights"] == 0
    assert gone["raw/airlines"] > 0
    assert sweep(road.lake, lambda: road.bucket, road.datasets, Settings.load({})) == {}


def test_a_document_that_raw_keeps_by_reference_stays_in_the_bucket(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "INLINE", 20)
    road.datasets["documents"] = replace(road.datasets["documents"])
    small, large = "documents/small.txt", "documents/large.txt"
    land(road, {small: b"x" * 20, large: b"y" * 21})
    road.announce(small, large)
    road.hops()
    assert retire(road.lake, road.bucket, road.datasets["documents"], NOW) == 1
    assert (versions(road, small), versions(road, large)) == (0, 1)


@pytest.mark.parametrize(("late", "retired"), [(9, 1), ("x", 0)])
def test_an_archive_goes_unless_a_record_of_a_member_is_refused(road: Road, late: int | str, retired: int) -> None:
    members = {"1.csv": sample.flights(("AA", 9, 9)), "2.csv": sample.flights(("AA", 8, late))}
    land(road, {"flights/a.csv": zipped(members)})
    road.announce("flights/a.csv")
    road.hops()
    assert retire(road.lake, road.bucket, road.datasets["flights"], NOW) == retired
    assert versions(road, "flights/a.csv") == 1 - retired
