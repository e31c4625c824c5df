"""frames → a terminal: colour and width only where there is one."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import date, datetime
from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

WIDE = 160
"""Columns of text where nothing tells the width: a file or a pipe."""


def console() -> Console:
    found = Console(highlight=False)
    return found if found.is_terminal else Console(width=WIDE, highlight=False, color_system=None)


def busy(what: str) -> AbstractContextManager[object]:
    """Says on a terminal's standard error that something goes on, for as long as it does."""
    out = Console(stderr=True)
    return out.status(f"{what} …") if out.is_terminal else nullcontext()


def table(title: str, rows: pl.DataFrame, limit: int, note: str = "") -> None:
    """The first rows below a title, and how many there are in all."""
    out = console()
    count = f"{len(rows):,} row{'' if len(rows) == 1 else 's'}"
    out.print(f"[bold]{title}[/]  {count}" + (f"  [dim]{note}[/]" if note else ""))
    if len(rows):
        out.print(_grid(rows.head(limit)))
    if len(rows) > limit:
        out.print(f"  [dim]… and {len(rows) - limit:,} more[/]")
    out.print()


def _grid(rows: pl.DataFrame) -> Table:
    told = [c for c in rows.columns if rows[c].null_count() < len(rows)] or rows.columns
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in told:
        grid.add_column(name, justify="right" if rows[name].dtype.is_numeric() else "left", overflow="fold")
    for row in rows.select(told).iter_rows():
        grid.add_row(*(_cell(value) for value in row))
    return grid


def _cell(value: object) -> str:
    text = "" if value is None else plain(value) if isinstance(value, datetime | date) else str(value)
    return text.replace("[", "\\[")


def plain(value: Any) -> str:
    """What JSON has no word for."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds").replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else str(value)
