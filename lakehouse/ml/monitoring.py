"""serving, truth → monitor: how good the predictions were, week by week, against what their model promised."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.lake import Desired, Hopped, Lake, News, Table, hop
from lakehouse.lake.table import schema
from lakehouse.layers.cleaned import open_cleaned
from lakehouse.ml import evaluation, registry
from lakehouse.ml import features as feats
from lakehouse.ml.evaluation import Estimate
from lakehouse.ml.features import LABEL
from lakehouse.ml.registry import TIME, Version
from lakehouse.model import ASKED, Model

WEEKS = schema(
    {
        "week": TIME,
        "model": pl.String,
        "rows": pl.Int64,
        "unlabelled": pl.Int64,
        "last": TIME,
        "predicted": pl.Float64,
        "share": pl.Float64,
        "auc": pl.Float64,
        "auc_low": pl.Float64,
        "auc_high": pl.Float64,
        "calibration": pl.Float64,
        "calibration_low": pl.Float64,
        "calibration_high": pl.Float64,
        "brier": pl.Float64,
        "log_loss": pl.Float64,
    }
)
KEY = ["week", "model"]
LEAST = 500
"""Labelled rows of a week that are worth a judgement. It must be over: the rows of one day share their weather."""
DROP = 0.02
"""By how much a week's AUC may surely lie below that of the gate."""
ASTRAY = 0.04
"""How far a week's mean prediction may surely lie from the share that came true."""
BINS = 10
RECENT = timedelta(days=28)
WEEK = timedelta(days=7)
CODE = "monitor-1"


def monitor(lake: Lake, model: Model, datasets: dict[str, Dataset]) -> Hopped | None:
    """Bring `monitor/<name>` up to predictions and truth: a row a week and model. None: no predictions yet."""
    served = f"serving/{model.name}"
    if lake.open(served) is None:
        return None

    def scores() -> Table:
        return lake.ensure(served, WEEKS)

    return hop(
        lambda: lake.ensure(f"monitor/{model.name}", WEEKS, key=KEY),
        [scores, lambda: open_cleaned(lake, datasets[model.population])],
        lambda _, news: weeks(model, news),
        key=KEY,
        code=CODE + model.recipe,
    )


def weeks(model: Model, news: list[News]) -> Desired:
    """All of them, or none where no row has changed: it takes all predictions and all truth to tell them."""
    if all(one.quiet for one in news):
        none = pl.DataFrame(schema=WEEKS)
        return Desired(none, none.select(KEY))
    scores, truth = (one.source.scan() for one in news)
    rows = scores.join(feats.labels(model, {model.population: truth}), on=list(model.key), how="left").collect()
    rows = rows.with_columns(week=pl.col(ASKED).dt.truncate("1w"))
    parts = rows.partition_by(KEY, as_dict=True).items()
    found = [_week(week, known, part) for (week, known), part in sorted(parts, key=lambda p: str(p[0]))]
    return Desired(pl.DataFrame(found, schema=WEEKS, orient="row"))


def _week(week: object, known: object, rows: pl.DataFrame) -> dict[str, Any]:
    seen = rows.drop_nulls(LABEL)
    told = {"week": week, "model": known, "rows": len(rows), "unlabelled": len(rows) - len(seen)}
    told |= {"last": rows[ASKED].max(), "predicted": rows["probability"].mean()}
    if seen.is_empty():
        return told
    found = evaluation.quality(seen[LABEL], seen["probability"])
    for name in ("auc", "calibration"):
        low, high = found[name]["low"], found[name]["high"]
        told |= {f"{name}_low": _number(low), f"{name}_high": _number(high)}
    values = {name: _number(found[name]["value"]) for name in ("auc", "calibration", "brier", "log_loss")}
    return told | values | {"share": found["share"]}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


@dataclass(frozen=True)
class Realised:
    """What the newest weeks of the champion say. No failures: it is as good as it promised."""

    failures: list[str]
    last: datetime | None
    """The newest question that the failures speak of."""


def realised(lake: Lake, model: Model) -> Realised:
    """Hold the champion's last whole week that is worth it against what it showed at the gate."""
    known, table = registry.champion(lake, model.name), lake.open(f"monitor/{model.name}")
    if known is None or table is None:
        return Realised([], None)
    mine = table.scan().filter(pl.col("model") == known).sort("week").collect()
    whole = pl.col("last") >= pl.col("week") + pl.duration(days=6)
    worth = mine.filter(whole & (pl.col("rows") - pl.col("unlabelled") >= LEAST)).tail(1)
    if worth.is_empty():
        return Realised([], None)
    week = worth.row(0, named=True)
    promised = Estimate(**registry.version(lake, model.name, known).metrics["challenger"]["auc"])
    return Realised(failures(week, promised), week["last"])


def failures(week: dict[str, Any], promised: Estimate) -> list[str]:
    found = []
    if week["auc_high"] is not None and week["auc_high"] < promised.value - DROP:
        found.append(
            f"AUC {week['auc']:.3f} in the week of {week['week']:%d %B %Y}, promised {promised.value:.3f}"
        )
    if week["calibration_low"] > ASTRAY or week["calibration_high"] < -ASTRAY:
        found.append(f"predictions {week['calibration']:+.3f} astray in the week of {week['week']:%d %B %Y}")
    return found


