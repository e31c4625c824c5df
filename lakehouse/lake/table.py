"""The one door to Delta: open a table, look at its cursors, commit rows and cursors together."""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self
from urllib.parse import unquote

import polars as pl
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction, write_deltalake
from deltalake._internal import DeltaFileSystemHandler
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction

RETENTION = timedelta(days=7)
"""Of files and log alike. Each commit leaves a file in the log, and opening a table lists them all: on disk a
commit took 10 ms over a hundred, 40 ms over 20,000. Transactions are given no retention: they are the cursors."""
FILE_SIZE = "delta.targetFileSize"
SMALLEST, LARGEST, FILES = 4 << 20, 128 << 20, 1000
"""Bytes of a data file: of a new table, and at most; and how many a table is to have before they grow. An upsert
writes each file anew that it touches: one of 16 MB took half as long again, and 200 MB more of memory."""
CONFIGURATION = {
    FILE_SIZE: str(SMALLEST),
    "delta.enableChangeDataFeed": "true",
    "delta.logRetentionDuration": f"interval {RETENTION.days} days",
    "delta.deletedFileRetentionDuration": f"interval {RETENTION.days} days",
    "delta.checkpointInterval": "20",
}
HOOKS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
"""A commit writes its checkpoint when one is due. The log is cleaned by maintenance: here it is listed once more
at every commit, which took 140 ms of 180 at 20,000 commits."""
BUILT = "built"
"""The mark that names the version in which a table was last written anew, in other columns or types."""
HELD = "held"
"""The mark of a table that no hop brings up to its sources until somebody resumes it."""
SHARED = "shared"
"""The mark of a table whose backlog several workers take: the version in which that began. 0: one does."""
LOST = re.compile(
    "Object at location .* not found"  # vacuum took a file
    "|Invalid table version|Expected contiguous commit files"  # the log was cleaned
    "|Cast error",  # somebody else changed a column's type
    re.DOTALL,
)
"""What delta-rs says where a feed does not reach back: it raises one class for this and for a store that fails."""
POINTERS = "lake/pointers"
"""The table that tells of each table that was switched to another path which one that is, and since when."""
CHANGE = "_change_type"
REMOVED = "_removed"
NONE: Mapping[str, int] = MappingProxyType({})


class Conflict(Exception):
    """Another writer committed first. Look again, then decide again; never commit the same rows blindly."""


class KeyChanged(Exception):
    """A table is keyed by other columns than those now declared. Terminal: the message names the way out."""

    def __init__(self, table: str, before: Sequence[str], now: Sequence[str], hint: str) -> None:
        super().__init__(f"{table} is keyed by {', '.join(before)}; now {', '.join(now)} is declared. {hint}")


@dataclass(frozen=True)
class Cursor:
    """How far a target has read a source.

    `version` is the source's Delta version. `stamp` names what the version means: the source table's id
    and the code that read it. A cursor with another stamp says nothing.
    """

    source: str
    version: int
    stamp: int
    rows: int | None = None
    """How many rows the source had, if it is a `Part`: another number tells that there is more, without a look."""

    def transactions(self) -> list[Transaction]:
        facts = {"": self.version, "#stamp": self.stamp, "#rows": self.rows}
        return [Transaction(self.source + name, v) for name, v in facts.items() if v is not None]


