"""A row → what it was made of, back to S3's events; an object → everything that it touched.

Nothing is kept for this: every cleaned row says which record of which object's generation it is, every head which
run read that generation and which version of the object it was, and the inbox holds every event. An item is named
by its row's key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl
from botocore.exceptions import BotoCoreError, ClientError

from lakehouse.dataset import Dataset, Serving
from lakehouse.dynamodb.items import KEY, encode, from_value
from lakehouse.dynamodb.table import ItemTable, Throttled
from lakehouse.lake import Lake, Table
from lakehouse.lake.scope import typed
from lakehouse.landing import inbox, undeclared
from lakehouse.landing.packing import INSIDE
from lakehouse.layers import raw
from lakehouse.layers.lag import Items, servings_of
from lakehouse.model import Model

RECORD = ["_object", "_generation", "_record"]
CONTENT = ["_object", "_generation"]
HEAD = [*CONTENT, "_object_version", "_state", "_records", "_size", "_modified", "_run", "_ingested_at", "_reason"]
EVENT = ["key", "event_name", "version_id", "sequencer", "event_time", "sent_at", "received_at", "message_id"]
VERSION = ["id", "trained_at", "run", "code", "until", "passed"]
PROMOTION = ["id", "at", "who", "why"]
NONE: Mapping[str, Model] = MappingProxyType({})


class Untraceable(Exception):
    """There is nothing to follow: what was looked for, and what to do."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(f"{what}: {hint}")
        self.what = what
        self.hint = hint


@dataclass(frozen=True)
class Step:
    """One stop on the way: a table at a version, what was found there, and by which columns."""

    table: str
    version: int
    by: Sequence[str]
    rows: pl.DataFrame


def of_row(
    lake: Lake,
    datasets: Mapping[str, Dataset],
    table: str,
    key: Mapping[str, str],
    models: Mapping[str, Model] = NONE,
    items: Items | None = None,
) -> list[Step]:
    """The way back of the rows of a serving, cleaned or quarantine table that have these values.

    A served row comes with its item, or with why it has none. A prediction leads to the version that made it, and
    to the row that it speaks of. Of an upstream, those rows are taken that have the same values in every column of
    the key that it has; of one that has none of them, all: the row may be made of any. A cleaned row comes with
    its history, and with what was refused of the objects that brought it. `items`: those of DynamoDB; without them
    it is not asked. Raises `Untraceable`.
    """
    layer, _, bare = table.replace(".", "/").rpartition("/")
    servings = {s.name: s for d in datasets.values() for s in d.serving}
    if bare in servings and layer in ("", "serving"):
        return [*_of_served(lake, datasets, servings[bare], key, items)]
    if bare in models and layer in ("", "serving"):
        return [*_of_predicted(lake, datasets, models[bare], key, items)]
    if bare in datasets and layer in ("", "cleaned", "quarantine"):
        return [*_of_cleaned(lake, datasets[bare], _asked(lake, f"{layer or 'cleaned'}/{bare}", key))]
    raise Untraceable(
        f"no table {table} that can be followed", f"one of: {', '.join([*servings, *models, *datasets])}"
    )


def of_object(
    lake: Lake,
    datasets: dict[str, Dataset],
    bucket: str,
    key: str,
    models: Mapping[str, Model] = NONE,
    items: Items | None = None,
) -> list[Step]:
    """Everything that an object touched: events, generations, records, cleaned and refused rows, those of history,
    how many became what, serving rows, predictions, and the items of both.

    Of an archive or a workbook, with what its members or sheets touched. `items` as of `of_row`.
    """
    mine = (pl.col("_object") == key) | pl.col("_object").str.starts_with(f"{key}{INSIDE}")
    here = pl.col("bucket").fill_null(bucket) == bucket
    steps = _found(lake, inbox.NAME, here & (pl.col("key") == key), EVENT)
    box = lake.open(inbox.NAME)
    name, _ = inbox.placed(key, datasets, undeclared.known(box, datasets) if box else None)
    steps += _found(lake, raw.name(name), mine & (pl.col("_part") == "head"), HEAD, "landing")
    for layer in ("raw", "cleaned", "quarantine", "history", "balance"):
        rows = mine & (pl.col("_part") == "row") if layer == "raw" else mine
        steps += _found(lake, f"{layer}/{name}", rows)
    cleaned = next((s.rows for s in steps if s.table == f"cleaned/{name}"), pl.DataFrame())
    asked = [model.serving for model in models.values() if model.population == name]
    for one in (*servings_of(datasets, name), *asked):
        steps += _fed(lake, one, cleaned, items)
    if not any(len(step.rows) for step in steps):
        hint = "`lakehouse reconcile` finds what no event told"
        raise Untraceable(f"nothing is known of s3://{bucket}/{key}", hint)
    return steps


