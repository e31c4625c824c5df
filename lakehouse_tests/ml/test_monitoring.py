"""When truth arrives: quality by week, drift, and the one request for a new training."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from lakehouse.dataset import Dataset
from lakehouse.lake import Lake
from lakehouse.layers.cleaned import open_cleaned
from lakehouse.ml import monitoring, registry, scoring, training
from lakehouse.ml.cards import weekly
from lakehouse.ml.evaluation import judge
from lakehouse.model import Model
from lakehouse_tests.ml.conftest import DATASETS, fill
from lakehouse_tests.ml.test_training import poison, promoted


def watch(lake: Lake, model: Model, datasets: dict[str, Dataset]) -> str | None:
    scoring.score(lake, model, datasets)
    monitoring.monitor(lake, model, datasets)
    return monitoring.due(lake, model)


def turn(lake: Lake, since: int) -> None:
    """From a day of February on, every flight is late."""
    table = open_cleaned(lake, DATASETS["flights"])
    late = pl.col("time_hour") >= pl.datetime(2013, 2, since, time_zone="UTC")
    rows = table.scan().filter(late).collect().with_columns(arr_delay=pl.lit(60, pl.Int32))
    table.apply(rows, rows.clear(), DATASETS["flights"].keys)


def test_a_first_training_is_due_when_there_is_enough_to_learn_from(lake: Lake, model: Model) -> None:
    assert monitoring.due(lake, model) is None
    assert monitoring.due(lake, replace(model, warmup=timedelta(days=20))) == "there is none yet"


def test_changed_code_makes_a_training_due(lake: Lake, model: Model) -> None:
    promoted(lake, model)
    assert monitoring.due(lake, model) is None
    assert monitoring.due(lake, replace(model, rounds=16)) == "its code has changed"


def test_a_failing_week_asks_for_training_once_and_the_next_failing_week_again(
    lake: Lake, model: Model, datasets: dict[str, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    promoted(lake, model)
    fill(lake, 7, start=35)
    turn(lake, 4)
    assert "astray" in str(watch(lake, model, datasets))
    monkeypatch.setattr(training, "judge", lambda *told: replace(judge(*told), reasons=["refused by hand"]))
    training.train(lake, model)
    assert monitoring.due(lake, model) is None
    assert monitoring.realised(lake, model).failures
    fill(lake, 7, start=42)
    turn(lake, 11)
    assert "astray" in str(watch(lake, model, datasets))


def test_where_no_version_has_passed_yet_a_week_more_of_truth_asks_again(lake: Lake, model: Model) -> None:
    poison(lake)
    assert not training.train(lake, model).passed
    fill(lake, 6, start=28)
    assert monitoring.due(lake, model) is None
    fill(lake, 2, start=34)
    assert "week more of truth" in str(monitoring.due(lake, model))
    assert not training.train(lake, model).passed
    assert monitoring.due(lake, model) is None


def test_who_waits_for_a_week_more_of_truth_reads_no_file_of_older_rows(lake: Lake, model: Model) -> None:
    poison(lake)
    assert not training.train(lake, model).passed
    for file in Path(lake.uri("cleaned/flights")).glob("*.parquet"):
        file.unlink()
    fill(lake, 6, start=28)
    assert monitoring.due(lake, model) is None
    fill(lake, 2, start=34)
    assert "week more of truth" in str(monitoring.due(lake, model))


def test_a_question_asked_long_before_asks_for_no_training_on_the_same_rows(lake: Lake, model: Model) -> None:
    def early(flights: pl.LazyFrame, weather: pl.LazyFrame, planes: pl.LazyFrame) -> pl.LazyFrame:
        asked = pl.col("asked") - pl.duration(days=10)
        return model.features(flights, weather, planes).with_columns(asked)

    leaking = replace(model, features=early)
    assert not training.train(lake, leaking).passed
    assert monitoring.due(lake, leaking) is None


def test_where_the_champion_is_of_other_code_a_week_more_of_truth_asks_again(lake: Lake, model: Model) -> None:
    def delay_risk(flights: pl.LazyFrame, weather: pl.LazyFrame, planes: pl.LazyFrame) -> pl.LazyFrame:
        return model.features(flights, weather, planes).with_columns(distance=pl.col("distance") * 2)

    promoted(lake, model)
    poison(lake)
    other = replace(model, features=delay_risk)
    assert not training.train(lake, other).passed
    fill(lake, 6, start=28)
    assert monitoring.due(lake, other) is None
    fill(lake, 2, start=34)
    assert "week more of truth" in str(monitoring.due(lake, other))
    assert monitoring.due(lake, model) == "its code has changed"


def test_a_week_tells_brier_score_calibration_and_the_rows_whose_truth_is_not_known(
    lake: Lake, model: Model, datasets: dict[str, Dataset]
) -> None:
    promoted(lake, model)
    fill(lake, 7, start=28)
    watch(lake, model, datasets)
    table, served = lake.open("monitor/delay_risk"), lake.open("serving/delay_risk")
    assert table is not None
    assert served is not None
    weeks = table.scan().sort("week").collect()
    flights = open_cleaned(lake, DATASETS["flights"]).scan().collect()
    mine = flights.join(served.scan().collect(), on=DATASETS["flights"].keys)
    assert weeks["unlabelled"].sum() == mine["arr_delay"].null_count() > 0
    week = weeks.row(0, named=True)
    told = mine.filter(mine["asked"].is_between(week["week"], week["week"] + timedelta(days=7), closed="left"))
    pairs = [(p, delay >= 15) for p, delay in told.select("probability", "arr_delay").drop_nulls().iter_rows()]
    assert len(pairs) == week["rows"] - week["unlabelled"] > 500
    assert week["brier"] == pytest.approx(sum((p - late) ** 2 for p, late in pairs) / len(pairs))
    assert week["calibration"] == pytest.approx(sum(p - late for p, late in pairs) / len(pairs))
    champion = registry.version(lake, model.name, week["model"])
    gate, first, *_ = weekly(weeks, champion).splitlines()[4:]
    assert gate.startswith(f"| at the gate | {champion.id} |")
    assert f"| {champion.metrics['challenger']['brier']['value']:.3f} |" in gate
    assert f"| {week['calibration']:+.3f} | {week['brier']:.3f} |" in first


def test_drift_and_missing_features_are_shown_and_ask_for_nothing(
    lake: Lake, model: Model, datasets: dict[str, Dataset]
) -> None:
    version = registry.version(lake, model.name, promoted(lake, model))
    same = monitoring.drift(lake, model, version)
    assert same["psi"].max() < 0.2
    table = open_cleaned(lake, DATASETS["weather"])
    rows = table.scan().collect().with_columns(temp=pl.col("temp") + 40, visib=pl.lit(None, pl.Float64))
    table.apply(rows, rows.clear(), DATASETS["weather"].keys)
    told = monitoring.drift(lake, model, version).rows_by_key("feature", named=True, unique=True)
    assert told["temp"]["psi"] > 1
    assert told["visib"]["missing"] == 1
    assert watch(lake, model, datasets) is None
