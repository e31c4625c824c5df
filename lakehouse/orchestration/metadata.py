"""tables and frames → Dagster's metadata.

What a step tells of its table comes from Delta's log alone, since items wait for it; what has to read the table is
told by the checks, which run after the items.
"""

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import dagster as dg
import polars as pl

from lakehouse.dataset import Dataset, Serving
from lakehouse.lake import Hopped, Lake, Table
from lakehouse.layers.origins import Origins
from lakehouse.orchestration.columns import ITEM, OURS
from lakehouse.words import counted

LISTED = 50
"""Objects, differences and the like that one materialization names."""
NARROW = 8
"""Columns of a preview."""
PART = "partition._part"


def table_of(frame: pl.DataFrame) -> dg.MetadataValue:
    plain = frame.head(LISTED).with_columns(pl.all().cast(pl.String))
    records = [dg.TableRecord(row) for row in plain.to_dicts()]
    return dg.MetadataValue.table(records, schema=schema_of(plain.schema))


def schema_of(columns: Mapping[str, Any], said: Mapping[str, str] | None = None) -> dg.TableSchema:
    """`said`: a description of some of the columns."""
    told = said or {}
    return dg.TableSchema([dg.TableColumn(n, type=_kind(t), description=told.get(n)) for n, t in columns.items()])


def _kind(dtype: pl.DataType) -> str:
    return str(dtype.base_type()).lower()


def describe(lake: Lake, table: Table, done: Hopped, heads: pl.DataFrame | None = None) -> dict[str, Any]:
    """What every table tells when it was written: in a sentence, and in numbers whose names stay the same.

    `heads`: those of the objects that caused it, where objects did.
    """
    numbers = {
        "upserted": done.upserted,
        "deleted": done.deleted,
        **_split(table, done, heads),
        "files_rewritten": done.rewritten,
        "rows_copied": done.copied,
    }
    if heads is None:
        return standing(lake, table, _moved(numbers)) | numbers
    caused = f"Caused by {counted(len(heads), 'object')}."
    return {
        **standing(lake, table, _moved(numbers), caused),
        **numbers,
        "objects_read": len(heads),
        **latency(heads),
    }


def standing(lake: Lake, table: Table, moved: str = "", *more: str) -> dict[str, Any]:
    """What the log alone tells of a table: how much stands there, and where. `moved`: what was done to it.

    A raw table's rows are its records.
    """
    files = table.files
    newest = _newest(files)
    dated = [f"Newest: {newest:%Y-%m-%d %H:%M} UTC."] if newest else []
    rows = files.filter(pl.col(PART) == "row") if PART in files.columns else files
    count, size = int(rows["num_records"].sum()), int(files["size_bytes"].sum())
    return {
        "summary": summary("row", count, moved, f"in {_sized(len(files), size)}", *dated, *more),
        "dagster/row_count": count,
        "delta_version": table.version,
        "files": len(files),
        "megabytes": round(size / 1e6, 3),
        "dagster/uri": lake.uri(table.name),
        "dagster/table_name": table.name,
        "dagster/storage_kind": "deltalake",
        **({"newest": dg.MetadataValue.timestamp(newest)} if newest else {}),
    }


def summary(what: str, count: int, moved: str, where: str = "", *more: str) -> dg.MetadataValue:
    """A plain sentence, and what more there is to say."""
    first = f"{counted(count, what)}{f': {moved}' if moved else ''}{f', {where}' if where else ''}."
    return dg.MetadataValue.md("\n\n".join([first, *more]))


