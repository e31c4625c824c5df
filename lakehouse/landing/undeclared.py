"""object key → the raw table of its prefix, where no dataset claims it.

A prefix that nobody has declared is a dataset of which only raw is made, under the prefix's name: in the inbox it
has its own partition, and its raw table the cursor that any other has. A dataset that is later declared by that
name finds both and goes on from there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

import dataframely as dy

from lakehouse.dataset import Dataset
from lakehouse.lake import Table

MOST = 50
"""Prefixes that get a table. A tick looks at the lag of each."""
LENGTH = 60


class Unmodelled(dy.Schema):
    """A record of which nothing is known but where it stands."""

    _object = dy.String(primary_key=True)


def stand_in(name: str) -> Dataset:
    """The prefix as the road knows datasets: all that lies in its raw table is its own."""
    return Dataset(name, "**", Unmodelled)


def name_of(prefix: str, taken: Collection[str] = ()) -> str:
    """The name of a prefix's table: `[a-z0-9_]+`, its own where it is one and no dataset has it.

    Else a hash of the prefix tells it from others that read alike.
    """
    plain = re.sub("[^a-z0-9_]+", "_", prefix.lower()).strip("_")[:LENGTH]
    plain = plain if plain[:1].isalpha() else f"prefix_{plain}".rstrip("_")
    if plain == prefix and plain not in taken:
        return plain
    return f"{plain}_{hashlib.sha256(prefix.encode()).hexdigest()[:8]}"


def place(datasets: Collection[str], key: str, known: Collection[str]) -> tuple[str | None, str | None]:
    """(table, None), or (None, why there is none). `known`: the tables that there are."""
    prefix, slash, _ = key.partition("/")
    if not slash:
        return None, "no dataset claims this key, and it is below no prefix"
    name = name_of(prefix, datasets)
    if name not in known and len(known) >= MOST:
        return None, f"no dataset claims this key, and {MOST} prefixes without one have a table already"
    return name, None


def known(box: Table, datasets: Collection[str]) -> set[str]:
    """The tables of prefixes without a dataset, as the inbox's log has them."""
    files = box.files
    if "partition.dataset" not in files.columns:
        return set()
    return {n for n in files["partition.dataset"].unique() if n not in datasets and not n.startswith("_")}
