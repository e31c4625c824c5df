"""What a dataset declares, as assets: its history, and the time within which its files are expected."""

from dataclasses import replace
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy

from lakehouse import definitions
from lakehouse.dataset import Dataset, DeclarationError, load


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Dataset]:
    datasets = load()
    datasets["flights"] = replace(datasets["flights"], history=True)
    monkeypatch.setattr(definitions, "load", lambda: datasets)
    return datasets


def test_history_is_an_asset_of_its_datasets_job_and_is_checked(told: dict[str, Dataset]) -> None:
    found = definitions.build(dg.in_process_executor)
    keys = {key.to_user_string() for key in found.resolve_all_asset_keys()}
    assert "history/flights" in keys
    assert "history/planes" not in keys
    job = found.resolve_job_def("flights")
    assert dg.AssetKey(["history", "flights"]) in job.asset_layer.executable_asset_keys
    graph = found.resolve_job_def("verify").asset_layer.asset_graph
    checks = {key.to_user_string() for key in graph.asset_check_keys}
    assert "history/flights:timeline" in checks


def test_a_dataset_that_is_expected_within_a_time_is_overdue_after_it(told: dict[str, Dataset]) -> None:
    told["planes"] = replace(told["planes"], fresh_within=timedelta(hours=2))
    graph = definitions.build(dg.in_process_executor).resolve_asset_graph()
    for layer in ("raw", "cleaned"):
        policy = graph.get(dg.AssetKey([layer, "planes"])).freshness_policy
        assert isinstance(policy, TimeWindowFreshnessPolicy)
        assert policy.fail_window.to_timedelta() == timedelta(hours=2)
        assert graph.get(dg.AssetKey([layer, "airlines"])).freshness_policy is None
    with pytest.raises(DeclarationError, match="at least a minute"):
        replace(told["planes"], fresh_within=timedelta(seconds=5))
