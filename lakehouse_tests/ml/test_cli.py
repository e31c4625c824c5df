"""The model commands, as a person types them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lakehouse import model as vocabulary
from lakehouse.cli import main
from lakehouse.lake import Lake
from lakehouse.ml import registry
from lakehouse.model import Model
from lakehouse_tests.ml.test_training import poison


@pytest.fixture
def told(lake: Lake, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "load", lambda: {model.name: model})
    monkeypatch.setenv("LAKEHOUSE_HOME", lake.root + "-home")
    monkeypatch.setenv("LAKEHOUSE_LAKE", lake.root)


def typed(*words: str) -> Result:
    return CliRunner().invoke(main, [*words])


@pytest.mark.slow
@pytest.mark.usefixtures("told")
def test_a_person_trains_promotes_shows_reproduces_asks_and_rolls_back(lake: Lake) -> None:
    assert "no champion" in typed("predict", "carrier=UA").output
    made = typed("model", "train")
    assert "passed" in made.output, made.output
    version = made.output.split()[0]
    assert typed("model", "promote", version[:6]).exit_code == 0
    assert f"* {version}" in typed("model", "list").output
    (one,) = json.loads(typed("model", "list", "--json").output)
    assert (one["id"], one["champion"], one["passed"], one["reasons"]) == (version, True, True, [])
    again = json.loads(typed("model", "promote", version, "--json").output)
    assert again == {"champion": version, "already": True}
    assert "## Limits" in typed("model", "show", version).output
    assert "## Limits" in json.loads(typed("model", "show", version, "--json").output)["card"]
    card = Path(lake.root, "card.md")
    assert "is in" in typed("model", "show", version, "--file", str(card)).output
    assert card.read_text() == registry.version(lake, "delay_risk", version).card
    assert "the same" in typed("model", "reproduce", version).output
    assert json.loads(typed("model", "reproduce", version, "--json").output)["same"] is True
    answer = json.loads(typed("predict", "carrier=UA", "--json").output)
    assert answer["model"] == version
    assert "not in the key" in typed("predict", "colour=red").output
    assert "no earlier champion" in typed("model", "rollback").output
    poison(lake)
    refused = typed("model", "train").output.split()[0]
    stopped = typed("model", "promote", refused)
    assert stopped.exit_code == 1
    assert "the gate refused" in stopped.output
    assert "Hint" in stopped.output
    counted = typed("sql", "select count(*) n from models.delay_risk", "--format", "json")
    assert json.loads(counted.output) == [{"n": 2}]
