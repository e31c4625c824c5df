"""The dashboard says how good the champion is: what it promised, and what came true since."""

from pathlib import Path

import pytest

from lakehouse.dashboard import write
from lakehouse.dashboard.page import Section
from lakehouse.dataset import Dataset
from lakehouse.lake import Lake
from lakehouse.ml import registry
from lakehouse.model import Model
from lakehouse_tests.ml.conftest import fill
from lakehouse_tests.ml.test_monitoring import watch
from lakehouse_tests.ml.test_training import promoted

pytest.importorskip("vl_convert", reason="the dashboard's libraries are not installed")


def drawn(lake: Lake, model: Model, path: Path) -> Section | None:
    sections = write(lake, {}, path / "lake.html", models={model.name: model})
    return next((s for s in sections if s.name == "Delay risk"), None)


def test_it_tells_of_the_champion_once_there_is_one_and_of_each_week_once_it_is_true(
    lake: Lake, model: Model, datasets: dict[str, Dataset], tmp_path: Path
) -> None:
    assert drawn(lake, model, tmp_path) is None
    promoted(lake, model)
    before = drawn(lake, model, tmp_path)
    assert before
    known = registry.champion(lake, model.name)
    assert [tile.value for tile in before.tiles][:1] == [known]
    assert [card.title for card in before.cards] == ["Calibration at the gate"]
    fill(lake, 7, start=28)
    watch(lake, model, datasets)
    after = drawn(lake, model, tmp_path)
    assert after
    monitor = lake.open("monitor/delay_risk")
    assert monitor
    last = monitor.scan().sort("week").collect().row(-1, named=True)
    told = {tile.name: tile.value for tile in after.tiles}
    assert told["AUC since"] == f"{last['auc']:.3f}"
    assert told["Predicted and true"] == f"{last['predicted']:.0%}, {last['share']:.0%}"
    assert [card.title for card in after.cards] == ["AUC, week by week", "Calibration at the gate"]
