"""What a function is computed over: rows in memory, or a table at its version."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from lakehouse.lake import Table
from lakehouse.lake.scope import within

GROUPS = 100_000
"""More groups than these are not sent to an engine: it computes all, and those not asked for are left out."""


@dataclass(frozen=True)
class Narrowed:
    """A table's rows at its handle's version; of some groups only, if a frame of their keys is given."""

    table: Table
    groups: pl.DataFrame | None = None

    @property
    def beyond(self) -> bool:
        """Whether the groups are too many to be sent."""
        return self.groups is not None and len(self.groups) > GROUPS

    def scan(self) -> pl.LazyFrame:
        return self.table.scan() if self.groups is None else within(self.table.near(self.groups), self.groups)


Frame = Narrowed | pl.DataFrame