def _sized(files: int, size: int) -> str:
    told = f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{-(-size // 1000)} kB"
    return f"{counted(files, 'file')} of {told}{'' if files == 1 else ' together'}"


def _moved(numbers: Mapping[str, int]) -> str:
    words = {"added": "added", "changed": "changed"} if "added" in numbers else {"upserted": "written"}
    told = [f"{numbers[name]:,} {word}" for name, word in {**words, "deleted": "deleted"}.items() if numbers[name]]
    return ", ".join(told) or "nothing changed"


def _split(table: Table, done: Hopped, heads: pl.DataFrame | None) -> dict[str, int]:
    """How many of the rows written are new, and how many stood there before; nothing where more than one commit
    wrote them, since the log tells it by commit. Raw is only ever added to.
    """
    if not done.upserted:
        return {"added": 0, "changed": 0}
    if heads is not None and done.table.startswith("raw/"):
        return {"added": int(heads["_records"].sum()), "changed": 0}
    ((added, changed),) = table.wrote(1)
    return {"added": added, "changed": changed} if added + changed == done.upserted else {}


def _newest(files: pl.DataFrame) -> datetime | None:
    """The newest of the first column of times that the table itself has, from the log's statistics."""
    times = [
        c
        for c, t in files.schema.items()
        if c.startswith("max.") and not c.startswith("max._") and t.is_temporal()
    ]
    newest = files[times[0]].max() if times else None
    return newest.astimezone(UTC) if isinstance(newest, datetime) and newest.tzinfo else None


def latency(heads: pl.DataFrame) -> dict[str, float]:
    """Seconds from the upload of the last object until now; S3 tells the upload in whole seconds."""
    uploaded = heads["_modified"].max() if len(heads) else None
    if not isinstance(uploaded, datetime):
        return {}
    return {"seconds_since_upload": round((datetime.now(UTC) - uploaded).total_seconds(), 1)}


def raw_schema(columns: Mapping[str, Any], dataset: Dataset) -> dg.TableSchema:
    """A raw table's columns: ours in our words, the files' own in the contract's."""
    known = dataset.contract.columns()
    words = {name: known[name].description if name in known else None for name in columns}
    return schema_of(columns, {name: f"{text or ''} ← the files".strip() for name, text in words.items()} | OURS)


def contract_schema(dataset: Dataset, origins: Origins) -> dg.TableSchema:
    """The contract's columns, its words for them, and where each comes from."""
    raw = [f"raw/{dataset.name}"]
    return dg.TableSchema(
        [
            dg.TableColumn(
                name,
                type=type(column).__name__.lower(),
                description=f"{column.description or ''} ← {_origin(name, origins, raw)}".strip(),
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=False),
            )
            for name, column in dataset.contract.columns().items()
        ]
    )


def served_schema(
    one: Serving, datasets: Mapping[str, Dataset], columns: Mapping[str, Any], origins: Origins
) -> dg.TableSchema:
    """The table's columns, each in the words of the dataset that has it too, and where each comes from."""
    said = {}
    for name in columns:
        holders = [u for u in one.upstreams if (f"cleaned/{u}", name) in origins.get(name, [])]
        words = [datasets[u].contract.columns()[name].description or "" for u in holders[:1]]
        said[name] = f"{''.join(words)} ← {_origin(name, origins, one.upstreams)}".strip()
    return schema_of(columns, said)


def item_schema(one: Serving, row: Mapping[str, Any]) -> dict[str, Any]:
    """An item's attributes and where each comes from. `row`: the serving table's columns."""
    table = f"serving/{one.name}"
    said = {name: f"← {table}.{name}" for name in row} | ITEM
    columns = schema_of({"_key": pl.String(), "_version": pl.Int64(), **row}, said)
    origins = {name: [(table, name)] for name in row} | {"_key": [(table, key) for key in one.keys]}
    return {"dagster/column_schema": columns, "dagster/column_lineage": lineage(origins)}


def _origin(name: str, origins: Origins, tables: Sequence[str]) -> str:
    """Where a column comes from, in words. `tables`: all that there are to come from."""
    found = origins.get(name)
    told = ", ".join(f"{table.removeprefix('cleaned/')}.{column}" for table, column in found or [])
    if found and all(column == name for _, column in found):
        return told
    rows = "the rows of " if found == [] else ""
    return f"computed from {told or rows + ', '.join(tables)}"


def lineage(origins: Origins) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(dg.AssetKey(table.split("/")), column) for table, column in found]
            for name, found in origins.items()
            if found
        }
    )


@cache
def code_of(thing: Callable[..., Any] | type) -> dict[str, Any]:
    """Where a person reads what makes the table: the dataset's file, not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        path, line = inspect.getsourcefile(thing) or "", inspect.getsourcelines(thing)[1]
        place = dg.LocalFileCodeReference(file_path=path, line_number=line, label=thing.__name__)
        return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[place])}


def preview(table: Table) -> dg.MetadataValue:
    """A few rows of a few columns, as Markdown; of what the table itself has, not of what it keeps for us."""
    columns = [c for c in table.columns if not c.startswith("_")][:NARROW]
    records = table.scan().filter(pl.col("_part") == "row") if "_part" in table.columns else table.scan()
    rows = records.select(columns).head(5).collect() if columns else pl.DataFrame()
    told = [[str(v)[:18].replace("|", "\\|") if v is not None else "" for v in row] for row in rows.iter_rows()]
    return dg.MetadataValue.md(
        "\n".join(f"| {' | '.join(line)} |" for line in [columns, ["---"] * len(columns), *told])
    )


def bars(values: Sequence[int]) -> dg.MetadataValue:
    """A small drawing of the last values, the newest at the right, short enough to be shown inline."""
    most, width = max(values, default=0) or 1, 8
    heights = [max(1, round(36 * v / most)) for v in values]
    path = "".join(f"M{i * (width + 2)} 38v-{h}h{width}v{h}z" for i, h in enumerate(heights))
    drawn = f"%3Csvg xmlns='http://www.w3.org/2000/svg' width='{len(values) * (width + 2)}' height='40'%3E"
    drawn += f"%3Cpath fill='%234f7fae' d='{path}'/%3E%3C/svg%3E"
    return dg.MetadataValue.md(
        f"![{', '.join(map(str, values[-3:]))}](data:image/svg+xml,{drawn.replace(' ', '%20')})"
    )
