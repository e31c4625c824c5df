"""cleaned → tally: add what new rows come to; compute a group again where a row changed or went."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from lakehouse.dataset import Serving, Tally
from lakehouse.lake import Desired, Hopped, Lake, News, Table, hop
from lakehouse.lake.scope import within
from lakehouse.lake.table import CHANGE, storable


def name(serving: Serving) -> str:
    """A tally belongs to the one serving table that is over it."""
    return f"tally/{serving.name}"


def open_tally(lake: Lake, serving: Serving, tally: Tally, open_source: Callable[[], Table]) -> Table:
    if found := lake.open(name(serving)):
        return found
    empty = tally.compute(open_source().scan().clear()).collect()
    if wrong := [c for c, t in empty.schema.items() if c not in tally.keys and not (t.is_integer() or _time(t))]:
        raise ValueError(f"{tally.name}: {wrong[0]} is neither a whole number nor a time, and cannot be added up")
    return lake.ensure(name(serving), storable(empty).schema, key=tally.keys)


def count(lake: Lake, serving: Serving, tally: Tally, open_source: Callable[[], Table]) -> Hopped:
    """Bring a tally up to its dataset's cleaned table."""
    return hop(
        lambda: open_tally(lake, serving, tally, open_source),
        [open_source],
        lambda target, news: _counted(tally, target, news[0]),
        key=tally.keys,
        code=tally.fingerprint,
    )


def _counted(tally: Tally, target: Table, news: News) -> Desired:
    if news.changes is None:
        return Desired(_computed(tally, news.source.scan()))
    came = news.changes.filter(pl.col(CHANGE) == "insert")
    if len(came) < len(news.changes):
        scope = news.touched([tally.group])
        return Desired(_computed(tally, within(news.source.scan(), scope)), scope)
    added = _computed(tally, came.lazy())
    scope = added.select(tally.keys)
    stood = within(target.scan(), scope).select(added.columns).collect()
    return Desired(_summed(tally, pl.concat([stood, added])), scope)


def _computed(tally: Tally, rows: pl.LazyFrame) -> pl.DataFrame:
    """What the function says of some rows. Raises `ValueError` where that cannot be added up."""
    found = storable(tally.compute(rows).collect())
    if found.select(tally.keys).is_duplicated().any():
        raise ValueError(f"{tally.name}: {tally.keys} is not unique in what the function returns")
    if holes := [c for c in found.columns if found[c].null_count()]:
        raise ValueError(f"{tally.name}: {holes[0]} has nulls, and nothing can be added to them")
    return found


def _summed(tally: Tally, rows: pl.DataFrame) -> pl.DataFrame:
    values = {c: t for c, t in rows.schema.items() if c not in tally.keys}
    sums = [pl.col(c).max() if _time(t) else pl.col(c).sum() for c, t in values.items()]
    return rows.group_by(tally.keys).agg(sums).select(rows.columns)


def _time(kind: pl.DataType) -> bool:
    return kind == pl.Date() or isinstance(kind, pl.Datetime)
