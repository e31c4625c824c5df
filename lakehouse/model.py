"""The vocabulary in which a user declares what is learned from the lake: `Model` and `Source`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

import polars as pl

from lakehouse.dataset import Dataset, DeclarationError, Serving, declaring
from lakehouse.fingerprint import fingerprint

ASKED = "asked"
"""The column of a model's features that says when its question was asked: the cut-off of all knowledge."""


@dataclass(frozen=True, eq=False)
class Source:
    """From when on a dataset's values are known.

    `time`: the column that places a row in time. `known`: when the row as such is known; None: long before.
    `later`: columns that are known later than their row, and when; to an earlier question they are null. One that
    files bring beyond the contract is named here like any other: what is not named is taken for known.
    """

    time: str
    known: pl.Expr | None = None
    later: Mapping[str, pl.Expr] = field(default_factory=dict)

    @property
    def told(self) -> tuple[str, str, dict[str, str]]:
        """All of it as text, whole: an expression's repr is cut, and tells where it lies."""
        return self.time, str(self.known), {column: str(at) for column, at in self.later.items()}


@dataclass(frozen=True, eq=False)
class Model:
    """A question that is asked of each row of a dataset, and answered by what was known when it was asked.

    `features`: its name is the model's, its parameters are the cleaned tables that it reads, and the first of
    them holds the rows asked about. It returns one row a `key` with a UTC time `asked`; each other column is a
    feature, text a category. The same function serves training and scoring. `label`: yes, no or null (not known,
    or never) of a row of that first table. `sources`: the tables whose rows lie in time; the first must be one of
    them, and its time a key column. `horizon`: how far back before a row's time the features look.

    `holdout`: the newest rows, which the gate judges by and no model learns from. `warmup`: how much time the
    labelled rows must span before a first model is trained by itself. `segments`: features by whose values quality
    is told apart.

    `learner`: the module that learns and answers, LightGBM if not told; `params` and `rounds` are its own. It has
    what `lakehouse.ml.learner` has: `fit`, `libraries`, `FIXED`, and `Learned`, whose `text` is all that it knows.
    A text of the features is a text there: a category to LightGBM, words to another.
    """

    features: Callable[..., pl.LazyFrame]
    label: pl.Expr
    key: Sequence[str]
    sources: Mapping[str, Source]
    horizon: timedelta
    holdout: timedelta = timedelta(days=14)
    warmup: timedelta = timedelta(days=56)
    segments: Sequence[str] = ()
    params: Mapping[str, float | int | str] = field(default_factory=dict)
    rounds: int = 100
    learner: str = "lakehouse.ml.learner"
    publish: bool = True

    def __post_init__(self) -> None:
        if self.population not in self.sources or self.time not in self.key:
            raise DeclarationError(f"{self.name}: the time of {self.population} must be told, and be in its key")

    @property
    def name(self) -> str:
        return self.features.__name__

    @property
    def inputs(self) -> list[str]:
        return list(inspect.signature(self.features).parameters)

    @property
    def population(self) -> str:
        """The dataset whose rows are asked about."""
        return self.inputs[0]

    @property
    def time(self) -> str:
        return self.sources[self.population].time

    @property
    def question(self) -> str:
        return inspect.cleandoc(self.features.__doc__ or self.name)

    @property
    def serving(self) -> Serving:
        """Its predictions, as the sync to DynamoDB knows a serving table."""
        return Serving(self.features, key=self.key, publish=self.publish)

    @cached_property
    def code(self) -> str:
        """Of what makes the features: a champion of another code cannot be asked any more."""
        return fingerprint(self.features, repr(list(self.key)))

    @cached_property
    def recipe(self) -> str:
        """Of all that decides what is learned, and how it is judged."""
        learned = (str(self.label), repr(dict(self.params)), repr(self.rounds), repr(self.holdout), self.learner)
        sources = {name: source.told for name, source in self.sources.items()}
        judged = (repr(self.horizon), repr(list(self.segments)), repr(sources))
        return fingerprint(self.features, repr(list(self.key)), *learned, *judged)


def load(package: str = "lakehouse.models") -> dict[str, Model]:
    """Every module of `package` that has a `model`, by name."""
    return {m.model.name: m.model for m in declaring(package) if hasattr(m, "model")}


def check(models: Mapping[str, Model], datasets: Mapping[str, Dataset]) -> None:
    """Refuses a model that reads what no dataset declares, or has the name of a serving table."""
    tables = {s.name for d in datasets.values() for s in d.serving}
    for model in models.values():
        if unknown := [i for i in model.inputs if i not in datasets]:
            raise DeclarationError(f"{model.name} reads {unknown[0]}, which no dataset declares")
        if model.name in tables:
            raise DeclarationError(f"a serving table and a model are both named {model.name}")
