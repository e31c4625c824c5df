"""How commits, log, files and DynamoDB units grow with objects: measured at three sizes, fitted, and extrapolated.

`python -m benchmarks.capacity [--sizes 50 200 800] [--rows 20]`. Without Dagster: the hops on the local AWS, the
lake on disk. What it extrapolates to, and where that ends, is told in docs/capacity.md.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lakehouse.dataset import Dataset, load
from lakehouse.dynamodb.sync import items_of, publish
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.landing.objects import Bucket
from lakehouse.layers import balance, cleaned, ingest, serving
from lakehouse.layers.lag import servings_of
from lakehouse.layers.tables import standing
from lakehouse.local import aws
from lakehouse.settings import Settings, client

HEADER = "time_hour,carrier,flight,origin,dest,tailnum,dep_delay,arr_delay,air_time,distance"
BATCH = 50
"""Objects that one tick finds: what lands in a few seconds."""


@dataclass(frozen=True)
class Size:
    """One measurement. `commits` and `log` are of all tables together; bytes are on disk."""

    objects: int
    seconds: float
    commits: int
    log_bytes: int
    data_bytes: int
    puts: int


@dataclass(frozen=True)
class Line:
    """y = start + each × objects, by least squares; `off`: the worst point's distance, as a part of its value."""

    start: float
    each: float
    off: float


def body(number: int, rows: int) -> bytes:
    day, hour = number % 28 + 1, number % 24
    told = f"2013-01-{day:02}T{hour:02}:00:00Z"
    lines = (f"{told},C{n % 16:X},{number * rows + n},JFK,LAX,N{n},0,{n % 60},300,2475" for n in range(rows))
    return "\n".join([HEADER, *lines, ""]).encode()


def measure(objects: int, rows: int) -> Size:
    """Land `objects` files in batches, and carry each batch to the items before the next."""
    datasets, settings = load(), Settings.load()
    bucket = Bucket(client("s3"), f"capacity-{uuid.uuid4().hex[:8]}")
    client("s3").create_bucket(Bucket=bucket.name)
    flights, puts, seconds = datasets["flights"], 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder)
        for start in range(0, objects, BATCH):
            keys = [f"flights/{n:08}.csv" for n in range(start, min(start + BATCH, objects))]
            for number, key in enumerate(keys, start):
                bucket.put(key, body(number, rows))
            began = time.perf_counter()
            inbox.announce(lake, "flights", keys, event="capacity")
            puts += carry(lake, bucket, flights, datasets, settings)
            seconds += time.perf_counter() - began
        tables = standing(lake, datasets).values()
        files = [p for p in Path(folder).rglob("*") if p.is_file()]
        log = sum(p.stat().st_size for p in files if "_delta_log" in p.parts)
        total = sum(p.stat().st_size for p in files)
        commits = sum(t.version + 1 for t in tables)
        return Size(objects, round(seconds, 2), commits, log, total - log, puts)


def carry(lake: Lake, bucket: Bucket, dataset: Dataset, datasets: dict[str, Dataset], settings: Settings) -> int:
    ingest.ingest(lake, bucket, dataset)
    for verb in (cleaned.clean, cleaned.quarantine, balance.weigh):
        verb(lake, dataset)
    puts = 0
    for one in servings_of(datasets, dataset.name):
        serving.serve(lake, one, datasets)
        written = publish(lake, one, items_of(settings, one)) if one.publish else None
        puts += written.put if written else 0
    return puts


def fit(points: Sequence[tuple[float, float]]) -> Line:
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    each = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    start = mean_y - each * mean_x
    off = max(abs(start + each * x - y) / max(abs(y), 1e-9) for x, y in points)
    return Line(start, each, off)


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--sizes", type=int, nargs="+", default=[50, 200, 800])
    told.add_argument("--rows", type=int, default=20)
    asked = told.parse_args()
    with tempfile.TemporaryDirectory() as home:
        running = aws.start(Path(home))
        os.environ.update(running.environment())
        try:
            sizes = []
            for objects in asked.sizes:
                os.environ["LAKEHOUSE_TABLE_PREFIX"] = f"capacity-{objects}-"
                sizes.append(measure(objects, asked.rows))
                print(json.dumps(asdict(sizes[-1])), flush=True)
        finally:
            running.stop()
    for name in ("seconds", "commits", "log_bytes", "data_bytes", "puts"):
        line = fit([(s.objects, getattr(s, name)) for s in sizes])
        print(
            f"{name:10} = {line.start:12.1f} + {line.each:10.3f} × objects   (worst point off by {line.off:.0%})"
        )


if __name__ == "__main__":
    main()
