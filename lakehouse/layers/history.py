"""raw → history: every version of every key, and from when to when it stood.

A record begins with the time in the first `order_by` column, where that is a time, else with its object's
LastModified. It ends when its object is overwritten, or removed and the dataset retracts that; where the content
that overwrites it has the key too, not before that begins. At every moment the newest of the records that have
begun and not ended stands, by the dataset's total order: so an older one stands again where a newer one ended.
Records in a row that say the same are one version, of which the first is told. Quarantined records are none.

A record that never stood is kept with `valid_to = valid_from`, since late data may bring it to stand.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.lake import Desired, Hopped, Lake, News, Table
from lakehouse.lake.hop import lags
from lakehouse.lake.table import storable
from lakehouse.landing.removals import REMOVED
from lakehouse.layers import raw as raw_layer
from lakehouse.layers.cleaned import open_cleaned, order, split
from lakehouse.layers.portion import Follower, portion, told
from lakehouse.layers.raw import TIME

RECORD = raw_layer.KEY
SPAN = ["valid_from", "valid_to", "is_current"]
STOOD = pl.col("valid_to").is_null() | (pl.col("valid_to") > pl.col("valid_from"))
Segment = tuple[int, int, int | None]
"""The record that stood, by its place, from when, and to when (None: it stands)."""


def name(dataset: str) -> str:
    return f"history/{dataset}"


def open_history(lake: Lake, dataset: Dataset) -> Table:
    return lake.open(name(dataset.name)) or lake.ensure(name(dataset.name), _empty(dataset).schema)


def _empty(dataset: Dataset) -> pl.DataFrame:
    kinds = _none(dataset).schema | dict(zip(SPAN, (TIME, TIME, pl.Boolean()), strict=True))
    return pl.DataFrame(schema=kinds)


def _none(dataset: Dataset) -> pl.DataFrame:
    good = storable(split(dataset, pl.DataFrame()).good)
    return good.with_columns(pl.lit(None, TIME).alias("_ended"))


def track(lake: Lake, dataset: Dataset) -> Hopped:
    """Bring `history/<dataset>` up to raw: the whole timelines of the keys that changed, a portion a commit."""
    return HISTORY.follow(lake, dataset)


def _tracked(dataset: Dataset, target: Table, news: News, after: str) -> tuple[Desired, str]:
    """What is known of the objects' records is taken from the target, of the others' as it stands there.

    Where all is taken, only what this walk has written is believed.
    """
    taken = portion(dataset, news, after)
    none = _none(dataset)
    stood = none.lazy() if target.retyped(none) else target.scan()
    held = _like(none, stood.filter(taken.held()))
    spans = _spans(taken.raw, dataset, taken.objects)
    rows = taken.raw.scan().filter((pl.col("_part") == "row") & pl.col("_object").is_in(taken.objects))
    known = none if taken.whole else held.join(spans, on=RECORD[:2], how="semi")
    known = known.join(rows.select(RECORD).collect(), on=RECORD, how="semi")  # an erasure takes rows out of raw
    fresh = spans.join(known, on=RECORD[:2], how="anti")
    new = _fit(dataset, rows.join(fresh.lazy(), on=RECORD[:2], how="semi").collect())
    mine = _ended(dataset, pl.concat([part.drop("_ended", strict=False) for part in (known, *new)]), spans)
    scope = pl.concat([held.select(dataset.keys), mine.select(dataset.keys)]).unique()
    believed = pl.col("_object").is_in(taken.past) if taken.whole else ~taken.held()
    rest = _like(none, stood.join(scope.lazy(), on=dataset.keys, how="semi").filter(believed))
    rows_now = timelines(dataset, pl.concat([mine.select(none.columns), rest]))
    return Desired(rows_now, scope, more=not taken.last, first=taken.first), taken.after


HISTORY = Follower(open_history, _tracked, lambda _: [*RECORD, "valid_from"], _empty)


def _fit(dataset: Dataset, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The records that fit the contract, in its columns.

    One generation of an object at a time, as cleaned has them: what is wrong with one is not laid to another.
    """
    columns = _none(dataset).drop("_ended").columns
    layer = pl.col("_generation").rank("dense").over("_object").alias("_layer")
    for part in rows.with_columns(layer).partition_by("_layer", include_key=False):
        yield storable(split(dataset, part).good).select(columns)


def _like(none: pl.DataFrame, rows: pl.LazyFrame) -> pl.DataFrame:
    """The records as they were held against the contract, each once."""
    there = [c for c in none.columns if c in rows.collect_schema()]
    found = rows.select(pl.col(c).cast(none.schema[c]) for c in there).unique(RECORD).collect()
    return pl.concat([none, found], how="diagonal")


def _spans(raw: Table, dataset: Dataset, objects: list[str]) -> pl.DataFrame:
    """Of each generation that was read: when it ended, and by which generation."""
    untold = pl.col("_state").is_in(REMOVED) & pl.col("_reason").is_null()
    at = pl.when(untold).then("_ingested_at").otherwise(pl.coalesce("_modified", "_ingested_at"))
    heads = raw_layer.telling(raw, dataset).filter(pl.col("_object").is_in(objects)).collect()
    follows = [at.alias("_until"), pl.col("_generation").alias("_next")]
    followed = heads.sort(RECORD[:2]).with_columns(f.shift(-1).over("_object") for f in follows)
    return followed.filter(pl.col("_state") == "read").select(*RECORD[:2], "_until", "_next")


