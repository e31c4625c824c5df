"""What the model of late flights costs and gives, on all flights of 2013.

    .venv/bin/python -m benchmarks.delay_risk --speed
    .venv/bin/python -m benchmarks.delay_risk --replay

`--speed`: features for all flights, training on January to September, answers with their reasons to October to
December, and how often these agree with SHAP. `--replay`: the year month by month, the loop beside a model that is
never trained again. scikit-learn's HistGradientBoosting on the same rows, from an environment of its own:

    make peers
    .venv/bin/python -m benchmarks.delay_risk --speed --peer build/peers/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lakehouse.lake import Lake
from lakehouse.ml import evaluation, learner, reasons
from lakehouse.ml import features as feats
from lakehouse.models.delay_risk import model
from lakehouse_tests.ml.conftest import fill
from lakehouse_tests.ml.replay import replay

BORDER = pl.datetime(2013, 10, 1, time_zone="UTC")
REPEATS = 5
EXPLAINED = 5_000
"""Rows whose reasons are held beside SHAP's, which are slow."""
PEER = Path(__file__).with_name("peer_delay_risk.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--replay", action="store_true")
    parser.add_argument("--peer", metavar="PYTHON", help="of an environment with scikit-learn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        if options.speed:
            speed(Lake(f"{root}/speed"), options.peer)
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


def speed(lake: Lake, peers: str | None) -> None:
    fill(lake, 365)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before")
    frames = feats.frames_of(feats.opened(lake, model))
    rows, took = timed(lambda: feats.features(model, frames))
    print(f"features: {len(rows):,} flights in {took:.2f} s")
    known = feats.labelled(model, frames, rows).drop_nulls(feats.LABEL)
    learn, judge = known.filter(pl.col("asked") < BORDER), known.filter(pl.col("asked") >= BORDER)
    columns = feats.names(model, learn)
    learned, took = timed(lambda: learner.fit(learn, feats.LABEL, columns, model.params, model.rounds))
    print(f"training: {len(learn):,} rows in {took:.2f} s")
    learned.answers(judge.head(1))
    told, took = timed(lambda: learned.answers(judge))
    print(f"answers with reasons: {len(judge):,} rows, {len(judge) / took:,.0f} rows/s")
    answers, took = timed(lambda: learned.predict(judge))
    print(f"answers alone: {len(judge) / took:,.0f} rows/s; AUC {evaluation.auc(judge[feats.LABEL], answers)}")
    explained(learned, judge.sample(EXPLAINED, seed=0))
    if peers:
        peer(peers, learn, judge, learned, told["probability"])
    print(f"load {os.getloadavg()[0]:.1f} after")


def explained(learned: learner.Learned, rows: pl.DataFrame) -> None:
    """How often the strongest reasons are those of SHAP, which LightGBM computes itself."""
    given = learner.encoded(rows, learned.columns, learned.categories)
    booster = learner.lightgbm().Booster(model_str=learned.text)
    shap, took = timed(lambda: booster.predict(given, pred_contrib=True, num_threads=learner.THREADS)[:, :-1])
    added = reasons.paths(booster.dump_model()).added(booster.predict(given, pred_leaf=True))[:, :-1]
    theirs, mine = (np.argsort(-np.abs(found), axis=1, kind="stable")[:, :3] for found in (shap, added))
    shared = np.mean([len({*a} & {*b}) for a, b in zip(theirs, mine, strict=True)])
    signs = np.take_along_axis(shap, mine, 1) * np.take_along_axis(added, mine, 1) > 0
    print(
        f"SHAP: {len(rows) / took:,.0f} rows/s; of its three strongest {shared:.2f} are among ours, the strongest "
        f"is the same for {np.mean(theirs[:, 0] == mine[:, 0]):.0%}, the sign of ours for {signs.mean():.2%}"
    )


def peer(python: str, learn: pl.DataFrame, judge: pl.DataFrame, learned: learner.Learned, told: pl.Series) -> None:
    """HistGradientBoosting as it comes, on the same rows."""
    with tempfile.TemporaryDirectory() as root:
        for name, rows in (("learn", learn), ("judge", judge)):
            np.save(f"{root}/{name}.npy", learner.encoded(rows, learned.columns, learned.categories))
        np.save(f"{root}/label.npy", learn[feats.LABEL].to_numpy())
        texts = [learned.columns.index(c) for c in learned.categories]
        Path(root, "categories.json").write_text(json.dumps(texts))
        run = subprocess.run([python, PEER, root], check=True, capture_output=True, text=True)
        theirs = pl.Series(np.load(f"{root}/answers.npy"))
    took = json.loads(run.stdout)
    answering = f"{len(judge) / took['answering']:,.0f} rows/s without reasons"
    print(f"scikit-learn {took['version']}: trained in {took['training']:.2f} s, {answering}")
    print(f"its AUC {evaluation.auc(judge[feats.LABEL], theirs)}")
    print(f"AUC over scikit-learn's: {evaluation.auc_gain(judge[feats.LABEL], told, theirs)}")


def year(lake: Lake) -> None:
    found = replay(lake, model, lambda text: print(text, flush=True))
    print("\n| month | flights | loop's champion | loop | stale | gain (95 %) |\n|---|---|---|---|---|---|")
    for m in found.months.iter_rows(named=True):
        print(
            f"| {m['month']} | {m['rows']:,} | {m['model']} | {m['loop']:.4f} | {m['stale']:.4f} | {m['gain']} |"
        )
    print(f"\nMay to December: loop {found.loop}, stale {found.stale}")
    print(f"gain {found.gain}; over days drawn anew {found.by_day}")


if __name__ == "__main__":
    main()
