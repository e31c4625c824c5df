"""Files at hand → raw: this lake beside the bare Polars sink and beside one Delta write per file.

    .venv/bin/python -m benchmarks.ingest
    .venv/bin/python -m benchmarks.ingest --place s3 --works csv ndjson --rounds 3
    .venv/bin/python -m benchmarks.ingest --works large --megabytes 1000

Works: `csv` and `ndjson`, 1,000 files of 100 KB, all alike and well; `mixed`, such CSV files of three headers, 1 %
of them broken (ragged, not UTF-8, empty, with a doubled name in the header); `large`, one GB of CSV in four files.
The rows are made up, of sixteen columns as in TPC-H's lineitem, the last of them quoted.

Ways: `raw`, from the events in the inbox to rows, heads and cursor in raw, in one run; `sink`, Polars' own scan
and `sink_parquet` of the same files into one file, all columns text (NDJSON: typed), as it comes, and `snappy`,
the same so packed; `per file`, the function-per-object pattern, of the first `--per-file` files: get, parse,
append. It gets slower with every file, so that few flatter it; it takes what it can parse, the sinks take no mixed
files.

Each way runs in a process of its own that warms up on twenty other files; the ways take turns. `--place s3`: from
and to a local AWS, else a folder.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import dataframely as dy
import polars as pl
from deltalake import write_deltalake

from lakehouse.dataset import Dataset
from lakehouse.lake import Lake
from lakehouse.landing import inbox, objects
from lakehouse.landing.content import Body
from lakehouse.landing.objects import Bucket, Identity
from lakehouse.layers import raw
from lakehouse.layers.ingest import ingest
from lakehouse.local import aws

NAMES = "order part supplier line quantity price discount tax flag status shipped due received how mode comment"
WORDS = ["carefully", "final deposits", "sleep quickly", "above the", "furious ideas", "bold requests, ironic"]
WAYS = ("raw", "sink", "snappy", "per file")
WARM = 20
POOL = 20_000
"""Different rows: they are taken again and again."""


class Line(dy.Schema):
    order = dy.String(primary_key=True)


LINES = Dataset("line", "**", Line)


def row(chance: random.Random) -> list[str]:
    dates = [
        f"199{chance.randrange(9)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}" for _ in range(3)
    ]
    numbers = [chance.randrange(6_000_000), chance.randrange(200_000), chance.randrange(10_000)]
    told = [chance.randrange(1, 8), chance.randrange(1, 51), chance.randrange(90_000, 10_000_000) / 100]
    rates = [chance.randrange(11) / 100, chance.randrange(9) / 100]
    words = [chance.choice("ANR"), chance.choice("FO"), *dates, chance.choice(["NONE", "COLLECT COD"])]
    comment = " ".join(chance.choices(WORDS, k=chance.randrange(2, 6)))
    return [*map(str, [*numbers, *told, *rates]), *words, chance.choice(["AIR", "MAIL", "TRUCK"]), comment]


def csv_line(fields: Sequence[str]) -> str:
    return ",".join(fields[:-1]) + f',"{fields[-1]}"\n'


def json_line(fields: Sequence[str]) -> str:
    named = zip(NAMES.split(), fields, strict=True)
    return json.dumps({n: float(v) if "." in v else int(v) if v.isdigit() else v for n, v in named}) + "\n"


def bodies(work: str, count: int, size: int) -> Iterator[bytes]:
    chance = random.Random(work)
    rows = [row(chance) for _ in range(POOL)]
    told = [(json_line if work == "ndjson" else csv_line)(one) for one in rows]
    header = "" if work == "ndjson" else NAMES.replace(" ", ",") + "\n"
    lines = size // (sum(map(len, told)) // POOL)
    for number in range(count):
        part = [told[(number * lines + n) % POOL] for n in range(lines)]
        head = header
        if work == "mixed" and number % 3 == 1:
            head, part = header.replace("\n", ",gate\n"), [line[:-1] + ",B22\n" for line in part]
        elif work == "mixed" and number % 3 == 2:
            head, part = header.replace("order,", "", 1), [line.split(",", 1)[1] for line in part]
        body = (head + "".join(part)).encode()
        broken = [body + b"too,few\n", body + b"\xff\xfe\n", b"", b"a,a\n" + body]
        yield broken[number // 100 % 4] if work == "mixed" and number % 100 == 0 else body


class Folder(Bucket):
    """Objects as files below a folder: what the road costs where getting an object costs next to nothing."""

    def __init__(self, root: Path) -> None:
        super().__init__(None, root.name)
        self.root = root

    def put(self, key: str, body: bytes) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / key).write_bytes(body)

    def look(self, key: str) -> Identity:
        told = (self.root / key).stat()
        modified = datetime.fromtimestamp(told.st_mtime, UTC)
        return Identity(key, None, str(told.st_mtime_ns), told.st_size, modified)

    def get(self, key: str) -> tuple[Identity, bytes | Body]:
        found = self.look(key)
        if found.size <= objects.WHOLE:
            return found, (self.root / key).read_bytes()
        return found, Body(key, (self.root / key).open("rb"))

    def list(self, prefix: str = "", after: str = "") -> Iterator[Identity]:
        yield from (self.look(path.name) for path in sorted(self.root.iterdir()))


def place(uri: str) -> Bucket:
    return Bucket(boto3.client("s3"), uri[5:]) if uri.startswith("s3://") else Folder(Path(uri))


def by_raw(source: str, target: str, found: Sequence[Identity]) -> float:
    lake = Lake(target)
    now = datetime.now(UTC)
    event = {"dataset": "line", "kind": "created", "event_name": "benchmark", "received_at": now, "sent_at": now}
    rows = [{**event, "key": one.key, "size": one.size} for one in found]
    inbox.open_inbox(lake).append(pl.DataFrame(rows, schema=inbox.SCHEMA))
    began = time.perf_counter()
    ingest(lake, place(source), LINES, run=uuid.uuid4().hex)
    took = time.perf_counter() - began
    assert raw.heads(raw.open_raw(lake, "line")).collect().height == len(found)
    return took


def by_sink(source: str, target: str, found: Sequence[Identity], **packed: Any) -> float:
    began = time.perf_counter()
    files = [f"{source}/{one.key}" for one in found]
    rows = pl.scan_ndjson(files) if files[0].endswith("ndjson") else pl.scan_csv(files, infer_schema=False)
    if not target.startswith("s3://"):
        Path(target).mkdir(parents=True, exist_ok=True)
    rows.sink_parquet(f"{target}/rows.parquet", **packed)
    return time.perf_counter() - began


def per_file(source: str, target: str, found: Sequence[Identity]) -> float:
    bucket, began = place(source), time.perf_counter()
    for one in found:
        body = bucket.get(one.key)[1]  # type: ignore[index]
        whole = io.BytesIO(body if isinstance(body, bytes) else body.read(one.size))
        try:
            rows = pl.read_ndjson(whole) if one.key.endswith("ndjson") else pl.read_csv(whole, infer_schema=False)
        except pl.exceptions.PolarsError:
            continue
        write_deltalake(target, rows.to_arrow(), mode="append", schema_mode="merge")
    return time.perf_counter() - began


BY: dict[str, Callable[[str, str, Sequence[Identity]], float]] = {
    "raw": by_raw,
    "sink": by_sink,
    "snappy": lambda *those: by_sink(*those, compression="snappy"),
    "per file": per_file,
}


def run(way: str, warm: str, source: str, target: str, most: int) -> None:
    """In a process of its own: prints what it took."""
    BY[way](warm, f"{target}/warm", [*place(warm).list()][:WARM])
    found = [*place(source).list()]
    found = found[:most] if way == "per file" else found
    began = time.process_time()
    took = BY[way](source, f"{target}/{uuid.uuid4().hex}", found)
    cpu, peak = time.process_time() - began, _peak()
    size = sum(one.size for one in found) / 1e6
    print(json.dumps({"s": took, "cpu": cpu, "peak": peak, "rate": size / took}))


def _peak() -> float:
    """Megabytes, of this process alone: what the system tells as its usage begins with its parent's."""
    told = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()
    return int(told[0]) / 1024


