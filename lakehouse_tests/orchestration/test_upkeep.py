"""What happens by the clock: dead letters, reconcile, maintenance, and the forgetting of runs."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest

from lakehouse import model
from lakehouse.dataset import DeclarationError, load
from lakehouse.definitions import build
from lakehouse.landing import inbox
from lakehouse.layers.tables import names
from lakehouse.ml.tables import names as learned
from lakehouse.orchestration import upkeep
from lakehouse.orchestration.runless import forget_runless
from lakehouse.orchestration.upkeep import forget
from lakehouse.settings import SettingError, Settings
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import check, land

pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run:DeprecationWarning")
"""Dagster 1.13 calls its own deprecated method where one resource holds another."""


@pytest.fixture
def house(road: Road, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Road:
    """A road that was walked, as Dagster finds it, with a dead-letter queue."""
    dead = boto3.client("sqs").create_queue(QueueName=f"{road.bucket.name}-dead")["QueueUrl"]
    for name, value in {
        "HOME": str(tmp_path),
        "LAKE": road.lake.root,
        "TABLE_PREFIX": road.prefix,
        "LANDING_BUCKET": road.bucket.name,
        "QUEUE_URL": road.queue.url,
        "DEAD_LETTER_QUEUE_URL": dead,
    }.items():
        monkeypatch.setenv(f"LAKEHOUSE_{name}", value)
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    return road


def ran(job: str, instance: dg.DagsterInstance | None = None) -> dg.ExecuteInProcessResult:
    return build(dg.in_process_executor).resolve_job_def(job).execute_in_process(instance=instance)


def facts(event: dg.AssetMaterialization) -> dict[str, Any]:
    return {name: one.value for name, one in event.metadata.items()}


def test_dead_letters_are_an_asset_that_shows_them_and_a_check_that_counts_them(house: Road) -> None:
    assert all(one.passed for one in ran("dead_letters").get_asset_check_evaluations())
    sqs, url = boto3.client("sqs"), Settings.load().required("dead_letter_url")
    sqs.send_message(QueueUrl=url, MessageBody="{")
    done = ran("dead_letters")
    (told,) = done.get_asset_check_evaluations()
    assert not told.passed
    (made,) = done.asset_materializations_for_node("landing__dead_letters")
    assert facts(made)["messages"] == 1
    assert 0 <= facts(made)["oldest_hours"] < 1
    (letter,) = made.metadata["letters"].records  # type: ignore[attr-defined]
    assert letter.data["body"] == "{"
    assert "not JSON" in letter.data["reason"]


def test_reconcile_runs_by_the_clock_and_tells_what_it_found(house: Road) -> None:
    late = {"flights/3.csv": sample.flights(("UA", 2, 7))}
    land(house, {**late, "orders/1.csv": b"id\n1\n"})
    assert ran("reconcile").success
    box = inbox.open_inbox(house.lake).scan().collect()
    assert box.filter(event_name="reconcile")["key"].sort().to_list() == ["flights/3.csv", "orders/1.csv"]
    house.hops()
    check(house, {**sample.FILES, **late})


def test_maintenance_tends_every_table_in_a_pool_of_its_own_and_tells_sizes(house: Road) -> None:
    job = build(dg.in_process_executor).resolve_job_def("maintenance")
    pools = {node.definition.pool for node in job.nodes}
    tables = {*names(load()), *learned(model.load()), "undeclared"}
    assert pools == {f"table:{name}" for name in tables} | {"retention"}
    done = ran("maintenance")
    told = [e for e in done.all_events if e.event_type_value == "STEP_OUTPUT"]
    outputs = {e.step_key: e.event_specific_data.metadata for e in told}  # type: ignore[union-attr]
    sizes = {name: one.value for name, one in outputs["maintain__raw__flights"].items()}
    assert sizes["files_before"] > 0
    assert sizes["bytes_before"] > 0
    assert sizes["files_after"] > 0
    check(house, sample.FILES)


def test_the_page_of_a_quarantine_shows_what_is_refused_under_its_id(house: Road) -> None:
    made = ran("flights").asset_materializations_for_node("cleaned__flights")
    (bad,) = [one for one in made if one.asset_key.path[0] == "quarantine"]
    assert [one.data["id"] for one in bad.metadata["refused"].records] == ["flights/2.csv#3"]  # type: ignore[attr-defined]


def test_old_runs_are_forgotten_but_for_those_that_made_what_stands(house: Road) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        runs = [ran("dead_letters", instance).run_id for _ in range(3)]
        assert forget(instance, timedelta(days=1)) == 0
        time.sleep(0.01)
        assert forget(instance, timedelta(0)) == 2
        assert [one.run_id for one in instance.get_runs()] == runs[-1:]
        assert not instance.all_logs(runs[0])
        assert instance.all_logs(runs[-1])


def test_more_runs_than_a_page_are_forgotten_in_one_call(house: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "PAGE", 1)
    with dg.DagsterInstance.ephemeral() as instance:
        runs = [ran("dead_letters", instance).run_id for _ in range(5)]
        assert forget(instance, timedelta(0)) == 4
        assert [one.run_id for one in instance.get_runs()] == runs[-1:]


@pytest.mark.parametrize("made", [dg.DagsterInstance.ephemeral, dg.DagsterInstance.local_temp])
def test_old_events_without_a_run_are_forgotten_but_for_the_latest_of_each_asset(
    house: Road, made: Callable[[], dg.DagsterInstance]
) -> None:
    with made() as instance:
        for number in range(5):
            for asset in ("one", "other"):
                told = dg.AssetMaterialization(asset, metadata={"number": number}, tags={"some": "tag"})
                instance.report_runless_asset_event(told)
        runs = [ran("dead_letters", instance).run_id for _ in range(3)]
        assert forget_runless(instance, timedelta(days=1)) == 0
        time.sleep(0.01)
        assert forget_runless(instance, timedelta(0)) == 8 + 2
        assert forget_runless(instance, timedelta(0)) == 0
        for asset in ("one", "other"):
            (left,) = instance.fetch_materializations(dg.AssetKey(asset), limit=10).records
            assert left.asset_materialization
            assert left.asset_materialization.metadata["number"].value == 4
            latest = instance.get_latest_materialization_event(dg.AssetKey(asset))
            assert latest
            assert latest.asset_materialization == left.asset_materialization
        assert [e.run_id for e in instance.all_logs("") if e.run_id] == []
        assert len(instance.all_logs("")) == 2
        assert all(instance.all_logs(run) for run in runs)
        check = dg.AssetCheckKey(dg.AssetKey(["landing", "dead_letters"]), "empty")
        (stands,) = instance.event_log_storage.get_asset_check_execution_history(check, limit=10)
        assert stands.run_id == runs[-1]


def test_a_retention_is_a_number_of_days() -> None:
    assert Settings.load({}).landing_retention is None
    assert Settings.load({"LAKEHOUSE_RUN_RETENTION_DAYS": "30"}).run_retention == timedelta(days=30)
    for wrong in ("-1", "0", "x", "1.5"):
        with pytest.raises(SettingError, match="LAKEHOUSE_QUARANTINE_RETENTION_DAYS"):
            Settings.load({"LAKEHOUSE_QUARANTINE_RETENTION_DAYS": wrong})


def test_landing_retention_beside_rows_that_go_with_their_objects_is_refused(
    house: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from lakehouse import definitions

    monkeypatch.setenv("LAKEHOUSE_LANDING_RETENTION_DAYS", "30")
    build(dg.in_process_executor)
    retracting = {name: replace(one, on_delete="retract") for name, one in load().items()}
    monkeypatch.setattr(definitions, "load", lambda: retracting)
    with pytest.raises(DeclarationError, match="LAKEHOUSE_LANDING_RETENTION_DAYS"):
        build(dg.in_process_executor)
