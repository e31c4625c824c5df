"""Reasons add up to the answer that they are given for, whichever way it is asked."""

from collections.abc import Sequence
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest

from lakehouse.ml import learner, reasons


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    draw = np.random.default_rng(0)
    columns = {"x": draw.normal(size=20_000), "y": draw.normal(size=20_000), "n": draw.integers(0, 9, 20_000)}
    spot = pl.Series("spot", draw.choice(["EWR", "JFK", "LGA"], 20_000))
    found = pl.DataFrame(columns).with_columns(spot, x=pl.when(pl.col("n") > 0).then("x"))
    odds = pl.col("x").fill_null(1.0) * pl.col("y") + (pl.col("spot") == "JFK")
    return found.with_columns(label=odds > pl.Series(draw.normal(size=20_000)))


def learned(
    rows: pl.DataFrame, columns: Sequence[str] = ("x", "y", "n", "spot"), **params: Any
) -> learner.Learned:
    return learner.fit(rows, "label", columns, params, 20)


def test_an_answer_with_reasons_is_the_same_number_as_one_without_and_as_lightgbms(rows: pl.DataFrame) -> None:
    found = learned(rows)
    told = found.answers(rows)
    assert told["probability"].equals(found.predict(rows))
    given = learner.encoded(rows, found.columns, found.categories)
    theirs = lightgbm.Booster(model_str=found.text).predict(given)
    np.testing.assert_allclose(told["probability"], theirs, rtol=1e-14)


def test_an_answer_is_the_same_alone_and_among_others(rows: pl.DataFrame) -> None:
    found = learned(rows)
    told = found.answers(rows)
    for n in (0, learner.CHUNK - 1, learner.CHUNK, 19_999):
        assert found.answers(rows[n]).row(0) == told.row(n)
    assert found.answers(rows.clear()).schema == told.schema


def test_the_credits_and_the_mean_of_all_add_up_to_the_log_odds(rows: pl.DataFrame) -> None:
    found = learned(rows)
    given = learner.encoded(rows, found.columns, found.categories)
    booster = lightgbm.Booster(model_str=found.text)
    added = reasons.paths(booster.dump_model()).added(booster.predict(given, pred_leaf=True))
    mean = booster.predict(given[:1], pred_contrib=True)[0, -1]
    np.testing.assert_allclose(mean + added[:, :-1].sum(axis=1), booster.predict(given, raw_score=True))


def leaf(number: int, value: float, rows: int) -> dict[str, Any]:
    return {"leaf_index": number, "leaf_value": value, "leaf_count": rows}


def test_each_change_along_a_path_is_credited_to_the_feature_that_was_asked() -> None:
    later = {"split_feature": 1, "left_child": leaf(1, 2.0, 1), "right_child": leaf(2, 6.0, 3)}
    root = {"split_feature": 0, "left_child": leaf(0, -1.0, 4), "right_child": later}
    tree = {"num_leaves": 3, "tree_structure": root}
    stump = {"num_leaves": 1, "tree_structure": {"leaf_value": 0.5}}
    found = reasons.paths({"tree_info": [tree, stump], "max_feature_idx": 1})
    assert found.moves.tolist() == [[-3, 0, -1], [3, -3, 2], [3, 1, 6], [0, 0, 0.5]]
    assert found.added(np.array([[0, 0], [2, 0]])).tolist() == [[-3, 0, -0.5], [3, 1, 6.5]]


def test_the_strongest_are_told_with_value_sign_and_strength() -> None:
    rows = pl.DataFrame({"temp": [71.456, None], "dest": ["MCO", "LAX"], "hour": [7, 21], "seats": [55, 189]})
    told = reasons.worded(rows, rows.columns, np.array([[0.1, -2.0, 0.5, 0.0], [1.004, 0.2, 0.3, -0.4]]))
    assert told.row(0) == ("dest = MCO (-2.0)", "hour = 7 (+0.5)", "temp = 71.46 (+0.1)")
    assert told.row(1) == ("temp = unknown (+1.0)", "seats = 189 (-0.4)", "hour = 21 (+0.3)")


def test_a_model_of_two_columns_has_two_reasons(rows: pl.DataFrame) -> None:
    told = learned(rows, ["x", "y"]).answers(rows)
    assert told["reason3"].null_count() == len(rows)
    assert told["reason2"].null_count() == 0


@pytest.mark.parametrize(
    "params",
    [{"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1}, {"linear_tree": True}, {"sigmoid": 2.0}],
)
def test_trees_that_do_not_add_up_to_the_log_odds_are_refused(rows: pl.DataFrame, params: dict[str, Any]) -> None:
    numbers = rows.drop_nulls().head(2000)
    with pytest.raises(ValueError, match="only trees that add up"):
        learned(numbers, ["x", "y"], **params)
