"""What is measured: each piece of work, the ways that do it, and what is wanted of the road."""

from benchmarks import data, years
from benchmarks.measured import Bound, Goal, Way, Work
from benchmarks.ways import groups, upsert

PEER, ROAD = "benchmarks.ways.peers", "benchmarks.ways.road"
RAW = Way("**this project: raw**", "road", f"{ROAD}:to_raw")
EACH = Way("a write per file", "peer", f"{PEER}:write_per_file", "`pl.read_csv`, `write_deltalake(mode='append')`")
SINK = Way(
    "Polars `sink_delta`", "peer", f"{PEER}:sink_delta", "`pl.scan_csv(files).sink_delta`, as its docs have it"
)
FLOOR = Way(
    "floor: Polars `sink_parquet`",
    "floor",
    f"{PEER}:sink_parquet",
    "`pl.scan_csv(files).sink_parquet`, zstd, as it comes",
)
SNAPPY = Way("floor: the same, snappy", "floor", f"{PEER}:sink_snappy")
TO_DELTA = [
    RAW,
    EACH,
    SINK,
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
    FLOOR,
    SNAPPY,
]
NDJSON = [
    RAW,
    Way(EACH.name, "peer", EACH.call, "`pl.read_ndjson`, `write_deltalake(mode='append')`"),
    Way(SINK.name, "peer", SINK.call, "`pl.scan_ndjson(files).sink_delta`"),
    Way(FLOOR.name, "floor", FLOOR.call, "`pl.scan_ndjson(files).sink_parquet`, typed columns, zstd, as it comes"),
    SNAPPY,
]
MIXED = [
    RAW,
    Way(
        EACH.name,
        "peer",
        f"{PEER}:write_what_parses",
        "`pl.read_csv`, `write_deltalake(mode='append', schema_mode='merge')`; what does not parse is left out",
    ),
    Way(
        "floor: `sink_parquet`, of the files that are well",
        "floor",
        f"{PEER}:sink_each_header",
        "told beforehand which they are; a scan and a file for each header, zstd",
    ),
]
S3 = [
    Way("**this project: raw**, S3 → S3", "road", f"{ROAD}:s3_to_raw"),
    Way(
        "awswrangler",
        "peer",
        f"{PEER}:wrangler",
        "`wr.s3.read_csv(dtype=str)`, `wr.s3.to_deltalake(mode='append', s3_allow_unsafe_rename=True)`: no lock",
    ),
    Way(
        "floor: Polars `sink_parquet`, S3 → S3",
        "floor",
        f"{PEER}:s3_sink_parquet",
        "`pl.scan_csv('s3://…').sink_parquet('s3://…')`, zstd, as it comes",
    ),
]
LAKES = [
    Way("a year", "road", f"{ROAD}:smallest"),
    Way("some years between", "road", f"{ROAD}:middle"),
    Way("the most years", "road", f"{ROAD}:largest"),
]
GROUP = "benchmarks.ways.groups"
GROUPS = [
    Way("100 customers of a quarter of the rows", "road", f"{GROUP}:few_of_quarter"),
    Way("100 customers of half of the rows", "road", f"{GROUP}:few_of_half"),
    Way("100 customers in a row", "road", f"{GROUP}:few"),
    Way("100 customers spread over half of it", "road", f"{GROUP}:few_spread"),
    Way("10,000 customers in a row", "road", f"{GROUP}:many"),
    Way("floor: the function over all rows, nothing written", "floor", f"{GROUP}:whole"),
]
UPSERT = "benchmarks.ways.upsert"
AS_IT_COMES = "`when_matched_update_all`, `when_not_matched_insert_all`, on the key's columns"
HOP = Way("**this project: hop**", "road", f"{UPSERT}:apply")
MERGE = Way("delta-rs `merge`", "peer", f"{PEER}:merge", AS_IT_COMES)
REWRITTEN = {"rewritten": "files rewritten", "copied": "rows copied"}
BY_MONTH = [
    Way(f"{HOP.name}, by month", "road", f"{UPSERT}:apply_by_month"),
    Way(f"{MERGE.name}, by month", "peer", f"{PEER}:merge_by_month"),
]

WORKS = [
    Work(
        "small",
        "Small files: CSV of about 100 KB, 1,000 of them (quick: 50)",
        "MB of CSV",
        data.small_files,
        data.megabytes,
        TO_DELTA,
        1000,
        50,
        goals=[Goal(RAW.name, FLOOR.name, 0.7), Goal(RAW.name, EACH.name, 50)],
        rounds=3,
        cut=240,
    ),
    Work(
        "ndjson",
        "Small files: NDJSON of about 100 KB, 1,000 of them (quick: 100)",
        "MB of NDJSON",
        data.ndjson_files,
        data.megabytes,
        NDJSON,
        1000,
        100,
        goals=[Goal(RAW.name, FLOOR.name, 0.7), Goal(RAW.name, EACH.name, 50)],
        rounds=3,
        cut=240,
    ),
    Work(
        "mixed",
        "Small files: CSV of three headers, one in a hundred broken, 1,000 of them (quick: 100)",
        "MB of CSV",
        data.mixed_files,
        data.megabytes,
        MIXED,
        1000,
        100,
        goals=[Goal(RAW.name, MIXED[-1].name, 0.7), Goal(RAW.name, EACH.name, 50)],
        rounds=3,
        cut=240,
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
        goals=[Goal(RAW.name, FLOOR.name, 0.8)],
        bounds=[Bound(RAW.name, 600)],
    ),
    Work(
        "s3",
        "From S3 to S3: 300 of the small CSV files on the local AWS (quick: 50)",
        "MB of CSV",
        data.small_files,
        data.megabytes,
        S3,
        300,
        50,
        goals=[Goal(S3[0].name, S3[-1].name, 0.8)],
        around=data.on_s3,
    ),
    Work(
        "range",
        "Upsert: 60,000 changes in one range of 6 M rows (quick: 3,000 of 300,000)",
        "changes",
        upsert.in_range,
        upsert.changed,
        [HOP, MERGE],
        6_000_000,
        300_000,
        goals=[Goal(HOP.name, MERGE.name, 4)],
        bounds=[Bound(HOP.name, 400)],
        also=REWRITTEN,
    ),
    Work(
        "scattered",
        "Upsert: 60,000 changes scattered over 6 M rows (quick: 3,000 over 300,000)",
        "changes",
        upsert.scattered,
        upsert.changed,
        [HOP, MERGE],
        6_000_000,
        300_000,
        goals=[Goal(HOP.name, MERGE.name, 1 / 1.1)],
        bounds=[Bound(HOP.name, 700)],
        also=REWRITTEN,
    ),
    Work(
        "recent",
        "Upsert: 60,000 changes of the last two months among 6 M rows (quick: 3,000 among 300,000)",
        "changes",
        upsert.recent,
        upsert.changed,
        [HOP, MERGE, *BY_MONTH],
        6_000_000,
        300_000,
        also=REWRITTEN,
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
        "Serving: a join over 30 M rows after a change (quick: 1 M)",
        "refreshes",
        groups.lakes,
        lambda _: 1,
        GROUPS,
        30_000_000,
        1_000_000,
        goals=[Goal(GROUPS[2].name, GROUPS[0].name, 1 / 1.3, "processor")],
        cut=300,
    ),
]
