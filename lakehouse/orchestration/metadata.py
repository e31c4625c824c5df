"""frames → Dagster's metadata."""

import dagster as dg
import polars as pl

LISTED = 50
"""Objects, differences and the like that one materialization names."""


def table_of(frame: pl.DataFrame) -> dg.MetadataValue:
    plain = frame.head(LISTED).with_columns(pl.all().cast(pl.String))
    records = [dg.TableRecord(row) for row in plain.to_dicts()]
    return dg.MetadataValue.table(records, schema=schema_of(plain.schema))


def schema_of(columns: pl.Schema) -> dg.TableSchema:
    return dg.TableSchema([dg.TableColumn(name, type=_kind(dtype)) for name, dtype in columns.items()])


def _kind(dtype: pl.DataType) -> str:
    return str(dtype.base_type()).lower()
