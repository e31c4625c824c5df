"""60,000 changes into 6 million rows, change feed on: this project's hop beside delta-rs `merge` as it comes.

    .venv/bin/python -m benchmarks.upsert --repeats 3

The table has the columns and the key of TPC-H's lineitem and is laid as maintenance lays it. Four loads: `range`
changes the newest orders; `scattered` changes rows everywhere; `recent` changes rows of the last two months
received, whose orders are scattered among all others'; `recent, by month` the same, in a table that is partitioned
by the month. Four in five of the changes are updates, the others are new rows.

Each way runs in a process of its own on a copy of the table, interleaved; seconds are those of the hop or the
merge, with those of the processor beside them, and memory is the process's peak, imports included (VmHWM, Linux
only). After each run the change feed of its commit is held against the changes, row by row. Exit code 1 where a
feed or a goal is missed: `range` at least four times as fast as the merge at 400 MB or less, `scattered` at most
1.1 times its seconds at 700 MB or less.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

KEY = ["month", "order", "line"]
CHANGES = 60_000
UPDATES = CHANGES * 4 // 5
LINES = 4
SEED = 7
WORDS = ("carefully", "final", "deposits", "sleep", "quickly", "ironic", "accounts", "haggle", "pending", "bold")
LOADS = {
    "range": "plain",
    "scattered": "plain",
    "recent": "plain",
    "recent, by month": "by month",
}
WAYS = ("merge", "hop")


def rows(orders: Any, seed: int) -> Any:
    """A frame of the orders' lines, in lineitem's columns."""
    import numpy as np
    import polars as pl

    chance = np.random.default_rng(seed)
    number = np.repeat(np.asarray(orders, dtype=np.int64), LINES)
    size = len(number)
    day = _day(number)

    def pick(options: tuple[str, ...]) -> Any:
        return np.array(options)[chance.integers(0, len(options), size)]

    return pl.DataFrame(
        {
            "month": (day // 30).astype(np.int32),
            "order": number,
            "line": np.tile(np.arange(1, LINES + 1, dtype=np.int32), len(orders)),
            "part": chance.integers(1, 200_000, size),
            "supplier": chance.integers(1, 10_000, size),
            "quantity": chance.integers(1, 51, size).astype(np.float64),
            "price": chance.integers(90_000, 10_500_000, size) / 100,
            "discount": chance.integers(0, 11, size) / 100,
            "tax": chance.integers(0, 9, size) / 100,
            "returned": pick(("A", "N", "R")),
            "status": pick(("F", "O")),
            "shipped": day,
            "committed": day + chance.integers(-60, 60, size),
            "received": day + chance.integers(1, 31, size),
            "instruction": pick(("COLLECT COD", "DELIVER IN PERSON", "NONE", "TAKE BACK RETURN")),
            "mode": pick(("AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK")),
            "comment": pl.select(pl.concat_str([pl.Series(pick(WORDS)) for _ in range(5)], separator=" "))[""],
        }
    ).with_columns(pl.col("shipped", "committed", "received").cast(pl.Int32).cast(pl.Date))


def _day(order: Any) -> Any:
    """When an order was shipped: seven years of days since 1970-01-01, in no order of its number."""
    return 8035 + (order * 2_654_435_761 % 4_294_967_296) % 2520


def make(home: Path, count: int) -> None:
    """The tables and the changes, below `home`."""
    import numpy as np
    import polars as pl
    from deltalake import write_deltalake

    from lakehouse.lake import Lake

    chance = np.random.default_rng(SEED)
    orders = np.arange(count // LINES, dtype=np.int64) * 4
    last = int(_day(np.arange(10_000)).max()) // 30
    recent = orders[_day(orders) // 30 >= last - 1]
    picks = {
        "range": (orders[-UPDATES // LINES :], orders[-1] + 4 + np.arange((CHANGES - UPDATES) // LINES) * 4),
        "scattered": (chance.choice(orders, UPDATES // LINES, replace=False), None),
        "recent": (chance.choice(recent, UPDATES // LINES, replace=False), None),
    }
    for name, (old, new) in picks.items():
        if new is None:
            between = (orders if name == "scattered" else np.arange(orders[-1])) // 4 * 4 + 1
            wanted = between if name == "scattered" else between[_day(between) // 30 >= last - 1]
            new = chance.choice(np.unique(wanted), (CHANGES - UPDATES) // LINES, replace=False)
        changed = rows(np.concatenate([old, new]), SEED + 1)
        changed.sample(fraction=1.0, shuffle=True, seed=SEED).write_parquet(home / f"{name}.parquet")
        if name == "recent":
            changed.write_parquet(home / "recent, by month.parquet")
    for layout, by in (("plain", []), ("by month", ["month"])):
        lake = Lake(str(home / layout))
        for part in np.array_split(orders, 48):
            frame = rows(part, int(part[0]))
            table = lake.ensure("target", frame.schema, partition_by=by, key=KEY)
            write_deltalake(table.delta, frame.to_arrow(), mode="append")
        table.delta.optimize.compact(max_concurrent_tasks=1)
        lake.ensure("changes", pl.Schema({"n": pl.Int64})).append(pl.DataFrame({"n": [1]}))


def work(way: str, root: str, changes: str) -> None:
    """What is measured. Tells its seconds, its peak memory, what it rewrote and whether the feed is right."""
    import polars as pl
    from deltalake import DeltaTable

    from lakehouse.lake import Desired, Lake, hop

    lake = Lake(root)
    uri = lake.uri("target")
    began, busy = time.perf_counter(), time.process_time()
    if way == "merge":
        source = pl.read_parquet(changes)
        match = " AND ".join(f"t.`{k}` = s.`{k}`" for k in KEY)
        merge = DeltaTable(uri).merge(source.to_arrow(), match, source_alias="s", target_alias="t")
        merge.when_matched_update_all().when_not_matched_insert_all().execute()
    else:

        def desired(*_: Any) -> Desired:
            frame = pl.read_parquet(changes)
            return Desired(frame, frame.select(KEY))

        hop(lambda: lake.open("target"), [lambda: lake.open("changes")], desired, key=KEY, code="benchmark")
    took, spent, memory = time.perf_counter() - began, time.process_time() - busy, _peak()
    told = DeltaTable(uri).history(1)[0]["operationMetrics"]
    found = {
        "seconds": took,
        "cpu": spent,
        "memory": memory,
        "removed": told["num_target_files_removed"],
        "copied": told["num_target_rows_copied"],
        "right": _right(DeltaTable(uri), pl.read_parquet(changes)),
    }
    print(json.dumps(found))


def _peak() -> float:
    """The process's largest resident size so far, in MB."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def _right(table: Any, changes: Any) -> bool:
    """Whether the last commit's change feed holds the changes and what stood before them, and nothing else."""
    import polars as pl

    feed = pl.DataFrame(table.load_cdf(table.version(), table.version()).read_all())
    counts = dict(feed.group_by("_change_type").len().iter_rows())
    after = feed.filter(pl.col("_change_type").is_in(["insert", "update_postimage"])).select(changes.columns)
    same = after.sort(KEY).equals(changes.sort(KEY))
    expected = {"insert": CHANGES - UPDATES, "update_preimage": UPDATES, "update_postimage": UPDATES}
    return same and counts == expected


