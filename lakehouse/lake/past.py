"""A table as it stood: by version, or by the time at which that was the newest; to be read, or put back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
from deltalake.exceptions import DeltaError

from lakehouse.lake.race import again
from lakehouse.lake.table import BUILT, HELD, POINTERS, SHARED, Cursor, Lake, Table

Marks = Callable[[Table, Table], Mapping[str, int]]


class Forgotten(Exception):
    """A version that a table does not have, or has no more. The message says what it has."""


def moment(text: str) -> int | datetime:
    """`12` is a version, `2026-11-01T10:00:00Z` a time; a time without a zone is UTC. Raises `ValueError`."""
    if text.isdecimal():
        return int(text)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def as_of(lake: Lake, name: str, when: int | datetime) -> Table | None:
    """The table as it stood, None if nobody has made it. Raises `Forgotten`.

    A version is one of the path where the table lies; at a time it may have lain at another.
    """
    number = lake.numbers().get(name, 0)
    then = number if isinstance(when, int) else min(number, _path_at(lake, name, when))
    table = lake.at(name, then)
    if table is None and then < number:
        raise Forgotten(f"{name} lay at another path at {when}, before a backfill, and retention has removed that")
    if table is None:
        return None
    version = when if isinstance(when, int) else _version_at(table, when)
    newest = table.version
    try:
        table.delta.load_as_version(version)
    except DeltaError as error:
        kept = "retention has removed it" if version < newest else f"its newest version is {newest}"
        raise Forgotten(f"{name} has no version {version}: {kept}") from error
    return table


def _path_at(lake: Lake, name: str, when: datetime) -> int:
    """The number of the path where a table lay at a time."""
    pointers = lake.at(POINTERS, 0)
    if pointers is None or when < _made_at(pointers):
        return 0
    pointers.delta.load_as_version(_version_at(pointers, when))
    found = pointers.scan().filter(pl.col("table") == name).collect()
    return int(found["number"][0]) if len(found) else 0


def _made_at(table: Table) -> datetime:
    return datetime.fromtimestamp(table.delta.metadata().created_time / 1000, UTC)


def _version_at(table: Table, when: datetime) -> int:
    """The newest version that had been committed at that time, as the log tells."""
    log = sorted((entry["version"], entry["timestamp"]) for entry in table.delta.history())
    past = [version for version, told in log if told <= when.timestamp() * 1000]
    if past:
        return int(past[-1])
    first, told = log[0]
    begins = datetime.fromtimestamp(told / 1000, UTC).isoformat(timespec="milliseconds")
    raise Forgotten(f"{table.name} cannot be told at {when.isoformat()}: its log begins with {first}, of {begins}")


def no_marks(_now: Table, _past: Table) -> Mapping[str, int]:
    return {}


def restore(
    lake: Lake, name: str, when: int | datetime, sources: Iterable[str], marks: Marks = no_marks, *, hold: bool
) -> tuple[int, int]:
    """Put rows, columns and cursors back, in one commit; gives the version that stands, and its new.

    `marks`: those that the table then has, by what it is and what it was.

    The next hop goes on from the cursors of then, or, with `hold`, waits until the table is resumed. Targets of
    the table follow by its change feed. Raises `Forgotten`, and `Conflict` when every look lost its race.
    """

    def back() -> tuple[int, int]:
        now, past = lake.open(name), as_of(lake, name, when)
        if now is None or past is None:
            raise Forgotten(f"there is no table {name}")
        return past.version, _put_back(now, past, sources, marks, hold)

    return again(back)


def _put_back(now: Table, past: Table, sources: Iterable[str], marks: Marks, hold: bool) -> int:
    if past.id != now.id:
        return _brought(now, past, sources, hold)
    if past.version == now.version:
        return now.version if hold == now.held else now.append(pl.DataFrame(), marks={HELD: int(hold)})
    told = {**marks(now, past)}
    if hold or now.held:
        told[HELD] = int(hold)
    if now.delta.schema() != past.delta.schema() or now.partitions != past.partitions:
        told[BUILT] = now.version + 1
    if now.mark(SHARED):
        told[SHARED] = 0
    cursors = [_back(cursor, past) for s in sources if (cursor := now.cursor(s))]
    try:
        return now.restore(past.version, cursors, told)
    except DeltaError as error:
        if "missing file" not in str(error):
            raise
        raise Forgotten(f"{now.name} at {past.version}: retention has removed files of it") from error


def _brought(now: Table, past: Table, sources: Iterable[str], hold: bool) -> int:
    """Write what stood at another path into the table as it lies now."""
    if hold != now.held:
        now.append(pl.DataFrame(), marks={HELD: int(hold)})
    cursors = [_back(cursor, past) for s in sources if (cursor := now.cursor(s))]
    return now.overwrite(past.scan().collect(), cursors, past.partitions)


def _back(cursor: Cursor, past: Table) -> Cursor:
    """The cursor of then; where there was none, one that says nothing."""
    nothing = replace(cursor, version=0, stamp=0, rows=None if cursor.rows is None else 0)
    return past.cursor(cursor.source) or nothing


def resume(table: Table) -> int:
    """Let hops bring a held table up to its sources again; gives its version."""
    return table.append(pl.DataFrame(), marks={HELD: 0}) if table.held else table.version
