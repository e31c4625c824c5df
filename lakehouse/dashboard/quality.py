"""How good a model is: what its champion promised at the gate, and what came true since, week by week."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from lakehouse.dashboard.page import Tile
from lakehouse.lake import Lake
from lakehouse.ml import registry
from lakehouse.ml.evaluation import Estimate
from lakehouse.ml.monitoring import failures
from lakehouse.ml.registry import Version
from lakehouse.model import Model


@dataclass(frozen=True)
class Quality:
    """A champion, and one row a week and version of predictions whose truth has arrived."""

    model: Model
    champion: Version
    weeks: pl.DataFrame

    @property
    def name(self) -> str:
        return self.model.name.replace("_", " ").capitalize()

    @property
    def mine(self) -> pl.DataFrame:
        """The champion's weeks."""
        return self.weeks.filter(pl.col("model") == self.champion.id) if len(self.weeks) else self.weeks

    @property
    def promised(self) -> Estimate:
        return Estimate(**self.champion.metrics["challenger"]["auc"])

    def tiles(self) -> list[Tile]:
        gate = f"95 % within {self.promised.low:.3f} to {self.promised.high:.3f}"
        told = [
            Tile("Champion", self.champion.id[:8], f"saw nothing after {self.champion.until:%-d %B %Y}"),
            Tile("AUC at the gate", f"{self.promised.value:.3f}", gate),
        ]
        for week in self.mine.tail(1).iter_rows(named=True):
            since = f"in the week of {week['week']:%-d %B %Y}"
            broken = failures(week, self.promised)
            well = {word: not any(word in one for one in broken) for word in ("AUC", "astray")}
            both = f"{week['predicted']:.0%}, {week['share']:.0%}"
            told.append(Tile("AUC since", f"{week['auc']:.3f}", since, well["AUC"]))
            told.append(Tile("Predicted and true", both, since, well["astray"]))
        return told

    def charts(self) -> Iterator[tuple[str, Any]]:
        if len(self.weeks):
            yield (
                "AUC, week by week\nWith its 95 % interval; dashed: the promise of the gate.",
                self.weekly(),
            )
        yield "Calibration at the gate\nTen groups of rows: predicted, and what came true.", self.calibration()

    def weekly(self) -> Any:
        import altair as alt

        base = alt.Chart(self.weeks, height=240).encode(x=alt.X("week:T", title=None))
        near = alt.Scale(zero=False)
        band = base.mark_area(opacity=0.2).encode(y=alt.Y("auc_low:Q", title=None, scale=near), y2="auc_high:Q")
        line = base.mark_line(point=True).encode(y="auc:Q", tooltip=["week:T", "model", "rows", "auc"])
        promise = alt.Chart(pl.DataFrame({"promised": [self.promised.value]})).mark_rule(strokeDash=[4, 4])
        return band + line + promise.encode(y="promised:Q")

    def calibration(self) -> Any:
        import altair as alt

        rows = pl.DataFrame(self.champion.metrics["calibration"])
        top = max(rows["predicted"].to_list() + rows["true"].to_list())
        share = alt.Scale(domain=[0.0, top])
        even = alt.Chart(pl.DataFrame({"predicted": [0.0, top], "true": [0.0, top]})).mark_line(strokeDash=[4, 4])
        drawn = alt.Chart(rows, height=240).mark_line(point=True)
        axes = {
            "x": alt.X("predicted:Q", title="predicted", scale=share),
            "y": alt.Y("true:Q", title="came true", scale=share),
        }
        return even.encode(**axes) + drawn.encode(**axes, tooltip=["predicted", "true", "rows"])


def look(lake: Lake, models: Mapping[str, Model]) -> Iterator[Quality]:
    """Of each model that has a champion."""
    for model in models.values():
        if known := registry.champion(lake, model.name):
            monitor = lake.open(f"monitor/{model.name}")
            weeks = monitor.scan().drop_nulls("auc").sort("week").collect() if monitor else pl.DataFrame()
            yield Quality(model, registry.version(lake, model.name, known), weeks)
