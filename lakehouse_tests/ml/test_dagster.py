"""The loop as Dagster runs it: blocked by the gate, asked for once, published."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import dagster as dg
import pytest

from lakehouse import model as vocabulary
from lakehouse.definitions import build
from lakehouse.dynamodb.sync import items_of, verify
from lakehouse.lake import Lake
from lakehouse.ml import registry
from lakehouse.model import Model
from lakehouse.orchestration import models
from lakehouse.settings import Settings
from lakehouse_tests.ml.conftest import MODEL, fill
from lakehouse_tests.ml.test_monitoring import turn
from lakehouse_tests.ml.test_training import poison

pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run:DeprecationWarning")


@pytest.fixture
def instance(
    local: dict[str, str], lake: Lake, model: Model, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setattr(vocabulary, "load", lambda: {model.name: model})
    monkeypatch.setenv("LAKEHOUSE_HOME", lake.root + "-home")
    monkeypatch.setenv("LAKEHOUSE_LAKE", lake.root)
    monkeypatch.setenv("LAKEHOUSE_TABLE_PREFIX", f"{abs(hash(lake.root))}-")
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def run(instance: dg.DagsterInstance, job: str, tags: dict[str, str] | None = None) -> dg.ExecuteInProcessResult:
    found = build(dg.in_process_executor).resolve_job_def(job)
    return found.execute_in_process(instance=instance, raise_on_error=False, tags=tags)


@pytest.fixture
def model() -> Model:
    return replace(MODEL, rounds=15, warmup=timedelta(days=20))


def asked(instance: dg.DagsterInstance, lake: Lake, model: Model) -> list[dg.RunRequest]:
    return [*models.requests(instance, lake, model, lambda one: items_of(Settings.load(), one))]


def page(done: dg.ExecuteInProcessResult, layer: str) -> dict[str, str]:
    """What the asset's page shows of a run."""
    (told,) = done.asset_materializations_for_node(f"{layer}__delay_risk")
    return {name: str(value.value) for name, value in told.metadata.items()}


def checks(done: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {e.check_name: e.passed for e in done.get_asset_check_evaluations()}


@pytest.mark.slow
def test_the_sensor_trains_first_then_scores_and_then_rests(
    instance: dg.DagsterInstance, lake: Lake, model: Model
) -> None:
    (first,) = asked(instance, lake, model)
    assert first.job_name == "train_delay_risk"
    done = run(instance, "train_delay_risk", dict(first.tags))
    assert done.success
    assert checks(done) == {"gate": True, "leakage": True, "agreement": True, "quality": True}
    assert asked(instance, lake, model) == []
    fill(lake, 1, start=28)
    (later,) = asked(instance, lake, model)
    assert later.job_name == "score_delay_risk"
    scored = run(instance, "score_delay_risk", dict(later.tags))
    (answers,) = scored.asset_materializations_for_node("serving__delay_risk")
    columns = answers.metadata["dagster/column_schema"].value.columns
    assert [c.name for c in columns if not c.description] == []
    assert {"carrier", "probability", "reason3"} <= {c.name for c in columns}
    assert scored.success
    assert "data:image/svg" in page(done, "models")["card"]
    assert "PSI" in page(scored, "monitor")["drift pictures"]
    for layer, moved in (("models", ""), ("promotions", ""), ("serving", r": [\d,]+ added"), ("monitor", r": .+")):
        told = page(scored if layer in ("serving", "monitor") else done, layer)
        assert re.match(rf"[\d,]+ rows?{moved}, in 1 file of \d+ kB\.", told["summary"]), told["summary"]
    assert asked(instance, lake, model) == []
    items = items_of(Settings.load(), MODEL.serving)
    assert items.count() > 500
    assert verify(lake, MODEL.serving, items) == []


def test_a_refused_version_is_promoted_neither_by_its_run_nor_by_hand(
    instance: dg.DagsterInstance, lake: Lake
) -> None:
    assert run(instance, "train_delay_risk").success
    first = registry.champion(lake, "delay_risk")
    poison(lake)
    done = run(instance, "train_delay_risk")
    assert not checks(done)["gate"]
    assert not done.success
    assert registry.champion(lake, "delay_risk") == first
    promotion = build(dg.in_process_executor).resolve_implicit_global_asset_job_def()
    alone = promotion.execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey(["promotions", "delay_risk"])]
    )
    (told,) = alone.asset_materializations_for_node("promotions__delay_risk")
    assert "the gate refused" in str(told.metadata["outcome"].value)
    assert registry.champion(lake, "delay_risk") == first


@pytest.mark.slow
def test_a_failing_week_asks_for_one_training(instance: dg.DagsterInstance, lake: Lake, model: Model) -> None:
    assert run(instance, "train_delay_risk").success
    fill(lake, 7, start=35)
    turn(lake, 4)
    done = run(instance, "score_delay_risk")
    assert checks(done)["quality"] is False
    (only,) = asked(instance, lake, model)
    assert only.job_name == "train_delay_risk"
    assert "astray" in only.tags["lakehouse/why"]
    run(instance, "train_delay_risk", dict(only.tags))
    assert [r for r in asked(instance, lake, model) if r.job_name == "train_delay_risk"] == []
