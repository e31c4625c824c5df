"""raw → a dataset's layers, by many workers at once: each portion of raw with a cursor of its own.

Which row of a key is the newest does not depend on the order in which its objects are taken, and no two portions
share an object. So the portions may come in any order and side by side: each is carried as news among the rows
that stand there, in a commit that also says that this portion is in, and refused where another commit came after
the look. A plan, which is a cursor too, says of which version of raw the portions are. Once all are in, raw's own
cursor is committed, and the hops of every day go on from there.

Of a table that is to be filled, at a path that nobody reads yet or where nothing has stood, a plan is of all
that raw has, and the table is emptied before it. Of an oversized backlog it is of what came since raw's cursor,
which stays where it is until all is in. A walk that comes between ends the plan, and has the table to itself: it
may know more of raw. One that is being filled it takes whole.

Any worker may take any portion; each begins at its own. Who dies leaves what is left to the others, or to the next
call. Who comes late finds raw's cursor, or another plan, and has nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import polars as pl
from deltalake.exceptions import DeltaError

from lakehouse.dataset import Dataset
from lakehouse.lake import Conflict, Desired, Hopped, Lake, News, Table, hop
from lakehouse.lake.hop import LOSSES, cursor_at, unread
from lakehouse.lake.table import CHANGE, SHARED, Cursor, stamp
from lakehouse.layers import raw as raw_layer
from lakehouse.layers.balance import BALANCE
from lakehouse.layers.cleaned import CLEANED, QUARANTINE
from lakehouse.layers.history import HISTORY
from lakehouse.layers.portion import BYTES, Follower, bounded, by_heads, speaking
from lakehouse.layers.tables import of_raw

FOLLOWERS: Mapping[str, Follower] = {
    "cleaned": CLEANED,
    "quarantine": QUARANTINE,
    "balance": BALANCE,
    "history": HISTORY,
}
OVERSIZED = 8
"""Portions: of fewer a run has taken half before a helper's has started."""


class Over(Exception):
    """The plan is not the one that was joined: it is finished, or another has begun."""


@dataclass(frozen=True)
class Plan:
    """What is left to do. `raw`: the heads of the version that is carried. `heads`: those of them that are taken,
    with what became of each. `begun`: of each layer that is not finished, the version in which this plan began.
    """

    dataset: Dataset
    lake: Lake
    raw: Table
    since: int
    heads: pl.DataFrame
    begun: Mapping[str, int]

    @property
    def name(self) -> str:
        """Of what raw has to say the plan is."""
        return f"{self.raw.name}@{self.since}-{self.raw.version}"

    def code(self, layer: str) -> str:
        """What a portion's cursor says of itself: an earlier plan's say nothing of what stands now."""
        return f"{self.dataset.fingerprint} {self.begun[layer]}"

    def source(self, number: int) -> Table:
        return replace(self.raw, name=f"{self.raw.name}#{number}", part=None)

    def left(self, layer: str, count: int) -> list[int]:
        """The portions that are not in. Raises `Over`."""
        table = self.open(layer)
        sources = [self.source(n) for n in range(count)]
        return [n for n, s in enumerate(sources) if table.cursor(s.name) != cursor_at(s, self.code(layer))]

    def open(self, layer: str) -> Table:
        """The layer's table while the plan holds. Raises `Over`."""
        table = FOLLOWERS[layer].open(self.lake, self.dataset)
        if _begun(table) != self.begun[layer] or table.held:
            raise Over(f"{table.name}: {self.name}")
        return table


def together(lake: Lake, dataset: Dataset, workers: int, tell: Callable[[Hopped], None] = lambda _: None) -> int:
    """Carry a backlog that is oversized as the first of `workers`; the others `carry` wherever they are started.

    Gives how many portions were taken. Nothing is done where there is one worker or no `partition_by`, where the
    backlog is small, where a table is held or yet to be taken anew, and where a rule fails the run: then nothing
    may move before all has been looked at.
    """
    if workers < 2 or not dataset.partition_by:
        return 0
    if joined(lake, dataset) is None:
        share(lake, dataset)
    return carry(lake, dataset, 0, workers, tell)


def share(lake: Lake, dataset: Dataset) -> None:
    """Begin a plan of what came since the layers' cursor, if that is oversized."""
    source = by_heads(raw_layer.open_raw(lake, dataset.name))
    tables = {layer: FOLLOWERS[layer].open(lake, dataset) for layer in of_raw(dataset)}
    if dataset.fail or any(table.held for table in tables.values()):
        return
    found = {table.cursor(source.name) for table in tables.values()}
    if found == {None} and not any(table.count for table in tables.values()):
        if _oversized(_told(source, dataset, -1)):
            begin(lake, dataset)
        return
    cursor = tables["cleaned"].cursor(source.name)
    if cursor is None or cursor.version < 0 or cursor.stamp != stamp(source.id, dataset.fingerprint):
        return
    if not _oversized(_told(source, dataset, cursor.version)):
        return
    for table in tables.values():
        if table.cursor(source.name) == cursor:
            with suppress(Conflict):
                _plan(table, source, dataset, cursor)


def _oversized(heads: pl.DataFrame | None) -> bool:
    return heads is not None and sum(1 for _ in bounded(heads)) >= OVERSIZED


def _told(source: Table, dataset: Dataset, since: int) -> pl.DataFrame | None:
    """The heads that raw has committed since a version, and what became of each; None where its log, or a file of
    it, is gone. -1: all, as if they had come now.
    """
    if since < 0:
        return speaking(source.scan().collect(), dataset).with_columns(pl.lit("insert").alias(CHANGE))
    found = source.changes(since)
    return None if found is None else speaking(found, dataset)


