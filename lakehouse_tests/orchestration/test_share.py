"""A backfill's further workers as runs of Dagster's."""

import time
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster_aws.s3 import S3Resource

from lakehouse.cli import main
from lakehouse.definitions import build
from lakehouse.layers import fanout, ingest
from lakehouse.layers.backfill import backfill
from lakehouse.layers.tables import of_raw
from lakehouse.local import house
from lakehouse.orchestration import shares
from lakehouse.orchestration.composite import HEAVY, WEIGHT
from lakehouse.orchestration.resources import DynamoDBResource, LakehouseResource, SQSResource
from lakehouse.orchestration.sensor import DATASET
from lakehouse.settings import SettingError, Settings
from lakehouse_tests import sample
from lakehouse_tests.chaos.conftest import comes_right, environment, road_here
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import check, land

pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run:DeprecationWarning")
"""Dagster 1.13 calls its own deprecated method where one resource holds another."""


@pytest.fixture
def flights(road: Road, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Road:
    for name, value in {
        "HOME": str(tmp_path),
        "LAKE": road.lake.root,
        "TABLE_PREFIX": road.prefix,
        "LANDING_BUCKET": road.bucket.name,
        "QUEUE_URL": road.queue.url,
    }.items():
        monkeypatch.setenv(f"LAKEHOUSE_{name}", value)
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    return road


def test_a_heavy_run_takes_its_share_of_a_backfill_that_is_under_way(flights: Road) -> None:
    dataset, job = flights.datasets["flights"], build(dg.in_process_executor).resolve_job_def("share")
    assert job.tags[WEIGHT] == HEAVY
    share = {"dataset": "flights", "path": 1, "worker": 1, "workers": 2}
    config = {"ops": {"carry_share": {"config": share}}}
    assert job.execute_in_process(run_config=config).success
    beside = replace(flights.lake, paths={f"{layer}/flights": 1 for layer in of_raw(dataset)})
    assert beside.open("cleaned/flights") is None or not fanout.joined(beside, dataset)
    fanout.begin(beside, dataset)
    assert job.execute_in_process(run_config=config).success
    assert fanout.joined(beside, dataset) is None
    told: list[str] = []
    assert backfill(flights.lake, dataset, lambda done: told.append(done.table)).path == 1
    assert told == []
    flights.hops()
    check(flights, sample.FILES)


def test_the_command_says_that_there_is_no_dagster(flights: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    found = CliRunner().invoke(main, ["backfill", "flights", "--workers", "2", "--runs"])
    assert found.exit_code == 1
    assert "no Dagster keeps its state at" in found.output
    assert flights.lake.numbers() == {}


@pytest.mark.slow
def test_the_command_has_dagster_launch_the_other_workers(flights: Road) -> None:
    with house.dagster(Settings.load()):
        found = CliRunner().invoke(main, ["backfill", "flights", "--workers", "3", "--runs"])
        assert found.exit_code == 0, found.output
        with dg.DagsterInstance.get() as instance:
            asked, end = dg.RunsFilter(job_name="share"), time.monotonic() + 120
            while not all(run.is_finished for run in instance.get_runs(asked)):
                assert time.monotonic() < end, "waited in vain"
                time.sleep(1)
            runs = instance.get_runs(asked)
        assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 2
        assert {run.tags[WEIGHT] for run in runs} == {HEAVY}
    flights.hops()
    check(flights, sample.FILES)


@pytest.fixture
def backlog(flights: Road, monkeypatch: pytest.MonkeyPatch) -> Road:
    """A dataset that can fan out, and of raw the news of as many objects as are oversized."""
    flights.datasets["flights"] = replace(flights.datasets["flights"], partition_by="carrier")
    monkeypatch.setattr("lakehouse.definitions.load", lambda: flights.datasets)
    monkeypatch.setattr("lakehouse.orchestration.shares.fanout.OVERSIZED", 3)
    monkeypatch.setattr("lakehouse.layers.raw.BATCH", 1)
    flights.hops()
    land(flights, MORE)
    flights.announce(*MORE)
    return flights


MORE = {f"flights/{n}.csv": sample.flights(("AA", n, n), ("UA", n, "late")) for n in range(600, 604)}


def look(road: Road, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    (one,) = shares.build(road.datasets)["sensors"]
    lakehouse = LakehouseResource(s3=S3Resource(), sqs=SQSResource(), dynamodb=DynamoDBResource())
    with dg.build_sensor_context(instance, resources={"lakehouse": lakehouse}) as context:
        return [*one(context)]


def test_a_run_that_carries_an_oversized_backlog_gets_further_workers(
    backlog: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest.ingest(backlog.lake, backlog.bucket, backlog.datasets["flights"])
    with dg.DagsterInstance.ephemeral() as instance:
        assert look(backlog, instance) == []
        fanout.share(backlog.lake, backlog.datasets["flights"])
        assert look(backlog, instance) == [], "no run carries it"
        job = build(dg.in_process_executor).resolve_job_def("flights")
        run = instance.create_run_for_job(job, tags={DATASET: "flights"}, status=dg.DagsterRunStatus.STARTED)
        asked = look(backlog, instance)
        assert [one.run_key for one in look(backlog, instance)] == [one.run_key for one in asked]
        assert len({one.run_key for one in asked}) == 3
        share = build(dg.in_process_executor).resolve_job_def("share")
        for one in asked:
            assert share.execute_in_process(run_config=one.run_config).success
        assert look(backlog, instance) == []
        assert run.status == dg.DagsterRunStatus.STARTED
    assert fanout.joined(backlog.lake, backlog.datasets["flights"]) is None
    backlog.hops()
    check(backlog, sample.FILES | MORE)


def test_a_run_shares_its_backlog_and_tells_of_all_that_was_written(backlog: Road) -> None:
    done = build(dg.in_process_executor).resolve_job_def("flights").execute_in_process()
    (cleaned,) = done.asset_materializations_for_node("cleaned__flights")[:1]
    assert cleaned.metadata["upserted"].value == 4
    table = backlog.lake.open("cleaned/flights")
    assert table
    assert table.cursor("raw/flights#3") is not None
    check(backlog, sample.FILES | MORE)


WORKSPACE = """load_from:
  - python_module: {module_name: lakehouse_tests.orchestration.apart, location_name: lakehouse}
"""


@pytest.mark.slow
def test_a_backlog_that_lands_fans_out_over_runs_by_itself(tmp_path: Path) -> None:
    files = sample.FILES | {
        f"flights/{n}.csv": sample.flights(("AA", n, n), ("UA", 1, n)) for n in range(600, 650)
    }
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text(WORKSPACE)
    with environment(LAKEHOUSE_HOME=str(tmp_path)), house.local_aws(Settings.load()):
        road = road_here()
        road.datasets["flights"] = replace(road.datasets["flights"], partition_by="carrier")
        land(road, files)
        with house.dagster(Settings.load(), workspace=workspace), dg.DagsterInstance.get() as instance:
            comes_right(road, files)
            done = instance.get_runs(dg.RunsFilter(job_name="share", statuses=[dg.DagsterRunStatus.SUCCESS]))
            asked = [
                one
                for run in done
                for one in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_OUTPUT)
            ]
    taken = [one.dagster_event.step_output_data.metadata["portions"].value for one in asked if one.dagster_event]
    assert sum(taken) > 0


@pytest.mark.parametrize("told", ["0", "-1", "some"])
def test_a_number_of_workers_that_is_none_is_refused(told: str) -> None:
    assert Settings.load({}).workers == 4
    with pytest.raises(SettingError, match=f"LAKEHOUSE_WORKERS is '{told}'"):
        Settings.load({"LAKEHOUSE_WORKERS": told})
