"""Another learner, of words, goes the whole way: it is trained, judged, promoted, asked and trained again."""

from datetime import timedelta

import polars as pl

from lakehouse.lake import Lake
from lakehouse.ml import registry, scoring, training
from lakehouse.model import Model, Source
from lakehouse_tests.ml.conftest import DATASETS, MODEL, fill


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
