"""Another model is one file, another learner one module, and an application needs three lines, as the docs say."""

import re
from datetime import timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from lakehouse import model as vocabulary
from lakehouse.definitions import build
from lakehouse.lake import Lake
from lakehouse.ml import features as feats
from lakehouse.ml import registry, scoring, training
from lakehouse.model import Model, Source
from lakehouse_tests.ml.conftest import DATASETS, MODEL, fill
from lakehouse_tests.ml.test_training import promoted

DOCS = Path(__file__).parents[2] / "docs" / "models.md"
APPLICATION, SECOND = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


def test_a_second_model_is_the_one_file_that_the_docs_show(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "two_models"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "delay_risk.py").write_text("from lakehouse.models.delay_risk import model\n")
    (package / "late_start.py").write_text(SECOND)
    monkeypatch.syspath_prepend(tmp_path)
    both = vocabulary.load("two_models")
    monkeypatch.setattr(vocabulary, "load", lambda: both)
    made = build(dg.in_process_executor)
    tables = {key.to_user_string() for key in made.resolve_asset_graph().get_all_asset_keys()}
    layers = ("models", "promotions", "serving", "monitor", "dynamodb")
    assert tables >= {f"{layer}/{name}" for layer in layers for name in both}
    jobs = {job.name for job in made.resolve_sensor_def("models").jobs}
    assert jobs == {f"{work}_{name}" for work in ("train", "score") for name in ("delay_risk", "late_start")}
    second = both["late_start"]
    assert feats.leaks(second, feats.frames_of(feats.opened(lake, second))).is_empty()
    assert promoted(lake, second)


def test_an_application_asks_as_the_docs_show(lake: Lake, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    version = registry.version(lake, model.name, promoted(lake, model))
    rows = feats.features(model, feats.frames_of(feats.opened(lake, model))).tail(3).select(version.columns)
    monkeypatch.setenv("LAKEHOUSE_LAKE", lake.root)
    told = {"rows": rows}
    exec(APPLICATION, told)
    assert told["answers"].equals(scoring.predict(version, rows))


def late_words(flights: pl.LazyFrame) -> pl.LazyFrame:
    """Will a flight of this description be late?"""
    told = pl.format("from {} to {} at {}", "origin", "dest", pl.col("time_hour").dt.hour())
    return flights.select(*MODEL.key, note=told, asked=pl.col("time_hour") - pl.duration(hours=1))


def test_a_learner_of_words_takes_the_place_of_lightgbm(lake: Lake) -> None:
    words = Model(
        features=late_words,
        label=MODEL.label,
        key=MODEL.key,
        sources={"flights": Source("time_hour", later=MODEL.sources["flights"].later)},
        horizon=timedelta(0),
        learner="lakehouse_tests.ml.words",
    )
    made = training.train(lake, words)
    assert made.passed, made.reasons
    registry.promote(lake, words.name, made.id, who="me", why="test")
    assert training.reproduce(lake, words, made)
    fill(lake, 1, start=28)
    scoring.score(lake, words, DATASETS)
    served = lake.open("serving/late_words")
    assert served is not None
    rows = served.scan().sort(MODEL.key).collect()
    assert len(rows) > 500
    assert rows["reason1"].str.contains(r"^\S+ \([+-]").all()
    last = rows.row(-1, named=True)
    asked = {"flight": str(last["flight"]), "carrier": last["carrier"]}
    assert scoring.ask(lake, words, asked) == last | {"seen": False}
