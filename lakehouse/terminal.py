"""frames → a terminal: colour and width only where there is one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from lakehouse.words import counted

if TYPE_CHECKING:
    import polars as pl

CELL = 40
"""Columns of text of one cell; what is longer is cut."""
GAP = 3
"""What stands between two cells."""
WIDE = 160
"""Columns of text where nothing tells the width: a file or a pipe."""


def console() -> Console:
    found = Console(highlight=False)
    return found if found.is_terminal else Console(width=WIDE, highlight=False, color_system=None)


def busy(what: str) -> AbstractContextManager[object]:
    """Says on a terminal's standard error that something goes on, for as long as it does."""
    if isinstance(sys.stdout, _Watched):
        sys.stdout.end()
    out = Console(stderr=True)
    return _spinner(what, out, redirect_stdout=sys.stdout.isatty()) if out.is_terminal else nullcontext()


@contextmanager
def patience(what: str) -> Iterator[None]:
    """As `busy`, but only until something is printed, or until `busy` says it better."""
    out = Console(stderr=True)
    if not out.is_terminal:
        yield
        return
    watched = _Watched(_spinner(what, out, redirect_stdout=False))
    try:
        yield
    finally:
        watched.end()


class _Watched:
    """Standard output, until the first word goes there: before it, the spinner is taken away."""

    def __init__(self, spinner: Live) -> None:
        self.out, self.spinner = sys.stdout, spinner
        sys.stdout = self
        spinner.start()

    def end(self) -> None:
        self.spinner.stop()
        sys.stdout = self.out if sys.stdout is self else sys.stdout

    def write(self, text: str) -> int:
        self.end()
        return self.out.write(text)

    def __getattr__(self, name: str) -> Any:
        if name in ("buffer", "writelines"):
            self.end()
        return getattr(self.out, name)


def _spinner(what: str, out: Console, *, redirect_stdout: bool) -> Live:
    spinner = Spinner("dots", f"{what} …")
    return Live(spinner, console=out, transient=True, redirect_stdout=redirect_stdout, refresh_per_second=12)


def table(title: str, rows: pl.DataFrame, limit: int, note: str = "", what: str = "row") -> None:
    """The first rows below a title, and how many there are in all. `what`: one of them."""
    out = console()
    out.print(f"[bold]{title}[/]  {counted(len(rows), what)}" + (f"  [dim]{note}[/]" if note else ""))
    if len(rows):
        grid, left_out = _grid(rows.head(limit), out.width)
        out.print(grid)
        if left_out:
            out.print(f"  [dim]… and {counted(left_out, 'more column')}[/]")
    if len(rows) > limit:
        out.print(f"  [dim]… and {len(rows) - limit:,} more[/]")
    out.print()


def _grid(rows: pl.DataFrame, width: int) -> tuple[Table, int]:
    """One line a row: as many columns as there is room for, and how many there are beyond."""
    told = [c for c in rows.columns if rows[c].null_count() < len(rows)] or rows.columns
    grid, shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1)), list[list[Text]]()
    for name in told:
        cells = [_cell(value) for value in (name, *rows[name])]
        width -= max(cell.cell_len for cell in cells) + GAP
        if width < 0 and shown:
            break
        grid.add_column(cells[0], justify="right" if rows[name].dtype.is_numeric() else "left", no_wrap=True)
        shown.append(cells[1:])
    for row in zip(*shown, strict=True):
        grid.add_row(*row)
    return grid, len(told) - len(shown)


def _cell(value: object) -> Text:
    """A value on one line, cut if it is long."""
    told = "" if value is None else str(plain(value) if isinstance(value, datetime | date | bytes) else value)
    text = Text(" ".join(told.split()))
    text.truncate(CELL, overflow="ellipsis")
    return text


def plain(value: Any) -> str | float:
    """What JSON has no word for. A decimal is a number where that says the same."""
    if isinstance(value, Decimal):
        return float(value) if Decimal(repr(float(value))) == value else str(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds").replace("+00:00", "Z")
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return value.isoformat() if isinstance(value, date) else str(value)
