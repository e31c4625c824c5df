"""The model commands, as a person types them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lakehouse import model as vocabulary
from lakehouse.cli import main
from lakehouse.cli.plain import told_plainly
from lakehouse.lake import Lake
from lakehouse.ml import registry
from lakehouse.ml.learner import LearnerMissing
from lakehouse.model import Model
from lakehouse_tests.ml.test_training import poison


@pytest.fixture
def told(lake: Lake, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "load", lambda: {model.name: model})
    monkeypatch.setenv("LAKEHOUSE_HOME", lake.root + "-home")
    monkeypatch.setenv("LAKEHOUSE_LAKE", lake.root)


def typed(*words: str) -> Result:
    return CliRunner().invoke(main, [*words])


ASKING = (
    ("model", "list"),
    ("model", "show", "a"),
    ("model", "promote", "a"),
    ("model", "rollback"),
    ("model", "train"),
    ("predict", "carrier=UA"),
)


@pytest.mark.usefixtures("told")
def test_who_asks_where_nothing_has_come_makes_no_table(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = Path(lake.root + "-empty")
    monkeypatch.setenv("LAKEHOUSE_LAKE", str(empty))
    outcomes = [typed(*words) for words in ASKING]
    assert {type(one.exception) for one in outcomes} <= {type(None), SystemExit}, outcomes
    assert not empty.exists()


@pytest.mark.usefixtures("told")
def test_where_nothing_is_trained_a_person_is_told_when_it_will_be() -> None:
    told = typed("model", "list").output
    assert told == "no version yet: one is trained at 56 days of labelled rows, or by `lakehouse model train`\n"
    assert json.loads(typed("model", "list", "--json").output) == []
    assert "flight is not column=value" in typed("predict", "flight").output


def test_of_two_models_one_is_named(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "load", lambda: {"a": model, "b": model})
    assert typed("model", "list").output == "Error: name a model\nHint: --model one of: a, b\n"
    assert "no model c" in typed("model", "list", "--model", "c").output


def test_a_missing_library_has_one_hint() -> None:
    told = told_plainly(LearnerMissing(OSError("libgomp.so.1: cannot open shared object file")))
    assert told is not None
    assert told.message.count("int: ") == 1
    assert told.hint.startswith("it needs OpenMP")


@pytest.mark.slow
@pytest.mark.usefixtures("told")
def test_a_person_trains_promotes_shows_reproduces_asks_and_rolls_back(lake: Lake) -> None:
    assert "no champion" in typed("predict", "carrier=UA").output
    made = typed("model", "train")
    assert "passed" in made.output, made.output
    version = made.output.split()[0]
    assert typed("model", "promote", version[:6]).output == f"{version} is champion\n"
    assert f"* {version}" in typed("model", "list").output
    (one,) = json.loads(typed("model", "list", "--json").output)
    assert (one["id"], one["champion"], one["passed"], one["reasons"]) == (version, True, True, [])
    again = json.loads(typed("model", "promote", version[:6], "--json").output)
    assert again == {"champion": version, "already": True}
    assert "## Limits" in typed("model", "show", version).output
    assert "## Limits" in json.loads(typed("model", "show", version, "--json").output)["card"]
    card = Path(lake.root, "card.md")
    assert f"the card of {version} is in" in typed("model", "show", version[:6], "--file", str(card)).output
    assert card.read_text() == registry.version(lake, "delay_risk", version).card
    nowhere = typed("model", "show", version, "--file", str(card / "card.md"))
    assert "cannot be written: Not a directory\nHint" in nowhere.output
    assert "the same" in typed("model", "reproduce", version).output
    assert json.loads(typed("model", "reproduce", version, "--json").output)["same"] is True
    answer = json.loads(typed("predict", "carrier=UA", "--json").output)
    assert (answer["model"], answer["seen"], answer["time_hour"][-1]) == (version, True, "Z")
    key = [f"{column}={answer[column]}" for column in ("time_hour", "carrier", "flight")]
    assert json.loads(typed("predict", *key).output) == answer
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
