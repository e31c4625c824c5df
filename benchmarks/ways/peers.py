"""Files → a Delta table, and changes into one, by others' tools; and the floors, which write no table.

Runs in the peers' environment and imports nothing of the package. Every column of a CSV file is kept as text, as
raw keeps it, and nothing else is: no object's identity, no heads, no cursor. NDJSON is read into typed columns.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import polars as pl
from deltalake import DeltaTable, write_deltalake

from benchmarks.way import Steps

LANDING, LAKE = "bench-landing", "bench-lake"
"""The buckets of what is done from S3 to S3."""
KEY = ["month", "order", "line"]
"""Of the table of `merge`."""


def files(data: Path) -> list[Path]:
    return sorted(path for path in data.rglob("*") if path.is_file())


def scanned(found: list[Path]) -> pl.LazyFrame:
    return pl.scan_ndjson(found) if found[0].suffix == ".ndjson" else pl.scan_csv(found, infer_schema=False)


def write_per_file(data: Path, out: Path, _: float) -> Steps:
    """The function-per-object pattern: read one file, append it."""
    found = files(data)
    yield
    for path in found:
        rows = pl.read_ndjson(path) if path.suffix == ".ndjson" else pl.read_csv(path, infer_schema=False)
        write_deltalake(out, rows.to_arrow(), mode="append")
    return None


def write_what_parses(data: Path, out: Path, _: float) -> Steps:
    """The same, the table's columns growing with the headers; what cannot be parsed is left out."""
    found, skipped = files(data), 0
    yield
    for path in found:
        try:
            rows = pl.read_csv(path, infer_schema=False)
        except pl.exceptions.PolarsError:
            skipped += 1
            continue
        write_deltalake(out, rows.to_arrow(), mode="append", schema_mode="merge")
    return {"skipped": skipped}


def sink_delta(data: Path, out: Path, _: float) -> Steps:
    found = files(data)
    yield
    scanned(found).sink_delta(str(out))
    return None


def record_batches(data: Path, out: Path, _: float) -> Steps:
    """A stream of record batches by pyarrow's dataset, every column as text."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.dataset as ds

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

    found = [str(p) for p in files(data)]
    yield
    source = duckdb.sql("select * from read_csv(?, all_varchar = true)", params=[found])
    assert source is not None
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
    found = files(data)
    yield
    scanned(found).sink_parquet(out / "rows.parquet")
    return None


def sink_snappy(data: Path, out: Path, _: float) -> Steps:
    found = files(data)
    yield
    scanned(found).sink_parquet(out / "rows.parquet", compression="snappy")
    return None


def sink_each_header(data: Path, out: Path, _: float) -> Steps:
    """The files that are well, told by their names beforehand: a scan and a Parquet file for each header."""
    by_header = {name: [p for p in files(data) if p.stem.endswith(name)] for name in ("alike", "more", "less")}
    yield
    for name, found in by_header.items():
        scanned(found).sink_parquet(out / f"{name}.parquet")
    return None


def s3_sink_parquet(_: Path, out: Path, __: float) -> Steps:
    """From S3 to S3, found by the environment."""
    place = f"s3://{LAKE}/{out.parent.name}"
    yield
    pl.scan_csv(f"s3://{LANDING}/**/*.csv", infer_schema=False).sink_parquet(f"{place}/rows.parquet")
    yield
    return {"bytes": bytes_at(place)}


def wrangler(_: Path, out: Path, __: float) -> Steps:
    """From S3 to S3 through one pandas frame. Without `s3_allow_unsafe_rename` it asks for a lock in DynamoDB."""
    import awswrangler as wr

    wr.config.s3_endpoint_url = os.environ["AWS_ENDPOINT_URL"]
    place = f"s3://{LAKE}/{out.parent.name}"
    yield
    rows = wr.s3.read_csv(f"s3://{LANDING}/", dtype=str)
    wr.s3.to_deltalake(rows, place, mode="append", s3_allow_unsafe_rename=True)
    yield
    return {"bytes": bytes_at(place)}


def bytes_at(place: str) -> int:
    """What lies below an `s3://` address."""
    import boto3

    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    return sum(item["Size"] for page in pages for item in page.get("Contents", []))


def merge(data: Path, out: Path, _: float) -> Steps:
    """delta-rs's `merge` of the changes into the table, by its key."""
    return _merged(data, out, "plain")


def merge_by_month(data: Path, out: Path, _: float) -> Steps:
    """The same into a table that is partitioned by the month."""
    return _merged(data, out, "by month")


def _merged(data: Path, out: Path, layout: str) -> Steps:
    copied(data.parent / layout, out)
    place = out / "target"
    match = " AND ".join(f"t.`{k}` = s.`{k}`" for k in KEY)
    before = DeltaTable(place).version()
    yield
    changes = pl.read_parquet(data / "changes.parquet")
    merge = DeltaTable(place).merge(changes.to_arrow(), match, source_alias="s", target_alias="t")
    done = merge.when_matched_update_all().when_not_matched_insert_all().execute()
    yield
    check_feed(DeltaTable(place), before, data)
    return {"rewritten": done["num_target_files_removed"], "copied": done["num_target_rows_copied"]}


def copied(lake: Path, out: Path) -> None:
    """The lake's tables below `out`, their files as links: only a log's last checkpoint is ever written again."""
    shutil.copytree(lake, out, copy_function=os.link, dirs_exist_ok=True)
    for log in lake.rglob("_last_checkpoint"):
        own = out / log.relative_to(lake)
        own.unlink()
        shutil.copy(log, own)


def check_feed(table: DeltaTable, before: int, data: Path) -> None:
    """Fail unless the change feed since then holds the changes and what stood before them, and nothing else."""
    changes = pl.read_parquet(data / "changes.parquet")
    feed = pl.DataFrame(table.load_cdf(before + 1, table.version()).read_all())
    counts = dict(feed.group_by("_change_type").len().iter_rows())
    after = feed.filter(pl.col("_change_type").is_in(["insert", "update_postimage"])).select(changes.columns)
    assert after.sort(KEY).equals(changes.sort(KEY)), "the change feed does not hold the changes"
    new, old = changes.height - changes.height * 4 // 5, changes.height * 4 // 5
    expected = {"insert": new, "update_preimage": old, "update_postimage": old}
    assert counts == expected, f"the change feed holds {counts}, not {expected}"
