"""tables → one HTML file that needs no network: what the datasets draw of themselves, how good the models are, and
how the road does.

A dataset draws by the `charts` of its serving tables. Every chart becomes a card; its function's docstring is the
card's title and what is said below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl

from lakehouse.dashboard import health, quality
from lakehouse.dashboard.page import Card, Section, page
from lakehouse.dataset import Dataset
from lakehouse.lake import Lake
from lakehouse.layers.lag import Items
from lakehouse.model import Model

NONE: Mapping[str, Model] = MappingProxyType({})


def write(
    lake: Lake,
    datasets: dict[str, Dataset],
    path: Path,
    items: Items | None = None,
    models: Mapping[str, Model] = NONE,
) -> list[Section]:
    """Write the page whole, or leave the one that stands; gives what is on it. `items`: also look at DynamoDB."""
    known = health.look(lake, datasets, items, models)
    sections = [
        Section(
            "Pipeline", "From an upload to the rows that are served.", known.tiles(), [*_cards(known.charts())]
        ),
        *_drawn(lake, datasets),
        *(Section(q.name, q.model.question, q.tiles(), [*_cards(q.charts())]) for q in quality.look(lake, models)),
    ]
    sections.sort(key=lambda section: section.name == "Pipeline")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(page(sections, datetime.now(UTC)))
    draft.replace(path)
    return sections


def _drawn(lake: Lake, datasets: dict[str, Dataset]) -> Iterator[Section]:
    """A section a dataset that draws anything."""
    for dataset in datasets.values():
        cards: list[Card] = []
        for serving in dataset.serving:
            table = lake.open(f"serving/{serving.name}") if serving.charts else None
            rows = table.scan().collect() if table else pl.DataFrame()
            if len(rows):
                cards += _cards([(chart.__doc__ or chart.__name__, chart(rows)) for chart in serving.charts])
        if cards:
            yield Section(dataset.name.capitalize(), (dataset.contract.__doc__ or "").split("\n")[0], [], cards)


def _cards(charts: Iterable[tuple[str, Any]]) -> Iterator[Card]:
    """Of the charts that have anything to draw."""
    for said, chart in charts:
        title, _, note = said.strip().partition("\n")
        spec = chart.properties(width="container").to_dict()
        spec["autosize"] = {"type": "fit-x", "contains": "padding"}
        if any(spec["datasets"].values()):
            yield Card(title.rstrip("."), " ".join(note.split()), spec)
