"""What lags of a model: its predictions, their items, and the record of how good they were."""

from __future__ import annotations

from collections.abc import Mapping

from lakehouse.lake import Lake
from lakehouse.layers.lag import Items, distance, unwritten
from lakehouse.ml import monitoring, scoring
from lakehouse.model import Model


def lagging(lake: Lake, model: Model, items: Items) -> str | None:
    """The first table of a model that has work to do: none while an input is being taken anew."""
    if scoring.awaits(lake, model):
        return None
    behind = (name for name, far in distances(lake, {model.name: model}, items).items() if far)
    return next((name for name in behind if not ((table := lake.open(name)) and table.held)), None)


def distances(lake: Lake, models: Mapping[str, Model], items: Items) -> dict[str, int]:
    """How far the tables of each model that has a champion are from their sources: in commits, the farthest's."""
    found: dict[str, int] = {}
    for name, model in models.items():
        promotions = lake.open(f"promotions/{name}")
        if promotions is None or not promotions.count:
            continue
        scores, weeks = f"serving/{name}", f"monitor/{name}"
        inputs = {one: table for one in model.inputs if (table := lake.open(f"cleaned/{one}"))}
        found[scores] = max(distance(lake, scores, one, model.code) for one in (*inputs.values(), promotions))
        if made := lake.open(scores):
            sources = [made, *(inputs[one] for one in [model.population] if one in inputs)]
            found[weeks] = max(distance(lake, weeks, one, monitoring.CODE + model.recipe) for one in sources)
            if model.publish:
                found[f"dynamodb/{name}"] = unwritten(made, items(model.serving).peek())
    return found
