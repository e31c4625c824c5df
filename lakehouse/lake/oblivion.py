"""table → the same rows, and nothing of what stood there before: no dead file, no change data, no statistics.

Safe beside writers. A vacuum without retention would take the files of a commit under way, and a log cut short
would let a writer who looked before take the number of a commit that is gone, so that what he wrote is lost. So
only files go that no commit to come can name, and the log keeps every commit, without what it tells of values: a
writer who looked before finds his number taken, as ever.
"""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl
from deltalake._internal import DeltaFileSystemHandler

from lakehouse.lake.table import RETENTION, Lake, Table

LOG = "_delta_log"
COMMIT = re.compile(rf"{LOG}/(\d{{20}})\.json")
CHECKPOINT = re.compile(rf"{LOG}/(\d{{20}})\.checkpoint\..*parquet")
CHANGES = "_change_data/"
ALIVE = 3600
"""Seconds within which a writer may yet commit a file that no commit names."""
FORGOTTEN = "forgotten"
"""The mark of the commit behind which a table remembers nothing; it has no statistics itself."""
Judge = Callable[[pl.DataFrame], bool]


@dataclass(frozen=True)
class Forgotten:
    """What went of a table's past. `left`: files that no commit names and a writer may yet: for the next call."""

    files: int
    commits: int
    left: int


def places(lake: Lake) -> list[str]:
    """Every table below the lake's root, by a listing: those too that nobody declares any more, and every path."""
    if "://" not in lake.root and not Path(lake.root).exists():
        return []
    store = DeltaFileSystemHandler(lake.root, dict(lake.storage_options) or None)
    found = (one.path.partition(f"/{LOG}/") for one in store.get_file_info_selector("", True, recursive=True))
    return sorted({name for name, log, _ in found if log})


def _store(table: Table) -> Any:
    return DeltaFileSystemHandler.from_table(table.delta._table)


def _listed(store: Any) -> list[Any]:
    return [one for one in store.get_file_info_selector("", recursive=True) if one.is_file]


def _read(store: Any, path: str) -> bytes:
    stream = store.open_input_file(path)
    return bytes(stream.read())


def past(table: Table) -> Iterator[tuple[Any, pl.DataFrame]]:
    """The files that the table does not refer to any more, or never did, each with its rows."""
    store, live = _store(table), _live(table)
    for one in _listed(store):
        if one.path.endswith(".parquet") and not one.path.startswith(LOG) and one.path not in live:
            with suppress(FileNotFoundError, pl.exceptions.ComputeError):  # gone since, or no whole file
                yield one, pl.read_parquet(io.BytesIO(_read(store, one.path)))


def _live(table: Table) -> set[str]:
    return set(pl.DataFrame(table.delta.get_add_actions())["path"])


def forget(table: Table, holds: Judge, *, fenced: bool) -> Forgotten:
    """Delete what is no longer part of the table, and empty its log of values. Safe to repeat when it was cut off.

    `holds`: whether rows are of what is to be forgotten. Such a file goes at once though no commit names it, where
    no commit can: of change data, and of a table that is `fenced`, into which every writer commits on the handle
    that he looked at. Any other goes when it is older than `ALIVE`.
    """
    table.append(pl.DataFrame(), marks={FORGOTTEN: int(time.time())})
    table.delta.create_checkpoint()
    upto, store = table.version, _store(table)
    log = {path: int(at[1]) for one in _listed(store) if (at := COMMIT.fullmatch(path := one.path))}
    old = [path for path, version in log.items() if version < upto]
    known = _told(store, upto, old)
    doomed = {one.path for one, rows in past(table) if fenced or one.path.startswith(CHANGES) if holds(rows)}
    table.delta.update_incremental()
    live, left, gone = _live(table), 0, 0
    for one in _listed(store):
        if one.path.startswith(LOG) or one.path in live:
            continue
        if one.path in known or one.path in doomed or time.time() - one.mtime.timestamp() > ALIVE:
            _delete(store, one.path)
            gone += 1
        else:
            left += 1
    emptied = sum(_emptied(store, path) for path in sorted(old))
    for one in _listed(store):
        if (at := CHECKPOINT.fullmatch(one.path)) and int(at[1]) < upto:
            _delete(store, one.path)
    _drop_halves(table)
    return Forgotten(gone, emptied, left)


def stray(table: Table) -> int:
    """Delete what writers left that were refused by a table that forgot: within `RETENTION`, after `ALIVE`.

    By a commit first: a writer who looked before it, and has written files for so long, is refused.
    """
    if time.time() - (table.mark(FORGOTTEN) or 0) > RETENTION.total_seconds():
        return 0
    store, live = _store(table), _live(table)
    files = [one for one in _listed(store) if not one.path.startswith(LOG) and one.path not in live]
    old = [one.path for one in files if time.time() - one.mtime.timestamp() > ALIVE]
    if not old:
        return 0
    table.append(table.scan().head(0).collect(), marks={FORGOTTEN: table.mark(FORGOTTEN) or 0})
    table.delta.create_checkpoint()
    gone = {*old} - _told(store, table.version, [one.path for one in _listed(store) if COMMIT.fullmatch(one.path)])
    for path in gone:
        _delete(store, path)
    return len(gone)


def _delete(store: Any, path: str) -> None:
    with suppress(FileNotFoundError):
        store.delete_file(path)


def _told(store: Any, upto: int, commits: list[str]) -> set[str]:
    """The files that commits name, and those that the checkpoint tells to be removed."""
    actions = [json.loads(line) for path in commits for line in _read(store, path).splitlines() if line.strip()]
    named = {unquote(a[kind]["path"]) for a in actions for kind in ("add", "remove", "cdc") if kind in a}
    frame = pl.read_parquet(io.BytesIO(_read(store, f"{LOG}/{upto:020d}.checkpoint.parquet")), columns=["remove"])
    removed = frame["remove"].drop_nulls().struct.field("path")
    return named | {unquote(path) for path in removed.drop_nulls()}


def _emptied(store: Any, path: str) -> bool:
    """Rewrite a commit without what its operation was told, and of its statistics with the number of rows alone;
    whether there was more. A writer who comes behind it tells rows, and may write a checkpoint, by that number.
    """
    body = _read(store, path)
    actions = [json.loads(line) for line in body.splitlines() if line.strip()]
    for action in actions:
        for added in (action[name] for name in ("add", "remove") if name in action):
            told = json.loads(added.get("stats") or "{}")
            added["stats"] = json.dumps({"numRecords": told["numRecords"]}) if "numRecords" in told else None
        if "commitInfo" in action:
            action["commitInfo"]["operationParameters"] = {}
    bare = "\n".join(json.dumps(action, separators=(",", ":"), ensure_ascii=False) for action in actions).encode()
    if bare == body:
        return False
    stream = store.open_output_stream(path)
    stream.write(bare)
    stream.close()
    return True


def _drop_halves(table: Table) -> None:
    """On a disk: what a writer that died left half written. Its name ends in `#` and a number until then."""
    place = urlsplit(table.delta.table_uri)
    if place.scheme not in ("", "file"):
        return
    for path in Path(unquote(place.path)).rglob("*#[0-9]*"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ALIVE:
                path.unlink()
