"""LightGBM, the one learner: rows → model text → probabilities and their reasons. The text is the whole model.

Another learner, of texts or images, would take this module's place: `fit` gives text or bytes, `Learned` answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
import polars as pl

THREADS = 2
FIXED: dict[str, Any] = {
    "objective": "binary",
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": THREADS,
    "seed": 0,
    "verbosity": -1,
}
"""What makes two trainings on one machine give the same bytes."""
LIBRARIES = ("lightgbm", "numpy", "polars", "deltalake")
REASONS = 3
CHUNK = 20_000
"""Rows whose reasons are held at once."""


class LearnerMissing(Exception):
    """LightGBM cannot be loaded here: why, and what to do."""

    def __init__(self, error: Exception) -> None:
        hint = "pip install lightgbm"
        if isinstance(error, OSError):
            hint = "it needs OpenMP: apt-get install libgomp1, yum install libgomp or brew install libomp"
        super().__init__(f"LightGBM cannot be loaded: {error}. Hint: {hint}")


def lightgbm() -> Any:
    """Loaded where it is used: it takes half a second, and no other run of the house needs it."""
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        raise LearnerMissing(error) from error
    return lightgbm


def libraries() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


@dataclass(frozen=True)
class Learned:
    """What answers: the model's text, the columns that it takes in order, and the values of those of text."""

    text: str
    columns: Sequence[str]
    categories: Mapping[str, Sequence[str]]

    def predict(self, rows: pl.DataFrame) -> pl.Series:
        """The probability of yes, a row each."""
        found = _booster(self.text).predict(encoded(rows, self.columns, self.categories), num_threads=THREADS)
        return pl.Series("probability", found, dtype=pl.Float64)

    def reasons(self, rows: pl.DataFrame) -> pl.DataFrame:
        """`reason1` … `reason3`: the features that moved an answer most, their values, by how much (log odds)."""
        parts = [self._reasons(part) for part in rows.iter_slices(CHUNK)]
        return pl.concat([pl.DataFrame(schema={f"reason{n + 1}": pl.String for n in range(REASONS)}), *parts])

    def _reasons(self, rows: pl.DataFrame) -> pl.DataFrame:
        given = encoded(rows, self.columns, self.categories)
        moved = np.asarray(_booster(self.text).predict(given, pred_contrib=True, num_threads=THREADS))[:, :-1]
        strongest = np.argsort(-np.abs(moved), axis=1, kind="stable")[:, :REASONS]
        values = rows.select(pl.col(c).cast(pl.String).fill_null("unknown") for c in self.columns).to_numpy()
        told = {
            f"reason{n + 1}": pl.DataFrame(
                {
                    "name": np.asarray(self.columns)[at],
                    "value": np.take_along_axis(values, at[:, None], 1)[:, 0].astype(str),
                    "by": np.take_along_axis(moved, at[:, None], 1)[:, 0].round(2),
                }
            ).select(pl.format("{} = {} ({}{})", "name", "value", SIGN, "by"))
            for n, at in enumerate(strongest.T)
        }
        return pl.DataFrame({name: frame.to_series() for name, frame in told.items()})


SIGN = pl.when(pl.col("by") > 0).then(pl.lit("+")).otherwise(pl.lit(""))


def fit(rows: pl.DataFrame, label: str, columns: Sequence[str], params: Mapping[str, Any], rounds: int) -> Learned:
    """Learn the label from the columns. The same rows in the same order give the same text."""
    engine = lightgbm()
    categories = {
        c: rows[c].drop_nulls().unique().sort().to_list() for c in columns if rows.schema[c] == pl.String
    }
    data = engine.Dataset(
        encoded(rows, columns, categories),
        label=rows[label].cast(pl.Float64).to_numpy(),
        feature_name=list(columns),
        categorical_feature=list(categories),
        params=FIXED,
    )
    learned = engine.train(FIXED | dict(params), data, num_boost_round=rounds)
    return Learned(learned.model_to_string(), list(columns), categories)


def encoded(rows: pl.DataFrame, columns: Sequence[str], categories: Mapping[str, Sequence[str]]) -> Any:
    """The rows as numbers; a text is its place among the categories, one that was never seen is unknown."""

    def number(column: str) -> pl.Expr:
        if column not in categories:
            return pl.col(column).cast(pl.Float64)
        places = {value: float(n) for n, value in enumerate(categories[column])}
        return pl.col(column).replace_strict(places, default=None, return_dtype=pl.Float64)

    return rows.select(number(c) for c in columns).fill_null(float("nan")).to_numpy()


@lru_cache(maxsize=8)
def _booster(text: str) -> Any:
    return lightgbm().Booster(model_str=text)
