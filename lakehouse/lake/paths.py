"""A table's path: another takes its place by one commit, and what lay there before goes after its time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial

import polars as pl
from deltalake._internal import DeltaFileSystemHandler
from deltalake.exceptions import TableNotFoundError

from lakehouse.lake.race import again
from lakehouse.lake.table import POINTERS, RETENTION, Lake, Table, schema

SCHEMA = schema({"table": pl.String, "number": pl.Int64, "since": pl.Datetime("us", "UTC")})


def switch(lake: Lake, numbers: Mapping[str, int]) -> bool:
    """Have tables lie at the paths of these numbers, all by one commit; False if they do, or at later ones.

    Nothing is moved: who has opened a table goes on reading where it was. Raises `Conflict` when every look lost
    its race.
    """
    return again(partial(_switch, lake, numbers))


def _switch(lake: Lake, numbers: Mapping[str, int]) -> bool:
    pointers = lake.ensure(POINTERS, SCHEMA, key=["table"])
    stands = dict(pointers.scan().select("table", "number").collect().iter_rows())
    later = {name: number for name, number in numbers.items() if number > stands.get(name, 0)}
    if not later:
        return False
    rows = pl.DataFrame([(*one, datetime.now(UTC)) for one in later.items()], schema=SCHEMA, orient="row")
    pointers.apply(rows, rows.clear(), ["table"])
    return True


def former(lake: Lake, name: str) -> Iterator[Table]:
    """The table at each path where it lay before and still is, the last first."""
    for number in reversed(range(lake.numbers().get(name, 0))):
        if found := lake.at(name, number):
            yield found


def retire(lake: Lake, pinned: Collection[str] = ()) -> dict[str, int]:
    """Delete what lies at paths that were left longer ago than `RETENTION`; gives how many files, by table.

    `pinned`: ids of tables that somebody may read whatever their age. A repeat deletes what is left.
    """
    pointers = lake.open(POINTERS)
    if pointers is None:
        return {}
    old = pointers.scan().filter(pl.col("since") < datetime.now(UTC) - RETENTION).collect()
    found: dict[str, int] = {}
    for name, number, _ in old.iter_rows():
        for before in range(number):
            table = lake.at(name, before)
            if (table is None or table.id not in pinned) and (files := _delete(lake, lake.place(name, before))):
                found[name] = found.get(name, 0) + files
    return found


def _delete(lake: Lake, place: str) -> int:
    """All files of a folder; gives how many. The log goes last: what was cut off can be told and is repeated."""
    try:
        store = DeltaFileSystemHandler(place, dict(lake.storage_options) or None)
    except TableNotFoundError:
        return 0
    files = [one.path for one in store.get_file_info_selector("", True, recursive=True) if one.is_file]
    for path in sorted(files, key=lambda path: path.startswith("_delta_log")):
        store.delete_file(path)
    return len(files)
