"""What is measured: each piece of work, the ways that do it, and what is wanted of the road."""

from benchmarks import data
from benchmarks.measured import Goal, Way, Work

PEER = "benchmarks.ways.peers"
ROAD = Way("**this project: raw**", "road", "benchmarks.ways.road:to_raw")
TO_DELTA = [
    ROAD,
    Way("a write per file", "peer", f"{PEER}:write_per_file", "`pl.read_csv`, `write_deltalake(mode='append')`"),
    Way(
        "Polars `sink_delta`", "peer", f"{PEER}:sink_delta", "`pl.scan_csv(files).sink_delta`, as its docs have it"
    ),
    Way(
        "record batches → `write_deltalake`",
        "peer",
        f"{PEER}:record_batches",
        "pyarrow's dataset as a reader, as delta-rs's docs advise for what exceeds memory",
    ),
    Way(
        "DuckDB → `write_deltalake`",
        "peer",
        f"{PEER}:duck_db",
        "`read_csv(all_varchar = true)`, a reader of 100,000 rows a batch",
    ),
    Way(
        "dlt filesystem → Delta",
        "peer",
        f"{PEER}:dlt_filesystem",
        "`filesystem | read_csv_duckdb(use_pyarrow=True, all_varchar=True)`, `table_format='delta'`",
    ),
    Way(
        "floor: Polars `sink_parquet`",
        "floor",
        f"{PEER}:sink_parquet",
        "`pl.scan_csv(files).sink_parquet`, snappy",
    ),
]
FLOOR, EACH = TO_DELTA[-1].name, TO_DELTA[1].name

WORKS = [
    Work(
        "small",
        "Small files: CSV of about 100 KB, 1,000 of them (quick: 200)",
        "MB of CSV",
        data.small_files,
        data.megabytes,
        TO_DELTA,
        1000,
        200,
        goals=[Goal(ROAD.name, FLOOR, 0.7), Goal(ROAD.name, EACH, 50)],
    ),
    Work(
        "large",
        "Large files: 1 GB of TPC-H lineitem in four CSV files (quick: 100 MB)",
        "MB of CSV",
        data.lineitem,
        data.megabytes,
        TO_DELTA,
        1000,
        100,
        goals=[Goal(ROAD.name, FLOOR, 0.8)],
    ),
]
