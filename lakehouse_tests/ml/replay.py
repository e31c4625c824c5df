"""The year, month by month: the loop beside a model that was trained on January to March and never again.

Each month comes into cleaned; the champion in force answers it; the monitor holds the answers against the truth;
if that asks for training, a version is trained, judged and promoted or not. No answer is given by a version that
had seen anything of its time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import polars as pl

from lakehouse.lake import Lake
from lakehouse.ml import evaluation, monitoring, registry, scoring, training
from lakehouse.ml import features as feats
from lakehouse.ml.evaluation import Estimate
from lakehouse.model import Model
from lakehouse_tests.ml.conftest import DATASETS, fill

Say = Callable[[str], None]
MONTH = pl.col("time_hour").dt.convert_time_zone("America/New_York").dt.month()
BASE = 3
"""Months that the first version is made from."""
DRAWS = 200


@dataclass(frozen=True)
class Replay:
    """`months`: a row each. `loop`, `stale`, `gain`: AUC pooled from May to December, their paired difference.

    Intervals take rows for independent (DeLong), but `by_day`: the gain over days drawn anew, as the rows of one
    day share their weather.
    """

    months: pl.DataFrame
    loop: Estimate
    stale: Estimate
    gain: Estimate
    by_day: Estimate
    promotions: int


def days(month: int) -> tuple[int, int]:
    """(how many days a month of 2013 has, how many came before it)."""
    first, after = date(2013, month, 1), date(2013 + month // 12, month % 12 + 1, 1)
    return (after - first).days, (first - date(2013, 1, 1)).days


def replay(lake: Lake, model: Model, say: Say = print) -> Replay:
    for month in range(1, BASE + 1):
        fill(lake, *days(month))
    first = training.train(lake, model)
    registry.promote(lake, model.name, first.id, who="replay", why="first")
    say(f"first version {first.id}, passed {first.passed}")
    for month in range(BASE + 1, 13):
        fill(lake, *days(month))
        scoring.score(lake, model, DATASETS)
        monitoring.monitor(lake, model, DATASETS)
        say(f"{month:2}: {_answer(lake, model)}")
    return _told(lake, model, first)


def _answer(lake: Lake, model: Model) -> str:
    why = monitoring.due(lake, model)
    if why is None:
        return "as promised"
    made = training.train(lake, model)
    if made.passed:
        registry.promote(lake, model.name, made.id, who="replay", why=why)
    again = monitoring.due(lake, model)
    assert again is None, again
    return f"{why}: {made.id} {'promoted' if made.passed else 'refused: ' + '; '.join(made.reasons)}"


def _told(lake: Lake, model: Model, first: registry.Version) -> Replay:
    served = lake.open(f"serving/{model.name}")
    assert served is not None
    frames = feats.frames_of(feats.opened(lake, model))
    rows = feats.labelled(model, frames, feats.features(model, frames)).drop_nulls(feats.LABEL)
    rows = rows.with_columns(first.learned.predict(rows).alias("stale"))
    answers = served.scan().select(*model.key, "model", loop="probability").collect()
    both = rows.join(answers, on=list(model.key)).with_columns(month=MONTH)
    months = [_month(month, part) for (month,), part in sorted(both.partition_by("month", as_dict=True).items())]
    late = both.filter(pl.col("month") >= 5)
    truth = late[feats.LABEL]
    return Replay(
        pl.DataFrame(months),
        evaluation.auc(truth, late["loop"]),
        evaluation.auc(truth, late["stale"]),
        evaluation.auc_gain(truth, late["loop"], late["stale"]),
        _by_day(late),
        len(registry.history(registry.open_promotions(lake, model.name))),
    )


def _month(month: object, part: pl.DataFrame) -> dict[str, object]:
    truth = part[feats.LABEL]
    told = {name: evaluation.auc(truth, part[name]).value for name in ("loop", "stale")}
    gain = evaluation.auc_gain(truth, part["loop"], part["stale"])
    return {"month": month, "rows": len(part), "model": part["model"].mode()[0], **told, "gain": str(gain)}


def _by_day(rows: pl.DataFrame) -> Estimate:
    """The gain, and the middle 95 % of what it is where as many days are drawn, some twice and some not at all."""
    days = rows.with_columns(day=pl.col("time_hour").dt.date()).partition_by("day")
    draw = random.Random(0)
    drawn = (pl.concat(draw.choices(days, k=len(days))) for _ in range(DRAWS))
    gains = sorted(_gain(some) for some in drawn)
    return Estimate(_gain(rows), gains[DRAWS // 40], gains[-DRAWS // 40 - 1])


def _gain(rows: pl.DataFrame) -> float:
    return evaluation.auc_gain(rows[feats.LABEL], rows["loop"], rows["stale"]).value
