"""What a feature may know: nothing that came later than its question."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from lakehouse.dataset import DeclarationError
from lakehouse.lake import Lake
from lakehouse.ml import features as feats
from lakehouse.model import Model, check, load
from lakehouse.models.delay_risk import delay_risk
from lakehouse_tests.ml.conftest import DATASETS

Plant = Callable[[pl.LazyFrame, pl.LazyFrame, pl.LazyFrame], pl.LazyFrame]


def own_delay(flights: pl.LazyFrame, weather: pl.LazyFrame, planes: pl.LazyFrame) -> pl.LazyFrame:
    own = flights.select("time_hour", "carrier", "flight", planted="dep_delay")
    return delay_risk(flights, weather, planes).join(own, on=["time_hour", "carrier", "flight"])


def weather_to_come(flights: pl.LazyFrame, weather: pl.LazyFrame, planes: pl.LazyFrame) -> pl.LazyFrame:
    coming = weather.select("time_hour", "origin", planted="precip")
    return delay_risk(flights, weather, planes).join(coming, on=["time_hour", "origin"], how="left")


def delays_by_schedule(flights: pl.LazyFrame, weather: pl.LazyFrame, planes: pl.LazyFrame) -> pl.LazyFrame:
    """The delays of an earlier hour, some of whose flights have not left yet."""
    hourly = flights.group_by("origin", "time_hour").agg(planted=pl.col("dep_delay").mean())
    hourly = hourly.with_columns(pl.col("time_hour") + pl.duration(hours=2))
    return delay_risk(flights, weather, planes).join(hourly, on=["time_hour", "origin"], how="left")


def mean_of_all(flights: pl.LazyFrame, weather: pl.LazyFrame, planes: pl.LazyFrame) -> pl.LazyFrame:
    """A carrier's mean over all time, the target encoding that leaks most often."""
    means = flights.group_by("carrier").agg(planted=pl.col("arr_delay").mean())
    return delay_risk(flights, weather, planes).join(means, on="carrier", how="left")


def arrival_on_the_clock(flights: pl.LazyFrame, weather: pl.LazyFrame, planes: pl.LazyFrame) -> pl.LazyFrame:
    """Of a column that no contract names: the files bring it."""
    own = flights.select("time_hour", "carrier", "flight", planted=pl.col("arr_time").cast(pl.Int32))
    return delay_risk(flights, weather, planes).join(own, on=["time_hour", "carrier", "flight"])


PLANTS = [own_delay, weather_to_come, delays_by_schedule, mean_of_all, arrival_on_the_clock]


def found(model: Model, lake: Lake) -> list[str]:
    frames = feats.frames_of(feats.opened(lake, model))
    return feats.leaks(model, frames, moments=5)["feature"].to_list()


def test_no_feature_knows_what_came_later_or_looks_beyond_the_horizon(lake: Lake, model: Model) -> None:
    assert found(model, lake) == []


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_leak_is_caught(lake: Lake, model: Model, plant: Plant) -> None:
    assert found(replace(model, features=plant), lake) == ["planted"]


def test_a_feature_that_looks_further_back_than_its_horizon_is_caught(lake: Lake, model: Model) -> None:
    assert "plane_delay" in found(replace(model, horizon=timedelta(hours=4)), lake)


def test_a_feature_never_is_the_label(lake: Lake, model: Model) -> None:
    frames = feats.frames_of(feats.opened(lake, model))
    rows = feats.labelled(model, frames, feats.features(model, frames))
    assert feats.LABEL in rows.columns
    assert feats.LABEL not in feats.names(model, rows)


def test_a_cancelled_flight_has_no_label(lake: Lake, model: Model) -> None:
    frames = feats.frames_of(feats.opened(lake, model))
    told = feats.labels(model, frames).collect()
    flights = frames["flights"].collect()
    assert told[feats.LABEL].null_count() == flights["arr_delay"].null_count() > 0


def test_a_model_that_reads_what_no_dataset_declares_is_refused() -> None:
    check(load(), DATASETS)
    with pytest.raises(DeclarationError, match="planes"):
        check(load(), {n: d for n, d in DATASETS.items() if n != "planes"})
