"""Excel workbook → its sheets, each as rows of text: a cell has a type there, a column has none.

The first row that has something in it is the header; rows without anything are none. An error that stands in a
cell is the cell's text.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any, TypeVar

import polars as pl

from lakehouse.formats import Excel
from lakehouse.landing.markup import SAFE, local
from lakehouse.landing.packing import ARCHIVE_FAULTS, MEMBERS, Budget
from lakehouse.landing.refusal import Unreadable, check_names

NAMES = (".xlsx", ".xlsm")
AS_IT_COMES = Excel()
CELL = 32
"""Bytes that a cell takes in the library that reads it, an empty one between others too."""
PART, BOOK = "[Content_Types].xml", "xl/workbook.xml"
PLACE = re.compile("([A-Z]+)([0-9]+)", re.IGNORECASE)
CELLS = [f"{{*}}{name}" for name in ("si", "is", "v")]
"""The elements that are a cell's text: shared, its own, or a value."""
TIME_OF_DAY = r"^1899-12-3[01] ([0-9:.]{8,})$"
"""The day on which a mere time of day stands."""
ERRORS = {
    "Error(Div0)": "#DIV/0!",
    "Error(NA)": "#N/A",
    "Error(Name)": "#NAME?",
    "Error(Null)": "#NULL!",
    "Error(Num)": "#NUM!",
    "Error(Ref)": "#REF!",
    "Error(Value)": "#VALUE!",
}
"""A cell's error as its reader calls it, and as Excel does."""
PANIC = "PanicException"
"""What a library in Rust raises where it gives up: no `Exception`, and a type of each library's own."""
Sheet = tuple[str, pl.DataFrame | Unreadable]
T = TypeVar("T")


def is_workbook(file: IO[bytes]) -> bool:
    """Raises `Unreadable` of an Office document that is none: what is in it is no member of an archive."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except ARCHIVE_FAULTS:
        return False
    if BOOK not in names and (PART in names or "mimetype" in names[:1]):
        raise Unreadable(f"an Office document that is no workbook of the kinds {', '.join(NAMES)}")
    return BOOK in names and PART in names


def sheets(body: bytes, budget: Budget, form: Excel = AS_IT_COMES) -> Iterator[Sheet]:
    """Each sheet by name: no rows where it has no cells. Raises `Unreadable` of the whole."""
    import fastexcel

    _check_size(body, budget)
    book = _read(partial(fastexcel.read_excel, body))
    if isinstance(book, Unreadable):
        raise book
    names = book.sheet_names
    if len(names) > MEMBERS or len(names) > len(set(names)):
        raise Unreadable(
            f"a workbook of {len(names):,} sheets; {MEMBERS:,} are allowed, each with a name of its own"
        )
    for name in names:
        rows = _read(partial(_rows, book, name, form))
        budget.spend(0 if isinstance(rows, Unreadable) else int(rows.estimated_size()))
        yield name, rows


def cell_texts(body: bytes) -> Iterator[str]:
    """What stands in the cells of a workbook that `sheets` has opened, those of refused sheets, too."""
    from lxml import etree

    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        for part in archive.namelist():
            if part.endswith(".xml"):
                tree = etree.fromstring(archive.read(part), etree.XMLParser(**SAFE))
                yield from ("".join(cell.itertext()) for cell in tree.iter(*CELLS))


def _read(work: Callable[[], T]) -> T | Unreadable:
    """What the work gives, or why the bytes are to blame that it gives nothing: a panic of its library, too."""
    try:
        return work()
    except Unreadable as error:
        return error
    except BaseException as error:  # it sees the bytes and nothing else
        if isinstance(error, MemoryError) or not (isinstance(error, Exception) or type(error).__name__ == PANIC):
            raise
        return Unreadable(f"a workbook that cannot be read: {error}")


def _rows(book: Any, name: str, form: Excel) -> pl.DataFrame:
    cells = _cells(book.load_sheet(name, header_row=None, dtypes="string"))
    cells = cells.filter(~pl.all_horizontal(pl.all().is_null())) if cells.width else cells
    cells = cells[[c.name for c in cells if c.null_count() < len(c)]]
    if len(cells) <= form.skip:
        return pl.DataFrame()
    names = [name or "" for name in cells.row(form.skip)]
    check_names(names)
    return cells[form.skip + 1 :].rename(dict(zip(cells.columns, names, strict=True)))


def _cells(sheet: Any) -> pl.DataFrame:
    batch, errors = sheet.to_arrow_with_errors()
    cells = pl.from_arrow(batch)
    assert isinstance(cells, pl.DataFrame)
    told: dict[int, dict[int, str]] = {}
    for error in errors.errors if errors else []:
        row, column = error.offset_position
        told.setdefault(column, {})[row] = ERRORS.get(error.detail.split("'")[-2], error.detail)
    faulty = [cells.to_series(n).scatter([*texts], [*texts.values()]) for n, texts in told.items()]
    return cells.with_columns(faulty).with_columns(pl.all().replace("", None).str.replace(TIME_OF_DAY, "$1"))


def _check_size(body: bytes, budget: Budget) -> None:
    """Take from the budget what the workbook unpacks to, and its cells, once those between them are filled in."""
    from lxml import etree

    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            for part in archive.infolist():
                with archive.open(part) as stream:
                    content = budget.take(stream)
                if part.filename.endswith(".xml"):
                    budget.spend(CELL * etree.fromstring(content, etree.XMLParser(target=_Extent(), **SAFE)))
    except (*ARCHIVE_FAULTS, SyntaxError) as error:
        raise Unreadable(f"a workbook that cannot be opened: {error}") from error


class _Extent:
    """How many cells lie between the first and the last that has something in it, told without building a tree."""

    def __init__(self) -> None:
        self.row = self.column = self.rows = self.columns = 0

    def start(self, tag: str, attributes: Any) -> None:
        match local(tag):
            case "row":
                self.row, self.column = int(attributes.get("r", self.row + 1)), 0
            case "c":
                self.column += 1
                if found := PLACE.fullmatch(attributes.get("r", "")):
                    self.column, self.row = _number(found[1].upper()), int(found[2])
            case "v" | "is":
                self.rows, self.columns = max(self.rows, self.row), max(self.columns, self.column)

    def close(self) -> int:
        return self.rows * self.columns


def _number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - 64
    return number
