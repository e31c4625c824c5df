"""1,000 small files at once: through raw, against one Delta write per file.

    .venv/bin/python -m benchmarks.small_files --repeats 3 --folder
    .venv/bin/python -m benchmarks.small_files --repeats 3

Both read the same objects of about 100 KB, with `--folder` from a folder on disk, else from a local AWS. `raw` is
from the events in the inbox to their rows in raw; what it took to drain those events from the local AWS's queue
into the inbox is printed beside it. `per file` is the function-per-object pattern: get, `read_csv`, append, for
each object; it takes what it can parse. `mixed`: 1 % of the files are broken (ragged, not UTF-8, empty, with a
doubled name in the header) and the others have three variants of the header; `clean`: all are alike and well.
The ways take turns, after a warm-up; exit code 1 where mixed is below `--least` times per file.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import polars as pl
from deltalake import write_deltalake

from lakehouse.dataset import load
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.landing.objects import Bucket, Identity
from lakehouse.landing.queue import Budget, Queue
from lakehouse.layers import ingest, raw
from lakehouse.local import aws

HEADERS = (
    "time_hour,carrier,flight,origin,dest,tailnum,dep_delay,arr_delay,air_time,distance",
    "time_hour,carrier,flight,origin,dest,tailnum,dep_delay,arr_delay,air_time,distance,gate",
    "carrier,flight,time_hour,dest,origin,tailnum,dep_delay,arr_delay,distance",
)
ROW = {
    "time_hour": "2013-01-01T10:00:00Z",
    "carrier": "AA",
    "origin": "JFK",
    "dest": "LAX",
    "tailnum": "N12345",
    "dep_delay": "-3",
    "arr_delay": "12",
    "air_time": "330",
    "distance": "2475",
    "gate": "B22",
}


def body(number: int, size: int, header: str) -> bytes:
    names = header.split(",")
    lines = [header]
    line = ",".join(ROW.get(name, f"{number:05}") for name in names)
    return "\n".join(lines + [line] * (size // (len(line) + 1)) + [""]).encode()


def broken(number: int, size: int) -> bytes:
    whole = body(number, size, HEADERS[0])
    return [whole + b"too,few\n", whole[:-9] + b"\xff\xfe\n", b"", b"a,a\n" + whole][number % 4]


def mixed(number: int, size: int) -> bytes:
    return broken(number // 100, size) if number % 100 == 0 else body(number, size, HEADERS[number % 3])


def clean(number: int, size: int) -> bytes:
    return body(number, size, HEADERS[0])


class Folder(Bucket):
    """Objects as files below a folder: what the road costs where getting an object costs next to nothing."""

    def __init__(self, root: Path) -> None:
        super().__init__(None, root.name)
        self.root = root

    def put(self, key: str, body: bytes) -> None:
        (self.root / key).parent.mkdir(parents=True, exist_ok=True)
        (self.root / key).write_bytes(body)

    def look(self, key: str) -> Identity:
        told = (self.root / key).stat()
        modified = datetime.fromtimestamp(told.st_mtime, UTC)
        return Identity(key, None, str(told.st_mtime_ns), told.st_size, modified)

    def get(self, key: str) -> tuple[Identity, bytes]:
        return self.look(key), (self.root / key).read_bytes()


def made(home: Path | None) -> Bucket:
    name = f"landing-{uuid.uuid4().hex[:8]}"
    if home:
        return Folder(home / name)
    bucket = Bucket(boto3.client("s3"), name)
    bucket.client.create_bucket(Bucket=name)
    return bucket


def put(bucket: Bucket, bodies: Callable[[int, int], bytes], count: int, size: int) -> tuple[Bucket, list[str]]:
    keys = [f"flights/{n:06}.csv" for n in range(count)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: bucket.put(keys[n], bodies(n, size)), range(count)))
    return bucket, keys


def carried(bucket: Bucket, keys: Sequence[str]) -> float:
    """Seconds from the inbox to raw."""
    queue = _told(bucket.name, keys)
    with tempfile.TemporaryDirectory() as folder:
        lake, datasets = Lake(folder), load()
        began = time.perf_counter()
        while inbox.receive(queue, bucket.name, lake, datasets, wait=0, budget=Budget()).height:
            pass
        drained = time.perf_counter()
        ingest.ingest(lake, bucket, datasets["flights"])
        took = time.perf_counter() - drained
        print(f"drained in {drained - began:.2f} s")
        assert raw.heads(raw.open_raw(lake, "flights")).collect().height == len(keys)
    return took


def per_file(bucket: Bucket, keys: Sequence[str]) -> float:
    """Seconds for a get, a parse and an append an object."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        for key in keys:
            got = bucket.get(key)
            assert got
            try:
                rows = pl.read_csv(io.BytesIO(got[1]), infer_schema=False)
            except pl.exceptions.PolarsError:
                continue
            write_deltalake(folder, rows.to_arrow(), mode="append", schema_mode="merge")
        return time.perf_counter() - began


