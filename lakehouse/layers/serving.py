"""cleaned → serving: compute the touched groups again, write what differs."""

from __future__ import annotations

import polars as pl

from lakehouse.dataset import Serving
from lakehouse.lake import Desired, Hopped, Lake, News, Table, hop
from lakehouse.lake.table import storable


class NotReady(Exception):
    """An upstream table does not exist yet. Transient: the sweep asks again when it does."""


def serve(lake: Lake, serving: Serving) -> Hopped:
    """Bring `serving/<name>` up to its upstreams, all read at the versions that the commit records."""
    upstreams = [_upstream(lake, name) for name in serving.upstreams]
    schema = storable(compute(serving, [u.scan().clear() for u in upstreams])).schema
    return hop(
        lambda: lake.ensure(f"serving/{serving.name}", schema),
        [lambda name=name: _upstream(lake, name) for name in serving.upstreams],  # type: ignore[misc]
        lambda _, news: _served(serving, news),
        key=serving.keys,
        code=serving.fingerprint,
    )


def compute(serving: Serving, upstreams: list[pl.LazyFrame]) -> pl.DataFrame:
    return serving.compute(*upstreams).collect()


def _upstream(lake: Lake, name: str) -> Table:
    if table := lake.open(f"cleaned/{name}"):
        return table
    raise NotReady(f"cleaned/{name}")


def _served(serving: Serving, news: list[News]) -> Desired:
    scope = _touched(serving, news)
    frames = [n.source.scan() for n in news]
    if scope is not None:
        frames = [_within(frame, scope) for frame in frames]
    rows = storable(compute(serving, frames))
    if rows.select(serving.keys).is_duplicated().any():
        raise ValueError(f"serving/{serving.name}: {serving.keys} is not unique in what the function returns")
    return Desired(rows, scope)


def _touched(serving: Serving, news: list[News]) -> pl.DataFrame | None:
    """The group keys that any upstream's change names, before and after; None: all of them."""
    if serving.group is None:
        return None
    found = []
    for one in news:
        if one.changes is not None and one.changes.is_empty():
            continue
        if one.whole or serving.group not in one.source.columns:
            return None
        found.append(one.touched([serving.group]))
    return pl.concat(found).unique()


def _within(frame: pl.LazyFrame, scope: pl.DataFrame) -> pl.LazyFrame:
    (group,) = scope.columns
    if group not in frame.collect_schema().names():
        return frame
    return frame.join(scope.lazy(), on=group, how="semi", nulls_equal=True)
