"""Files → a Delta table, by others' tools; runs in the peers' environment and imports nothing of the package.

Every column is kept as text, as raw keeps it, and nothing else is: no object's identity, no heads, no cursor.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

Steps = Generator[dict[str, Any] | None, None, dict[str, Any] | None]


def files(data: Path) -> list[Path]:
    return sorted(data.rglob("*.csv"))


def rows_in(out: Path) -> dict[str, Any]:
    from deltalake import DeltaTable

    return {"rows": DeltaTable(out).to_pyarrow_dataset().count_rows()}


def write_per_file(data: Path, out: Path, _: float) -> Steps:
    """The function-per-object pattern: read one file, append it."""
    import polars as pl
    from deltalake import write_deltalake

    found = files(data)
    yield
    for path in found:
        write_deltalake(out, pl.read_csv(path, infer_schema=False).to_arrow(), mode="append")
    return None


def sink_delta(data: Path, out: Path, _: float) -> Steps:
    import polars as pl

    found = files(data)
    yield
    pl.scan_csv(found, infer_schema=False).sink_delta(str(out))
    return None


def record_batches(data: Path, out: Path, _: float) -> Steps:
    """A stream of record batches by pyarrow's dataset, every column as text."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.dataset as ds
    from deltalake import write_deltalake

    found = files(data)
    with open(found[0]) as file:
        header = file.readline().strip().split(",")
    text = pa.csv.ConvertOptions(column_types={name: pa.string() for name in header})
    yield
    source = ds.dataset([str(p) for p in found], format=ds.CsvFileFormat(convert_options=text))
    write_deltalake(out, source.scanner().to_reader())
    return None


def duck_db(data: Path, out: Path, _: float) -> Steps:
    import duckdb
    from deltalake import write_deltalake

    found = [str(p) for p in files(data)]
    yield
    source = duckdb.sql("select * from read_csv(?, all_varchar = true)", params=[found])
    write_deltalake(out, source.to_arrow_reader(100_000))
    return None


def dlt_filesystem(data: Path, out: Path, _: float) -> Steps:
    """dlt's own filesystem source and `read_csv_duckdb`, written to its filesystem destination as Delta."""
    import dlt
    from dlt.sources.filesystem import filesystem, read_csv_duckdb

    where = dlt.destinations.filesystem(bucket_url=f"file://{out.resolve()}")
    pipeline = dlt.pipeline("bench", destination=where, dataset_name="raw", pipelines_dir=str(out / "state"))
    source = filesystem(bucket_url=f"file://{data.resolve()}", file_glob="**/*.csv")
    rows = (source | read_csv_duckdb(use_pyarrow=True, all_varchar=True)).with_name("rows")
    yield
    told = pipeline.run(rows, table_format="delta", loader_file_format="parquet", write_disposition="append")
    told.raise_on_failed_jobs()
    return None


def sink_parquet(data: Path, out: Path, _: float) -> Steps:
    """The floor: Polars alone, to a Parquet file that is in no table."""
    import polars as pl

    found = files(data)
    yield
    pl.scan_csv(found, infer_schema=False).sink_parquet(out / "rows.parquet", compression="snappy")
    return None
