"""What lags: each hop's cursor against its source's version. The sweep asks this in every tick."""

from __future__ import annotations

from collections.abc import Callable

from lakehouse.dataset import Dataset, Serving
from lakehouse.dynamodb.table import Cursor, ItemTable, peeked
from lakehouse.lake import Lake, Table
from lakehouse.lake.glance import Glance
from lakehouse.lake.hop import cursor_at, lags
from lakehouse.landing.undeclared import stand_in
from lakehouse.layers import raw, undeclared
from lakehouse.layers.portion import by_heads
from lakehouse.layers.serving import awaits, steps
from lakehouse.layers.tables import of_raw

Items = Callable[[Serving], ItemTable]


def servings_of(datasets: dict[str, Dataset], name: str) -> list[Serving]:
    """The serving tables that read a dataset, whoever declares them."""
    return [s for d in datasets.values() for s in d.serving if name in s.upstreams]


def lagging(lake: Lake, datasets: dict[str, Dataset], items: Items) -> dict[str, str]:
    """The datasets with work to do, and the first table of each that lags; prefixes without one as one.

    Who looks again and again gives a `Glance`.
    """
    lake = lake if isinstance(lake, Glance) else Glance.of(lake)
    cursors = _cursors(lake, datasets, items)
    found = {name: _first(lake, datasets, dataset, cursors) for name, dataset in datasets.items()}
    if prefixes := undeclared.behind(lake, datasets):
        found[undeclared.NAME] = raw.name(prefixes[0])
    return {name: table for name, table in found.items() if table}


def _cursors(lake: Lake, datasets: dict[str, Dataset], items: Items) -> dict[str, Cursor | None]:
    """Up to where the items of each serving table that is there are written."""
    published = [s for d in datasets.values() for s in d.serving if s.publish]
    tables = {s.name: items(s) for s in published if lake.open(f"serving/{s.name}")}
    return dict(zip(tables, peeked([*tables.values()]), strict=True))


def _first(
    lake: Lake, datasets: dict[str, Dataset], dataset: Dataset, cursors: dict[str, Cursor | None]
) -> str | None:
    table = lake.open(raw.name(dataset.name))
    waiting = raw.lag(lake, dataset) or (table and raw.recalls(table))
    if waiting and not (table and table.held):
        return f"raw/{dataset.name}"
    if table is None:
        return None
    if first := following(lake, dataset, table):
        return first
    cleaned = lake.open(f"cleaned/{dataset.name}")
    assert cleaned is not None
    for serving in servings_of(datasets, dataset.name):
        hops = steps(lake, serving, cleaned)
        if any(_waits(lake.open(name), source, code) for name, source, code in hops) and not awaits(lake, serving):
            return f"serving/{serving.name}"
    for serving in servings_of(datasets, dataset.name):
        table = lake.open(f"serving/{serving.name}")
        if table and serving.publish and _teller(lake, serving) == dataset.name:
            cursor = cursors[serving.name]
            if cursor is None or (cursor.table_id, cursor.version) != (table.id, table.version):
                return f"dynamodb/{serving.name}"
    return None


def following(lake: Lake, dataset: Dataset, source: Table) -> str | None:
    """The first table of a dataset that has yet to follow its raw table; None if all are up to it."""
    names = [f"{layer}/{dataset.name}" for layer in of_raw(dataset)]
    heads = by_heads(source)
    return next((name for name in names if _waits(lake.open(name), heads, dataset.fingerprint)), None)


def _waits(table: Table | None, source: Table, code: str) -> bool:
    """Whether there is work to do: a table that is held has none."""
    return lags(table, source, code) and not (table and table.held)


def _teller(lake: Lake, serving: Serving) -> str | None:
    """The one dataset under which the lag of a serving table's items is told: the first it reads of which there is
    something. The run of any that it reads carries the items; that of the dataset that declares it may not.
    """
    return next((u for u in serving.upstreams if lake.open(raw.name(u))), None)


def distances(lake: Lake, datasets: dict[str, Dataset], items: Items) -> dict[str, int]:
    """How far each table is from its source: raw in events, the others in commits, the farthest source's."""
    found: dict[str, int] = {}
    for name, dataset in datasets.items():
        found[raw.name(name)] = raw.lag(lake, dataset)
        if source := lake.open(raw.name(name)):
            for layer in of_raw(dataset):
                found[f"{layer}/{name}"] = distance(lake, f"{layer}/{name}", by_heads(source), dataset.fingerprint)
    for name in undeclared.tables(lake, datasets):
        found[raw.name(name)] = raw.lag(lake, stand_in(name))
    for serving in (s for d in datasets.values() for s in d.serving):
        table = f"serving/{serving.name}"
        sources = [t for u in serving.upstreams if (t := lake.open(f"cleaned/{u}"))]
        hops = [one for source in sources for one in steps(lake, serving, source)]
        found[table] = max((distance(lake, *one) for one in hops), default=0)
        if serving.publish and (made := lake.open(table)):
            found[f"dynamodb/{serving.name}"] = unwritten(made, items(serving).peek())
    return found


def unwritten(table: Table, cursor: Cursor | None) -> int:
    """How many commits of a serving table its items have yet to follow."""
    same = cursor is not None and cursor.table_id == table.id
    return table.version - cursor.version if cursor and same else table.version + 1


def distance(lake: Lake, target: str, source: Table, code: str) -> int:
    table = lake.open(target)
    cursor = table.cursor(source.name) if table else None
    if cursor is None or cursor.stamp != cursor_at(source, code).stamp:
        return source.version + 1
    return source.version - cursor.version
