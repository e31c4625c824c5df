"""Retention takes what nobody needs, and not what a champion was made from."""

from datetime import timedelta

import pytest

from lakehouse.lake import Lake, maintenance, paths
from lakehouse.lake.table import HOOKS
from lakehouse.layers.cleaned import open_cleaned
from lakehouse.ml import registry, tables, training
from lakehouse.model import Model
from lakehouse_tests.ml.conftest import DATASETS
from lakehouse_tests.ml.test_training import poison, promoted


def shorten(lake: Lake) -> None:
    """Everything that is not the newest is older than retention."""
    table = open_cleaned(lake, DATASETS["flights"])
    now = "interval 0 seconds"
    kept = {"delta.deletedFileRetentionDuration": now, "delta.logRetentionDuration": now}
    table.delta.alter.set_table_properties(kept, post_commithook_properties=HOOKS)


def test_the_versions_that_a_champion_pins_outlive_retention(lake: Lake, model: Model) -> None:
    made = registry.version(lake, model.name, promoted(lake, model))
    poison(lake)
    shorten(lake)
    held = tables.pinned(lake, {model.name: model})
    assert held["cleaned/flights"] == [made.pins["inputs"]["flights"]["version"]]
    maintenance.maintain([open_cleaned(lake, DATASETS["flights"])], held)
    assert training.reproduce(lake, model, made)
    maintenance.maintain([open_cleaned(lake, DATASETS["flights"])])
    with pytest.raises(training.NotReproducible, match="no longer reproducible"):
        training.reproduce(lake, model, made)


def test_the_table_that_a_champion_pins_outlives_the_one_that_replaced_it(
    lake: Lake, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = registry.version(lake, model.name, promoted(lake, model))
    monkeypatch.setattr(paths, "RETENTION", timedelta(0))
    paths.switch(lake, {"cleaned/flights": 1})
    assert open_cleaned(lake, DATASETS["flights"]).count == 0
    assert paths.retire(lake, tables.pinned_ids(lake, {model.name: model})) == {}
    assert training.reproduce(lake, model, made)
    assert paths.retire(lake).keys() == {"cleaned/flights"}
    with pytest.raises(training.NotReproducible, match="is another table now"):
        training.reproduce(lake, model, made)
