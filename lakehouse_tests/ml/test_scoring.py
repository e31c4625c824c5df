"""Predictions: the same numbers whichever way they are made."""

from dataclasses import replace

import boto3
import polars as pl
import pytest

from lakehouse.dataset import Dataset
from lakehouse.dynamodb.sync import publish, verify
from lakehouse.dynamodb.table import CONFIG, ItemTable
from lakehouse.lake import Lake
from lakehouse.layers.cleaned import open_cleaned
from lakehouse.local import feed
from lakehouse.ml import features as feats
from lakehouse.ml import registry, scoring
from lakehouse.ml.features import NotYet
from lakehouse.model import ASKED, Model
from lakehouse_tests.ml.conftest import DATASETS, append, fill, rows
from lakehouse_tests.ml.test_training import promoted, second

KEY = ["time_hour", "carrier", "flight"]


def scores(lake: Lake) -> pl.DataFrame:
    table = lake.open("serving/delay_risk")
    assert table is not None
    return table.scan().sort(KEY).collect()


def at_once(lake: Lake, model: Model, made: str) -> pl.DataFrame:
    """All rows that the version had not seen, predicted in one piece from the features that training takes."""
    version = registry.version(lake, model.name, made)
    frames = feats.frames_of(feats.opened(lake, model))
    found = feats.features(model, frames).filter(pl.col(ASKED) > version.until)
    assert version.learned.predict(found).equals(scoring.predict(version, found)["probability"])
    return scoring.predictions(model, version, found).sort(KEY)


def test_what_is_scored_as_it_comes_in_any_order_is_what_is_scored_at_once(
    lake: Lake, model: Model, datasets: dict[str, Dataset]
) -> None:
    made = promoted(lake, model)
    later = ("weather", 30), ("weather", 29), ("flights", 29)
    for name, day in (("flights", 30), ("flights", 28), ("weather", 28), *later):
        append(lake, name, rows(name, [*getattr(feed, name)(1, day)]))
        scoring.score(lake, model, datasets)
    assert scores(lake).equals(at_once(lake, model, made).select(scores(lake).columns))


def test_only_what_a_change_reaches_is_written_again(
    lake: Lake, model: Model, datasets: dict[str, Dataset]
) -> None:
    promoted(lake, model)
    fill(lake, 10, start=28)
    scoring.score(lake, model, datasets)
    table = open_cleaned(lake, DATASETS["flights"])
    moved = table.scan().filter(pl.col("time_hour").dt.date() == pl.date(2013, 2, 5)).head(1).collect()
    table.apply(moved.with_columns(dep_delay=pl.lit(900, pl.Int32)), moved.clear(), KEY)
    before = scores(lake)
    done = scoring.score(lake, model, datasets)
    assert 0 < done.upserted < 200
    changed = scores(lake).join(before, on=before.columns, how="anti", nulls_equal=True)
    assert len(changed) == done.upserted
    assert changed["time_hour"].min() >= moved["time_hour"][0]


def test_a_flight_that_is_gone_loses_its_prediction(
    lake: Lake, model: Model, datasets: dict[str, Dataset]
) -> None:
    promoted(lake, model)
    fill(lake, 1, start=28)
    scoring.score(lake, model, datasets)
    gone = scores(lake).head(1)
    open_cleaned(lake, DATASETS["flights"]).apply(pl.DataFrame(schema=gone.schema).clear(), gone, KEY)
    scoring.score(lake, model, datasets)
    assert scores(lake).join(gone, on=KEY, how="semi").is_empty()


def test_a_question_on_demand_gets_the_served_answer(
    lake: Lake, model: Model, datasets: dict[str, Dataset]
) -> None:
    with pytest.raises(NotYet, match="no champion"):
        scoring.ask(lake, model, {"carrier": "UA"})
    promoted(lake, model)
    fill(lake, 1, start=28)
    scoring.score(lake, model, datasets)
    served = scores(lake).row(-1, named=True)
    asked = scoring.ask(lake, model, {"flight": str(served["flight"]), "carrier": served["carrier"]})
    assert asked == served | {"seen": False}
    first = open_cleaned(lake, DATASETS["flights"]).scan().sort(KEY).collect().row(0, named=True)
    answer = scoring.ask(lake, model, {column: str(first[column]) for column in KEY})
    assert (answer["time_hour"], answer["seen"]) == (first["time_hour"], True)
    with pytest.raises(NotYet, match="no row"):
        scoring.ask(lake, model, {"flight": "0"})


def test_a_row_of_features_is_answered_wherever_it_was_made(lake: Lake, model: Model) -> None:
    version = registry.version(lake, model.name, promoted(lake, model))
    frames = feats.frames_of(feats.opened(lake, model))
    found = feats.features(model, frames).tail(5)
    alone = [scoring.predict(version, found[n]).row(0) for n in range(5)]
    assert alone == scoring.predict(version, found).rows()
    unseen = found.with_columns(dest=pl.lit("XXX"), temp=pl.lit(None, pl.Float64))
    assert scoring.predict(version, unseen)["probability"].is_between(0, 1).all()


@pytest.mark.slow
@pytest.mark.usefixtures("local")
def test_a_rollback_takes_effect_in_the_next_scoring_and_in_dynamodb(
    lake: Lake, model: Model, datasets: dict[str, Dataset], tmp_path: object
) -> None:
    first, other = second(lake, model)
    fill(lake, 1, start=28)
    items = ItemTable(boto3.client("dynamodb", config=CONFIG), f"risk-{abs(hash(str(tmp_path)))}")
    for expected in (other, first):
        scoring.score(lake, model, datasets)
        publish(lake, model.serving, items)
        assert scores(lake)["model"].unique().to_list() == [expected]
        assert verify(lake, model.serving, items) == []
        assert {item["model"]["S"] for item in items.scan()} == {expected}
        if expected == other:
            registry.rollback(lake, model.name, who="me", why="test")
    assert scores(lake).equals(at_once(lake, model, first).select(scores(lake).columns))


def test_a_champion_of_other_code_answers_nothing_new_and_what_it_said_stays(
    lake: Lake, model: Model, datasets: dict[str, Dataset]
) -> None:
    promoted(lake, model)
    fill(lake, 1, start=28)
    scoring.score(lake, model, datasets)
    before = scores(lake)

    def delay_risk(flights: pl.LazyFrame, weather: pl.LazyFrame, planes: pl.LazyFrame) -> pl.LazyFrame:
        return model.features(flights, weather, planes).with_columns(distance=pl.col("distance") * 2)

    fill(lake, 1, start=29)
    scoring.score(lake, replace(model, features=delay_risk), datasets)
    assert scores(lake).equals(before)