def measured(way: str, warm: str, source: str, target: str, most: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.ingest", "--run", way, warm, source, target, str(most)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return dict(json.loads(told.stdout.splitlines()[-1]))


def shown(work: str, found: dict[str, list[dict[str, float]]]) -> None:
    print(f"\n| {work} | s, median | least | most | CPU s | MB/s | peak MB | raw is |\n" + "|---" * 8 + "|")
    rate = {way: statistics.median(one["rate"] for one in told) for way, told in found.items()}
    for way, told in found.items():
        took = [one["s"] for one in told]
        cpu, peak = (statistics.median(one[name] for one in told) for name in ("cpu", "peak"))
        spread = f"{statistics.median(took):.2f} | {min(took):.2f} | {max(took):.2f} | {cpu:.2f}"
        print(
            f"| {way} | {spread} | {rate[way]:.0f} | {peak:.0f} | {rate['raw'] / rate[way]:.2f} times |",
            flush=True,
        )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--works", nargs="+", default=["csv", "ndjson", "mixed"])
    options.add_argument("--ways", nargs="+", default=[*WAYS])
    options.add_argument("--place", choices=["folder", "s3"], default="folder")
    options.add_argument("--files", type=int, default=1000)
    options.add_argument("--megabytes", type=int, default=1000, help="of the large work, in four files")
    options.add_argument("--per-file", type=int, default=200)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--run", nargs=5, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.run:
        way, warm, source, target, most = chosen.run
        run(way, warm, source, target, int(most))
        return
    with tempfile.TemporaryDirectory() as home:
        if chosen.place == "folder":
            measure(chosen, lambda: f"{home}/{uuid.uuid4().hex}")
            return
        running = aws.start(Path(home))
        try:
            os.environ.update(running.environment())
            measure(chosen, _bucket)
        finally:
            running.stop()


def _bucket() -> str:
    name = f"bench-{uuid.uuid4().hex[:8]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


def measure(chosen: argparse.Namespace, new: Callable[[], str]) -> None:
    for work in chosen.works:
        count, size = (4, chosen.megabytes * 250_000) if work == "large" else (chosen.files, 100_000)
        suffix = "ndjson" if work == "ndjson" else "csv"
        source, warm, target = new(), new(), new()
        for number, body in enumerate(bodies(work, count, size)):
            place(source).put(f"{number:06}.{suffix}", body)
        for number, body in enumerate(bodies("csv" if work == "large" else work, WARM + 1, 100_000)):
            if body and number:
                place(warm).put(f"{number:06}.{suffix}", body)
        taken = [way for way in chosen.ways if work != "mixed" or way in ("raw", "per file")]
        found: dict[str, list[dict[str, float]]] = {way: [] for way in taken}
        for _ in range(chosen.rounds):
            for way in taken:
                found[way].append(measured(way, warm, source, target, chosen.per_file))
                print(f"{work}, {way}: {found[way][-1]['s']:.2f} s", flush=True)
        shown(work, found)


if __name__ == "__main__":
    main()
