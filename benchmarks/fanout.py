"""A backfill, or an oversized backlog, by one process and by several, side by side on one machine.

    .venv/bin/python -m benchmarks.fanout --repeats 3
    .venv/bin/python -m benchmarks.fanout --repeats 3 --backlog

Small CSV files of flights lie in raw, 1,000 a portion. `lakehouse backfill flights` computes what follows from
them anew, on a copy of the lake, by itself and with `--workers`; the ways take turns. Seconds are those of the
command, its start and its workers' included. With `--backlog` the layers lie where they are read, by carrier, and
one file in nine is in them: the others are what came since. One worker walks as every run does; several take
portions, further processes from when there is a plan. Seconds are those until all layers have read all of raw.
Whatever the number of workers, rows and counts are compared with the first.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.capacity import body
from benchmarks.folder import Folder
from lakehouse.dataset import Dataset, load
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.layers import fanout, ingest
from lakehouse.layers.backfill import help_out

LAYERS = ("cleaned", "quarantine", "balance")


def apart() -> Dataset:
    """Flights that lie by carrier."""
    return replace(load()["flights"], partition_by="carrier")


def made(home: Path, files: int, rows: int, backlog: bool) -> Lake:
    """A lake whose raw table holds the files; for a backlog, its layers a ninth of them."""
    lake, bucket, dataset = Lake(str(home / "lake")), Folder(home / "bucket"), apart()
    keys = [f"flights/{n:06}.csv" for n in range(files)]
    for number, key in enumerate(keys):
        bucket.put(key, body(number, rows))
    first = len(keys) // 9 if backlog else 0
    for part in filter(None, (keys[:first], keys[first:])):
        inbox.announce(lake, "flights", part, event="benchmark")
        ingest.ingest(lake, bucket, dataset)
        if len(part) == first:
            walk(lake)
    return lake


def walk(lake: Lake) -> None:
    for layer in LAYERS:
        fanout.FOLLOWERS[layer].follow(lake, apart())


def catch_up(lake: Lake, place: Path, workers: int) -> float:
    """Seconds until a copy's layers have read all of raw."""
    shutil.copytree(lake.root, place)
    copy, began, others = Lake(str(place)), time.perf_counter(), list[subprocess.Popen[bytes]]()
    if workers > 1:
        fanout.share(copy, apart())
        for worker in range(1, workers):
            words = ["--help-at", str(place), str(worker), str(workers)]
            others.append(subprocess.Popen([sys.executable, "-m", "benchmarks.fanout", *words]))
        fanout.together(copy, apart(), workers)
    walk(copy)
    took = time.perf_counter() - began
    assert all(one.wait() == 0 for one in others)
    return took


def backfill(lake: Lake, place: Path, workers: int) -> float:
    """Seconds of a backfill of a copy."""
    shutil.copytree(lake.root, place)
    environment = os.environ | {"LAKEHOUSE_LAKE": str(place), "LAKEHOUSE_HOME": str(place.parent)}
    command = [sys.executable, "-m", "lakehouse.cli", "backfill", "flights", "--workers", str(workers)]
    began = time.perf_counter()
    subprocess.run([*command, "--json"], env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def run(lake: Lake, place: Path, workers: int, way: Callable[[Lake, Path, int], float]) -> tuple[float, list[int]]:
    """Seconds of a way, and the rows of each layer then."""
    took = way(lake, place, workers)
    tables = [Lake(str(place)).open(f"{layer}/flights") for layer in LAYERS]
    counts = [table.count if table else 0 for table in tables]
    shutil.rmtree(place)
    return took, counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=9000)
    parser.add_argument("--rows", type=int, default=100, help="of each file")
    parser.add_argument("--backlog", action="store_true", help="what came since, where the layers lie")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    found: dict[int, list[float]] = {workers: [] for workers in options.workers}
    counts = []
    with tempfile.TemporaryDirectory() as folder:
        lake = made(Path(folder), options.files, options.rows, options.backlog)
        for _ in range(options.repeats):
            for workers, seconds in found.items():
                took, rows = run(lake, Path(folder) / "copy", workers, catch_up if options.backlog else backfill)
                seconds.append(took)
                counts.append(rows)
                print(f"{workers}: {took:.2f} s, {rows}", flush=True)
    first = statistics.median(found[options.workers[0]])
    print("\n| workers | s, median (range) | times |\n|---|---|---|")
    for workers, seconds in found.items():
        middle = statistics.median(seconds)
        print(f"| {workers} | {middle:.1f} ({min(seconds):.1f}–{max(seconds):.1f}) | {first / middle:.2f} |")
    sys.exit(any(rows != counts[0] for rows in counts))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--help-at"]:
        place, worker, workers = sys.argv[2:]
        help_out(Lake(place), apart(), None, int(worker), int(workers), lambda _: None)
    else:
        main()
