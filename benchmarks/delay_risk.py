"""What the model of late flights costs and gives, on all flights of 2013.

    .venv/bin/python -m benchmarks.delay_risk --speed
    .venv/bin/python -m benchmarks.delay_risk --replay

`--speed`: features for all flights, training on January to September, answers to October to December with and
without reasons; and the same rows by scikit-learn's HistGradientBoosting where it is installed (`pip install
scikit-learn`), with the difference in AUC. `--replay`: the year month by month, the loop beside a model that is
never trained again.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import polars as pl

from lakehouse.lake import Lake
from lakehouse.ml import evaluation, learner
from lakehouse.ml import features as feats
from lakehouse.models.delay_risk import model
from lakehouse_tests.ml.conftest import fill
from lakehouse_tests.ml.replay import replay

BORDER = pl.datetime(2013, 10, 1, time_zone="UTC")
REPEATS = 3
REASONED = 5_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--replay", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        if options.speed:
            speed(Lake(f"{root}/speed"))
        if options.replay:
            year(Lake(f"{root}/replay"))


def timed(act: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the median of its seconds."""
    took = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        result = act()
        took.append(time.perf_counter() - began)
    return result, statistics.median(took)


def speed(lake: Lake) -> None:
    fill(lake, 365)
    frames = feats.frames_of(feats.opened(lake, model))
    rows, took = timed(lambda: feats.features(model, frames))
    print(f"features: {len(rows):,} flights in {took:.2f} s")
    known = feats.labelled(model, frames, rows).drop_nulls(feats.LABEL)
    learn, judge = known.filter(pl.col("asked") < BORDER), known.filter(pl.col("asked") >= BORDER)
    columns = feats.names(model, learn)
    learned, took = timed(lambda: learner.fit(learn, feats.LABEL, columns, model.params, model.rounds))
    print(f"training: {len(learn):,} rows in {took:.2f} s")
    told, took = timed(lambda: learned.predict(judge))
    print(f"answers: {len(judge) / took:,.0f} rows/s; AUC {evaluation.auc(judge[feats.LABEL], told)}")
    _, took = timed(lambda: learned.reasons(judge.head(REASONED)))
    print(f"reasons: {REASONED / took:,.0f} rows/s")
    peer(learn, judge, columns, learned.categories, told)


def peer(learn: pl.DataFrame, judge: pl.DataFrame, columns: list[str], categories: Any, told: pl.Series) -> None:
    """HistGradientBoosting as it comes, on the same rows; categories of more than 254 values do not occur."""
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        print("scikit-learn is not installed: no comparison")
        return
    known = [columns.index(c) for c in categories]
    other = HistGradientBoostingClassifier(categorical_features=known, random_state=0)
    given = learner.encoded(learn, columns, categories)
    _, took = timed(lambda: other.fit(given, learn[feats.LABEL].to_numpy()))
    asked = learner.encoded(judge, columns, categories)
    theirs, answering = timed(lambda: pl.Series(other.predict_proba(asked)[:, 1]))
    print(f"scikit-learn: trained in {took:.2f} s, {len(judge) / answering:,.0f} rows/s")
    print(f"AUC over scikit-learn's: {evaluation.auc_gain(judge[feats.LABEL], told, theirs)}")


def year(lake: Lake) -> None:
    found = replay(lake, model, lambda text: print(text, flush=True))
    print("\n| month | flights | loop's champion | loop | stale |\n|---|---|---|---|---|")
    for m in found.months.iter_rows(named=True):
        print(f"| {m['month']} | {m['rows']:,} | {m['model']} | {m['loop']:.4f} | {m['stale']:.4f} |")
    print(f"\nMay to December: loop {found.loop}, stale {found.stale}, gain {found.gain}")


if __name__ == "__main__":
    main()
