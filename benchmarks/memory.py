"""Peak memory by the size of the backlog: of the whole house, or of one process that drains and ingests.

    .venv/bin/python -m benchmarks.memory --house --repeats 5
    .venv/bin/python -m benchmarks.memory --repeats 5

`--house`: the files land and their events wait; then `dagster dev` starts as shipped, and all its processes
(web server, daemon, code server, fork server, runs) are summed until every item is written, the local AWS not.

Without it: a backlog of small files waits in the bucket and their events in the queue of a local AWS. A fresh
process drains the queue into the inbox, carries the inbox into raw and ends. PSS is sampled from
/proc/PID/smaps_rollup (Linux only). The ratio of the largest backlog's median to the smallest's tells whether
memory follows the batch or the backlog.
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
from contextlib import suppress
from pathlib import Path

import boto3

from benchmarks.latency import Place, here, home
from lakehouse.dataset import load
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.landing.objects import Bucket
from lakehouse.landing.queue import Budget, Queue
from lakehouse.layers import ingest, raw
from lakehouse.layers.lag import lagging
from lakehouse.local import aws, house
from lakehouse.settings import client

HEADER = "time_hour,carrier,flight,origin,dest,tailnum,dep_delay,arr_delay,air_time,distance"
SAMPLE_SECONDS = 0.01


def main() -> None:
    options = _options()
    if options.work:
        work(*options.work)
        return
    sizes = sorted(options.sizes)
    print("| events | peak MB, median | least | most | s, median | n |\n|---|---|---|---|---|---|")
    if options.house:
        medians = [housed(size, options.repeats) for size in sizes]
    else:
        with tempfile.TemporaryDirectory() as home:
            running = aws.start(Path(home))
            try:
                os.environ.update(running.environment())
                medians = [measure(size, options.repeats) for size in sizes]
            finally:
                running.stop()
    ratio = medians[-1] / medians[0]
    word = "kept" if ratio <= options.limit else "missed"
    print(f"\n{sizes[-1]:,} against {sizes[0]:,} events, wanted ≤ {options.limit}: **{ratio:.3f}**, {word}.")


def work(lake: str, bucket: str, url: str) -> None:
    """What is measured: drain, then ingest."""
    datasets = load()
    queue = Queue(boto3.client("sqs"), url)
    while inbox.receive(queue, bucket, Lake(lake), datasets, wait=0, budget=Budget()).height:
        pass
    ingest.ingest(Lake(lake), Bucket(boto3.client("s3"), bucket), datasets["flights"])


def measure(size: int, repeats: int) -> float:
    """The median peak in MB, of runs over the same files with a new queue and a new lake each."""
    bucket = Bucket(boto3.client("s3"), f"landing-{uuid.uuid4().hex[:8]}")
    bucket.client.create_bucket(Bucket=bucket.name)
    keys = [f"flights/{n:06}.csv" for n in range(size)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: bucket.put(keys[n], _file(n)), range(size)))
    runs = [_run(bucket.name, keys) for _ in range(repeats)]
    return told(size, runs)


def told(size: int, runs: Sequence[tuple[float, float]]) -> float:
    """Print a line of the table; gives the median peak."""
    peaks, seconds = [peak for peak, _ in runs], statistics.median(took for _, took in runs)
    middle = statistics.median(peaks)
    spread = f"{middle:.0f} | {min(peaks):.0f} | {max(peaks):.0f}"
    print(f"| {size:,} | {spread} | {seconds:.1f} | {len(runs)} |", flush=True)
    return middle


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


def housed(size: int, repeats: int) -> float:
    """The median peak in MB of the whole house, of runs with a new home each."""
    runs = [_house(size) for _ in range(repeats)]
    return told(size, runs)


def _house(size: int) -> tuple[float, float]:
    with home("memory") as settings, house.local_aws(settings):
        place = here()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: place.bucket.put(f"flights/{n:06}.csv", _file(n)), range(size)))
        queue = Queue(client("sqs"), place.settings.required("queue_url"))
        while queue.depth().waiting < size:
            time.sleep(0.5)
        outside = set(family(os.getpid()))
        began = time.monotonic()
        with house.dagster(settings), ThreadPoolExecutor(1) as watcher:
            drained = watcher.submit(_drained, place, queue, size)
            peak = 0.0
            while not drained.done():
                peak = max(peak, sum(pss(pid) for pid in family(os.getpid()) if pid not in outside))
                time.sleep(10 * SAMPLE_SECONDS)
            drained.result()
            return peak, time.monotonic() - began


def _drained(place: Place, queue: Queue, size: int) -> None:
    while True:
        depth = queue.depth()
        arrived = _arrived(place.settings.lake) if place.lake.open("raw/flights") else 0
        waiting = depth.waiting or depth.in_flight or arrived < size
        if not waiting and not lagging(place.lake, place.datasets, place.items):
            return
        time.sleep(1)


def family(pid: int) -> list[int]:
    """The process and all below it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


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
    parser.add_argument("--house", action="store_true", help="all processes of `dagster dev`, down to the items")
    parser.add_argument("--limit", type=float, default=1.10)
    parser.add_argument("--work", nargs=3, metavar=("LAKE", "BUCKET", "QUEUE"), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
