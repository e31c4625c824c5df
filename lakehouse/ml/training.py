"""cleaned → models: learn from all but the newest rows, judge by these; text, pins and verdict in one commit."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import polars as pl

from lakehouse.fingerprint import fingerprint, said
from lakehouse.lake import Lake, Table
from lakehouse.lake.paths import former
from lakehouse.ml import features as feats
from lakehouse.ml import registry
from lakehouse.ml.cards import card
from lakehouse.ml.evaluation import judge
from lakehouse.ml.features import LABEL, NotYet
from lakehouse.ml.monitoring import reference
from lakehouse.ml.registry import Version, learner
from lakehouse.model import ASKED, Model

LEAST = 1000
"""Labelled rows to learn from, and a fifth of them to judge by, below which there is nothing to say."""
SMOOTHING = 50
LEAKED = "knows what came later, or looks beyond the horizon"
GONE = re.compile(
    "not found|No files in log segment|No such file|Invalid table version|Expected contiguous", re.IGNORECASE
)
"""What delta-rs and polars say where a version's log or files are gone."""


class NotReproducible(Exception):
    """A version that cannot be trained again here: why."""


@dataclass(frozen=True)
class Split:
    """Labelled rows, the older to learn from and the newest to judge by; `unlabelled`: how many are left out."""

    learn: pl.DataFrame
    judge: pl.DataFrame
    unlabelled: int

    @property
    def until(self) -> datetime:
        last = self.judge[ASKED].max()
        assert isinstance(last, datetime)
        return last


def train(lake: Lake, model: Model, *, run: str = "") -> Version:
    """Train a challenger on the tables as they are, and judge it against the champion on the newest rows. That one
    of its features leaks is a reason to refuse it, too, stored with the others.

    Trained on the same versions by the same code against the same champion it is the same, and not kept twice; it
    may be the champion itself.
    Raises `NotYet` where there are too few labelled rows.
    """
    tables = feats.opened(lake, model)
    split = divided(model, tables)
    columns = feats.names(model, split.learn)
    learned = learner(model.learner).fit(split.learn, LABEL, columns, model.params, model.rounds)
    known = registry.champion(lake, model.name)
    rivals = [registry.version(lake, model.name, known)] if known else []
    pins = _pins(model, tables, split)
    if rivals and (rivals[0].text, rivals[0].pins) == (learned.text, pins):
        return rivals[0]
    answered = _predictions(model, split, learned, rivals)
    verdict = judge(answered, model.segments)
    leaking = feats.leaks(model, feats.frames_of(tables), seed=pins["rows"])
    reasons = [*verdict.reasons, *(f"feature {name} {LEAKED}" for name in leaking["feature"])]
    named = hashlib.sha256(json.dumps([learned.text, pins, known], sort_keys=True).encode()).hexdigest()[:12]
    told = {
        "columns": list(learned.columns),
        "categories": {c: list(v) for c, v in learned.categories.items()},
        "pins": pins,
        "metrics": verdict.metrics | {"leaks": leaking.to_dicts()},
        "reference": reference(split.learn.select(learned.columns)),
        "predicted": reference(answered.select("challenger"))["challenger"],
    }
    made = Version(
        id=named,
        trained_at=datetime.now(UTC),
        run=run,
        text=learned.text,
        code=model.code,
        recipe=model.recipe,
        until=split.until,
        against=known,
        passed=not reasons,
        reasons=reasons,
        card=card(model, named, told, reasons),
        **told,
    )
    registry.record(lake, model.name, made)
    return registry.version(lake, model.name, made.id)


def divided(model: Model, tables: dict[str, Table]) -> Split:
    """The labelled rows of the tables. The newest `holdout` is judged by, or a fifth where there is less."""
    frames = feats.frames_of(tables)
    rows = feats.labelled(model, frames, feats.features(model, frames))
    known = rows.drop_nulls(LABEL)
    if len(known) < LEAST * 6 // 5:
        raise NotYet(f"{model.name} needs {LEAST * 6 // 5:,} labelled rows, and there are {len(known):,}")
    first, last = known[ASKED].min(), known[ASKED].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    border = last - min(model.holdout, (last - first) / 5)
    return Split(
        known.filter(pl.col(ASKED) <= border), known.filter(pl.col(ASKED) > border), len(rows) - len(known)
    )