def due(lake: Lake, model: Model) -> str | None:
    """Why a training is due, or None. A failing week asks once: a version that has seen it is the answer.

    A version that passed and is not promoted is trained again: where nothing has changed that makes no other, and
    its run goes on to promote it. Where nobody answers, no week can fail: each whole week of truth asks then.

    It is told from the tables alone, so that neither a crash nor a repeated question asks twice.
    """
    if any(lake.open(f"cleaned/{name}") is None for name in model.inputs):
        return None
    latest = registry.newest(lake, model.name) if lake.open(f"models/{model.name}") else None
    if latest is None:
        return "there is none yet" if _spans(lake, model) >= model.warmup else None
    if latest.recipe != model.recipe:
        return "its code has changed"
    table = lake.open(f"promotions/{model.name}")
    promotions = registry.history(table) if table else pl.DataFrame(schema=registry.PROMOTED)
    if latest.passed and latest.id not in promotions["id"]:
        return f"{latest.id} passed, and is not promoted"
    found = realised(lake, model)
    if found.failures and found.last and found.last > latest.until:
        return "; ".join(found.failures)
    if promotions["code"].last() != model.code and _grown(lake, model, latest):
        return "no champion answers, and a week more of truth is there"
    return None


def _spans(lake: Lake, model: Model) -> timedelta:
    """How much time the labelled rows span."""
    table = lake.open(f"cleaned/{model.population}")
    if table is None:
        return timedelta()
    time = table.scan().filter(model.label.is_not_null()).select(model.time)
    first, last = time.select(pl.col(model.time).min(), last=pl.col(model.time).max()).collect().row(0)
    return last - first if first else timedelta()


def _grown(lake: Lake, model: Model, seen: Version) -> bool:
    """Whether there is a week more of truth than a version has seen.

    It is asked every 30 seconds, and reads no file whose rows are all older.
    """
    table, pin = lake.open(f"cleaned/{model.population}"), seen.pins["inputs"][model.population]
    if table is None or (table.id, table.version) == (pin["table"], pin["version"]):
        return False
    newer = table.scan().filter(pl.col(model.time) >= seen.until + WEEK, model.label.is_not_null())
    return not newer.select(model.time).head(1).collect().is_empty()


def reference(rows: pl.DataFrame) -> dict[str, Any]:
    """What was learned from, by feature: the edges of ten bins or the values, their shares, the missing."""
    return {c: _shape(rows[c], _edges(rows[c])) for c in rows.columns}


def _edges(values: pl.Series) -> list[Any]:
    if values.dtype == pl.String:
        return values.drop_nulls().unique().sort().to_list()
    cuts = [values.quantile(n / BINS) for n in range(1, BINS)]
    return sorted({float(c) for c in cuts if c is not None})


def _shape(values: pl.Series, edges: list[Any]) -> dict[str, Any]:
    """The shares of a feature's values, by the bins or values of its reference."""
    there = values.drop_nulls()
    if values.dtype == pl.String:
        counts = [int((there == edge).sum()) for edge in edges]
    else:
        below = [int((there.cast(pl.Float64) <= edge).sum()) for edge in edges]
        counts = [b - a for a, b in zip([0, *below], [*below, len(there)], strict=True)]
    missing = values.null_count() / max(len(values), 1)
    return {"edges": edges, "shares": [c / max(len(there), 1) for c in counts], "missing": missing}


def drift(lake: Lake, model: Model, version: Version) -> pl.DataFrame:
    """Per feature the population stability index of the newest weeks against what was learned from; the missing.

    The row `predictions` holds what was answered in these weeks against the answers at the gate. Shown and no
    trigger: a seasonal feature drifts every month.
    """
    frames = feats.frames_of(feats.opened(lake, model))
    last = frames[model.population].select(pl.col(model.time).max()).collect().item()
    rows = feats.features(model, feats.within(model, frames, last - RECENT, last))
    rows = rows.filter(pl.col(model.time) > last - RECENT)
    told = [(c, *_drifted(rows[c], was)) for c, was in version.reference.items() if c in rows.columns]
    served = lake.open(f"serving/{model.name}")
    if served:
        mine = served.scan().filter(pl.col("model") == version.id, pl.col(model.time) > last - RECENT)
        answers = mine.select("probability").collect().to_series()
        told += [("predictions", *_drifted(answers, version.predicted))] if len(answers) else []
    kinds = {"feature": pl.String, "psi": pl.Float64, "missing": pl.Float64, "missing_learned": pl.Float64}
    return pl.DataFrame(told, schema=kinds, orient="row").sort("psi", descending=True)


def _drifted(values: pl.Series, was: dict[str, Any]) -> tuple[float, float, float]:
    now = _shape(values, was["edges"])
    pairs = [(max(a, 1e-4), max(b, 1e-4)) for a, b in zip(was["shares"], now["shares"], strict=True)]
    return sum((b - a) * math.log(b / a) for a, b in pairs), now["missing"], was["missing"]
