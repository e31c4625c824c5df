"""A backfill by one process and by several, side by side on one machine.

    .venv/bin/python -m benchmarks.fanout --repeats 3

Small CSV files of flights lie in raw, 250 a portion. `lakehouse backfill flights` computes what follows from them
anew, on a copy of the lake, by itself and with `--workers`; the ways take turns. Seconds are those of the command,
its start and its workers' included. Whatever the number of workers, rows and counts are compared with the first.
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
from pathlib import Path

from benchmarks.capacity import body
from benchmarks.small_files import Folder
from lakehouse.dataset import load
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.layers import ingest

LAYERS = ("cleaned", "quarantine", "balance")


def made(home: Path, files: int, rows: int) -> Lake:
    """A lake whose raw table holds the files."""
    lake, bucket, dataset = Lake(str(home / "lake")), Folder(home / "bucket"), load()["flights"]
    keys = [f"flights/{n:06}.csv" for n in range(files)]
    for number, key in enumerate(keys):
        bucket.put(key, body(number, rows))
    inbox.announce(lake, "flights", keys, event="benchmark")
    ingest.ingest(lake, bucket, dataset)
    return lake


def run(lake: Lake, place: Path, workers: int) -> tuple[float, list[int]]:
    """Seconds of a backfill of a copy, and the rows of each layer then."""
    shutil.copytree(lake.root, place)
    environment = os.environ | {"LAKEHOUSE_LAKE": str(place), "LAKEHOUSE_HOME": str(place.parent)}
    command = [sys.executable, "-m", "lakehouse.cli", "backfill", "flights", "--workers", str(workers)]
    began = time.perf_counter()
    subprocess.run([*command, "--json"], env=environment, check=True, stdout=subprocess.DEVNULL)
    took = time.perf_counter() - began
    tables = [Lake(str(place)).open(f"{layer}/flights") for layer in LAYERS]
    counts = [table.count if table else 0 for table in tables]
    shutil.rmtree(place)
    return took, counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=200, help="of each file")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    found: dict[int, list[float]] = {workers: [] for workers in options.workers}
    counts = []
    with tempfile.TemporaryDirectory() as folder:
        lake = made(Path(folder), options.files, options.rows)
        for _ in range(options.repeats):
            for workers, seconds in found.items():
                took, rows = run(lake, Path(folder) / "copy", workers)
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
    main()
