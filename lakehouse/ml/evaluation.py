"""truth and probability → how good, with 95 % intervals; challenger against champion on the same rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl

Z = 1.96
BINS = 10
LEAST = 500
"""Rows of a segment that are worth a judgement."""
WORSE = 0.01
"""By how much log loss may rise in a segment that it surely rises in."""
ASTRAY = 0.1
"""How far the mean prediction of a first version may lie from the share of yes; a later one has its champion."""


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


def around(value: float, variance: float) -> Estimate:
    reach = Z * math.sqrt(max(variance, 0.0))
    return Estimate(value, value - reach, value + reach)


def mean(values: pl.Series) -> Estimate:
    return around(_float(values.mean()), _float(values.var()) / max(len(values), 1))


def auc(truth: pl.Series, guess: pl.Series) -> Estimate:
    """The area under the ROC curve, with DeLong's interval. Undefined (nan) where the truth is all one."""
    found = _area(*_placements(truth, guess))
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def auc_gain(truth: pl.Series, guess: pl.Series, other: pl.Series) -> Estimate:
    """By how much the area of `guess` is larger than that of `other` on the same rows (DeLong, paired)."""
    mine, theirs = _placements(truth, guess), _placements(truth, other)
    return _area(mine[0] - theirs[0], mine[1] - theirs[1])


def _area(late: pl.Series, punctual: pl.Series) -> Estimate:
    if late.is_empty() or punctual.is_empty():
        return Estimate(math.nan, math.nan, math.nan)
    variance = _float(late.var()) / len(late) + _float(punctual.var()) / len(punctual)
    return around(_float(late.mean()), variance)


def _placements(truth: pl.Series, guess: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Of each row, the share of the other class that it is placed rightly against; a tie counts half."""
    rows = pl.DataFrame({"y": truth.cast(pl.Boolean), "p": guess})
    rows = rows.with_columns(every=pl.col("p").rank(), own=pl.col("p").rank().over("y"), n=pl.len().over("y"))
    place = (pl.col("every") - pl.col("own")) / (pl.len() - pl.col("n"))
    placed = rows.with_columns(v=pl.when("y").then(place).otherwise(1 - place))
    return placed.filter("y")["v"], placed.filter(~pl.col("y"))["v"]


def losses(truth: pl.Series, guess: pl.Series) -> pl.Series:
    """Each row's log loss."""
    sure = pl.DataFrame({"y": truth.cast(pl.Boolean), "p": guess.clip(1e-7, 1 - 1e-7)})
    return sure.select(-pl.when("y").then(pl.col("p").log()).otherwise((1 - pl.col("p")).log())).to_series()


def quality(truth: pl.Series, guess: pl.Series) -> dict[str, Any]:
    """AUC, log loss, Brier score and calibration (mean prediction less share of yes), each with its interval."""
    y = truth.cast(pl.Float64)
    told = {
        "auc": auc(truth, guess),
        "log_loss": mean(losses(truth, guess)),
        "brier": mean((guess - y) ** 2),
        "calibration": mean(guess - y),
    }
    return {"rows": len(y), "share": _float(y.mean()), **{name: asdict(e) for name, e in told.items()}}


def calibration(truth: pl.Series, guess: pl.Series) -> pl.DataFrame:
    """Ten groups of rows by prediction: its mean, the share that came true, the rows."""
    rows = pl.DataFrame({"y": truth.cast(pl.Float64), "p": guess}).sort("p")
    at = (pl.int_range(pl.len()) * BINS // pl.len()).alias("bin")
    told = [
        pl.col("p").mean().alias("predicted"),
        pl.col("y").mean().alias("true"),
        pl.len().cast(pl.Int64).alias("rows"),
    ]
    return rows.group_by(at).agg(told).sort("bin").drop("bin")


@dataclass(frozen=True)
class Judgement:
    """What the gate says of a challenger, and by what. No reasons: it passed."""

    reasons: list[str]
    metrics: dict[str, Any]


def judge(rows: pl.DataFrame, segments: Sequence[str]) -> Judgement:
    """Hold a challenger against the plain baseline, and against the champion, on the same newest rows.

    `rows`: `label`, the predictions `challenger`, `baseline` and, if there is one, `champion`, and the segments.
    """
    rivals = [c for c in ("champion", "baseline") if c in rows.columns]
    truth, loss = rows["label"], losses(rows["label"], rows["challenger"])
    metrics: dict[str, Any] = {name: quality(truth, rows[name]) for name in ("challenger", *rivals)}
    reasons = []
    if "champion" not in rivals and abs(astray := metrics["challenger"]["calibration"]["value"]) > ASTRAY:
        reasons.append(f"its predictions are {astray:+.3f} astray in the mean")
    for rival in rivals:
        gain = auc_gain(truth, rows["challenger"], rows[rival])
        more = mean(loss - losses(truth, rows[rival]))
        metrics[f"against {rival}"] = {"auc": asdict(gain), "log_loss": asdict(more)}
        if not gain.value > 0 and not more.value < 0:
            reasons.append(f"no better than the {rival}: AUC {gain}, log loss {more}")
        elif gain.high < 0 or more.low > 0:
            reasons.append(f"worse than the {rival}: AUC {gain}, log loss {more}")
    metrics["segments"] = [one for s in segments for one in _segments(rows, s, rivals[0])]
    reasons += [
        f"worse than the {rivals[0]} where {one['segment']} is {one['value']}"
        for one in metrics["segments"]
        if one["more"] and one["more"]["value"] > WORSE and one["more"]["low"] > 0
    ]
    metrics["calibration"] = calibration(truth, rows["challenger"]).to_dicts()
    return Judgement(reasons, metrics)


def _segments(rows: pl.DataFrame, segment: str, rival: str) -> list[dict[str, Any]]:
    """Quality by the values of one feature; `more`: the log loss over the rival's, if there are rows enough."""
    found = []
    for (value,), part in sorted(rows.partition_by(segment, as_dict=True).items(), key=lambda p: -len(p[1])):
        more = mean(losses(part["label"], part["challenger"]) - losses(part["label"], part[rival]))
        told = asdict(more) if len(part) >= LEAST else None
        found.append(
            {"segment": segment, "value": value, "more": told, **quality(part["label"], part["challenger"])}
        )
    return found


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
