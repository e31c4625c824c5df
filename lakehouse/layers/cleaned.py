"""raw → cleaned and raw → quarantine: one pure split, two targets with a cursor each."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

import dataframely as dy
import narwhals as nw
import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.engines import EngineFailed, NotPortable, compute
from lakehouse.lake import Desired, Hopped, Lake, News, Table
from lakehouse.lake.scope import within
from lakehouse.lake.table import CHANGE, schema, stamp, storable, storable_schema
from lakehouse.layers import raw as raw_layer
from lakehouse.layers.columns import Ledger, columns
from lakehouse.layers.folders import filled
from lakehouse.layers.portion import Follower, Portion, bounded, portion
from lakehouse.layers.raw import ORIGIN
from lakehouse.layers.rescued import RESCUED, as_json, excess, put_aside
from lakehouse.layers.shape import shaped

BAD = schema({**{c: raw_layer.SCHEMA[c] for c in ORIGIN}, "_rules": pl.String, "_text": pl.String})


PLACE, NULL = r"^[A-Za-z0-9._-]{1,64}$", "__HIVE_DEFAULT_PARTITION__"
"""What a text that names a partition is like: of any other `load_cdf` looks for a wrong path, and Delta takes the
empty one for null. And how a path says null."""
EXPIRED, JUDGE, JUDGED = "expired", "judge", "judged"
"""Marks of a quarantine table: of what was read before this nothing stands; by what code, and since when."""


class RuleBroken(Exception):
    """A record breaks a rule that fails the run. Terminal until the file or the contract is mended."""


@dataclass(frozen=True)
class Split:
    """`good`: the contract's columns and `ORIGIN`. `bad`: `ORIGIN`, the rules broken, the record's text.

    `dropped`: the `ORIGIN` of records that `clean` filtered out. `raised`: what `clean` or a rule raised on an
    object, of which all records are in `bad` then.
    """

    good: pl.DataFrame
    bad: pl.DataFrame
    dropped: pl.DataFrame
    raised: tuple[Exception, ...] = ()


def clean(lake: Lake, dataset: Dataset) -> Hopped:
    """Upsert what raw has to say into `cleaned/<dataset>`, the newest row of each key, a portion a commit.

    While the whole table is taken anew, a reader can meet it half done: a key whose row left the object that is
    taken is gone until its next newest object comes.
    """
    return CLEANED.follow(lake, dataset)


def open_cleaned(lake: Lake, dataset: Dataset) -> Table:
    name = f"cleaned/{dataset.name}"
    return lake.open(name) or lake.ensure(name, empty(dataset).schema, dataset.partitions, dataset.keys)


def empty(dataset: Dataset) -> pl.DataFrame:
    """Cleaned rows as the contract alone tells of them: none. Told without a query, which would start threads."""
    return pl.DataFrame(schema=storable_schema(_none(dataset).good.schema))


def open_quarantine(lake: Lake, dataset: Dataset) -> Table:
    return lake.ensure(f"quarantine/{dataset.name}", BAD)


def quarantine(lake: Lake, dataset: Dataset) -> Hopped:
    """Keep every bad record of the current generations in `quarantine/<dataset>`, with its reasons."""
    return QUARANTINE.follow(lake, dataset)


def _cleaned(dataset: Dataset, target: Table, news: News, after: str) -> tuple[Desired, str]:
    """The newest row of each key that these objects carry or carried, in as many columns as a table may have.

    Where all is taken, only the rows of objects that this walk has passed are believed: no other code wrote them.
    """
    taken = portion(dataset, news, after)
    read, parts = records(dataset, taken)
    if dataset.fail and not after:
        _forbid(dataset, news, taken, parts)
    if taken.first and parts.raised and parts.good.is_empty() and _filled(target):
        raise parts.raised[-1]
    batch = _spelled(storable(parts.good), target)
    retyped = target.retyped(batch)
    anew = taken.first or retyped
    stood = batch.clear().lazy() if retyped else target.scan()
    batch = batch if anew else _beside(batch, target)
    held = batch.clear() if _unheard(taken, news, read) else _like(batch, stood.filter(taken.held()))
    scope = pl.concat([batch, held]).select(dataset.keys).unique()
    believed = pl.col("_object").is_in(taken.past) if taken.whole else ~taken.held()
    rest = within(stood if retyped else target.near(scope), scope).filter(believed)
    rows = newest(dataset, pl.concat([batch, _like(batch, rest)]))
    if not taken.whole and not (keys := _outdone(dataset, held, rows)).is_empty():
        others = (_spelled(part, target) for part in _elsewhere(dataset, taken, keys))
        rows = newest(dataset, pl.concat([rows, *others], how="diagonal"))
    there = {*dataset.contract.column_names(), *(() if anew else target.columns)}
    rows = put_aside(rows, excess(there, rows.columns))
    return Desired(rows, scope, more=not taken.last, first=taken.first), taken.after


def _unheard(taken: Portion, news: News, read: pl.DataFrame) -> bool:
    """Whether these objects said nothing before: what stands of them is what they say now.

    A head that is told anew, as erasing does it, had records before, of the same generation.
    """
    if news.changes is None or taken.whole:
        return False
    told = news.changes.filter(pl.col("_object").is_in(taken.objects))
    first = read.filter(pl.col("_generation") == 1)["_object"].unique()
    return bool((told[CHANGE] == "insert").all()) and {*taken.objects} <= {*first}


def _forbid(dataset: Dataset, news: News, taken: Portion, parts: Split) -> None:
    """Raise where a record of any portion breaks a rule that fails the run: nothing of the table has moved yet."""
    while (broken := _forbidden(dataset, parts.bad)).is_empty():
        if taken.last:
            return
        taken = portion(dataset, news, taken.after)
        _, parts = records(dataset, taken)
    rows = [f"{o}#{n} ({rules})" for o, n, rules in broken.head(20).iter_rows()]
    raise RuleBroken(f"{dataset.name}: {len(broken)} records break a rule that fails the run: {', '.join(rows)}")


def _forbidden(dataset: Dataset, bad: pl.DataFrame) -> pl.DataFrame:
    broken = pl.col("_rules").str.split(", ").list.set_intersection([*dataset.fail])
    return bad.filter(broken.list.len() > 0).select("_object", "_record", "_rules")


def _spelled(rows: pl.DataFrame, target: Table) -> pl.DataFrame:
    """Column names as the table spells them: Delta tells no upper from lower case."""
    known = {c.lower(): c for c in target.columns}
    return rows.rename({c: known.get(c.lower(), c) for c in rows.columns})


def _beside(rows: pl.DataFrame, target: Table) -> pl.DataFrame:
    """The rows with the columns that other files brought into the table."""
    more = {c: kind for c, kind in target.kinds.items() if c not in rows.columns}
    return rows.with_columns(pl.lit(None, dtype=kind).alias(c) for c, kind in more.items())


def _filled(target: Table) -> bool:
    return not target.scan().head(1).collect().is_empty()


def _like(batch: pl.DataFrame, rows: pl.LazyFrame) -> pl.DataFrame:
    """The rows in the batch's columns and types, null where they lack one."""
    there = [c for c in batch.columns if c in rows.collect_schema()]
    found = rows.select(pl.col(c).cast(batch.schema[c]) for c in there).collect()
    return pl.concat([batch.clear(), found], how="diagonal")


