"""raw → portions: the objects that a target of raw has yet to take, so many at once as memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.lake import Desired, Hopped, Lake, News, Table, walk
from lakehouse.lake.table import SHARED, Part
from lakehouse.layers import raw as raw_layer

TOLD = ("_object", "_state", "_size", "_modified")
BYTES = 64 << 20
"""Bytes of objects, as they lie in the bucket, whose rows are in memory at once; a larger one is alone."""


@dataclass(frozen=True)
class Portion:
    """Some objects, of those `past` and those to come. `raw`: their table, at the version that the walk holds."""

    raw: Table
    objects: list[str]
    past: list[str]
    last: bool
    whole: bool

    @property
    def after(self) -> str:
        return "" if self.last else self.objects[-1]

    @property
    def first(self) -> bool:
        return self.whole and not self.past

    def rows(self, dataset: Dataset) -> pl.DataFrame:
        return raw_layer.current(self.raw, dataset, self.objects).collect()

    def held(self) -> pl.Expr:
        """Of a target's rows those of these objects; at the end of a whole walk, of unknown ones too."""
        mine = pl.col("_object").is_in(self.objects)
        return mine | ~pl.col("_object").is_in(self.past + self.objects) if self.whole and self.last else mine

    def desired(self, target: Table, rows: pl.DataFrame) -> tuple[Desired, str]:
        """`rows` are all that the target ought to hold of these objects."""
        scope = target.scan().filter(self.held()).select("_object").unique().collect()
        return Desired(rows, scope, more=not self.last, first=self.first), self.after


@dataclass(frozen=True)
class Follower:
    """A target of raw: how it is opened, what a portion of raw makes of it, by what it is keyed, what it is empty,
    and by what its rows lie apart.
    """

    open: Callable[[Lake, Dataset], Table]
    work: Callable[[Dataset, Table, News, str], tuple[Desired, str]]
    key: Callable[[Dataset], Sequence[str]]
    empty: Callable[[Dataset], pl.DataFrame]
    partition_by: Callable[[Dataset], Sequence[str] | None] = lambda _: None

    def follow(self, lake: Lake, dataset: Dataset) -> Hopped:
        """Bring the target up to raw, a portion a commit."""
        return walk(
            lambda: alone(self.open(lake, dataset), raw_layer.name(dataset.name)),
            lambda: told(lake, dataset.name),
            lambda target, news, after: self.work(dataset, target, news, after),
            key=self.key(dataset),
            code=dataset.fingerprint,
            partition_by=self.partition_by(dataset),
        )


def alone(target: Table, source: str) -> Table:
    """The target, into which nobody carries a share any more: a walk may hold a later raw than they do."""
    if target.mark(SHARED) and not target.held:
        standing = target.cursor(source)
        target.append(pl.DataFrame(), [standing] if standing else [], marks={SHARED: 0})
    return target


def told(lake: Lake, dataset: str) -> Table:
    return by_heads(raw_layer.open_raw(lake, dataset))


def by_heads(raw: Table) -> Table:
    """Raw as its targets follow it: the news of a backlog are one row an object."""
    return replace(raw, part=Part("_part", "head", TOLD))


def portion(dataset: Dataset, news: News, after: str) -> Portion:
    """The objects after `after`, the newest first: what an older one says of their keys is then no change."""
    heads = news.source.scan().collect() if news.changes is None else news.changes
    heads = speaking(heads, dataset)
    parts = [*bounded(heads)]
    done = [part[-1] for part in parts].index(after) + 1 if after else 0
    past = [key for part in parts[:done] for key in part]
    objects = parts[done] if parts else []
    return Portion(replace(news.source, part=None), objects, past, done + 1 >= len(parts), news.whole)


def speaking(heads: pl.DataFrame, dataset: Dataset) -> pl.DataFrame:
    """Those of the heads that say something."""
    return heads.filter(~pl.col("_state").is_in(raw_layer.silent(dataset)))


def bounded(heads: pl.DataFrame) -> Iterator[list[str]]:
    """The heads' objects, the newest first, in parts within `BYTES` and of no more than raw takes in a commit."""
    sizes = heads.group_by("_object").agg(pl.col("_size").max().fill_null(0), pl.col("_modified").max())
    part: list[str] = []
    taken = 0
    for key, size, _ in sizes.sort("_modified", "_object", descending=True).iter_rows():
        taken += size
        if part and (taken > BYTES or len(part) == raw_layer.BATCH):
            yield part
            part, taken = [], size
        part.append(key)
    if part:
        yield part
