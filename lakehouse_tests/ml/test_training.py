"""Training is pinned, and the gate stands between it and the champion."""

import importlib.metadata
import platform
import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from lakehouse.dynamodb.sync import items_of
from lakehouse.lake import Lake, Table
from lakehouse.layers.cleaned import open_cleaned
from lakehouse.ml import learner, monitoring, registry, training
from lakehouse.ml.features import NotYet
from lakehouse.ml.registry import Refused
from lakehouse.model import Model, Source
from lakehouse.orchestration import models
from lakehouse.settings import Settings
from lakehouse_tests.ml.conftest import DATASETS, fill
from lakehouse_tests.ml.test_cards import SVG, pictures
from lakehouse_tests.ml.test_features import own_delay

DAY = pl.col("time_hour").dt.day()


def promoted(lake: Lake, model: Model) -> str:
    made = training.train(lake, model)
    registry.promote(lake, model.name, made.id, who="me", why="test")
    return made.id


def poison(lake: Lake) -> None:
    """Turn the delays of all but the last week around, as a broken source would."""
    table = open_cleaned(lake, DATASETS["flights"])
    rows = table.scan().collect()
    wrong = pl.when(pl.col("arr_delay") >= 15).then(-20).when(pl.col("arr_delay").is_not_null()).then(60)
    turned = pl.when(DAY < 22).then(wrong).otherwise("arr_delay").cast(pl.Int32)
    table.apply(rows.with_columns(arr_delay=turned), rows.clear(), DATASETS["flights"].keys)


def test_the_same_versions_and_code_give_the_same_bytes(lake: Lake, model: Model) -> None:
    made = training.train(lake, model)
    assert training.reproduce(lake, model, made)
    assert training.train(lake, model).id == made.id
    assert len(registry.versions(lake, model.name)) == 1


def test_a_version_pins_all_that_made_it(lake: Lake, model: Model) -> None:
    pins = registry.version(lake, model.name, training.train(lake, model).id).pins
    delays = open_cleaned(lake, DATASETS["flights"]).scan().collect()["arr_delay"]
    assert pins["unlabelled"] == delays.null_count() > 0
    assert pins["rows"] + pins["judged"] + pins["unlabelled"] == len(delays)
    assert {name: pin["version"] for name, pin in pins["inputs"].items()} == {
        name: open_cleaned(lake, DATASETS[name]).version for name in ("flights", "weather", "planes")
    }
    assert pins["params"] == dict(model.params)
    assert (pins["rounds"], pins["code"], pins["fixed"]["seed"]) == (15, model.recipe, 0)
    assert pins["libraries"]["lightgbm"] == importlib.metadata.version("lightgbm")
    assert pins["libraries"]["python"] == platform.python_version()


def test_a_version_is_reproduced_from_what_it_pins_not_from_what_came_later(lake: Lake, model: Model) -> None:
    made = training.train(lake, model)
    fill(lake, 2, start=28)
    assert training.reproduce(lake, model, made)
    assert training.train(lake, model).text != made.text


def test_a_version_whose_inputs_retention_removed_says_so(lake: Lake, model: Model) -> None:
    made = training.train(lake, model)
    poison(lake)
    table = open_cleaned(lake, DATASETS["flights"])
    table.delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(training.NotReproducible, match="no longer reproducible"):
        training.reproduce(lake, model, made)


def test_a_version_of_other_code_says_so(lake: Lake, model: Model) -> None:
    made = training.train(lake, model)
    with pytest.raises(training.NotReproducible, match="other code"):
        training.reproduce(lake, replace(model, rounds=16), made)