def stamp(*parts: str) -> int:
    """A 62-bit number for a table id and a code fingerprint: Delta's transactions hold integers only."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 2


@dataclass(frozen=True)
class Lake:
    """A folder of Delta tables, on disk or on `s3://`.

    A table lies under its name; once it was switched, under its name and a number. `paths` are the numbers by
    name; None: as `POINTERS` tells them whenever a table is opened.
    """

    root: str
    storage_options: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, int] | None = None

    def uri(self, name: str) -> str:
        return self.place(name, self.numbers().get(name, 0))

    def place(self, name: str, number: int) -> str:
        """Where a table lies that was switched so many times."""
        return f"{self.root.rstrip('/')}/{name}{f'.{number}' if number else ''}"

    def numbers(self) -> Mapping[str, int]:
        """Of each table that was switched the number of its path."""
        if self.paths is not None:
            return self.paths
        found = self.at(POINTERS, 0)
        return dict(found.scan().select("table", "number").collect().iter_rows()) if found else {}

    def pinned(self) -> Self:
        """The lake with every table where it lies now, whatever is switched later."""
        return replace(self, paths=self.numbers())

    def open(self, name: str) -> Table | None:
        """The table as it is now, or None if nobody has made it yet."""
        return self.at(name, self.numbers().get(name, 0))

    def at(self, name: str, number: int) -> Table | None:
        """As `open`, of the path with that number."""
        try:
            delta = DeltaTable(self.place(name, number), storage_options=dict(self.storage_options) or None)
        except TableNotFoundError:
            return None
        return Table(name, delta)

    def ensure(
        self, name: str, schema: pl.Schema, partition_by: Sequence[str] = (), key: Sequence[str] = ()
    ) -> Table:
        """The table as it is now; made empty, with its change feed on, if it is not there.

        `key`: the columns that its rows are told apart by. The table keeps them in its description, since delta-rs
        takes no property that it does not know.
        """
        if found := self.open(name):
            return found
        raced = ""
        if "://" not in self.root:
            Path(self.uri(name)).mkdir(parents=True, exist_ok=True)
        try:
            DeltaTable.create(
                self.uri(name),
                pl.DataFrame(schema=schema).to_arrow().schema,
                mode="ignore",
                partition_by=list(partition_by) or None,
                description=json.dumps({"key": list(key)}) if key else None,
                configuration=CONFIGURATION,
                storage_options=dict(self.storage_options) or None,
            )
        except CommitFailedError as error:
            raced = str(error)
        made = self.open(name)
        if made is None:
            raise Conflict(raced)
        return made


_COUNTS = ("rows_inserted", "rows_updated", "rows_deleted", "files_removed", "rows_copied")


@dataclass(frozen=True)
class Applied:
    """The version after an upsert, the rows that it wrote and removed, and what that cost: the files that it wrote
    anew, and the rows of theirs that it copied as they were.
    """

    version: int
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    rewritten: int = 0
    copied: int = 0

    @property
    def upserted(self) -> int:
        return self.inserted + self.updated


@dataclass(frozen=True)
class Size:
    """What lies below a table: data, change data and log, what nobody refers to any more included."""

    files: int
    bytes: int


@dataclass(frozen=True)
class Part:
    """One partition of a table and some of its columns, as a source of its own.

    Its feed is read no further back than `reach` commits, if that is told: each costs a file of the log, whoever
    wrote it, and past that the partition whole may cost less.
    """

    column: str
    value: str
    columns: tuple[str, ...]
    reach: int | None = None


@dataclass(frozen=True)
class Written:
    """A file that lies below a table and is no part of it until a commit says so: vacuum's, if none does.

    `rows`: how many are in it. `columns`: theirs, in a frame without rows.
    """

    rows: int
    columns: pl.DataFrame
    action: AddAction


@dataclass(frozen=True)
class Table:
    """A loaded handle: what was looked at is what a commit is checked against.

    `told`: what the log was asked, by version: each answer costs a reading of it.
    """

    name: str
    delta: DeltaTable
    part: Part | None = None
    told: dict[tuple[int, Any], int | None] = field(default_factory=dict, repr=False, compare=False)

    @property
    def id(self) -> str:
        return str(self.delta.metadata().id)

    @property
    def version(self) -> int:
        return self.delta.version()

    @property
    def committed_at(self) -> datetime:
        """When the handle's version was committed."""
        return datetime.fromtimestamp(self.delta.history(1)[0]["timestamp"] / 1000, UTC)

    def wrote(self, commits: int) -> list[tuple[int, int]]:
        """The rows that each of the newest commits added and changed, the newest first.

        Nothing of one that wrote a table anew, or that only added: the log does not tell it.
        """
        return [_wrote(commit.get("operationMetrics") or {}) for commit in self.delta.history(commits)]

    @property
    def columns(self) -> list[str]:
        return [f.name for f in self.delta.schema().fields]

    @property
    def kinds(self) -> dict[str, pl.DataType]:
        """The columns with their types."""
        return dict(pl.scan_delta(self.delta).collect_schema())

    @property
    def key(self) -> list[str]:
        """The columns that the table was made to be keyed by; none if it was not told."""
        return list(json.loads(self.delta.metadata().description or "{}").get("key", []))

    def scan(self) -> pl.LazyFrame:
        """The rows at this handle's version."""
        rows = pl.scan_delta(self.delta)
        if self.part is None:
            return rows
        return rows.filter(pl.col(self.part.column) == self.part.value).select(self.part.columns)

    @property
    def rows(self) -> int | None:
        """How many rows the part has, from the log alone; None for a whole table."""
        at = (self.version, self.part)
        if self.part and at not in self.told:
            self.told[at] = self.counted(self.part.column, self.part.value)
        return self.told.get(at)

    @property
    def count(self) -> int:
        """How many rows the whole table has, from the log alone."""
        return int(self.files["num_records"].sum())

    @property
    def files(self) -> pl.DataFrame:
        """The data files of this version, a row each, with what the log tells of them."""
        return pl.DataFrame(self.delta.get_add_actions(flatten=True))

    @property
    def file_size(self) -> int:
        """Bytes that a data file is to have, as whoever writes is told."""
        return int(self.delta.metadata().configuration.get(FILE_SIZE, SMALLEST))

    def grow_files(self) -> bool:
        """Tell who writes of larger files, if there are too many by now; whether that was so."""
        wanted = min(int(self.files["size_bytes"].sum()) // FILES, LARGEST)
        if wanted < 2 * self.file_size:
            return False
        self.delta.alter.set_table_properties({FILE_SIZE: str(wanted)}, post_commithook_properties=HOOKS)
        return True

    def counted(self, column: str, value: str) -> int:
        """How many rows lie in one partition, from the log alone."""
        files = self.files
        return int(files.filter(pl.col(f"partition.{column}") == value)["num_records"].sum()) if len(files) else 0

    @property
    def there(self) -> bool:
        """Whether every file of this version is still in the store."""
        paths = [unquote(path) for path in self.files["path"]]
        files = DeltaFileSystemHandler.from_table(self.delta._table).get_file_info(paths)
        return all(one.is_file for one in files)

    @property
    def size(self) -> Size:
        """What lies in the store now, by a listing."""
        there = DeltaFileSystemHandler.from_table(self.delta._table).get_file_info_selector("", recursive=True)
        files = [one.size for one in there if one.is_file]
        return Size(len(files), sum(files))

    def cursor(self, source: str) -> Cursor | None:
        version, mark, rows = (self._number(source + part) for part in ("", "#stamp", "#rows"))
        return None if version is None or mark is None else Cursor(source, version, mark, rows)

    def changes(self, since: int) -> pl.DataFrame | None:
        """Change feed rows of the versions after `since`, up to this handle's; None if it does not reach back.

        It does not reach beyond a version that wrote the table anew: read as what they are now, the values that
        stood before are others. What a store raises that fails for now is raised.
        """
        reach = self.part.reach if self.part else None
        if since > self.version or (reach is not None and self.version - since > reach):
            return None
        if since < (self.mark(BUILT) or 0):
            return None
        try:
            feed = self.delta.load_cdf(since + 1, self.version, **self._narrowed())
            return pl.DataFrame(feed.read_all())
        except Exception as error:
            if LOST.search(str(error)):
                return None
            raise

    def _narrowed(self) -> dict[str, Any]:
        if self.part is None:
            return {}
        columns = [*self.part.columns, CHANGE, "_commit_version"]
        return {"columns": columns, "predicate": f"{self.part.column} = '{self.part.value}'"}

    def mark(self, name: str) -> int | None:
        """A number that the last commit that told it left."""
        return self._number(f"#{name}")

    def _number(self, transaction: str) -> int | None:
        at = (self.version, transaction)
        if at not in self.told:
            self.told[at] = self.delta.transaction_version(transaction)
        return self.told[at]

    @property
    def held(self) -> bool:
        return bool(self.mark(HELD))

    def retyped(self, rows: pl.DataFrame) -> bool:
        """Whether a column that both have is of another type in the rows."""
        there = {f.name: f.type for f in self.delta.schema().fields}
        fields = Schema.from_arrow(rows.clear().to_arrow().schema).fields
        return any(f.type != there.get(f.name, f.type) for f in fields)

    def unlike(self, rows: pl.DataFrame) -> bool:
        """Whether the table cannot become the rows by an upsert: other types, or columns that they lack."""
        return not set(self.columns) <= set(rows.columns) or self.retyped(rows)

    def near(self, places: pl.DataFrame) -> pl.LazyFrame:
        """The rows of the partitions in which such rows lie; all rows where the columns do not tell that."""
        rows = self.scan()
        for name in {*self.partitions} & {*places.columns}:
            rows = rows.filter(pl.col(name).is_in(places[name].unique().implode(), nulls_equal=True))
        return rows

    def overwrite(
        self,
        rows: pl.DataFrame,
        cursors: Iterable[Cursor],
        partition_by: Sequence[str] | None = None,
        built: bool = True,
    ) -> int:
        """Write the table anew, its columns with it, and move the cursors: one commit; gives its version.

        `partition_by`: how it lies from now on; None: as it does. `built`: leave the mark of that name; without it
        the feed goes on over this commit.
        """
        try:
            write_deltalake(
                self.delta,
                rows.to_arrow(),
                mode="overwrite",
                schema_mode="overwrite",
                partition_by=None if partition_by is None else [*partition_by],
                commit_properties=_commit(cursors, {BUILT: self.version + 1} if built else NONE),
                post_commithook_properties=HOOKS,
            )
        except CommitFailedError as error:
            raise Conflict(str(error)) from error
        return self.version

    def restore(self, version: int, cursors: Iterable[Cursor], marks: Mapping[str, int]) -> int:
        """Take an earlier version's rows and columns, the cursors and the marks: one commit; gives its version.

        Raises `DeltaError` where a file of that version is gone.
        """
        told = _commit(cursors, marks)
        try:
            self.delta.restore(version, commit_properties=told, post_commithook_properties=HOOKS)
        except CommitFailedError as error:
            raise Conflict(str(error)) from error
        return self.version

    def append(
        self,
        rows: pl.DataFrame,
        cursors: Iterable[Cursor] = (),
        indexed: Sequence[str] = (),
        marks: Mapping[str, int] = NONE,
        written: Sequence[Written] = (),
    ) -> int:
        """Add rows, those that `write` wrote before with them, move the cursors, leave the marks, in one commit;
        gives its version. Zero rows are welcome.

        New columns join the schema by a commit before it. Polars writes the files, one a partition, since that
        takes a quarter of the time that delta-rs takes; they carry statistics of the `indexed` columns.
        """
        commit = _commit(cursors, marks)
        try:
            self._grow(pl.concat([rows.clear(), *(one.columns for one in written)], how="diagonal"), commit)
            before = self.version
            self.delta.create_write_transaction(
                [*self._files(self._typed(rows), indexed), *(one.action for one in written)],
                "append",
                self.delta.schema(),
                self.partitions,
                commit_properties=commit,
                post_commithook_properties=HOOKS,
            )
        except CommitFailedError as error:
            raise Conflict(str(error)) from error
        if commit.max_commit_retries == 0:
            self.delta.load_as_version(before + 1)
        else:
            self.delta.update_incremental()
        return self.version

    def _grow(self, rows: pl.DataFrame, commit: CommitProperties) -> None:
        if new := [c for c in rows.columns if c not in self.columns]:
            fields = Schema.from_arrow(rows.select(new).clear().to_arrow().schema).fields
            bare = CommitProperties(max_commit_retries=commit.max_commit_retries)
            self.delta.alter.add_columns([*fields], commit_properties=bare, post_commithook_properties=HOOKS)

    def write(self, rows: pl.DataFrame, indexed: Sequence[str], at: Mapping[str, Any]) -> Written:
        """Write rows of the partition `at`, without its columns, for an `append` on this handle to add.

        Several threads may do so at once.
        """
        return Written(len(rows), rows.clear(), self._file(at, self._typed(rows), indexed))

    def _typed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows in the table's types: what is committed so, nobody checks any more."""
        kinds = self.kinds
        return rows.cast({c: kinds[c] for c, kind in rows.schema.items() if kinds.get(c, kind) != kind})

    @property
    def partitions(self) -> list[str]:
        """The columns by whose values the files lie apart."""
        return list(self.delta.metadata().partition_columns)

    def _files(self, rows: pl.DataFrame, indexed: Sequence[str]) -> list[AddAction]:
        if rows.is_empty():
            return []
        by = self.partitions
        places = rows.select(by).unique().to_dicts() if by else [{}]
        return [self._file(at, rows.filter(**at).drop(by), indexed) for at in places]

    def _file(self, at: Mapping[str, Any], rows: pl.DataFrame, indexed: Sequence[str]) -> AddAction:
        """Write one Parquet file below the table, by the store that delta-rs has open."""
        folder = "".join(f"{column}={value}/" for column, value in at.items())
        path, body = f"{folder}part-{uuid.uuid4()}.parquet", io.BytesIO()
        rows.write_parquet(body, compression="zstd", compression_level=1)
        stream = DeltaFileSystemHandler.from_table(self.delta._table).open_output_stream(path)
        stream.write(body.getvalue())
        stream.close()  # type: ignore[attr-defined]  # it is there; the stub lacks it
        told = _statistics(rows, indexed)
        return AddAction(path, body.tell(), dict(at), int(time.time() * 1000), True, told)

    def apply(
        self,
        upserts: pl.DataFrame,
        deletes: pl.DataFrame,
        key: Sequence[str],
        cursors: Iterable[Cursor] = (),
        marks: Mapping[str, int] = NONE,
        idle: bool = False,
    ) -> Applied:
        """Write `upserts`, remove the keys in `deletes`, with cursors and marks: one commit.

        Both hold at most one row a key; a null is like a null, and keys need not be there. What stands as it is to
        stand is left alone. With nothing to write the cursors move by an empty append, since a merge that changes
        nothing makes no commit; or, if `idle`, nothing is committed then. Not streamed, because only then does the
        merge skip the files whose statistics or partitions lie outside the keys; bounds of our own add nothing to
        that. New columns join the schema by a commit before it: a merge that brings a time without a zone into it
        is refused.
        """
        nothing = upserts.is_empty() and deletes.is_empty()
        told = {} if nothing else self._merge(upserts, deletes, key, cursors, marks)
        done = Applied(self.version, *(told.get(f"num_target_{name}", 0) for name in _COUNTS))
        if done.upserted or done.deleted or idle:
            return done
        return replace(done, version=self.append(upserts.clear(), cursors, marks=marks))

    def _merge(
        self,
        upserts: pl.DataFrame,
        deletes: pl.DataFrame,
        key: Sequence[str],
        cursors: Iterable[Cursor],
        marks: Mapping[str, int],
    ) -> Mapping[str, int]:
        source = pl.concat(
            [
                upserts.with_columns(pl.lit(False).alias(REMOVED)),
                deletes.select(key).with_columns(pl.lit(True).alias(REMOVED)),
            ],
            how="diagonal",
        )
        values = {c: f"s.`{c}`" for c in upserts.columns}
        match = " AND ".join(_same(k, nulls=bool(source[k].null_count())) for k in key)
        other = " OR ".join(f"(t.`{c}` IS DISTINCT FROM s.`{c}`)" for c in upserts.columns if c not in key)
        commit = _commit(cursors, marks)
        try:
            self._grow(upserts, commit)
            told: Mapping[str, int] = (
                self.delta.merge(
                    source.to_arrow(),
                    match,
                    source_alias="s",
                    target_alias="t",
                    streamed_exec=False,
                    commit_properties=commit,
                    post_commithook_properties=HOOKS,
                )
                .when_matched_delete(f"s.{REMOVED}")
                .when_matched_update(values, f"NOT s.{REMOVED} AND ({other or 'false'})")
                .when_not_matched_insert(values, f"NOT s.{REMOVED}")
                .execute()
            )
        except CommitFailedError as error:
            raise Conflict(str(error)) from error
        return told


def _wrote(told: Mapping[str, int]) -> tuple[int, int]:
    first = 0 if told.get("num_removed_files") else told.get("num_added_rows", 0)
    return told.get("num_target_rows_inserted", first), told.get("num_target_rows_updated", 0)


def _same(key: str, nulls: bool) -> str:
    """That a key's column is alike on both sides. Told of nulls only where there are some: it hides bounds."""
    alike = f"t.`{key}` = s.`{key}`"
    return f"({alike} OR (t.`{key}` IS NULL AND s.`{key}` IS NULL))" if nulls else alike


def _commit(cursors: Iterable[Cursor], marks: Mapping[str, int] = NONE) -> CommitProperties:
    """With cursors, a commit that another came before is refused; without, Delta may try again behind it."""
    transactions = [t for c in cursors for t in c.transactions()]
    told = [Transaction(f"#{name}", number) for name, number in marks.items()]
    return CommitProperties(app_transactions=transactions + told, max_commit_retries=0 if transactions else None)


def _statistics(rows: pl.DataFrame, indexed: Sequence[str]) -> str:
    """What a reader may skip the file by, in Delta's JSON."""
    known = [rows[c] for c in indexed if c in rows.columns]
    filled = [column for column in known if column.null_count() < len(rows)]
    told = {
        "numRecords": len(rows),
        "minValues": {column.name: column.min() for column in filled},
        "maxValues": {column.name: column.max() for column in filled},
        "nullCount": {column.name: column.null_count() for column in known},
    }
    return json.dumps(told)


def schema(columns: Mapping[str, Any]) -> pl.Schema:
    """Column names and polars types, in order."""
    return pl.Schema(columns)


def framed(rows: Sequence[Mapping[str, Any]], schema: Mapping[str, Any]) -> pl.DataFrame:
    """Rows by their columns' names, a missing one null; column by column, since Polars takes 50 µs a row else."""
    columns = {name: [row.get(name) for row in rows] for name in schema}
    return pl.DataFrame(columns, schema=schema)


def storable(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame in types that Delta holds: no unsigned integers, no categories, microseconds."""
    kinds = storable_schema(frame.schema)
    return frame.with_columns(pl.col(n).cast(kind) for n, kind in kinds.items() if kind != frame.schema[n])


def storable_schema(columns: Mapping[str, pl.DataType]) -> pl.Schema:
    """As `storable`, of names and types alone, without a query."""
    return pl.Schema({name: _kind(kind) for name, kind in columns.items()})


def _kind(dtype: pl.DataType) -> pl.DataType:
    match dtype:
        case pl.Enum() | pl.Categorical():
            return pl.String()
        case pl.UInt8() | pl.UInt16():
            return pl.Int32()
        case pl.UInt32() | pl.UInt64():
            return pl.Int64()
        case pl.Datetime(time_zone=zone):
            return pl.Datetime("us", zone)
        case pl.Duration() | pl.Time():
            return pl.Int64()
    return dtype
