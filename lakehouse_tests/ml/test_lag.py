"""What a run of a model left undone is seen from its tables, and asked for again."""

import json
from dataclasses import replace
from typing import NoReturn

import boto3
import pytest
from click.testing import CliRunner

from lakehouse import doctor
from lakehouse import model as vocabulary
from lakehouse.cli import main
from lakehouse.dataset import Dataset
from lakehouse.doctor import finding, machine
from lakehouse.dynamodb.sync import items_of, publish
from lakehouse.dynamodb.table import CONFIG, ItemTable
from lakehouse.lake import Lake
from lakehouse.layers.cleaned import open_cleaned
from lakehouse.ml import lag, monitoring, scoring
from lakehouse.model import Model
from lakehouse.orchestration import models
from lakehouse.settings import Settings
from lakehouse_tests.ml.conftest import fill
from lakehouse_tests.ml.test_training import promoted


@pytest.mark.usefixtures("local")
def test_a_death_after_scoring_leaves_neither_the_items_nor_the_weeks_behind(
    lake: Lake, model: Model, datasets: dict[str, Dataset], tmp_path: object
) -> None:
    items = ItemTable(boto3.client("dynamodb", config=CONFIG), f"lag-{abs(hash(str(tmp_path)))}")

    def behind() -> list[str]:
        told = [name for name, far in lag.distances(lake, {model.name: model}, lambda _: items).items() if far]
        assert [*models.wanted(lake, model, lambda _: items)] == [("score", f"{one} lags") for one in told[:1]]
        return told

    assert behind() == []
    promoted(lake, model)
    assert behind() == ["serving/delay_risk"]
    for day in (28, 29):
        fill(lake, 1, start=day)
        scoring.score(lake, model, datasets)
        assert behind() == ["monitor/delay_risk", "dynamodb/delay_risk"]
        publish(lake, model.serving, items)
        assert behind() == ["monitor/delay_risk"]
        monitoring.monitor(lake, model, datasets)
        assert behind() == []


def test_maintenance_of_what_is_read_makes_no_week_anew(
    lake: Lake, model: Model, datasets: dict[str, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> NoReturn:
        raise AssertionError("no row has changed, and nothing is published")

    def behind() -> list[str]:
        told = lag.distances(lake, {model.name: replace(model, publish=False)}, never)
        return [name for name, far in told.items() if far]

    promoted(lake, model)
    fill(lake, 1, start=28)
    scoring.score(lake, model, datasets)
    monitoring.monitor(lake, model, datasets)
    open_cleaned(lake, datasets["flights"]).delta.optimize.compact()
    assert behind() == ["serving/delay_risk", "monitor/delay_risk"]
    monkeypatch.setattr(monitoring, "_week", never)
    scoring.score(lake, model, datasets)
    done = monitoring.monitor(lake, model, datasets)
    assert done is not None
    assert (done.upserted, done.deleted) == (0, 0)
    assert behind() == []


@pytest.mark.usefixtures("local")
def test_status_and_doctor_tell_that_a_model_lags(
    lake: Lake, model: Model, datasets: dict[str, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"lag-{abs(hash(lake.root))}"
    monkeypatch.setattr(vocabulary, "load", lambda: {model.name: model})
    monkeypatch.setenv("LAKEHOUSE_LAKE", lake.root)
    monkeypatch.setenv("LAKEHOUSE_TABLE_PREFIX", f"{name}-")
    monkeypatch.setenv("LAKEHOUSE_QUEUE_URL", boto3.client("sqs").create_queue(QueueName=name)["QueueUrl"])
    promoted(lake, model)
    scoring.score(lake, model, datasets)
    publish(lake, model.serving, items_of(Settings.load(), model.serving))
    fill(lake, 1, start=28)
    scoring.score(lake, model, datasets)
    told = json.loads(CliRunner().invoke(main, ["status", "--json"]).output)
    assert told["dynamodb"]["delay_risk"]["lag"] == 1
    silent = {name: replace(one, serving=[]) for name, one in datasets.items()}
    monkeypatch.setattr(finding, "load", lambda: silent)
    (told_by_doctor,) = machine.lag(doctor.Patient(Settings.load()))
    assert "dynamodb/delay_risk by 1" in told_by_doctor.seen
