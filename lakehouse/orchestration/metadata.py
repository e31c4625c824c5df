"""tables and frames → Dagster's metadata.

What a step tells of its table comes from Delta's log alone, since items wait for it; what has to read the table is
told by the checks, which run after the items.
"""

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl

from lakehouse.dataset import Dataset, Serving
from lakehouse.lake import Hopped, Lake, Table

LISTED = 50
"""Objects, differences and the like that one materialization names."""
NARROW = 8
"""Columns of a preview."""


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


def describe(lake: Lake, table: Table, done: Hopped, heads: pl.DataFrame) -> dict[str, Any]:
    """What every table tells when it was written: in a sentence, and in numbers whose names stay the same.

    `heads`: those of the objects that caused it.
    """
    files = pl.DataFrame(table.delta.get_add_actions(flatten=True))
    rows, size = int(files["num_records"].sum()), round(int(files["size_bytes"].sum()) / 1e6, 3)
    newest = _newest(files)
    numbers = {
        "dagster/row_count": rows,
        "delta_version": table.version,
        "upserted": done.upserted,
        "deleted": done.deleted,
        **_split(table, done),
        "files_rewritten": done.rewritten,
        "rows_copied": done.copied,
        "files": len(files),
        "megabytes": size,
        "objects_read": len(heads),
        **_latency(heads),
    }
    return {
        "summary": dg.MetadataValue.md(_summary(table, numbers, newest)),
        **numbers,
        "dagster/uri": lake.uri(done.table),
        "dagster/table_name": done.table,
        "dagster/storage_kind": "deltalake",
        **({"newest": dg.MetadataValue.timestamp(newest)} if newest else {}),
    }


def _split(table: Table, done: Hopped) -> dict[str, int]:
    """How many of the rows written are new, and how many stood there before; nothing where more than one commit
    wrote them, since the log tells it by commit.
    """
    told = table.delta.history(1)[0].get("operationMetrics") or {}
    added, changed = told.get("num_target_rows_inserted", 0), told.get("num_target_rows_updated", 0)
    return {"added": added, "changed": changed} if done.upserted and added + changed == done.upserted else {}


def _newest(files: pl.DataFrame) -> datetime | None:
    """The newest of the first column of times that the table itself has, from the log's statistics."""
    times = [
        c
        for c, t in files.schema.items()
        if c.startswith("max.") and not c.startswith("max._") and t.is_temporal()
    ]
    newest = files[times[0]].max() if times else None
    return newest.astimezone(UTC) if isinstance(newest, datetime) and newest.tzinfo else None


def _latency(heads: pl.DataFrame) -> dict[str, float]:
    """Seconds from the upload of the last object until now; S3 tells the upload in whole seconds."""
    uploaded = heads["_modified"].max() if len(heads) else None
    if not isinstance(uploaded, datetime):
        return {}
    return {"seconds_since_upload": round((datetime.now(UTC) - uploaded).total_seconds(), 1)}


def _summary(table: Table, numbers: Mapping[str, Any], newest: datetime | None) -> str:
    marks = {"added": "+", "changed": "~", "deleted": "−"}
    moved = ", ".join(f"{mark}{numbers[name]:,}" for name, mark in marks.items() if numbers.get(name))
    rows = f"**{numbers['dagster/row_count']:,} rows**" + (f" ({moved})" if moved else "")
    size = f"{numbers['files']:,} files, {numbers['megabytes']:,} MB"
    count = numbers["objects_read"]
    lines = [
        f"{rows} in {size}, version {table.version}.",
        f"Newest: {newest:%Y-%m-%d %H:%M} UTC." if newest else "",
        f"Caused by {count} object{'' if count == 1 else 's'}.",
    ]
    return "\n\n".join(line for line in lines if line)


def contract_schema(dataset: Dataset) -> dg.TableSchema:
    """The contract's columns, its words for them, and where each comes from."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                name,
                type=type(column).__name__.lower(),
                description=f"{column.description or ''} ← raw/{dataset.name}".strip(),
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=False),
            )
            for name, column in dataset.contract.columns().items()
        ]
    )


def served_schema(one: Serving, datasets: Mapping[str, Dataset], columns: Mapping[str, Any]) -> dg.TableSchema:
    """The table's columns: one that an upstream has too, in that one's words; another is computed from all."""
    said = {}
    for name in columns:
        holders = [u for u in one.upstreams if name in datasets[u].contract.column_names()]
        words = [datasets[u].contract.columns()[name].description or "" for u in holders[:1]]
        origin = ", ".join(f"{u}.{name}" for u in holders) or f"computed from {', '.join(one.upstreams)}"
        said[name] = f"{''.join(words)} ← {origin}".strip()
    return schema_of(columns, said)


def lineage(one: Serving, datasets: Mapping[str, Dataset], columns: Mapping[str, Any]) -> dg.TableColumnLineage:
    """Of the columns that an upstream has by the same name: of the others nothing is known."""
    found: dict[str, Sequence[dg.TableColumnDep]] = {}
    for name in columns:
        holders = [u for u in one.upstreams if name in datasets[u].contract.column_names()]
        if holders:
            found[name] = [dg.TableColumnDep(dg.AssetKey(["cleaned", u]), name) for u in holders]
    return dg.TableColumnLineage(found)


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
    rows = table.scan().select(columns).head(5).collect() if columns else pl.DataFrame()
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
