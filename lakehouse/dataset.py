"""The vocabulary in which a user declares data: `Dataset` and `Serving`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from itertools import combinations
from typing import Any, Literal

import dataframely as dy
import narwhals as nw
import polars as pl

from lakehouse.fingerprint import digest, said
from lakehouse.formats import Format
from lakehouse.globs import common, matches

Clean = Callable[[pl.LazyFrame], pl.LazyFrame] | Callable[[nw.LazyFrame], nw.LazyFrame]
Reader = Callable[..., pl.DataFrame]


class DeclarationError(Exception):
    """A dataset file says something that cannot be. Raised when definitions load; mend the file."""


@dataclass(frozen=True)
class Tally:
    """What rows of a dataset come to, kept up by what they add: no row is read twice.

    The function's one parameter is the dataset; it returns one row a `key`, no value of which is null. What it
    says of rows that come is added to what stands: whole numbers by their sum, times by the latest. There are no
    other columns. Where a row changes or goes, its `group`, a column of dataset and key, is computed again.
    """

    compute: Callable[[pl.LazyFrame], pl.LazyFrame]
    key: Sequence[str]
    group: str

    @property
    def name(self) -> str:
        return self.compute.__name__

    @property
    def keys(self) -> list[str]:
        return list(self.key)

    @property
    def upstream(self) -> str:
        (name,) = inspect.signature(self.compute).parameters
        return name

    @cached_property
    def fingerprint(self) -> str:
        return digest(said(self.compute), repr(self.keys), repr(self.group))


@dataclass(frozen=True)
class Serving:
    """A table that people and applications read: a function over cleaned tables.

    The function's parameter names are its upstream datasets; it gets their cleaned tables as LazyFrames and
    returns one row a `key`. With `group`, only the groups that changed are computed again: every upstream that has
    the `group` column is handed over filtered to them. `over`: a `Tally`, whose rows the function takes by its
    name in the dataset's place, so that what a day brings costs the same however many were before. `publish` sends
    what changed to DynamoDB. `charts` stand on the dashboard: each takes the table's rows, gives an Altair chart,
    and says in its docstring what it shows. A function of `nw.LazyFrame` (narwhals) is portable: it is computed by
    the engine that the settings name.
    """

    compute: Callable[..., pl.LazyFrame] | Callable[..., nw.LazyFrame]
    key: str | Sequence[str]
    group: str | None = None
    over: Tally | None = None
    publish: bool = False
    charts: Sequence[Callable[[pl.DataFrame], Any]] = ()

    @property
    def name(self) -> str:
        return self.compute.__name__

    @property
    def keys(self) -> list[str]:
        return [self.key] if isinstance(self.key, str) else list(self.key)

    @cached_property
    def upstreams(self) -> list[str]:
        """The datasets that it reads, itself or by its tally."""
        tally = {self.over.name: self.over.upstream} if self.over else {}
        return [tally.get(name, name) for name in inspect.signature(self.compute).parameters]

    @cached_property
    def fingerprint(self) -> str:
        tally = [self.over.fingerprint] if self.over else []
        return digest(said(self.compute), repr(self.keys), repr(self.group), *tally)


@dataclass(frozen=True)
class Dataset:
    """Objects of one kind: where they land, what their rows must be, what is served from them.

    `landing`: a glob over object keys. `contract`: the cleaned columns, a dataframely schema with a primary key.
    `clean`: optional, text columns in, the contract's columns out; it keeps the columns whose names begin with
    `_`; of `nw.LazyFrame` it is portable. It goes row by row: what becomes of a record may depend on that record
    alone, since the records come in batches that are cut anywhere between objects, and again when a table is
    rebuilt. A window, an aggregate or a deduplication belongs into a serving function. `order_by`: the columns
    that say which of two rows of one key is newer; the object's LastModified, its key and the record number decide
    what is left. `on_delete`: whether a deleted object's rows stay; `on_expiry`: whether those of an object stay
    that a lifecycle rule removed.
    `landing_retention`: days after which an object that was read leaves the landing zone; None: as the setting of
    all datasets says. `format`: how its objects are written, where name and content do not tell.
    `schema_evolution`: what becomes of columns that a file brings and the contract lacks. In `add` they are
    further columns of cleaned, in `rescue` JSON in its column `_rescued`, and in `fail` all records of such an
    object go to quarantine, and come back once the contract has the columns. Raw keeps them in any case.
    A record that breaks a rule of the contract goes to quarantine; rules named in `warn` leave it in cleaned and
    are counted, rules named in `fail` fail the run and hold the table as it is. Both name them as quarantine shows
    them: `arr_delay|max`, or a rule's own name.
    `reader`: how an object becomes rows where its name is not to say that: a function of the bucket, the object's
    identity and its bytes. Objects that another reader, or another format, read are read again.
    `z_order`: the columns by which maintenance lays the cleaned table, for readers that filter by them.
    `partition_by`: a column of the contract, never null, that has the cleaned table lie apart by its values: a
    batch then reads and writes anew only what lies where its rows do. Of the key it serves best, since a row is
    looked for in its own partition alone; by another column a row whose value changes moves. A text is of letters,
    digits, `.`, `_` and `-`, at most 64: a record with another goes to quarantine. Some hundreds of values, not
    one a row.
    `history`: whether every version of every key is kept, with the time for which it stood.
    `fresh_within`: the longest time between two runs that carried files of it, at least a minute; Dagster shows it
    as overdue after that. None: whenever they come.
    """

    name: str
    landing: str
    contract: type[dy.Schema]
    clean: Clean | None = None
    order_by: Sequence[str] = ()
    on_delete: Literal["keep", "retract"] = "keep"
    on_expiry: Literal["keep", "retract"] = "keep"
    landing_retention: int | None = None
    history: bool = False
    serving: Sequence[Serving] = field(default=())
    format: Format | None = None
    schema_evolution: Literal["add", "rescue", "fail"] = "add"
    warn: Sequence[str] = ()
    fail: Sequence[str] = ()
    reader: Reader | None = None
    z_order: Sequence[str] = ()
    partition_by: str | None = None
    fresh_within: timedelta | None = None

    def __post_init__(self) -> None:
        if not self.keys:
            raise DeclarationError(f"{self.name}: the contract {self.contract.__name__} has no primary key")
        if self.landing_retention is not None and self.landing_retention < 1:
            raise DeclarationError(f"{self.name}: landing_retention is a whole number of days, at least 1")
        self.retention(None)
        if self.fresh_within is not None and self.fresh_within < timedelta(minutes=1):
            raise DeclarationError(f"{self.name}: fresh_within is at least a minute")
        if unknown := {*self.warn, *self.fail} - {*self.rules}:
            raise DeclarationError(f"{self.name}: no rule {min(unknown)}; there are: {', '.join(self.rules)}")
        if both := {*self.warn} & {*self.fail}:
            raise DeclarationError(f"{self.name}: {min(both)} cannot both warn and fail")
        if hard := {r for r in self.warn if r.endswith("|dtype") or r in [f"{k}|nullability" for k in self.keys]}:
            raise DeclarationError(f"{self.name}: {min(hard)} cannot merely warn: no row can be made without it")
        if unknown := {*self.z_order} - {*self.contract.column_names()}:
            raise DeclarationError(f"{self.name}: z_order names {min(unknown)}, no column of the contract")
        if self.partition_by is not None:
            self._check_partition(self.partition_by)

    def _check_partition(self, name: str) -> None:
        column = self.contract.columns().get(name)
        if column is None:
            raise DeclarationError(f"{self.name}: partition_by names {name}, no column of the contract")
        if column.nullable and not column.primary_key:
            raise DeclarationError(f"{self.name}: partition_by names {name}, which may be null")
        if f"{name}|nullability" in self.warn:
            raise DeclarationError(f"{self.name}: {name}|nullability cannot merely warn: its table lies by {name}")
        if not (column.dtype.is_integer() or column.dtype in (pl.String, pl.Date) or column.dtype == pl.Enum):
            raise DeclarationError(f"{self.name}: partition_by is a text, a whole number or a day; not {name}")
        if name in self.z_order:
            raise DeclarationError(f"{self.name}: a whole partition has one {name}: leave it out of z_order")

    def retention(self, setting: timedelta | None) -> timedelta | None:
        """For how long an object stays in the landing zone once raw has read it; None: for ever.

        Its own number goes before the setting of all datasets. Raises where its rows would go with the object.
        """
        own = self.landing_retention
        keep, named = (setting, "LAKEHOUSE_LANDING_RETENTION_DAYS") if own is None else (timedelta(own), "its own")
        for name in ("on_delete", "on_expiry"):
            if keep and getattr(self, name) == "retract":
                raise DeclarationError(
                    f'{self.name}: landing_retention ({named}) with {name}="retract" would take every row away '
                    "with its object; leave one of the two out"
                )
        return keep

    @property
    def rules(self) -> list[str]:
        """The contract's rules, as quarantine shows them."""
        if not (self.warn or self.fail):
            return []
        told = self.contract.filter(self.contract.create_empty(), cast=True)[1].details()
        return [c for c in told.columns if c not in self.contract.column_names() and c != "primary_key"]

    @property
    def keys(self) -> list[str]:
        return list(self.contract.primary_key())

    @property
    def partitions(self) -> list[str]:
        return [self.partition_by] if self.partition_by else []

    def matches(self, key: str) -> bool:
        return matches(self.landing, key)

    @cached_property
    def fingerprint(self) -> str:
        source = said(self.contract) + (said(self.clean) if self.clean else "")
        declared = (self.on_delete, self.on_expiry, self.schema_evolution)
        judged = [repr(("warn", *self.warn, "fail", *self.fail))] if self.warn or self.fail else []
        laid = [repr(("partition_by", self.partition_by))] if self.partition_by else []
        return digest(source, self.landing, repr(self.keys), repr(tuple(self.order_by)), *declared, *judged, *laid)

    @cached_property
    def reading(self) -> str:
        """What tells how objects are read; "" where their names say it."""
        told = [said(self.reader)] if self.reader else [repr(self.format)] if self.format else []
        return digest(*told) if told else ""