def _outdone(dataset: Dataset, held: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The keys of which the row that stood is newer than what stands now: a row that it outdid may be so, too."""
    both = pl.concat([held.with_columns(_stood=pl.lit(True)), rows.with_columns(_stood=pl.lit(False))])
    return newest(dataset, both).filter(pl.col("_stood")).select(dataset.keys)


def _elsewhere(dataset: Dataset, taken: Portion, keys: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """What other objects say of keys whose row came from an object that changed: the only look back into raw."""
    heads = raw_layer.current_heads(taken.raw, dataset).filter(~pl.col("_object").is_in(taken.objects))
    for others in bounded(heads.collect()):
        rows = raw_layer.current(taken.raw, dataset, others).collect()
        yield storable(split(dataset, rows).good).join(keys, on=dataset.keys, how="semi")


def _quarantined(dataset: Dataset, target: Table, news: News, after: str) -> tuple[Desired, str]:
    taken = portion(dataset, news, after)
    bad = records(dataset, taken)[1].bad
    if target.mark(EXPIRED):
        generation = ["_object", "_generation"]
        expired = raw_layer.heads(taken.raw).filter(is_expired(target, dataset)).select(generation).collect()
        bad = bad.join(expired, on=generation, how="anti")
    return taken.desired(target, bad)


CLEANED = Follower(open_cleaned, _cleaned, lambda dataset: dataset.keys, empty, lambda dataset: dataset.partitions)
QUARANTINE = Follower(
    open_quarantine, _quarantined, lambda _: ["_object", "_record"], lambda _: pl.DataFrame(schema=BAD)
)


def judge(dataset: Dataset) -> int:
    """A number for the code that decides what is refused."""
    return stamp(dataset.fingerprint)


def is_expired(target: Table, dataset: Dataset) -> pl.Expr:
    """Of a head: whether retention has taken what was refused of its generation, by when it was read."""
    until = target.mark(EXPIRED) if target.mark(JUDGE) == judge(dataset) else 0
    return (pl.col("_ingested_at") < datetime.fromtimestamp(until or 0, UTC)).fill_null(False)


@dataclass(frozen=True)
class Taken:
    """What tells the records of one portion from those of another."""

    table: str
    version: int
    objects: frozenset[str]
    code: str
    dataset: Dataset = field(compare=False)
    portion: Portion = field(compare=False)


def records(dataset: Dataset, taken: Portion) -> tuple[pl.DataFrame, Split]:
    """A portion's records and how they split; remembered if it is all there is, since four ask for it."""
    if taken.past or not taken.last:
        rows = taken.rows(dataset)
        return rows, split(dataset, rows)
    raw = taken.raw
    return _remembered(Taken(raw.id, raw.version, frozenset(taken.objects), dataset.fingerprint, dataset, taken))


@lru_cache(maxsize=1)
def _remembered(taken: Taken) -> tuple[pl.DataFrame, Split]:
    rows = taken.portion.rows(taken.dataset)
    return rows, split(taken.dataset, rows)


def order(dataset: Dataset) -> list[str]:
    """The columns by which of two rows of one key one is always newer; a null comes before every value."""
    return [*dataset.order_by, "_modified", "_object", "_record"]


def newest(dataset: Dataset, rows: pl.DataFrame) -> pl.DataFrame:
    """One row a key: the last in the dataset's total order, whatever the order of arrival."""
    ordered = rows.sort(order(dataset), nulls_last=False, maintain_order=True)
    return ordered.unique(subset=dataset.keys, keep="last", maintain_order=True)


def split(dataset: Dataset, rows: pl.DataFrame) -> Split:
    """Hold every record against the contract.

    Where `clean` or a rule raises, the rows are halved until the object on which it does stands alone.
    """
    if rows.is_empty():
        return _none(dataset)
    try:
        return _split(dataset, rows)
    except (Exception, pl.exceptions.PanicException) as error:
        objects = rows["_object"].unique(maintain_order=True)
        if isinstance(error, MemoryError | NotPortable | EngineFailed):
            raise
        if len(objects) == 1:
            return _refused(dataset, rows, error if isinstance(error, Exception) else RuntimeError(str(error)))
    first = pl.col("_object").is_in(objects.head(len(objects) // 2).to_list())
    one, other = split(dataset, rows.filter(first)), split(dataset, rows.filter(~first))
    return Split(
        pl.concat([one.good, other.good], how="diagonal_relaxed"),
        pl.concat([one.bad, other.bad]),
        pl.concat([one.dropped, other.dropped]),
        one.raised + other.raised,
    )


def _none(dataset: Dataset) -> Split:
    """What no records split into. Told by the contract: `clean` may need columns that only a file brings."""
    origin = {c: BAD[c] for c in ORIGIN}
    further = {RESCUED: pl.String()} if dataset.schema_evolution == "rescue" else {}
    told = {name: column.dtype for name, column in dataset.contract.columns().items()}
    good = pl.DataFrame(schema={**told, **further, **origin})
    return Split(good, pl.DataFrame(schema=BAD), pl.DataFrame(schema=origin))


def _refused(dataset: Dataset, rows: pl.DataFrame, error: Exception) -> Split:
    none = _none(dataset)
    reason = pl.lit(f"cleaning this object raised {type(error).__name__}: {error}").alias("_rules")
    numbered = rows.with_row_index("_row")
    return Split(none.good, _bad(numbered, numbered.select("_row", reason)), none.dropped, (error,))


def _split(dataset: Dataset, rows: pl.DataFrame) -> Split:
    rows = rows.with_row_index("_row")
    readable = rows.filter(pl.col("_bad").is_null())
    ledger = Ledger()
    told = filled(
        columns(readable, dataset.contract, ledger),
        dataset.contract.column_names(),
        further=dataset.schema_evolution == "add",
    )
    table = _absent(_through_clean(dataset, told), dataset.contract)
    shape = shaped(table, dataset, ledger)
    contract = _unkeyed(dataset.contract)
    fit, failure = contract.filter(shape.table, cast=True)
    good: pl.DataFrame = fit
    faults = pl.concat(
        [
            rows.filter(pl.col("_bad").is_not_null()).select("_row", pl.col("_bad").alias("_rules")),
            shape.faults,
            _rules(failure.details()),
            _placeless(dataset, good),
        ]
    )
    if dataset.warn:
        faults = _grave(dataset, faults)
        tolerated = failure.invalid().join(faults.select("_row"), on="_row", how="anti")
        good = pl.concat([good, contract.cast(tolerated)])
    faults = faults.group_by("_row").agg(pl.col("_rules").unique().sort().str.join(", "))
    origin = rows.select("_row", *ORIGIN)
    sound = good.join(faults.select("_row"), on="_row", how="anti").join(origin, on="_row")
    kept = pl.concat([table.select("_row"), rows.filter(pl.col("_bad").is_not_null()).select("_row")])
    names = [*dataset.contract.column_names(), *shape.further.drop("_row").columns, *ORIGIN]
    sound = sound.join(shape.further, on="_row").select(names)
    return Split(sound, _bad(rows, faults), origin.join(kept, on="_row", how="anti").drop("_row"))


def _bad(rows: pl.DataFrame, faults: pl.DataFrame) -> pl.DataFrame:
    data = [c for c, t in rows.schema.items() if not c.startswith("_") and t != pl.Binary]
    bad = rows.join(faults, on="_row")
    text = pl.coalesce(pl.col("_text"), as_json(bad.select(data)) if data else None).alias("_text")
    return bad.with_columns(text).select(list(BAD))


def _through_clean(dataset: Dataset, table: pl.DataFrame) -> pl.DataFrame:
    """What `clean` makes of the file's columns; where it misses one, of these and the contract's as nulls."""
    if dataset.clean is None:
        return table
    try:
        return compute(dataset.clean, [table])
    except (pl.exceptions.ColumnNotFoundError, nw.exceptions.ColumnNotFoundError):
        return compute(dataset.clean, [_absent(table, dataset.contract)])


def _absent(table: pl.DataFrame, contract: type[dy.Schema]) -> pl.DataFrame:
    absent = [c for c in contract.column_names() if c not in table.columns]
    return table.with_columns(pl.lit(None, dtype=pl.String).alias(c) for c in absent)


def _rules(details: pl.DataFrame) -> pl.DataFrame:
    names = [c for c in details.columns if details.schema[c] == pl.Enum(["valid", "invalid", "unknown"])]
    return (
        details.with_columns(pl.col("_row").cast(pl.UInt32))
        .unpivot(names, index="_row", variable_name="_rules", value_name="_verdict")
        .filter(pl.col("_verdict") == "invalid")
        .select("_row", "_rules")
    )


def _placeless(dataset: Dataset, rows: pl.DataFrame) -> pl.DataFrame:
    """The records whose text names no partition."""
    name = dataset.partition_by
    if name is None or rows.schema[name] == pl.Date or rows.schema[name].is_integer():
        return pl.DataFrame(schema={"_row": pl.UInt32, "_rules": pl.String})
    text = pl.col(name).cast(pl.String)
    wrong = ~text.str.contains(PLACE) | (text == NULL)
    return rows.filter(wrong).select("_row", _rules=pl.lit(f"{name}|partition_by"))


def _grave(dataset: Dataset, faults: pl.DataFrame) -> pl.DataFrame:
    """The faults of records that break more than rules which merely warn."""
    return faults.filter((~pl.col("_rules").is_in([*dataset.warn])).any().over("_row"))


def _unkeyed(contract: type[dy.Schema]) -> type[dy.Schema]:
    """The contract with its key columns merely non-null: which of two twins is newer is decided after this."""
    columns: dict[str, object] = {"row": dy.UInt32(alias="_row")}
    written = [(a, v) for base in contract.__mro__ for a, v in vars(base).items() if isinstance(v, dy.Column)]
    attributes = {value.alias or attribute: attribute for attribute, value in written}
    for column_name, column in contract.columns().items():
        if column.primary_key:
            plain = copy.copy(column)
            plain.primary_key, plain.nullable = False, False
            columns[attributes[column_name]] = plain
    return type(contract.__name__, (contract,), columns)


def violations(lake: Lake, dataset: Dataset, objects: Sequence[str]) -> pl.DataFrame:
    """What is wrong with the cleaned rows of some objects, read back: rules broken, keys that stand twice."""
    table = open_cleaned(lake, dataset).scan()
    mine = table.filter(pl.col("_object").is_in(list(objects))).collect()
    _, failure = dataset.contract.filter(mine.select(dataset.contract.column_names()), cast=True)
    broken = [(rule, count) for rule, count in failure.counts().items() if count]
    keys = table.select(dataset.keys).join(mine.lazy().select(dataset.keys), on=dataset.keys, how="semi")
    twice = keys.collect().is_duplicated().sum()
    found = [*broken, *([("key stands twice", twice)] if twice else [])]
    return pl.DataFrame(found, schema={"rule": pl.String, "rows": pl.Int64}, orient="row")
