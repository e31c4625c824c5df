"""table → the same rows in fewer files, and no history older than retention.

`tidy` follows every commit, so that a busy table is bounded by counts; `clean` is called by the day, so that a
quiet one is bounded by time. Both leave rows, cursors and change feed as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl
from deltalake.exceptions import CommitFailedError

from lakehouse.lake.table import HOOKS, Table

TARGET = 16 << 20
"""Bytes of a compacted file. An upsert rewrites each file that it touches: 64 MB made it twice as slow."""
SMALL = TARGET // 2
"""Two of these make one file."""
CROWD = 32
"""Small files in one partition that are worth a compaction."""
NONE: Mapping[str, Sequence[int]] = MappingProxyType({})
HELD = "delta.enableExpiredLogCleanup"


@dataclass(frozen=True)
class Maintained:
    """What maintenance did to a table: whether it was compacted, and how many files went."""

    table: str
    compacted: bool
    removed: int


def maintain(tables: Iterable[Table], pinned: Mapping[str, Sequence[int]] = NONE) -> list[Maintained]:
    """Tidy and clean each table. Safe at any time beside writers and readers, and safe to repeat.

    `pinned`: of some tables, by name, the versions that somebody may read whatever their age.
    """
    return [Maintained(t.name, tidy(t), clean(t, pinned.get(t.name, ()))) for t in tables]


def tidy(table: Table) -> bool:
    """Compact where small files have gathered. It yields to another commit that came between."""
    if not crowded(table):
        return False
    try:
        table.delta.optimize.compact(target_size=TARGET, max_concurrent_tasks=1, post_commithook_properties=HOOKS)
    except CommitFailedError:
        return False
    return True


def crowded(table: Table) -> bool:
    """Whether a partition holds too many small files; told from the loaded handle, without a request."""
    files = pl.DataFrame(table.delta.get_add_actions(flatten=True))
    partition = [c for c in files.columns if c.startswith("partition.")]
    small = files.filter(pl.col("size_bytes") < SMALL).with_columns(at=pl.struct(pl.lit(0), *partition))
    return bool((small.group_by("at").len()["len"] >= CROWD).any())


def clean(table: Table, pinned: Sequence[int] = ()) -> int:
    """Delete files and log entries that retention has passed; gives the number of files.

    In full, so that change data and what a crash left behind go too. A reader that lags further than this finds
    its feed cut off and compares whole tables instead. A vacuum is two commits: none is made for nothing. The
    files of pinned versions stay, and the whole log: it is cleaned by age alone.
    """
    kept = [*pinned] or None
    table.delta.create_checkpoint()
    if kept is None:
        table.delta.cleanup_metadata()
    elif not _holds_log(table):
        return 0
    if not table.delta.vacuum(full=True, dry_run=True, keep_versions=kept):
        return 0
    done = table.delta.vacuum(full=True, dry_run=False, keep_versions=kept, post_commithook_properties=HOOKS)
    return len(done)


def _holds_log(table: Table) -> bool:
    """Have a vacuum leave the log, which it cleans whatever its hooks say; False if another commit was first."""
    if table.delta.metadata().configuration.get(HELD) != "false":
        try:
            table.delta.alter.set_table_properties({HELD: "false"}, post_commithook_properties=HOOKS)
        except CommitFailedError:
            return False
    return True
