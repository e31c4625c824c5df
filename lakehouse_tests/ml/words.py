"""A learner of words, naive Bayes: what takes LightGBM's place where a model names it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import polars as pl

FIXED: dict[str, Any] = {}


def libraries() -> dict[str, str]:
    return {"polars": version("polars")}


@dataclass(frozen=True)
class Learned:
    text: str
    columns: Sequence[str]
    categories: Mapping[str, Sequence[str]]

    def predict(self, rows: pl.DataFrame) -> pl.Series:
        return self.answers(rows)["probability"]

    def answers(self, rows: pl.DataFrame) -> pl.DataFrame:
        known = json.loads(self.text)
        told = []
        for words in spoken(rows, self.columns):
            found = sorted(((known["words"].get(w, 0.0), w) for w in words), key=lambda p: -abs(p[0]))
            odds = known["odds"] + sum(by for by, _ in found)
            reasons = [f"{word} ({by:+.2f})" for by, word in found] + [None] * 3
            told.append((1 / (1 + 2.718281828459045**-odds), *reasons[:3]))
        kinds = {"probability": pl.Float64, **{f"reason{n}": pl.String for n in (1, 2, 3)}}
        return pl.DataFrame(told, schema=kinds, orient="row")


def fit(rows: pl.DataFrame, label: str, columns: Sequence[str], params: Mapping[str, Any], rounds: int) -> Learned:
    said = pl.DataFrame({"word": spoken(rows, columns), "yes": rows[label]}).explode("word")
    share = pl.col("yes").sum() + pl.len() * 0.01
    counts = said.group_by("word").agg(weight=(share / (pl.len() * 1.02 - share)).log()).sort("word")
    odds = float(said.select((pl.col("yes").sum() / (~pl.col("yes")).sum()).log()).item())
    words = {word: weight - odds for word, weight in counts.iter_rows()}
    return Learned(json.dumps({"odds": odds, "words": words}), list(columns), {})


def spoken(rows: pl.DataFrame, columns: Sequence[str]) -> list[list[str]]:
    return rows.select(pl.concat_str(columns, separator=" ").str.split(" ")).to_series().to_list()
