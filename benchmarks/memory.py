"""Peak memory of draining and ingesting a backlog, by its size: `python -m benchmarks.memory --repeats 5`.

A backlog of small files waits in the bucket and their events in the queue of a local AWS. A fresh process drains
the queue into the inbox, carries the inbox into raw and ends. Its peak PSS is sampled from /proc/PID/smaps_rollup
(Linux only). The ratio of the largest backlog's median to the smallest's tells whether memory follows the batch or
the backlog; exit code 1 where it is above `--limit`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3

from lakehouse.dataset import load
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.landing.objects import Bucket
from lakehouse.landing.queue import Budget, Queue
from lakehouse.layers import raw
from lakehouse.local import aws

HEADER = "time_hour,carrier,flight,origin,dest,tailnum,dep_delay,arr_delay,air_time,distance"
SAMPLE_SECONDS = 0.01


def main() -> None:
    options = _options()
    if options.work:
        work(*options.work)
        return
    with tempfile.TemporaryDirectory() as home:
        running = aws.start(Path(home))
        try:
            os.environ.update(running.environment())
            medians = [measure(size, options.repeats) for size in sorted(options.sizes)]
        finally:
            running.stop()
    ratio = medians[-1] / medians[0]
    print(f"{max(options.sizes):,} against {min(options.sizes):,} events: {ratio:.3f} (limit {options.limit})")
    sys.exit(ratio > options.limit)


def work(lake: str, bucket: str, url: str) -> None:
    """What is measured: drain, then ingest."""
    datasets = load()
    queue = Queue(boto3.client("sqs"), url)
    while inbox.receive(queue, Lake(lake), datasets, wait=0, budget=Budget()):
        pass
    raw.ingest(Lake(lake), Bucket(boto3.client("s3"), bucket), datasets["flights"])


def measure(size: int, repeats: int) -> float:
    """The median peak in MB, of runs over the same files with a new queue and a new lake each."""
    bucket = Bucket(boto3.client("s3"), f"landing-{uuid.uuid4().hex[:8]}")
    bucket.client.create_bucket(Bucket=bucket.name)
    keys = [f"flights/{n:06}.csv" for n in range(size)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: bucket.put(keys[n], _file(n)), range(size)))
    runs = [_run(bucket.name, keys) for _ in range(repeats)]
    median = statistics.median(peak for peak, _ in runs)
    told = ", ".join(f"{peak:.0f}" for peak, _ in runs)
    seconds = statistics.median(took for _, took in runs)
    print(f"{size:,} events: {median:.1f} MB (of {told}), {seconds:.1f} s", flush=True)
    return median


def _run(bucket: str, keys: Sequence[str]) -> tuple[float, float]:
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName=uuid.uuid4().hex)["QueueUrl"]
    for start in range(0, len(keys), 10):
        sqs.send_message_batch(QueueUrl=url, Entries=_events(bucket, keys[start : start + 10]))
    with tempfile.TemporaryDirectory() as lake:
        began = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.memory", "--work", lake, bucket, url])
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, pss(process.pid))
            time.sleep(SAMPLE_SECONDS)
        took, arrived = time.monotonic() - began, _arrived(lake)
    if process.returncode or arrived != len(keys):
        raise RuntimeError(f"exit code {process.returncode}, {arrived} of {len(keys)} objects in raw")
    return peak, took


def pss(pid: int) -> float:
    """A process's proportional set size in MB; 0 if it is gone."""
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def _arrived(lake: str) -> int:
    return len(raw.heads(raw.open_raw(Lake(lake), "flights")).collect())


def _file(number: int) -> bytes:
    rows = [f"2013-01-01T{h:02}:00:00Z,AA,{number + 1},JFK,LAX,N{h},0,{h},300,2475" for h in range(20)]
    return "\n".join([HEADER, *rows, ""]).encode()


def _events(bucket: str, keys: Sequence[str]) -> list[dict[str, str]]:
    bodies = [json.dumps({"Records": [_record(bucket, key)]}) for key in keys]
    return [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]


def _record(bucket: str, key: str) -> dict[str, object]:
    thing = {"bucket": {"name": bucket}, "object": {"key": key, "size": 900}}
    return {"eventName": "ObjectCreated:Put", "s3": thing}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10000], help="waiting events")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit", type=float, default=1.10)
    parser.add_argument("--work", nargs=3, metavar=("LAKE", "BUCKET", "QUEUE"), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