def begin(lake: Lake, dataset: Dataset) -> None:
    """Have a plan for every layer that does not follow raw yet: one that is there, if the same code made it and
    the others are for the same version of raw.
    """
    source, found = by_heads(raw_layer.open_raw(lake, dataset.name)), False
    for layer in of_raw(dataset):
        for _ in range(LOSSES):
            table = FOLLOWERS[layer].open(lake, dataset)
            if _followed(table, source):
                break
            version = _planned(table, source, dataset)
            if version is not None and version != source.version and not found:
                source = _at(lake, dataset, version) or source
            if version == source.version:
                found = True
                break
            with suppress(Conflict):
                _empty(table, source, dataset, FOLLOWERS[layer])


def _at(lake: Lake, dataset: Dataset, version: int) -> Table | None:
    """Raw as its targets follow it, at a version; None where its log, or a file of it, is gone."""
    source = by_heads(raw_layer.open_raw(lake, dataset.name))
    try:
        source.delta.load_as_version(version)
    except DeltaError:
        return None
    return source if source.there else None


def _code(dataset: Dataset) -> str:
    """What a plan's cursor says of the code: what makes the rows, and where portions end."""
    return f"{dataset.fingerprint} {raw_layer.BATCH} {BYTES}"


def _empty(table: Table, source: Table, dataset: Dataset, follower: Follower) -> None:
    """Begin a plan without rows, in the columns and partitions of today's code."""
    none = unread(source, dataset.fingerprint)
    table.overwrite(follower.empty(dataset), [none], follower.partition_by(dataset))
    _plan(table, source, dataset, none)


def _plan(table: Table, source: Table, dataset: Dataset, standing: Cursor) -> None:
    """Begin a plan of what raw has beyond the cursor that stands."""
    plan = cursor_at(replace(source, name=f"{source.name}#plan", part=None), _code(dataset))
    table.append(table.scan().head(0).collect(), [plan, standing], marks={SHARED: table.version + 1})


def _followed(table: Table, source: Table) -> bool:
    """Whether the table has read raw to the end of some version."""
    cursor = table.cursor(source.name)
    return cursor is not None and cursor.version >= 0


def _begun(table: Table) -> int | None:
    """The version in which the plan that is under way began; None: none is."""
    return table.mark(SHARED) or None


def _planned(table: Table, source: Table, dataset: Dataset) -> int | None:
    """The version of raw that the table is to be carried to; None: no plan of this code is under way."""
    cursor = table.cursor(f"{source.name}#plan")
    same = cursor is not None and cursor.stamp == stamp(source.id, _code(dataset))
    return cursor.version if cursor and same and _begun(table) is not None else None


def joined(lake: Lake, dataset: Dataset) -> Plan | None:
    """The plan that is under way at the lake's paths, if there is one."""
    source = by_heads(raw_layer.open_raw(lake, dataset.name))
    since, begun = -1, dict[str, int]()
    for layer in of_raw(dataset):
        table = FOLLOWERS[layer].open(lake, dataset)
        version, at = _planned(table, source, dataset), _begun(table)
        cursor = table.cursor(source.name)
        if version is not None and at is not None and cursor is not None:
            past = _at(lake, dataset, version)
            if past is None:
                return None
            source, begun[layer], since = past, at, cursor.version
    heads = _told(source, dataset, since) if begun else None
    return None if heads is None else Plan(dataset, lake, source, since, heads, begun)


def carry(
    lake: Lake,
    dataset: Dataset,
    worker: int = 0,
    workers: int = 1,
    tell: Callable[[Hopped], None] = lambda _: None,
) -> int:
    """Take portions until none is left, beginning with every `workers`-th, and finish; gives how many were taken.

    Nothing is done where no plan is under way. Raises `Conflict` where others wrote all the time.
    """
    plan = joined(lake, dataset)
    if plan is None:
        return 0
    portions = [*bounded(plan.heads)]
    taken = 0
    try:
        left = _left(plan, len(portions), worker, workers)
        for _ in range(len(portions) + LOSSES):
            if not left:
                break
            taken += _take(plan, left[0], portions[left[0]], tell)
            left = _left(plan, len(portions), worker, workers)
        for layer in plan.begun:
            _finish(plan, layer, len(portions))
    except Over:
        return taken
    return taken


def _left(plan: Plan, count: int, worker: int, workers: int) -> list[int]:
    """The portions that some layer lacks: the worker's own, and then, from the last on, the others'."""
    left = {n for layer in plan.begun for n in plan.left(layer, count)}
    own = [n for n in sorted(left) if n % workers == worker]
    return own + sorted(left - {*own}, reverse=True)


def _take(plan: Plan, number: int, objects: list[str], tell: Callable[[Hopped], None]) -> bool:
    """Carry one portion into each layer that lacks it; whether this worker did."""
    news = News(plan.raw, plan.heads.filter(pl.col("_object").is_in(objects)))
    moved = False
    for layer in plan.begun:

        def part(target: Table, _: list[News], layer: str = layer) -> Desired:
            return FOLLOWERS[layer].work(plan.dataset, target, news, "")[0]

        try:
            done = hop(
                partial(plan.open, layer),
                [lambda: plan.source(number)],
                part,
                key=FOLLOWERS[layer].key(plan.dataset),
                code=plan.code(layer),
            )
        except Conflict:
            continue
        moved |= done.moved
        if done.moved:
            tell(done)
    return moved


def _finish(plan: Plan, layer: str, count: int) -> None:
    """Once every portion is in, say that raw is."""
    for _ in range(LOSSES):
        try:
            table = plan.open(layer)
        except Over:
            return
        if plan.left(layer, count):
            return
        try:
            done = [cursor_at(plan.raw, plan.dataset.fingerprint)]
            table.append(table.scan().head(0).collect(), done, marks={SHARED: 0})
        except Conflict:
            continue
        return
