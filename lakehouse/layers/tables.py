"""datasets → tables: the names follow from what is declared and what landed, so that no store is ever listed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from lakehouse.dataset import Dataset
from lakehouse.lake import Lake, Table
from lakehouse.lake.table import POINTERS
from lakehouse.landing import erased, inbox, reconcile
from lakehouse.layers import raw, tally, undeclared

OPENERS = 8
OF_RAW = ("cleaned", "quarantine", "balance")


def of_raw(dataset: Dataset) -> tuple[str, ...]:
    """The layers that follow a dataset's raw table."""
    return (*OF_RAW, "history") if dataset.history else OF_RAW


def names(datasets: dict[str, Dataset]) -> list[str]:
    """Every table that the datasets can have, as `layer/name`, in the order of the road."""
    declared = [s for d in datasets.values() for s in d.serving]
    servings = [s.name for s in declared]
    return [
        inbox.NAME,
        reconcile.NAME,
        POINTERS,
        erased.NAME,
        erased.REPORT,
        *(raw.name(d) for d in datasets),
        *(f"{layer}/{d}" for layer in OF_RAW for d in datasets),
        *(f"history/{d.name}" for d in datasets.values() if d.history),
        *(tally.name(s) for s in declared if s.over),
        *(f"{layer}/{s}" for layer in ("serving", "rejected") for s in servings),
    ]


def sources(datasets: dict[str, Dataset], name: str) -> list[str] | None:
    """The tables from which a hop makes a table; None if no hop does."""
    layer, _, bare = name.partition("/")
    if layer in ("serving", "tally"):
        servings = [s for d in datasets.values() for s in d.serving if s.name == bare]
        counted = {s.over.upstream: tally.name(s) for s in servings if s.over}
        if layer == "tally":
            return [f"cleaned/{upstream}" for upstream in counted] or None
        return [counted.get(upstream, f"cleaned/{upstream}") for s in servings for upstream in s.upstreams] or None
    if bare not in datasets or layer not in ("raw", *of_raw(datasets[bare])):
        return None
    return [inbox.NAME] if layer == "raw" else [raw.name(bare)]


def standing(lake: Lake, datasets: dict[str, Dataset]) -> dict[str, Table]:
    """The tables that somebody has made, opened, by name; after the datasets' those of prefixes without one."""
    found = [*names(datasets), *unclaimed(lake, datasets)]
    with ThreadPoolExecutor(OPENERS) as pool:
        return {t.name: t for t in pool.map(lake.open, found) if t}


def unclaimed(lake: Lake, datasets: dict[str, Dataset]) -> list[str]:
    """The tables of prefixes without a dataset of which something landed."""
    return [raw.name(prefix) for prefix in undeclared.tables(lake, datasets)]


def orders(datasets: dict[str, Dataset]) -> dict[str, list[str]]:
    """The columns by which tables are z-ordered, by name."""
    return {f"cleaned/{d.name}": [*d.z_order] for d in datasets.values() if d.z_order}
