"""columns → the text of a dataset file, which Python takes as it is whatever the data calls itself."""

from __future__ import annotations

import json
import keyword
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dataframely as dy
import polars as pl

LINE = 110
ARGUMENTS = {"Zoned": ("Datetime", {"time_zone": "UTC"})}


@dataclass(frozen=True)
class Column:
    """A column as it will be declared, and what was seen of it."""

    name: str
    kind: str
    nullable: bool
    seen: str
    key: bool = False

    def declared(self, alias: str | None = None) -> Any:
        return getattr(dy, self._type[0])(**self._arguments(alias))

    def line(self, alias: str | None = None) -> str:
        told = ", ".join(f"{name}={_quoted(value)}" for name, value in self._arguments(alias).items())
        return f"dy.{self._type[0]}({told})"

    @property
    def _type(self) -> tuple[str, dict[str, str]]:
        return ARGUMENTS.get(self.kind, (self.kind, {}))

    def _arguments(self, alias: str | None) -> dict[str, Any]:
        rule = {"primary_key": True} if self.key else {"nullable": self.nullable}
        return self._type[1] | rule | ({"alias": alias} if alias else {})


PLACE = [
    Column("landed_object", "String", False, "where the record stands", key=True),
    Column("landed_record", "Int64", False, "its number there", key=True),
]


def placed(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Each record with where it stands, for a key where its own columns make none."""
    return rows.with_columns(landed_object="_object", landed_record="_record")


def as_contract(columns: Sequence[Column]) -> type[dy.Schema]:
    declared = columns if any(c.key for c in columns) else [*columns, *PLACE]
    return type("Inferred", (dy.Schema,), {f"c{n}": c.declared(c.name) for n, c in enumerate(declared)})


def printed(name: str, prefix: str, columns: Sequence[Column], why: str, notes: Sequence[str]) -> str:
    keyed = any(c.key for c in columns)
    declared = columns if keyed else [*PLACE, *columns]
    kind = "".join(part.capitalize() for part in name.split("_"))
    lines = [
        f'"""What landed below {plain(prefix)}/, as `lakehouse infer` found it.',
        "",
        *notes,
        "Ranges are what was seen and no rules; a rule is written into the column: `min=`, `max=`, `regex=`.",
        '"""',
        "",
        "import dataframely as dy",
        *([] if keyed else ["import polars as pl"]),
        "",
        "from lakehouse.dataset import Dataset",
        "",
        "",
        f"class {kind}(dy.Schema):",
        f'    """One record below {plain(prefix)}/."""',
        "",
        f"    # Likely key: {why}.",
        *(f"    {line}" for n, column in enumerate(declared) for line in _attribute(n, column)),
        "",
        "",
        *([] if keyed else PLACED),
        f"dataset = Dataset({_quoted(name)}, landing={_quoted(f'{prefix}/**')}, contract={kind}"
        + (")" if keyed else ", clean=clean)"),
    ]
    return "\n".join(lines) + "\n"


PLACED = [
    "def clean(rows: pl.LazyFrame) -> pl.LazyFrame:",
    '    """Each record with where it stands: no columns of its own tell it from others."""',
    '    return rows.with_columns(landed_object="_object", landed_record="_record")',
    "",
    "",
]


def _attribute(number: int, column: Column) -> Iterator[str]:
    fit = column.name.isidentifier() and column.name.isascii() and not column.name.startswith("_")
    taken = keyword.iskeyword(column.name) or column.name == "dy" or hasattr(dy.Schema, column.name)
    name = column.name if fit and not taken else f"column_{number}"
    line = f"{name} = {column.line(None if name == column.name else column.name)}"
    if len(line) + len(column.seen) > LINE:
        yield f"# {column.seen}"
        yield line
    else:
        yield f"{line}  # {column.seen}"


def documents(name: str, prefix: str, heads: pl.DataFrame) -> str:
    """The declaration of objects of which none could be read as records."""
    return "\n".join(
        [
            f'"""{len(heads)} objects below {plain(prefix)}/, of which none could be read as records."""',
            "",
            "from lakehouse.documents import documents",
            "",
            f"dataset = documents({_quoted(name)}, landing={_quoted(f'{prefix}/**')})",
            "",
        ]
    )


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def plain(text: str) -> str:
    """Text as it may stand in a docstring."""
    return ascii(text)[1:-1].replace('"', "'")
