"""models → tables: the names follow from what is declared, and so do the versions that a model in use pins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lakehouse.lake import Lake, Table
from lakehouse.ml import registry
from lakehouse.model import Model

LAYERS = ("models", "promotions", "serving", "rejected", "monitor")


def names(models: Mapping[str, Model]) -> list[str]:
    """Every table that the models can have, as `layer/name`."""
    return [f"{layer}/{name}" for name in models for layer in LAYERS]


def standing(lake: Lake, models: Mapping[str, Model]) -> dict[str, Table]:
    """The tables of models that somebody has made, opened, by name."""
    return {name: table for name in names(models) if (table := lake.open(name))}


def pinned(lake: Lake, models: Mapping[str, Model]) -> dict[str, list[int]]:
    """Of each cleaned table the versions that a champion was made from: they stay while it is in use."""
    found: dict[str, list[int]] = {}
    for dataset, pin in _pins(lake, models):
        table = lake.open(f"cleaned/{dataset}")
        if table and table.id == pin["table"]:
            found.setdefault(table.name, []).append(pin["version"])
    return found


def pinned_ids(lake: Lake, models: Mapping[str, Model]) -> set[str]:
    """The ids of the tables that a champion was made from, wherever they lie now."""
    return {pin["table"] for _, pin in _pins(lake, models)}


def _pins(lake: Lake, models: Mapping[str, Model]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in models:
        if known := registry.champion(lake, name):
            yield from registry.version(lake, name, known).pins["inputs"].items()
