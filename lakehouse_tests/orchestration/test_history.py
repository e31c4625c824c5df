"""A dataset with history has an asset more, in its own job, and a check of it."""

from dataclasses import replace

import dagster as dg
import pytest

from lakehouse import definitions
from lakehouse.dataset import Dataset, load


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