def _ended(dataset: Dataset, rows: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    on = ["_object", *dataset.keys]
    begun = rows.with_columns(_begins=begins(dataset, rows))
    after = begun.group_by([*on, "_generation"]).agg(pl.col("_begins").min().alias("_later"))
    spanned = rows.join(spans, on=RECORD[:2], how="inner")
    spanned = spanned.join(after, left_on=[*on, "_next"], right_on=[*on, "_generation"], how="left")
    return spanned.with_columns(_ended=pl.max_horizontal("_until", "_later"))


def begins(dataset: Dataset, rows: pl.DataFrame) -> pl.Expr:
    """When a record begins to stand."""
    first = next(iter(dataset.order_by), "_modified")
    match rows.schema[first]:
        case pl.Date():
            told = pl.col(first).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        case pl.Datetime(time_zone=None):
            told = pl.col(first).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        case pl.Datetime():
            told = pl.col(first).cast(TIME)
        case _:
            told = pl.col("_modified")
    return pl.coalesce(told, "_modified")


def timelines(dataset: Dataset, rows: pl.DataFrame) -> pl.DataFrame:
    """Records with `_ended` → each version of each key, and the records that never stood."""
    rank = [*order(dataset)[:-1], "_generation", "_record"]
    rows = rows.sort([*dataset.keys, *rank], nulls_last=False).with_row_index("_row")
    rows = rows.with_columns(valid_from=begins(dataset, rows))
    spans = rows.select(*dataset.keys, "_row", *(pl.col(c).to_physical() for c in ("valid_from", "_ended")))
    keyed = spans.group_by(dataset.keys, maintain_order=True).agg("_row", "valid_from", "_ended")
    found = [s for key in keyed.select("_row", "valid_from", "_ended").iter_rows() for s in _standing(*key)]
    kinds: dict[str, Any] = {"_row": rows.schema["_row"], "valid_from": pl.Int64, "valid_to": pl.Int64}
    segments = pl.DataFrame(found, schema=kinds, orient="row").with_columns(pl.col("^valid_.*$").cast(TIME))
    versions = _one_a_saying(dataset, segments.join(rows.drop("valid_from"), on="_row", maintain_order="left"))
    silent = rows.join(versions, on="_row", how="anti")
    silent = silent.with_columns(valid_to="valid_from", is_current=pl.lit(False))
    columns = [*(c for c in rows.columns if c not in ("_row", *SPAN)), *SPAN]
    return pl.concat([versions.select(columns), silent.select(columns)])


def _standing(places: list[int], begun: list[int], ended: list[int | None]) -> Iterator[Segment]:
    """Which of a key's records stood when; a later place is a newer record."""
    coming = sorted(range(len(places)), key=begun.__getitem__, reverse=True)
    heap: list[int] = []
    last, since = -1, 0
    for now in sorted({*begun, *(end for end in ended if end is not None)}):
        while coming and begun[coming[-1]] <= now:
            heapq.heappush(heap, -coming.pop())
        while heap and (end := ended[-heap[0]]) is not None and end <= now:
            heapq.heappop(heap)
        stands = -heap[0] if heap else -1
        if stands != last:
            if last >= 0:
                yield places[last], since, now
            last, since = stands, now
    if last >= 0:
        yield places[last], since, None


def _one_a_saying(dataset: Dataset, segments: pl.DataFrame) -> pl.DataFrame:
    """Segments that follow on each other and say the same are one, told by the first. They come in order."""
    said = [pl.col(c).eq_missing(pl.col(c).shift(1)) for c in dataset.contract.column_names()]
    goes_on = pl.all_horizontal(*said, pl.col("valid_from") == pl.col("valid_to").shift(1)).fill_null(False)
    version = (~goes_on).cum_sum().alias("_version")
    rest = pl.exclude("valid_to", "_version").first()
    merged = segments.with_columns(version).group_by("_version", maintain_order=True)
    return merged.agg(rest, pl.col("valid_to").last()).with_columns(is_current=pl.col("valid_to").is_null())


def disagreement(lake: Lake, dataset: Dataset) -> pl.DataFrame | None:
    """The keys with overlapping versions, or whose current one is not what cleaned holds. None: a table lags."""
    source, table, current = told(lake, dataset.name), open_history(lake, dataset), open_cleaned(lake, dataset)
    if any(lags(one, source, dataset.fingerprint) for one in (table, current)):
        return None
    stood = table.scan().filter(STOOD).sort([*dataset.keys, "valid_from"]).collect()
    before = pl.col("valid_to").shift(1).over(dataset.keys)
    later = pl.int_range(pl.len()).over(dataset.keys) > 0
    overlapping = stood.filter(later & (before.is_null() | (before > pl.col("valid_from"))))
    columns = dataset.contract.column_names()
    now, held = stood.filter("is_current").select(columns), current.scan().select(columns).collect()
    other = [one.join(two, on=columns, how="anti", nulls_equal=True) for one, two in ((now, held), (held, now))]
    wrong = pl.concat([frame.select(pl.col(dataset.keys).cast(pl.String)) for frame in (overlapping, *other)])
    return wrong.unique()
