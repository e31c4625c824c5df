"""LightGBM, the learner if not told otherwise: rows → model text → probabilities and their reasons.

The text is the whole model. A model names its learner by its module; another, of texts or images, has the same
names: `fit`, `Learned`, `libraries`, `FIXED`.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
import polars as pl

from lakehouse.ml.reasons import NAMES, Paths, paths, worded

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
ANSWER = pl.Schema({"probability": pl.Float64, **dict.fromkeys(NAMES, pl.String)})
CHUNK = 8192
"""Rows that a thread answers at once."""
PLAIN = re.compile(r"^tree\n(?!.*^average_output$).*^objective=binary sigmoid:1$", re.DOTALL | re.MULTILINE)
"""The head of a model whose leaves add up to the log odds."""


class LearnerMissing(Exception):
    """LightGBM cannot be loaded here: why, and what to do."""

    def __init__(self, error: Exception) -> None:
        self.what, self.hint = f"LightGBM cannot be loaded: {error}", "pip install lightgbm"
        if isinstance(error, OSError):
            self.hint = "it needs OpenMP: apt-get install libgomp1, yum install libgomp or brew install libomp"
        super().__init__(f"{self.what}. Hint: {self.hint}")


def lightgbm() -> Any:
    """Loaded where it is used: it takes half a second, and no other run of the house needs it."""
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        raise LearnerMissing(error) from error
    return lightgbm


def libraries() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


@dataclass(frozen=True)
class Learned:
    """What answers: the model's text, the columns that it takes in order, and the values of those of text."""

    text: str
    columns: Sequence[str]
    categories: Mapping[str, Sequence[str]]

    def predict(self, rows: pl.DataFrame) -> pl.Series:
        """The probability of yes, a row each."""
        given = encoded(rows, self.columns, self.categories)
        return _probability(_booster(self.text).predict(given, raw_score=True, num_threads=THREADS))

    def answers(self, rows: pl.DataFrame) -> pl.DataFrame:
        """`probability`, to the last bit as `predict` has it, and `reason1` … `reason3` (`ml/reasons.py`)."""
        with ThreadPoolExecutor(THREADS) as threads:
            parts = [*threads.map(self._answers, rows.iter_slices(CHUNK))]
        return pl.concat([pl.DataFrame(schema=ANSWER), *parts])

    def _answers(self, rows: pl.DataFrame) -> pl.DataFrame:
        given = encoded(rows, self.columns, self.categories)
        leaves = np.asarray(_booster(self.text).predict(given, pred_leaf=True, num_threads=1))
        added = _paths(self.text).added(leaves.reshape(len(rows), -1))
        return worded(rows, self.columns, added[:, :-1]).insert_column(0, _probability(added[:, -1]))


def _probability(log_odds: np.ndarray) -> pl.Series:
    odds = pl.DataFrame({"x": log_odds})
    return odds.select(probability=1 / (1 + (-pl.col("x")).exp())).to_series()


def fit(rows: pl.DataFrame, label: str, columns: Sequence[str], params: Mapping[str, Any], rounds: int) -> Learned:
    """Learn the label from the columns. The same rows in the same order give the same text.

    Raises `ValueError` for parameters whose trees do not add up: random forests, linear trees, another objective.
    """
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
    text = learned.model_to_string()
    if not PLAIN.match(text.partition("\nTree=")[0]) or "\nis_linear=1\n" in text:
        raise ValueError(f"{dict(params)}: only trees that add up to the log odds of yes have reasons")
    return Learned(text, list(columns), categories)


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


@lru_cache(maxsize=8)
def _paths(text: str) -> Paths:
    return paths(_booster(text).dump_model())
