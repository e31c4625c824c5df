"""A prediction leads back to the version that made it, and to the flight that it speaks of."""

from lakehouse import trace
from lakehouse.dataset import Dataset
from lakehouse.lake import Lake
from lakehouse.ml import registry, scoring
from lakehouse.model import Model
from lakehouse_tests.ml.conftest import fill
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
