"""cleaned → serving: compute the touched groups again, write what differs."""

from __future__ import annotations

from functools import partial

import polars as pl

from lakehouse.dataset import Dataset, Serving
from lakehouse.engines import Frame, Narrowed, compute
from lakehouse.lake import Desired, Hopped, Lake, News, Table, hop
from lakehouse.lake.hop import difference, lags, unfinished
from lakehouse.lake.table import storable
from lakehouse.layers import raw, tally
from lakehouse.layers.cleaned import open_cleaned


def serve(lake: Lake, serving: Serving, datasets: dict[str, Dataset]) -> Hopped:
    """Bring `serving/<name>` up to its upstreams, all read at the versions that the commit records.

    It waits while an upstream is being taken anew: what is not there yet would be taken for gone.
    """

    def target() -> Table:
        name = f"serving/{serving.name}"
        if found := lake.open(name):
            return found
        empty = compute(serving.compute, [pl.DataFrame(schema=u.kinds) for u in sources(lake, serving, datasets)])
        return lake.ensure(name, storable(empty).schema, key=serving.keys)

    if awaits(lake, serving):
        made = target()
        return Hopped(made.name, version=made.version)
    if serving.over:
        tally.count(lake, serving, serving.over, partial(open_cleaned, lake, datasets[serving.over.upstream]))
    return hop(
        target,
        [partial(_source, lake, serving, datasets[name]) for name in serving.upstreams],
        lambda _, news: _served(serving, grouped(serving, datasets), news),
        key=serving.keys,
        code=serving.fingerprint,
    )


def sources(lake: Lake, serving: Serving, datasets: dict[str, Dataset]) -> list[Table]:
    """What the function takes: cleaned tables, and the tally in its dataset's place."""
    return [_source(lake, serving, datasets[name]) for name in serving.upstreams]


def _source(lake: Lake, serving: Serving, dataset: Dataset) -> Table:
    if serving.over is None or dataset.name != serving.over.upstream:
        return open_cleaned(lake, dataset)
    return tally.open_tally(lake, serving, serving.over, partial(open_cleaned, lake, dataset))


def steps(lake: Lake, serving: Serving, cleaned: Table) -> list[tuple[str, Table, str]]:
    """The hops from a cleaned table to serving: each one's target, its source, and its code.

    Two where it is tallied; without the second while nobody has made the tally yet.
    """
    served, over = f"serving/{serving.name}", serving.over
    if over is None or cleaned.name != f"cleaned/{over.upstream}":
        return [(served, cleaned, serving.fingerprint)]
    counted = lake.open(tally.name(serving))
    first = (tally.name(serving), cleaned, over.fingerprint)
    return [first, (served, counted, serving.fingerprint)] if counted else [first]


def behind(lake: Lake, serving: Serving, cleaned: Table) -> bool:
    """Whether serving, or its tally, has yet to read something of a cleaned table."""
    return any(lags(lake.open(target), source, code) for target, source, code in steps(lake, serving, cleaned))


def awaits(lake: Lake, serving: Serving) -> bool:
    """Whether an upstream is being taken anew."""
    upstreams = ((name, lake.open(f"cleaned/{name}")) for name in serving.upstreams)
    return any(table is not None and unfinished(table, raw.name(name)) for name, table in upstreams)


def grouped(serving: Serving, datasets: dict[str, Dataset]) -> list[bool]:
    """Of each upstream whether it has the group: by its contract, since a file may bring a column of that name.

    A tally has it in its key.
    """
    columns = {u: datasets[u].contract.column_names() for u in serving.upstreams}
    columns |= {serving.over.upstream: serving.over.keys} if serving.over else {}
    return [serving.group in columns[u] for u in serving.upstreams]


def _served(serving: Serving, having: list[bool], news: list[News]) -> Desired:
    scope = _touched(serving, having, news)
    rows = storable(compute(serving.compute, _narrowed([n.source for n in news], having, scope)))
    if rows.select(serving.keys).is_duplicated().any():
        raise ValueError(f"serving/{serving.name}: {serving.keys} is not unique in what the function returns")
    if scope is None and serving.group:
        rows = rows.sort(serving.group)  # so that a group's later change falls into few files
    return Desired(rows, scope)


def _touched(serving: Serving, having: list[bool], news: list[News]) -> pl.DataFrame | None:
    """The group keys that any upstream's change names, before and after; None: all of them."""
    if serving.group is None:
        return None
    (kind,) = {n.source.kinds[serving.group] for n, has in zip(news, having, strict=True) if has}
    found = [pl.DataFrame(schema={serving.group: kind})]
    for one, has in zip(news, having, strict=True):
        if one.quiet:
            continue
        if one.whole or not has:
            return None
        found.append(one.touched([serving.group]))
    return pl.concat(found).unique()


def _narrowed(sources: list[Table], having: list[bool], scope: pl.DataFrame | None) -> list[Narrowed]:
    """The sources, those that have the group narrowed to the scope."""
    return [Narrowed(source, scope if has else None) for source, has in zip(sources, having, strict=True)]


def disagreement(
    lake: Lake, serving: Serving, datasets: dict[str, Dataset], *, seed: int, groups: int = 100
) -> pl.DataFrame | None:
    """The keys on which the table is not what its function says of the upstreams as they are, in some groups.

    What was computed change by change is held against what is computed at once. None: the table lags. The groups
    are drawn, by `seed`, from those of the upstreams and those that only the table still has.
    """
    table = lake.open(f"serving/{serving.name}")
    cleaned = [open_cleaned(lake, datasets[u]) for u in serving.upstreams]
    if table is None or any(behind(lake, serving, source) for source in cleaned):
        return None
    scope = None
    if serving.group:
        holders = [table, *(s for s, has in zip(cleaned, grouped(serving, datasets), strict=True) if has)]
        values = [s.scan().select(serving.group).unique() for s in holders]
        every = pl.concat(values).unique().sort(serving.group, nulls_last=True).collect()
        scope = every.sample(min(groups, len(every)), seed=seed)
    narrowed = _narrowed(cleaned, grouped(serving, datasets), scope)
    frames: list[Frame] = [*narrowed]
    if serving.over:
        at = serving.upstreams.index(serving.over.upstream)
        frames[at] = storable(serving.over.compute(narrowed[at].scan()).collect())
    desired = Desired(storable(compute(serving.compute, frames)), scope)
    wrong = difference(table, desired, serving.keys)
    return pl.concat([w.select(serving.keys).cast(pl.String) for w in wrong])
