"""What is measured: each piece of work, the ways that do it, and what is wanted of the road."""

from benchmarks import data, years
from benchmarks.measured import Goal, Way, Work
from benchmarks.ways import groups

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

DAY = "benchmarks.ways.road"
LAKES = [
    Way("a year", "road", f"{DAY}:smallest"),
    Way("some years between", "road", f"{DAY}:middle"),
    Way("the most years", "road", f"{DAY}:largest"),
]
GROUP = "benchmarks.ways.groups"
GROUPS = [
    Way("100 customers of a tenth of the table", "road", f"{GROUP}:few_of_few"),
    Way("100 customers in a row", "road", f"{GROUP}:few"),
    Way("100 customers spread over half of it", "road", f"{GROUP}:few_spread"),
    Way("10,000 customers in a row", "road", f"{GROUP}:many"),
    Way("floor: the function over all rows, nothing written", "floor", f"{GROUP}:whole"),
]

WORKS = [
    Work(
        "small",
        "Small files: CSV of about 100 KB, 1,000 of them (quick: 100)",
        "MB of CSV",
        data.small_files,
        data.megabytes,
        TO_DELTA,
        1000,
        100,
        goals=[Goal(ROAD.name, FLOOR, 0.7), Goal(ROAD.name, EACH, 50)],
    ),
    Work(
        "large",
        "Large files: 1 GB of TPC-H lineitem in four CSV files (quick: 50 MB)",
        "MB of CSV",
        data.lineitem,
        data.megabytes,
        TO_DELTA,
        1000,
        50,
        goals=[Goal(ROAD.name, FLOOR, 0.8)],
    ),
    Work(
        "day",
        "The whole road: a day of flights into a lake of 1, 10 and 100 years (quick: 1, 2 and 4)",
        "files",
        years.lakes,
        lambda _: 1,
        LAKES,
        100,
        4,
        goals=[
            Goal(LAKES[2].name, LAKES[0].name, 1 / 1.3, "processor"),
            Goal(LAKES[2].name, LAKES[0].name, 1 / 1.3),
        ],
        sizes=lambda most: (1, years.middle(most), most),
        cut=300,
    ),
    Work(
        "groups",
        "Serving: a join over 30 M rows after a change (quick: 3 M)",
        "refreshes",
        groups.lakes,
        lambda _: 1,
        GROUPS,
        30_000_000,
        3_000_000,
        goals=[
            Goal(GROUPS[1].name, GROUPS[0].name, 1 / 1.3, "processor"),
            Goal(GROUPS[1].name, GROUPS[-1].name, 10, "processor"),
        ],
        cut=300,
    ),
]
