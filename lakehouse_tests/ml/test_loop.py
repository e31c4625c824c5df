"""The loop from features to monitor, on four weeks of real flights."""

import itertools
import math

import polars as pl
import pytest

from lakehouse.dataset import Dataset
from lakehouse.lake import Lake
from lakehouse.ml import monitoring, registry, scoring, training
from lakehouse.model import Model
from lakehouse_tests.ml.conftest import fill


def index(now: pl.Series, edges: list[float]) -> float:
    """The population stability index against ten equal parts, counted."""
    cuts = [-1.0, *edges, 2.0]
    shares = [sum(a < p <= b for p in now) / len(now) for a, b in itertools.pairwise(cuts)]
    return sum((share - 0.1) * math.log(share / 0.1) for share in shares)


def scores(lake: Lake) -> pl.DataFrame:
    table = lake.open("serving/delay_risk")
    assert table is not None
    return table.scan().sort("time_hour", "carrier", "flight").collect()


def test_the_loop_from_features_to_monitor(lake: Lake, model: Model, datasets: dict[str, Dataset]) -> None:
    made = training.train(lake, model)
    assert made.passed, made.reasons
    assert registry.promote(lake, model.name, made.id, who="me", why="first")
    scoring.score(lake, model, datasets)
    assert scores(lake).is_empty()
    fill(lake, 7, start=28)
    assert scoring.behind(lake, model, datasets)
    scoring.score(lake, model, datasets)
    told = scores(lake)
    assert 5000 < len(told) < 7000
    assert told["model"].unique().to_list() == [made.id]
    assert told["probability"].is_between(0, 1).all()
    assert told.select(pl.col("^reason.$").is_not_null().all()).row(0) == (True, True, True)
    assert not scoring.behind(lake, model, datasets)
    moved = monitoring.drift(lake, model, made).filter(pl.col("feature") == "predictions")
    assert moved["psi"].item() == pytest.approx(index(told["probability"], made.predicted["edges"]), rel=0.02)
    monitoring.monitor(lake, model, datasets)
    table = lake.open("monitor/delay_risk")
    assert table is not None
    weeks = table.scan().collect()
    assert weeks["rows"].sum() == len(told)
    assert weeks.filter(pl.col("rows") > 1000)["auc"].min() > 0.55