def test_a_version_that_other_training_code_gives_other_bytes_for_says_so(
    lake: Lake, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = training.train(lake, model)
    divided = training.divided

    def halved(model: Model, tables: dict[str, Table]) -> training.Split:
        split = divided(model, tables)
        return replace(split, learn=split.learn.gather_every(2))

    monkeypatch.setattr(training, "divided", halved)
    with pytest.raises(training.NotReproducible, match=r"other code of lakehouse\.ml"):
        training.reproduce(lake, model, made)


def test_a_model_trained_on_poisoned_labels_is_refused_by_the_gate(lake: Lake, model: Model) -> None:
    first = promoted(lake, model)
    poison(lake)
    made = training.train(lake, model)
    assert not made.passed
    assert any("champion" in reason for reason in made.reasons)
    with pytest.raises(Refused, match="the gate refused"):
        registry.promote(lake, model.name, made.id, who="me", why="by hand")
    assert registry.champion(lake, model.name) == first


def test_a_poisoned_first_model_is_refused_by_the_plain_baseline(lake: Lake, model: Model) -> None:
    poison(lake)
    made = training.train(lake, model)
    assert not made.passed


def test_a_version_whose_feature_knows_what_came_later_is_refused_whoever_asks(lake: Lake, model: Model) -> None:
    planted = replace(model, features=own_delay)
    made = training.train(lake, planted)
    assert made.reasons == ["feature planted knows what came later, or looks beyond the horizon"]
    assert made.reasons[0] in made.card
    assert models.promoted(lake, planted, who="loop").startswith("the gate refused")
    with pytest.raises(Refused, match="feature planted"):
        registry.promote(lake, planted.name, made.id, who="me", why="by hand")


def test_a_version_refused_for_its_horizon_is_judged_anew_by_another(lake: Lake, model: Model) -> None:
    narrow = replace(model, horizon=timedelta(hours=4))
    refused = training.train(lake, narrow)
    assert any("beyond the horizon" in reason for reason in refused.reasons)
    assert monitoring.due(lake, narrow) is None
    assert monitoring.due(lake, model) == "its code has changed"
    made = training.train(lake, model)
    assert made.passed, made.reasons
    assert made.text == refused.text


def test_a_column_that_is_told_as_known_later_has_the_champion_judged_anew(lake: Lake, model: Model) -> None:
    planted = replace(model, features=own_delay)
    flights = planted.sources["flights"]
    later = {column: at for column, at in flights.later.items() if column != "dep_delay"}
    unaware = replace(planted, sources={**planted.sources, "flights": Source(flights.time, later=later)})
    champion = promoted(lake, unaware)
    assert monitoring.due(lake, unaware) is None
    assert monitoring.due(lake, planted) == "its code has changed"
    made = training.train(lake, planted)
    assert made.id != champion
    assert "feature planted knows what came later, or looks beyond the horizon" in made.reasons


def test_other_segments_have_the_champion_judged_anew(lake: Lake, model: Model) -> None:
    promoted(lake, model)
    assert monitoring.due(lake, replace(model, segments=["origin"])) == "its code has changed"


def test_too_few_rows_are_not_learned_from(tmp_path: Any, model: Model) -> None:
    lake = Lake(str(tmp_path / "lake"))
    with pytest.raises(NotYet, match="cleaned/flights"):
        training.train(lake, model)
    fill(lake, 1)
    with pytest.raises(NotYet, match="labelled rows"):
        training.train(lake, model)


def test_a_verdict_against_a_former_champion_promotes_nobody(lake: Lake, model: Model) -> None:
    one = training.train(lake, model)
    other = training.train(lake, replace(model, rounds=20))
    assert registry.promote(lake, model.name, one.id, who="me", why="first")
    with pytest.raises(Refused, match="judged against None"):
        registry.promote(lake, model.name, other.id, who="me", why="second")
    assert "not promoted" in str(monitoring.due(lake, replace(model, rounds=20)))
    assert training.train(lake, replace(model, rounds=20)).against == one.id


def test_a_promotion_repeated_changes_nothing(lake: Lake, model: Model) -> None:
    made = promoted(lake, model)
    assert not registry.promote(lake, model.name, made, who="me", why="again")
    assert len(registry.history(registry.open_promotions(lake, model.name))) == 1


def second(lake: Lake, model: Model) -> tuple[str, str]:
    """Two champions, one after the other; the verdict on the second is written by hand."""
    first = promoted(lake, model)
    made = training.train(lake, replace(model, rounds=40))
    if not made.passed:
        made = replace(made, id="b" * 12, passed=True)
        registry.record(lake, model.name, made)
    registry.promote(lake, model.name, made.id, who="me", why="second")
    return first, made.id


def test_a_rollback_is_one_append_and_is_not_undone_by_the_next_promotion(lake: Lake, model: Model) -> None:
    first, other = second(lake, model)
    assert registry.rollback(lake, model.name, who="me", why="worse") == first
    assert registry.champion(lake, model.name) == first
    with pytest.raises(Refused, match="champion before"):
        registry.promote(lake, model.name, other, who="loop", why="newest")
    assert len(registry.history(registry.open_promotions(lake, model.name))) == 3
    with pytest.raises(Refused, match="never was"):
        registry.rollback(lake, model.name, first, who="me", why="twice")


def test_who_goes_back_twice_passes_over_what_was_rolled_back(lake: Lake, model: Model) -> None:
    one, two = second(lake, model)
    made = replace(registry.version(lake, model.name, two), id="c" * 12, against=two)
    registry.record(lake, model.name, made)
    registry.promote(lake, model.name, made.id, who="me", why="third")

    def back(to: str | None = None) -> str:
        return registry.rollback(lake, model.name, to, who="me", why="worse")

    assert [back(), back()] == [two, one]
    with pytest.raises(Refused, match="no earlier champion"):
        back()
    assert back(made.id) == made.id
    assert back() == one


def test_where_nobody_is_champion_nobody_is_gone_back_to(lake: Lake, model: Model) -> None:
    for _ in range(2):
        with pytest.raises(Refused, match="no earlier champion"):
            registry.rollback(lake, model.name, who="me", why="worse")
        assert registry.open_promotions(lake, model.name).count == 0


def test_of_many_promotions_at_once_one_is_written(lake: Lake, model: Model) -> None:
    made = training.train(lake, model)
    threads = [
        threading.Thread(target=lambda: registry.promote(lake, model.name, made.id, who="me", why="race"))
        for _ in range(4)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(registry.history(registry.open_promotions(lake, model.name))) == 1


def first_wanted(lake: Lake, model: Model) -> str:
    """What the sensor asks for of a model that is not published."""
    return next(models.wanted(lake, model, lambda one: items_of(Settings.load(), one)))[0]


class Death(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("table", ["models", "promotions"])
def test_a_death_at_a_commit_is_made_good_by_a_repeat(
    lake: Lake, model: Model, monkeypatch: pytest.MonkeyPatch, table: str, after: bool
) -> None:
    model = replace(model, warmup=timedelta(days=20), publish=False)
    append = Table.append

    def dying(self: Table, *args: Any, **kwargs: Any) -> int:
        if self.name.startswith(table):
            if after:
                append(self, *args, **kwargs)
            raise Death
        return append(self, *args, **kwargs)

    monkeypatch.setattr(Table, "append", dying)
    with pytest.raises(Death):
        promoted(lake, model)
    monkeypatch.undo()
    assert first_wanted(lake, model) == ("score" if (table, after) == ("promotions", True) else "train")
    made = training.train(lake, model)
    models.promoted(lake, model, who="loop")
    assert first_wanted(lake, model) == "score"
    assert registry.champion(lake, model.name) == made.id
    assert len(registry.versions(lake, model.name)) == 1
    assert len(registry.history(registry.open_promotions(lake, model.name))) == 1


def test_a_missing_libgomp_is_told_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    found = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "lightgbm":
            raise OSError("libgomp.so.1: cannot open shared object file")
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(learner.LearnerMissing, match="apt-get install libgomp1"):
        learner.lightgbm()


def test_the_card_tells_purpose_data_metrics_and_limits_and_draws_the_calibration(
    lake: Lake, model: Model
) -> None:
    made = training.train(lake, model)
    for part in ("Will this flight", "cleaned/flights, Delta version", "no label", "origin JFK", "## Limits"):
        assert part in made.card
    (drawn,) = pictures(made.card)
    even, line = (one.attrib["points"].split() for one in drawn.iter(f"{SVG}polyline"))
    assert len(even) == 2
    assert len(line) == len(made.metrics["calibration"]) == 10