def get_alone(bucket: Bucket, keys: Sequence[str]) -> float:
    """Seconds for the gets that both ways make, by as many threads as raw has."""
    began = time.perf_counter()
    with ThreadPoolExecutor(ingest.READERS) as pool:
        list(pool.map(bucket.get, keys))
    return time.perf_counter() - began


def _told(bucket: str, keys: Sequence[str]) -> Queue:
    client = boto3.client("sqs")
    queue = Queue(client, client.create_queue(QueueName=uuid.uuid4().hex)["QueueUrl"])
    bodies = [json.dumps({"Records": [_record(bucket, key)]}) for key in keys]
    for start in range(0, len(bodies), 10):
        entries = [{"Id": str(n), "MessageBody": one} for n, one in enumerate(bodies[start : start + 10])]
        client.send_message_batch(QueueUrl=queue.url, Entries=entries)
    return queue


def _record(bucket: str, key: str) -> dict[str, Any]:
    thing = {"key": key, "size": 100_000}
    return {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": thing}}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--files", type=int, default=1000)
    options.add_argument("--bytes", type=int, default=100_000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--least", type=float, default=20.0)
    options.add_argument("--folder", action="store_true")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as home:
        running = aws.start(Path(home))
        try:
            os.environ.update(running.environment())
            found = measure(chosen.files, chosen.bytes, chosen.repeats, Path(home) if chosen.folder else None)
        finally:
            running.stop()
    print("\n| way | s, median | least | most | files/s |\n|---|---|---|---|---|")
    for name, took in found.items():
        median = statistics.median(took)
        print(f"| {name} | {median:.2f} | {min(took):.2f} | {max(took):.2f} | {chosen.files / median:.0f} |")
    ratios = {kind: _ratio(found, kind) for kind in ("mixed", "clean")}
    print("\n" + ", ".join(f"{kind}: {ratio:.1f} times" for kind, ratio in ratios.items()))
    sys.exit(ratios["mixed"] < chosen.least)


def measure(files: int, size: int, repeats: int, home: Path | None) -> dict[str, list[float]]:
    kinds = {"mixed": mixed, "clean": clean}
    places = {kind: put(made(home), bodies, files, size) for kind, bodies in kinds.items()}
    ways = {"raw": carried, "per file": per_file, "get alone": get_alone}
    turns = [(f"{kind}, {way}", place, ways[way]) for kind, place in places.items() for way in ways]
    for _, (bucket, keys), way in turns:
        way(bucket, keys[:50])
    found: dict[str, list[float]] = {name: [] for name, _, _ in turns}
    for _ in range(repeats):
        for name, (bucket, keys), way in turns:
            found[name].append(way(bucket, keys))
            print(f"{name}: {found[name][-1]:.2f} s", flush=True)
    return found


def _ratio(found: dict[str, list[float]], kind: str) -> float:
    return statistics.median(found[f"{kind}, per file"]) / statistics.median(found[f"{kind}, raw"])


if __name__ == "__main__":
    main()