def _of_served(
    lake: Lake, datasets: Mapping[str, Dataset], serving: Serving, key: Mapping[str, str], items: Items | None
) -> Iterator[Step]:
    start = _asked(lake, f"serving/{serving.name}", key)
    yield start
    yield from _published(lake, serving, start.rows, items)
    for name in serving.upstreams:
        if table := lake.open(f"cleaned/{name}"):
            told = [*serving.keys, *([serving.group] if serving.group else [])]
            by = [c for c in dict.fromkeys(told) if c in table.columns and c in start.rows.columns]
            rows = _same(table.scan(), start.rows, by)
            yield from _of_cleaned(lake, datasets[name], Step(table.name, table.version, by, rows))


def _of_predicted(
    lake: Lake, datasets: Mapping[str, Dataset], model: Model, key: Mapping[str, str], items: Items | None
) -> Iterator[Step]:
    start = _asked(lake, f"serving/{model.name}", key)
    yield start
    yield from _published(lake, model.serving, start.rows, items)
    known = pl.col("id").is_in(start.rows["model"].unique().to_list())
    for name, columns in ((f"models/{model.name}", VERSION), (f"promotions/{model.name}", PROMOTION)):
        if table := lake.open(name):
            yield Step(name, table.version, ["id"], table.scan().filter(known).select(columns).collect())
    if table := lake.open(f"cleaned/{model.population}"):
        rows = _same(table.scan(), start.rows, model.key)
        told = Step(table.name, table.version, model.key, rows)
        yield from _of_cleaned(lake, datasets[model.population], told)


def _published(lake: Lake, serving: Serving, rows: pl.DataFrame, items: Items | None) -> Iterator[Step]:
    """The items of served rows as they stand, and why a row has none."""
    named = [*encode(rows.select(serving.keys), serving.keys)]
    if items and serving.publish:
        yield from _items(items(serving), f"dynamodb/{serving.name}", [one.name for one in named if one.keyed])
    if table := lake.open(f"rejected/{serving.name}"):
        refused = table.scan().filter(pl.col("_key").is_in([one.name for one in named])).collect()
        if len(refused):
            yield Step(table.name, table.version, ["_key"], refused)


def _items(table: ItemTable, shown: str, names: Sequence[str]) -> Iterator[Step]:
    """The items of these keys, tombstones too; nothing where none was ever written."""
    try:
        if (cursor := table.peek()) is None:
            return
        held = [{name: from_value(value) for name, value in item.items()} for item in table.fetch(names)]
    except (Throttled, BotoCoreError, ClientError) as error:
        yield Step(shown, 0, [KEY], pl.DataFrame({KEY: names}).with_columns(_reason=pl.lit(str(error))))
        return
    found = pl.DataFrame(held, schema=None if held else {KEY: pl.String}, strict=False, infer_schema_length=None)
    yield Step(shown, cursor.version, [KEY], found.with_columns(pl.col(pl.Decimal).cast(float)).sort(KEY))


def _of_cleaned(lake: Lake, dataset: Dataset, cleaned: Step) -> Iterator[Step]:
    """Cleaned or refused rows, the records that they are, the generations of these, and the events of those.

    Of a cleaned row its past too, and what was refused of the same generations.
    """
    yield cleaned
    name = dataset.name
    if cleaned.table == f"cleaned/{name}":
        if past := lake.open(f"history/{name}"):
            rows = _same(past.scan(), cleaned.rows, dataset.keys)
            yield Step(past.name, past.version, dataset.keys, rows.sort(*dataset.keys, "valid_from"))
        if refused := lake.open(f"quarantine/{name}"):
            rows = _same(refused.scan(), cleaned.rows, CONTENT)
            if len(rows):
                yield Step(refused.name, refused.version, CONTENT, rows)
    table = lake.open(raw.name(name))
    if table is None:
        return
    records = _same(table.scan().filter(pl.col("_part") == "row"), cleaned.rows, RECORD)
    yield Step(table.name, table.version, RECORD, _told(records))
    heads = _same(raw.heads(table), cleaned.rows, CONTENT).select(HEAD)
    yield Step(f"landing/{name}", table.version, CONTENT, heads)
    if box := lake.open(inbox.NAME):
        yield Step(box.name, box.version, ["key", "version_id"], _events(box, name, heads))


