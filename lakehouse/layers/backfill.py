"""raw → a dataset's layers, computed anew beside those that are read, which they replace by one commit.

The hops are those of every run, on a lake in which the layers lie at their next paths. These are tables of their
own, with cursors of their own: who died on the way goes on where each of them stands, two at once race as two
runs do, and what lands meanwhile is news like any other. Nobody reads them before they hold all that raw does.

With helpers, the portions of raw are carried by several processes at once first: `fanout` tells how.

Whoever began before the switch writes to the path that was left. Nothing is lost by that: raw has it, and the new
path's cursor tells that it has yet to come. What reads a layer finds another table there, of which it knows
nothing, and takes the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.lake import Conflict, Hopped, Lake
from lakehouse.lake.paths import switch
from lakehouse.layers import balance, cleaned, fanout, history, raw
from lakehouse.layers.cleaned import BAD, EXPIRED, JUDGE, JUDGED, RuleBroken
from lakehouse.layers.lag import following
from lakehouse.layers.tables import of_raw

VERBS: Mapping[str, Callable[[Lake, Dataset], Hopped]] = {
    "cleaned": cleaned.clean,
    "quarantine": cleaned.quarantine,
    "balance": balance.weigh,
    "history": history.track,
}


class NotNow(Exception):
    """A dataset that cannot be computed anew: why, and what to do."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


@dataclass(frozen=True)
class Backfilled:
    """The layers of a dataset, the number of the path at which they lie now, and their rows."""

    dataset: str
    path: int
    rows: Mapping[str, int]


def backfill(
    lake: Lake,
    dataset: Dataset,
    tell: Callable[[Hopped], None] = lambda _: None,
    workers: int = 1,
    start: Callable[[int, int], None] = lambda path, worker: None,
) -> Backfilled:
    """Compute what follows from raw under new paths, and switch to them; `tell` is called after each hop.

    Of `workers` this is the first; `start` is called with the number of the path for each further one, and has it
    call `help_out` somewhere. What a helper leaves undone is done here.

    Raises `NotNow`, `RuleBroken` as any run does, and `Conflict` where others wrote all the time. What stood
    stands then, and another call goes on. What came with the switch is taken behind it, or by the next run.
    """
    now = lake.pinned()
    names = [f"{layer}/{dataset.name}" for layer in of_raw(dataset)]
    _refuse(now, dataset, names)
    path = 1 + max(now.numbers().get(name, 0) for name in names)
    anew = _at(now, names, path)
    _keep_expiry(now, anew, dataset)
    if workers > 1:
        fanout.begin(anew, dataset)
    if fanout.joined(anew, dataset):
        for worker in range(1, workers):
            start(path, worker)
        fanout.carry(anew, dataset, 0, workers, tell)
    while following(anew, dataset, raw.open_raw(anew, dataset.name)):
        _carry(anew, dataset, tell)
    _compare(now, anew, dataset)
    switch(lake, dict.fromkeys(names, path))
    with suppress(Conflict, RuleBroken):
        if following(anew, dataset, raw.open_raw(anew, dataset.name)):
            _carry(anew, dataset, tell)
    return Backfilled(dataset.name, path, {name: t.count for name in names if (t := anew.open(name))})


def help_out(
    lake: Lake, dataset: Dataset, path: int | None, worker: int, workers: int, tell: Callable[[Hopped], None]
) -> int:
    """Take portions of a backfill that is under way at this path, if one is; gives how many.

    Without a path, of a backlog that is carried where the layers lie.
    """
    now = lake.pinned()
    names = [f"{layer}/{dataset.name}" for layer in of_raw(dataset)]
    return fanout.carry(now if path is None else _at(now, names, path), dataset, worker, workers, tell)


def _at(lake: Lake, names: list[str], path: int) -> Lake:
    return replace(lake, paths={**lake.numbers(), **dict.fromkeys(names, path)})


def _refuse(lake: Lake, dataset: Dataset, names: list[str]) -> None:
    if lake.open(raw.name(dataset.name)) is None:
        raise NotNow(f"nothing of {dataset.name} has landed", "`lakehouse status` tells which tables there are")
    for name in names:
        if (table := lake.open(name)) and table.held:
            told = name.replace("/", ".")
            raise NotNow(f"{told} is held, and would go on under the new path", f"first: lakehouse resume {told}")


def _keep_expiry(now: Lake, anew: Lake, dataset: Dataset) -> None:
    """What retention has taken of the refused records does not come back."""
    before, after = now.open(f"quarantine/{dataset.name}"), cleaned.open_quarantine(anew, dataset)
    if before is None or after.mark(JUDGE) is not None:
        return
    marks = {mark: found for mark in (JUDGE, JUDGED, EXPIRED) if (found := before.mark(mark)) is not None}
    if marks:
        after.append(pl.DataFrame(schema=BAD), marks=marks)


def _compare(now: Lake, anew: Lake, dataset: Dataset) -> None:
    """Raise where nothing would take the place of something: a `clean` that fails looks so."""
    before, after = now.open(f"cleaned/{dataset.name}"), cleaned.open_cleaned(anew, dataset)
    if before and before.count and not after.count:
        counts = cleaned.open_quarantine(anew, dataset).scan().group_by("_rules").len().sort("len").collect()
        why = f"most often refused: {counts['_rules'][-1]}" if len(counts) else "raw has no rows of it any more"
        raise NotNow(f"cleaned.{dataset.name} would lose all of its {before.count:,} rows", why)


def _carry(lake: Lake, dataset: Dataset, tell: Callable[[Hopped], None]) -> None:
    for layer in of_raw(dataset):
        tell(VERBS[layer](lake, dataset))