def measure(home: Path, repeats: int, loads: list[str]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {(load, way): [] for load in loads for way in WAYS}
    for _ in range(repeats):
        for load, way in found:
            copy = home / "copy"
            shutil.copytree(home / LOADS[load], copy, copy_function=os.link)
            _own_log(home / LOADS[load], copy)
            command = [sys.executable, "-m", "benchmarks.upsert", "--work", way, str(copy)]
            told = subprocess.run(
                [*command, str(home / f"{load}.parquet")], check=True, capture_output=True, text=True
            ).stdout
            shutil.rmtree(copy)
            found[load, way].append(json.loads(told.splitlines()[-1]))
            print(f"{load}, {way}: {told.splitlines()[-1]}", flush=True)
    return found


def _own_log(original: Path, copy: Path) -> None:
    """Data files are never written to again and may be links; the log's last checkpoint is."""
    for log in original.rglob("_last_checkpoint"):
        own = copy / log.relative_to(original)
        own.unlink()
        shutil.copy(log, own)


def report(found: dict[tuple[str, str], list[dict[str, Any]]]) -> bool:
    """Print the medians; whether all goals are reached."""
    print("\n| load | way | s, median (range) | CPU s | peak MB | files rewritten | rows copied | feed |")
    print("|---|---|---|---|---|---|---|---|")
    middle: dict[tuple[str, str], tuple[float, float]] = {}
    right = True
    for (load, way), runs in found.items():
        seconds, memory = [r["seconds"] for r in runs], [r["memory"] for r in runs]
        middle[load, way] = statistics.median(seconds), statistics.median(memory)
        feed = all(r["right"] for r in runs)
        right &= feed
        print(
            f"| {load} | {way} | {middle[load, way][0]:.2f} ({min(seconds):.2f}–{max(seconds):.2f}) "
            f"| {statistics.median(r['cpu'] for r in runs):.2f} "
            f"| {middle[load, way][1]:.0f} | {runs[0]['removed']} | {runs[0]['copied']:,} "
            f"| {'exact' if feed else 'WRONG'} |"
        )
    print()
    for load in dict.fromkeys(load for load, _ in found):
        print(f"{load}: the hop takes {middle[load, 'hop'][0] / middle[load, 'merge'][0]:.2f} of the merge's time")
    goals = {"range": (1 / 4, 400), "scattered": (1.1, 700)}
    return right and all(
        middle[load, "hop"][0] <= most * middle[load, "merge"][0] and middle[load, "hop"][1] <= memory
        for load, (most, memory) in goals.items()
        if (load, "hop") in middle
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=6_000_000)
    parser.add_argument("--loads", nargs="+", choices=[*LOADS], default=[*LOADS])
    parser.add_argument("--keep", type=Path, help="a folder for the tables, made if it is not there")
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*options.work)
    elif options.make:
        make(Path(options.make[0]), int(options.make[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            home = options.keep or Path(folder)
            if not (home / "by month").exists():
                home.mkdir(parents=True, exist_ok=True)
                command = [sys.executable, "-m", "benchmarks.upsert", "--make", str(home), str(options.rows)]
                subprocess.run(command, check=True)
            sys.exit(not report(measure(home, options.repeats, options.loads)))


if __name__ == "__main__":
    main()
