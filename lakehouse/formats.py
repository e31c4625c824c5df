"""How a dataset's objects are written, where names and content do not tell it by themselves."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Csv:
    """Delimited text. What is None is found out: the delimiter by its records, the encoding by its bytes.

    Bytes tell UTF-8 and UTF-16. Another encoding, "latin-1" for one, can only be declared: every byte is a letter
    in it. `quote=""`: a quote is a letter like any other. Without a `header` the columns are `columns`, or
    column_1, column_2, …
    """

    delimiter: str | None = None
    encoding: str | None = None
    quote: str = '"'
    header: bool = True
    columns: Sequence[str] = ()

    def __post_init__(self) -> None:
        _known(self.encoding)
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise ValueError(f"a delimiter is one letter, not {self.delimiter!r}")
        if self.header and self.columns:
            raise ValueError("columns are told where there is no header: header=False")


@dataclass(frozen=True)
class Json:
    """One document, an array of records, or one record a line: found out."""

    encoding: str | None = None

    def __post_init__(self) -> None:
        _known(self.encoding)


@dataclass(frozen=True)
class Lines:
    """Plain text: one record a line, in the column `line`."""

    encoding: str | None = None

    def __post_init__(self) -> None:
        _known(self.encoding)


@dataclass(frozen=True)
class Parquet:
    """Typed columns."""


@dataclass(frozen=True)
class Arrow:
    """Typed columns, as a file or a stream of Arrow's own; Feather, too."""


@dataclass(frozen=True)
class Avro:
    """Typed records."""


@dataclass(frozen=True)
class Orc:
    """Typed columns."""


@dataclass(frozen=True)
class Excel:
    """A workbook, each sheet an object of its own. `skip`: rows above the header with something in them."""

    skip: int = 0

    def __post_init__(self) -> None:
        if self.skip < 0:
            raise ValueError("skip is a number of rows, 0 or more")


@dataclass(frozen=True)
class Xml:
    """Elements as records. `record`: the name of those that are, wherever they stand; None: found out."""

    record: str | None = None


Format = Csv | Json | Lines | Parquet | Arrow | Avro | Orc | Excel | Xml


def _known(encoding: str | None) -> None:
    try:
        codecs.lookup(encoding or "utf-8")
    except LookupError as error:
        raise ValueError(f"{encoding!r} is no encoding that Python knows") from error
