"""table → the same rows in fewer files, and no history older than retention.

`tidy` follows every commit, so that a busy table is bounded by counts; `clean` is called by the day, so that a
quiet one is bounded by time. Both leave rows, cursors and change feed as they are.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

import polars as pl
from deltalake.exceptions import CommitFailedError

from lakehouse.lake.oblivion import stray
from lakehouse.lake.table import HOOKS, RETENTION, Conflict, Size, Table

CROWD = 32
"""Small files in one partition that are worth a compaction."""
NONE: Mapping[str, Sequence[int]] = MappingProxyType({})
HELD = "delta.enableExpiredLogCleanup"
ORDERED = "ordered"
"""The mark that names the version in which a table was last laid by its z-order."""
UNORDERED: Mapping[str, Sequence[str]] = MappingProxyType({})


@dataclass(frozen=True)
class Maintained:
    """What maintenance did to a table. `removed`: dead files that it deleted."""

    table: str
    compacted: bool
    ordered: bool
    removed: int
    before: Size
    after: Size

    def __str__(self) -> str:
        done = [word for word, so in (("compacted", self.compacted), ("reordered", self.ordered)) if so]
        sizes = [f"{one.files} files of {one.bytes / 1e6:.1f} MB" for one in (self.before, self.after)]
        return f"{self.table}: {', '.join([*done, ''])}{self.removed} files deleted; {' → '.join(sizes)}"


def maintain(
    tables: Iterable[Table],
    pinned: Mapping[str, Sequence[int]] = NONE,
    orders: Mapping[str, Sequence[str]] = UNORDERED,
) -> list[Maintained]:
    """Tidy, order and clean each table. Safe at any time beside writers and readers, and safe to repeat.

    Of some tables, by name: `pinned`, the versions that somebody may read whatever their age; `orders`, the
    columns by which they are z-ordered.
    """
    return [_maintained(table, pinned.get(table.name, ()), orders.get(table.name, ())) for table in tables]


def _maintained(table: Table, pinned: Sequence[int], columns: Sequence[str]) -> Maintained:
    before = table.size
    with suppress(CommitFailedError):
        table.grow_files()
    compacted, ordered = tidy(table), bool(columns) and order(table, columns)
    return Maintained(table.name, compacted, ordered, clean(table, pinned), before, table.size)


def order(table: Table, columns: Sequence[str]) -> bool:
    """Z-order what was written to since the last time. It yields to another commit that came between."""
    last = table.mark(ORDERED)
    since = None if last is None else table.changes(last)
    if since is not None and since.is_empty():
        return False
    try:
        table.delta.optimize.z_order([*columns], post_commithook_properties=HOOKS)
    except CommitFailedError:
        return False
    empty = table.scan().head(0).collect()
    with suppress(Conflict):  # without its mark it is ordered again the next time
        table.append(empty, marks={ORDERED: table.version})  # delta-rs writes no transaction with a z-order
    return True


def tidy(table: Table) -> bool:
    """Compact where small files have gathered. It yields to another commit that came between."""
    if not crowded(table):
        return False
    try:
        table.delta.optimize.compact(max_concurrent_tasks=1, post_commithook_properties=HOOKS)
    except CommitFailedError:
        return False
    return True


def crowded(table: Table) -> bool:
    """Whether a partition holds too many small files; told from the loaded handle, without a request."""
    files = table.files
    partition = [c for c in files.columns if c.startswith("partition.")]
    small = files.filter(pl.col("size_bytes") < table.file_size // 2).with_columns(
        at=pl.struct(pl.lit(0), *partition)
    )
    return bool((small.group_by("at").len()["len"] >= CROWD).any())


def clean(table: Table, pinned: Sequence[int] = ()) -> int:
    """Delete files and log entries that retention has passed; gives the number of files.

    In full, so that change data and what a crash left behind go too. A reader that lags further than this finds
    its feed cut off and compares whole tables instead. A vacuum is two commits: none is made for nothing. The
    files of pinned versions stay, and the whole log: it is cleaned by age alone. It yields to another commit that
    came between.
    """
    kept = [*pinned] or None
    _drop_staged(table)
    with suppress(Conflict):
        stray(table)
    table.delta.create_checkpoint()
    if kept is None:
        table.delta.cleanup_metadata()
    elif not _holds_log(table):
        return 0
    if not table.delta.vacuum(full=True, dry_run=True, keep_versions=kept):
        return 0
    table.delta.update_incremental()  # the listing took a while
    try:
        done = table.delta.vacuum(full=True, dry_run=False, keep_versions=kept, post_commithook_properties=HOOKS)
    except CommitFailedError:
        return 0
    return len(done)


def _drop_staged(table: Table) -> None:
    """On a disk: delete what a write that died left half done, once it is older than retention.

    Such a file's name ends in `#` and a number until it is whole. No listing shows it, so no vacuum takes it; in
    S3 it is an unfinished upload, which the bucket's lifecycle ends.
    """
    place = urlsplit(table.delta.table_uri)
    if place.scheme not in ("", "file"):
        return
    oldest = time.time() - RETENTION.total_seconds()
    for path in Path(unquote(place.path)).rglob("*#[0-9]*"):
        with suppress(FileNotFoundError):  # its writer lives, and has finished it
            if path.stat().st_mtime < oldest:
                path.unlink()


def _holds_log(table: Table) -> bool:
    """Have a vacuum leave the log, which it cleans whatever its hooks say; False if another commit was first."""
    if table.delta.metadata().configuration.get(HELD) != "false":
        try:
            table.delta.alter.set_table_properties({HELD: "false"}, post_commithook_properties=HOOKS)
        except CommitFailedError:
            return False
    return True
