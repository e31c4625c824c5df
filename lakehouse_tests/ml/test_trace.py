"""A prediction leads back to the version that made it, and to the flight that it speaks of."""

import polars as pl

from lakehouse import trace
from lakehouse.dataset import Dataset
from lakehouse.lake import Lake
from lakehouse.local import feed
from lakehouse.ml import registry, scoring
from lakehouse.model import Model
from lakehouse_tests.ml.conftest import append, fill, rows
from lakehouse_tests.ml.test_training import promoted


def test_a_prediction_leads_to_its_version_its_promotion_and_its_row(
    lake: Lake, model: Model, datasets: dict[str, Dataset]
) -> None:
    promoted(lake, model)
    fill(lake, 2, start=28)
    scoring.score(lake, model, datasets)
    served = lake.open("serving/delay_risk")
    assert served
    row = served.scan().sort(model.key).collect().row(0, named=True)
    wanted = {"time_hour": row["time_hour"].isoformat(), "carrier": row["carrier"], "flight": str(row["flight"])}
    way = trace.of_row(lake, datasets, "delay_risk", wanted, {model.name: model})
    found = {step.table: step.rows.to_dicts() for step in way}
    assert [one["probability"] for one in found["serving/delay_risk"]] == [row["probability"]]
    assert [one["id"] for one in found["models/delay_risk"]] == [registry.champion(lake, model.name)]
    assert [one["why"] for one in found["promotions/delay_risk"]]
    (flight,) = found["cleaned/flights"]
    assert (flight["carrier"], flight["flight"]) == (row["carrier"], row["flight"])


def test_an_object_leads_to_the_predictions_that_speak_of_its_rows(
    lake: Lake, model: Model, datasets: dict[str, Dataset]
) -> None:
    promoted(lake, model)
    append(lake, "weather", rows("weather", [*feed.weather(2, 28)]))
    late = rows("flights", [*feed.flights(2, 28)])
    append(lake, "flights", late.with_columns(_object=pl.lit("flights/late.csv")))
    scoring.score(lake, model, datasets)
    found = trace.of_object(lake, datasets, "landing", "flights/late.csv", {model.name: model})
    told = {step.table: step.rows for step in found}["serving/delay_risk"]
    served = lake.open("serving/delay_risk")
    assert served
    asked = served.scan().select(model.key).collect()
    assert set(told.select(model.key).rows()) == set(asked.join(late, on=model.key, how="semi").rows()) != set()