def _events(box: Table, dataset: str, heads: pl.DataFrame) -> pl.DataFrame:
    """The events that told of these generations: of the version, if both tell one, else of the key.

    A member's or a sheet's are those of what it lies in.
    """
    versions = heads.select("_object", "_object_version").iter_rows()
    keys = [(key, version) for name, version in versions for key in _keys(name)]
    known = pl.LazyFrame(keys, {"key": pl.String, "_version": pl.String}, orient="row").unique()
    events = box.scan().filter(pl.col("dataset") == dataset).join(known, on="key")
    fits = (pl.col("version_id") == pl.col("_version")).fill_null(True)
    return events.filter(fits).select(EVENT).unique().sort("key", "received_at", "message_id").collect()


def _keys(name: str) -> list[str]:
    """The keys under which an object may have been announced: its name, and that of each archive it may lie in."""
    parts = name.split(INSIDE)
    return [INSIDE.join(parts[:end]) for end in range(1, len(parts) + 1)]


def _fed(lake: Lake, serving: Serving, cleaned: pl.DataFrame, items: Items | None) -> list[Step]:
    """The serving rows that these cleaned rows may have gone into, and, where a key tells which, their items."""
    table = lake.open(f"serving/{serving.name}")
    if table is None or cleaned.is_empty():
        return []
    by = [c for c in serving.keys if c in cleaned.columns]
    rows = _same(table.scan(), cleaned, by)
    return [Step(table.name, table.version, by, rows), *(_published(lake, serving, rows, items) if by else ())]


def _asked(lake: Lake, name: str, key: Mapping[str, str]) -> Step:
    table = lake.open(name)
    if table is None:
        raise Untraceable(f"{name} is not there yet", "`lakehouse status` tells what is")
    kinds = table.scan().collect_schema()
    if unknown := [c for c in key if c not in kinds]:
        raise Untraceable(f"{name} has no column {', '.join(unknown)}", f"one of: {', '.join(kinds)}")
    rows = table.scan().filter(pl.col(c) == typed(value, kinds[c]) for c, value in key.items()).collect()
    if rows.is_empty():
        asked = ", ".join(f"{c}={value}" for c, value in key.items())
        raise Untraceable(f"{name} has no row with {asked}", "`lakehouse sql` shows what it has")
    return Step(name, table.version, [*key], rows)


def _same(rows: pl.LazyFrame, like: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """The rows whose values in `by` some row of `like` has."""
    if not by:
        return rows.collect()
    wanted = like.select(by).unique().lazy()
    return rows.join(wanted, on=list(by), how="semi", nulls_equal=True).sort(by).collect()


def _found(
    lake: Lake, name: str, where: pl.Expr, columns: Sequence[str] = (), shown: str | None = None
) -> list[Step]:
    table = lake.open(name)
    if table is None:
        return []
    rows = table.scan().filter(where)
    found = rows.select(columns).collect() if columns else _told(rows.collect())
    by = "key" if name == inbox.NAME else "_object"
    found = found.sort([c for c in ("received_at", *RECORD) if c in found.columns])
    return [Step(name if shown is None else f"{shown}/{name.partition('/')[2]}", table.version, [by], found)]


def _told(rows: pl.DataFrame) -> pl.DataFrame:
    """Without the columns that say nothing of any of the rows, and with its origin first."""
    columns = [c for c in rows.columns if c != "_part" and (rows.is_empty() or rows[c].null_count() < len(rows))]
    return rows.select([*(c for c in RECORD if c in columns), *(c for c in columns if c not in RECORD)])
