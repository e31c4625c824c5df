"""Where a run's time went."""

import dagster as dg
import pytest

from lakehouse.definitions import build
from lakehouse.orchestration.phases import SECONDS, phases, told
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import land


def test_each_phase_lasts_from_the_end_of_the_one_before_it_and_checks_are_none() -> None:
    marks = {"": 10.0, "queue": 10.25, "tick": 10.5, "launch": 11.0}
    ends = [("checks__a", 15.0), ("dynamodb__b", 13.0), ("raw__a", 11.5)]
    found = phases(marks, ends)
    assert found == {"queue": 0.25, "tick": 0.25, "launch": 0.5, "raw__a": 0.5, "dynamodb__b": 1.5}
    assert told(found) == "3.00 = queue 0.25 + tick 0.25 + launch 0.50 + raw__a 0.50 + dynamodb__b 1.50"


def test_what_nobody_knows_is_left_out() -> None:
    assert phases({"": None, "queue": None, "tick": 2.0, "launch": 3.0}, [("raw__a", 4.0)]) == {
        "launch": 1.0,
        "raw__a": 1.0,
    }


@pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run:DeprecationWarning")
def test_a_run_is_tagged_with_the_phases_from_its_message_on(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE", road.lake.root)
    monkeypatch.setenv("LAKEHOUSE_LANDING_BUCKET", road.bucket.name)
    monkeypatch.setenv("LAKEHOUSE_TABLE_PREFIX", road.prefix)
    land(road, {"airlines/airlines.csv": sample.FILES["airlines/airlines.csv"]})
    while road.receive():
        pass
    job = build(dg.in_process_executor).resolve_job_def("airlines")
    with dg.DagsterInstance.ephemeral() as instance:
        run = job.execute_in_process(instance=instance, tags={"lakehouse/dataset": "airlines"})
        tags = instance.get_run_by_id(run.run_id).tags  # type: ignore[union-attr]
    total, _, parts = tags[SECONDS].partition(" = ")
    assert float(total) > 0
    assert [name for name in ("tick", "raw__airlines", "dynamodb__carrier_punctuality") if name not in parts] == []
    assert "checks__" not in parts
