"""cleaned, promotions → serving: the champion's answer to each new row, with its three strongest reasons.

A row is answered by the last promoted version that had seen nothing of its time or later, so that every prediction
in the table was a prediction. A rollback is one more promotion: the version that it names answers all that came
after what it had seen.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.lake import Desired, Hopped, Lake, News, Table, hop
from lakehouse.lake.hop import unfinished
from lakehouse.lake.scope import typed
from lakehouse.lake.table import schema
from lakehouse.layers import raw
from lakehouse.layers.cleaned import open_cleaned
from lakehouse.ml import features as feats
from lakehouse.ml import registry
from lakehouse.ml.features import Frames, NotYet
from lakehouse.ml.learner import ANSWER
from lakehouse.ml.registry import TIME, Version
from lakehouse.model import ASKED, Model


def score(lake: Lake, model: Model, datasets: dict[str, Dataset]) -> Hopped:
    """Bring `serving/<name>` up to its inputs and to the promotions, all at the versions that the commit records.

    Only rows whose features a change can reach are computed again; a promotion is a change that reaches all. It
    waits while an input is being taken anew.
    """
    if awaits(lake, model):
        made = open_scores(lake, model, datasets)
        return Hopped(made.name, version=made.version)
    return hop(
        lambda: open_scores(lake, model, datasets),
        sources(lake, model, datasets),
        lambda target, news: _scored(lake, model, target, news),
        key=list(model.key),
        code=model.code,
    )


def sources(lake: Lake, model: Model, datasets: dict[str, Dataset]) -> list[Any]:
    inputs = [partial(open_cleaned, lake, datasets[name]) for name in model.inputs]
    return [*inputs, partial(registry.open_promotions, lake, model.name)]


def open_scores(lake: Lake, model: Model, datasets: dict[str, Dataset]) -> Table:
    name = f"serving/{model.name}"
    kinds = open_cleaned(lake, datasets[model.population]).scan().collect_schema()
    columns = {**{k: kinds[k] for k in model.key}, ASKED: TIME, "model": pl.String, **ANSWER}
    return lake.open(name) or lake.ensure(name, schema(columns), key=list(model.key))


def awaits(lake: Lake, model: Model) -> bool:
    """Whether an input is being taken anew."""
    inputs = ((name, lake.open(f"cleaned/{name}")) for name in model.inputs)
    return any(table is not None and unfinished(table, raw.name(name)) for name, table in inputs)


def _scored(lake: Lake, model: Model, target: Table, news: list[News]) -> Desired:
    *inputs, promoted = news
    frames = {name: one.source.scan() for name, one in zip(model.inputs, inputs, strict=True)}
    scope = touched(model, frames, inputs) if promoted.quiet else None
    rows = _rows(model, frames, scope)
    answers = answered(lake, model, rows, registry.history(promoted.source), target)
    return Desired(answers, scope)


def touched(model: Model, frames: Frames, news: list[News]) -> pl.DataFrame | None:
    """The keys of the rows that a change reaches: those that it names, and those within the horizon after it.

    None: all of them, since a table that lies in no time has changed, or its history is lost.
    """
    found, times = [], []
    for name, one in zip(model.inputs, news, strict=True):
        if one.quiet:
            continue
        if one.whole or name not in model.sources:
            return None
        times.append(one.touched([model.sources[name].time]).to_series().rename("_time"))
        if name == model.population:
            found.append(one.touched(model.key))
    at = pl.concat(times).unique().sort().to_frame().lazy() if times else None
    keys = frames[model.population].select(model.key)
    if at is None:
        return keys.clear().collect()
    asof: dict[str, Any] = {"strategy": "backward", "tolerance": model.horizon, "check_sortedness": False}
    at = at.with_columns(_near=True)
    near = keys.sort(model.time).join_asof(at, left_on=model.time, right_on="_time", **asof)
    reached = near.filter("_near").select(model.key).collect()
    return pl.concat([reached, *found]).unique()


def _rows(model: Model, frames: Frames, scope: pl.DataFrame | None) -> pl.DataFrame:
    """The features of the rows in the scope, from no more of the tables than these look at."""
    if scope is None:
        return feats.features(model, frames)
    first, last = scope[model.time].min(), scope[model.time].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return feats.features(model, {name: frame.clear() for name, frame in frames.items()})
    rows = feats.features(model, feats.within(model, frames, first, last))
    return rows.join(scope, on=list(model.key), how="semi", maintain_order="left")


def answered(
    lake: Lake, model: Model, rows: pl.DataFrame, promotions: pl.DataFrame, target: Table
) -> pl.DataFrame:
    """Each row's answer, by the last promoted version that had seen nothing of its time.

    What a version of other code has answered stays as it stands: it cannot be asked again.
    """
    parts, left = [target.scan().clear().collect()], rows
    for number, until, code in promotions.select("id", "until", "code").reverse().iter_rows():
        if left.is_empty():
            break
        mine, left = left.filter(pl.col(ASKED) > until), left.filter(pl.col(ASKED) <= until)
        if code == model.code:
            parts.append(predictions(model, registry.version(lake, model.name, number), mine))
        else:
            kept = target.scan().filter(pl.col("model") == number).collect()
            parts.append(kept.join(mine, on=list(model.key), how="semi"))
    return pl.concat(parts, how="vertical_relaxed")


def predictions(model: Model, version: Version, rows: pl.DataFrame) -> pl.DataFrame:
    """The key, `asked`, the version's id, the probability of yes and the three strongest reasons."""
    told = rows.select(*model.key, ASKED).with_columns(pl.lit(version.id).alias("model"))
    return pl.concat([told, predict(version, rows)], how="horizontal")


def predict(version: Version, rows: pl.DataFrame) -> pl.DataFrame:
    """Answers to rows of features, whoever has made them: `probability` and the reasons, in the rows' order."""
    found: pl.DataFrame = version.learned.answers(rows)
    return found


def ask(lake: Lake, model: Model, wanted: dict[str, str]) -> dict[str, Any]:
    """The champion's answer, now, to the newest row that has these values, as text. Raises `NotYet`.

    `seen`: the row is of the time that the version was trained and judged on; the answer is no prediction.
    """
    known = registry.champion(lake, model.name)
    if known is None:
        raise NotYet(f"{model.name} has no champion")
    version = registry.version(lake, model.name, known)
    if version.code != model.code:
        raise NotYet(f"the champion {known} was trained by other code")
    frames = feats.frames_of(feats.opened(lake, model))
    kinds = frames[model.population].collect_schema()
    rows = frames[model.population].filter(pl.col(c) == typed(value, kinds[c]) for c, value in wanted.items())
    scope = rows.sort(model.time).tail(1).select(model.key).collect()
    if scope.is_empty():
        raise NotYet(f"cleaned/{model.population} has no row with {wanted}")
    answer = predictions(model, version, _rows(model, frames, scope)).row(0, named=True)
    return {**answer, "seen": answer[ASKED] <= version.until}