def load(package: str = "lakehouse.datasets") -> dict[str, Dataset]:
    """Every module of `package` that has a `dataset`, by name. Raises `DeclarationError` where two disagree."""
    return check([m.dataset for m in declaring(package) if hasattr(m, "dataset")])


def declaring(package: str) -> list[Any]:
    """The modules of a package that people add files to. Raises `DeclarationError` where one is broken."""
    root, found = importlib.import_module(package), []
    for one in pkgutil.iter_modules(root.__path__):
        try:
            found.append(importlib.import_module(f"{package}.{one.name}"))
        except Exception as error:
            why = str(error) if isinstance(error, DeclarationError) else f"{type(error).__name__}: {error}"
            raise DeclarationError(f"{package.replace('.', '/')}/{one.name}.py: {why}") from error
    return found


def check(found: Sequence[Dataset]) -> dict[str, Dataset]:
    """The datasets by name; refuses doubled names, overlapping globs and unknown upstreams."""
    datasets = {d.name: d for d in found}
    if "undeclared" in datasets:
        raise DeclarationError("no dataset can be named undeclared: the runs of prefixes without one are")
    if len(datasets) < len(found):
        raise DeclarationError("two datasets have one name")
    for one, other in combinations(found, 2):
        if (key := common(one.landing, other.landing)) is not None:
            raise DeclarationError(
                f"{one.name} ({one.landing}) and {other.name} ({other.landing}) both claim {key!r}"
            )
    tables: set[str] = set()
    for serving in (s for d in found for s in d.serving):
        if serving.name in tables:
            raise DeclarationError(f"two serving tables are named {serving.name}")
        tables.add(serving.name)
        if (tally := serving.over) and tally.name not in inspect.signature(serving.compute).parameters:
            raise DeclarationError(f"{serving.name} is over {tally.name}, and has no parameter of that name")
        if tally and tally.group not in tally.keys:
            raise DeclarationError(f"{tally.name}: its group {tally.group} is not in its key")
        for upstream in serving.upstreams:
            if upstream not in datasets:
                raise DeclarationError(f"{serving.name} reads {upstream}, which no dataset declares")
        if tally and serving.group in {*tally.keys} - {*datasets[tally.upstream].contract.column_names()}:
            raise DeclarationError(f"{serving.name}: its group {serving.group} is no column of {tally.upstream}")
    return datasets


def route(datasets: dict[str, Dataset], key: str) -> str | None:
    """The dataset that claims an object key, or None."""
    return next((d.name for d in datasets.values() if d.matches(key)), None)
