"""The gate's arithmetic, against counting."""

import math
import random

import polars as pl
import pytest

from lakehouse.ml import evaluation


def sample(n: int, seed: int = 0, noise: float = 1.0) -> tuple[pl.Series, pl.Series]:
    draw = random.Random(seed)
    truth = [draw.random() < 0.3 for _ in range(n)]
    guess = [round(1 / (1 + math.exp(1 - y - draw.gauss(0, noise))), 2) for y in truth]
    return pl.Series(truth), pl.Series(guess)


def counted(truth: pl.Series, guess: pl.Series) -> float:
    late = [p for y, p in zip(truth, guess, strict=True) if y]
    others = [p for y, p in zip(truth, guess, strict=True) if not y]
    return sum((a > b) + (a == b) / 2 for a in late for b in others) / len(late) / len(others)


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    truth, guess = sample(300)
    assert evaluation.auc(truth, guess).value == pytest.approx(counted(truth, guess))


def test_an_interval_holds_the_true_area_nineteen_times_of_twenty() -> None:
    area = evaluation.auc(*sample(200_000, seed=99)).value
    told = [evaluation.auc(*sample(500, seed)) for seed in range(200)]
    assert 180 <= sum(e.low <= area <= e.high for e in told) <= 199


def test_an_area_lies_between_nothing_and_all() -> None:
    truth, guess = pl.Series([True, False, True, False]), pl.Series([0.9, 0.1, 0.4, 0.5])
    reach = 1.96 * math.sqrt(0.125)
    told = evaluation.auc(truth, guess)
    assert (told.value, told.low, told.high) == (0.75, pytest.approx(0.75 - reach), 1.0)
    told = evaluation.auc(~truth, guess)
    assert (told.value, told.low, told.high) == (0.25, 0.0, pytest.approx(0.25 + reach))
    assert math.isnan(evaluation.auc(truth.head(1), guess.head(1)).low)


def test_a_paired_gain_is_surer_than_two_areas_apart() -> None:
    truth, guess = sample(2000)
    worse = guess + pl.Series([random.Random(1).gauss(0, 0.01) for _ in range(2000)])
    gain = evaluation.auc_gain(truth, guess, worse)
    assert gain.value == pytest.approx(counted(truth, guess) - counted(truth, worse), abs=1e-9)
    alone = evaluation.auc(truth, guess)
    assert gain.high - gain.low < (alone.high - alone.low) / 2


def test_log_loss_and_brier_are_what_they_are_called() -> None:
    truth, guess = pl.Series([True, False]), pl.Series([0.8, 0.4])
    told = evaluation.quality(truth, guess)
    assert told["log_loss"]["value"] == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
    assert told["brier"]["value"] == pytest.approx((0.04 + 0.16) / 2)
    assert told["calibration"]["value"] == pytest.approx(0.1)


def guess_of(value: float, truth: pl.Series) -> pl.Series:
    return pl.Series([value] * len(truth))


def judged(
    challenger: pl.Series, champion: pl.Series, truth: pl.Series, spot: pl.Series | None = None
) -> list[str]:
    told = {"label": truth, "challenger": challenger, "champion": champion, "baseline": guess_of(0.3, truth)}
    rows = pl.DataFrame(told).with_columns(origin=pl.lit("JFK") if spot is None else spot)
    return evaluation.judge(rows, ["origin"]).reasons


def test_the_gate_passes_what_is_better_and_refuses_what_is_worse() -> None:
    truth, good = sample(4000)
    _, bad = sample(4000, noise=4.0)
    assert judged(good, bad, truth) == []
    assert any("champion" in reason for reason in judged(bad, good, truth))
    assert any("no better" in reason for reason in judged(good, good, truth))


def test_what_is_better_in_all_and_worse_in_one_segment_is_refused() -> None:
    truth, good = sample(6000)
    poor = pl.Series([0.3] * 6000)
    first = pl.Series([n < 1000 for n in range(6000)])
    rows = pl.DataFrame({"f": first, "g": good, "p": poor}).with_columns(
        a=pl.when("f").then("p").otherwise("g"), b=pl.when("f").then("g").otherwise("p")
    )
    spot = first.replace_strict({True: "EWR", False: "LGA"})
    assert [r for r in judged(rows["a"], rows["b"], truth, spot) if "EWR" in r]


def test_a_first_version_that_is_far_astray_is_refused() -> None:
    truth, good = sample(4000)
    rows = pl.DataFrame({"label": truth, "challenger": good / 2 + 0.45, "baseline": guess_of(0.9, truth)})
    assert any("astray" in reason for reason in evaluation.judge(rows, []).reasons)