def _predictions(model: Model, split: Split, learned: Any, rivals: list[Version]) -> pl.DataFrame:
    """The newest rows with what challenger, baseline and a champion that can still be asked say of them."""
    rows = split.judge
    told = [learned.predict(rows).alias("challenger"), baseline(model, split)]
    told += [r.learned.predict(rows).alias("champion") for r in rivals if r.code == model.code]
    return rows.select(LABEL, *model.segments).with_columns(told)


def baseline(model: Model, split: Split) -> pl.Series:
    """The plain answer: the share of yes so far among rows of the same segments."""
    overall = float(split.learn[LABEL].cast(pl.Float64).sum() / len(split.learn))
    if not model.segments:
        return pl.repeat(overall, len(split.judge), eager=True).alias("baseline")
    share = (pl.col(LABEL).sum() + SMOOTHING * overall) / (pl.len() + SMOOTHING)
    shares = split.learn.group_by(model.segments).agg(share.alias("baseline"))
    found = split.judge.join(shares, on=list(model.segments), how="left", maintain_order="left")
    return found["baseline"].fill_null(overall)


def _pins(model: Model, tables: dict[str, Table], split: Split) -> dict[str, Any]:
    engine = learner(model.learner)
    return {
        "inputs": {name: {"table": t.id, "version": t.version} for name, t in tables.items()},
        "code": model.recipe,
        "learner": model.learner,
        "params": dict(model.params),
        "fixed": engine.FIXED,
        "rounds": model.rounds,
        "libraries": engine.libraries(),
        "trainer": _trainer(model),
        "rows": len(split.learn),
        "judged": len(split.judge),
        "unlabelled": split.unlabelled,
        "learned": [str(split.learn[ASKED].min()), str(split.learn[ASKED].max())],
        "judged by": [str(split.judge[ASKED].min()), str(split.until)],
    }


def _trainer(model: Model) -> str:
    """Of the code that is not the model's own and makes the bytes: what divides the rows, and the learner."""
    return fingerprint(divided, said(learner(model.learner).fit))


def reproduce(lake: Lake, model: Model, trained: Version) -> bool:
    """Train a version again from the table versions that it pins; whether the bytes are the same.

    Raises `NotReproducible` where retention has removed one of them, or the code is another: the model's own, or,
    if the bytes differ, that of `lakehouse.ml`.
    """
    if trained.pins["code"] != model.recipe:
        raise NotReproducible(
            f"{trained.id} was trained by other code, at {trained.trained_at:%Y-%m-%d %H:%M}; check that out"
        )
    tables = {name: _pinned(lake, name, pin) for name, pin in trained.pins["inputs"].items()}
    try:
        learn = divided(model, tables).learn
    except Exception as error:
        if GONE.search(str(error)):
            raise NotReproducible(_lost(trained.pins["inputs"])) from error
        raise
    again = learner(model.learner).fit(learn, LABEL, trained.columns, model.params, model.rounds)
    same = bool(again.text == trained.text)
    if not same and trained.pins["trainer"] != _trainer(model):
        raise NotReproducible(f"{trained.id}: other bytes, by other code of lakehouse.ml or of its learner")
    return same


def _pinned(lake: Lake, name: str, pin: dict[str, Any]) -> Table:
    places = chain([lake.open(f"cleaned/{name}")], former(lake, f"cleaned/{name}"))
    table = next((t for t in places if t and t.id == pin["table"]), None)
    if table is None:
        raise NotReproducible(f"no longer reproducible: cleaned/{name} is another table now")
    try:
        table.delta.load_as_version(pin["version"])
    except Exception as error:
        if GONE.search(str(error)):
            raise NotReproducible(_lost({name: pin})) from error
        raise
    return table


def _lost(pins: dict[str, dict[str, Any]]) -> str:
    told = ", ".join(f"cleaned/{name}@{pin['version']}" for name, pin in pins.items())
    return f"no longer reproducible: retention has removed what was read of {told}"
