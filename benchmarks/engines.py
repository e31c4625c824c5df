"""Portable functions over one table on each engine: seconds, and the peak memory of the hop and of the engine.

    python -m benchmarks.engines --rows 10000000 --repeats 1

A Delta table of made flights lies on disk. Fresh processes take turns to compute functions over it: `by_carrier`
and `distinct` give a row a group, the latter after it has told all rows apart; `by_flight` gives a row a row. All
that is given comes back through the process that commits. Peaks are VmHWM (Linux only). Sail is once in the
process itself and once a server apart, as it would be on another machine, started anew for each measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import narwhals as nw
import polars as pl

from benchmarks.way import peak
from lakehouse.engines import Narrowed, compute
from lakehouse.lake import Lake
from lakehouse_tests.engines.conftest import sail

PART = 1_000_000
ENGINES = ("polars", "sail", "sc://")


def by_carrier(flights: nw.LazyFrame) -> nw.LazyFrame:
    late = (nw.col("arr_delay") >= 15).cast(nw.Int64)
    agg = [nw.len().alias("flights"), late.sum().alias("late"), nw.col("arr_delay").mean().alias("mean")]
    return flights.group_by("carrier").agg(*agg)


def distinct(flights: nw.LazyFrame) -> nw.LazyFrame:
    return flights.select("carrier", "flight", "tailnum").unique().group_by("carrier").agg(nw.len().alias("rows"))


def by_flight(flights: nw.LazyFrame) -> nw.LazyFrame:
    day = nw.col("time_hour").dt.date()
    return flights.select("time_hour", "carrier", "flight", "arr_delay", day.alias("day"))


FUNCTIONS = {one.__name__: one for one in (by_carrier, distinct, by_flight)}


def made(lake: Lake, rows: int) -> None:
    start = datetime(2013, 1, 1, tzinfo=UTC)
    for first in range(0, rows, PART):
        number = pl.int_range(first, min(first + PART, rows), eager=True)
        part = pl.DataFrame({"flight": number}).select(
            time_hour=pl.lit(start) + pl.duration(hours=pl.col("flight") % 8760),
            carrier="C" + (pl.col("flight").hash(1) % 16).cast(pl.String),
            flight="flight",
            arr_delay=(pl.col("flight").hash(2) % 300).cast(pl.Int32) - 60,
            origin="O" + (pl.col("flight").hash(3) % 3).cast(pl.String),
            tailnum="N" + (pl.col("flight").hash(4) % 100_000).cast(pl.String),
        )
        lake.ensure("flights", part.schema).append(part)


def work(root: str, function: str) -> None:
    """What is measured, in a process of its own."""
    table = Lake(root).open("flights")
    assert table is not None
    start = time.monotonic()
    rows = len(compute(FUNCTIONS[function], [Narrowed(table)]))
    print(json.dumps({"rows": rows, "seconds": time.monotonic() - start, "peak": peak()}))


def measured(root: str, function: str, engine: str, place: Path) -> dict[str, float]:
    with ExitStack() as stack:
        server, address = stack.enter_context(sail(place)) if engine == "sc://" else (None, engine)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.engines", "--work", root, function],
            env=os.environ | {"LAKEHOUSE_ENGINE": address},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        told: dict[str, float] = json.loads(done.stdout)
        return told | {"engine": peak(server.pid) if server else 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*options.work)
        return
    with tempfile.TemporaryDirectory() as place:
        made(Lake(place), options.rows)
        for function in FUNCTIONS:
            runs = [
                (e, measured(place, function, e, Path(place))) for _ in range(options.repeats) for e in ENGINES
            ]
            for engine in ENGINES:
                median = {k: statistics.median(r[k] for e, r in runs if e == engine) for k in runs[0][1]}
                print(
                    f"{function} on {engine}: {median['rows']:,.0f} rows in {median['seconds']:.1f} s, "
                    f"hop {median['peak']:,.0f} MB, engine apart {median['engine']:,.0f} MB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
