"""Changes into a table of many rows, change feed on, by this project's hop.

The table has the columns and the key of TPC-H's lineitem and is laid as maintenance lays it, once `plain` and once
partitioned `by month` shipped. One row in a hundred changes; four in five of the changes are updates, the others
new rows: of the newest orders (`range`), of orders everywhere (`scattered`), or of orders that were shipped in the
last two months (`recent`), whose numbers are scattered among all others'. After each run the change feed is held
against the changes, row by row, and a run whose feed is not exact fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from deltalake import write_deltalake

from benchmarks.data import once
from benchmarks.way import Steps
from benchmarks.ways.peers import KEY, check_feed, copied
from lakehouse.lake import Desired, Lake, News, Table, hop

LINES = 4
STEP = 4
"""Orders have every fourth number: between them is room for new ones."""
PARTS = 48
SEED = 7
WORDS = ("carefully", "final", "deposits", "sleep", "quickly", "ironic", "accounts", "haggle", "pending", "bold")
LAYOUTS: dict[str, Sequence[str]] = {"plain": [], "by month": ["month"]}


def in_range(data: Path, rows: float) -> Path:
    return _made(data, int(rows)) / "range"


def scattered(data: Path, rows: float) -> Path:
    return _made(data, int(rows)) / "scattered"


def recent(data: Path, rows: float) -> Path:
    return _made(data, int(rows)) / "recent"


def apply(data: Path, out: Path, _: float) -> Steps:
    return _applied(data, out, "plain")


def apply_by_month(data: Path, out: Path, _: float) -> Steps:
    return _applied(data, out, "by month")


def _applied(data: Path, out: Path, layout: str) -> Steps:
    """One hop from a source that says which rows ought to stand where."""
    copied(data.parent / layout, out)
    lake = Lake(str(out))
    before = _opened(lake, "target").version

    def desired(_: Table, __: list[News]) -> Desired:
        changes = pl.read_parquet(data / "changes.parquet")
        return Desired(changes, changes.select(KEY))

    yield
    done = hop(partial(_opened, lake, "target"), [partial(_opened, lake, "changes")], desired, key=KEY, code="")
    yield
    check_feed(_opened(lake, "target").delta, before, data)
    return {"rewritten": done.rewritten, "copied": done.copied}


def _opened(lake: Lake, name: str) -> Table:
    table = lake.open(name)
    assert table is not None
    return table


def changed(folder: Path) -> float:
    """How many rows the changes are."""
    return float(pl.scan_parquet(folder / "changes.parquet").select(pl.len()).collect().item())


def _made(data: Path, rows: int) -> Path:
    """The tables, a folder a layout, and the changes, a folder a kind."""
    return once(data / f"lines-{rows}", partial(_filled, rows=rows))


def _filled(home: Path, rows: int) -> None:
    orders = np.arange(rows // LINES, dtype=np.int64) * STEP
    for name, numbers in _picked(orders, rows // 100 // LINES).items():
        (home / name).mkdir()
        changes = lines(numbers, SEED + 1).sample(fraction=1.0, shuffle=True, seed=SEED)
        changes.write_parquet(home / name / "changes.parquet")
    for layout, by in LAYOUTS.items():
        lake = Lake(str(home / layout))
        for part in np.array_split(orders, PARTS):
            frame = lines(part, int(part[0]))
            table = lake.ensure("target", frame.schema, partition_by=by, key=KEY)
            write_deltalake(table.delta, frame.to_arrow(), mode="append")
        table.delta.optimize.compact(max_concurrent_tasks=1)
        lake.ensure("changes", pl.Schema({"n": pl.Int64})).append(pl.DataFrame({"n": [1]}))


def _picked(orders: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """The orders that each load changes and, a fifth of them, adds."""
    chance, old = np.random.default_rng(SEED), count * 4 // 5
    last = _month(orders).max()
    late = orders[_month(orders) >= last - 1]
    between = orders + 1
    new = {
        "range": orders[-1] + STEP * np.arange(1, count - old + 1),
        "scattered": chance.choice(between, count - old, replace=False),
        "recent": chance.choice(between[_month(between) >= last - 1], count - old, replace=False),
    }
    known = {
        "range": orders[-old:],
        "scattered": chance.choice(orders, old, replace=False),
        "recent": chance.choice(late, old, replace=False),
    }
    return {name: np.concatenate([known[name], new[name]]) for name in new}


def lines(orders: np.ndarray, seed: int) -> pl.DataFrame:
    """The orders' lines, in lineitem's columns."""
    chance = np.random.default_rng(seed)
    number = np.repeat(orders, LINES)
    size = len(number)
    day = _day(number)

    def pick(options: tuple[str, ...]) -> np.ndarray:
        return np.array(options)[chance.integers(0, len(options), size)]

    words = [pl.Series(pick(WORDS)) for _ in range(5)]
    return pl.DataFrame(
        {
            "month": _month(number).astype(np.int32),
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
            "comment": pl.select(pl.concat_str(words, separator=" ")).to_series(),
        }
    ).with_columns(pl.col("shipped", "committed", "received").cast(pl.Int32).cast(pl.Date))


def _day(order: np.ndarray) -> np.ndarray:
    """When an order was shipped: seven years of days since 1970-01-01, in no order of its number."""
    return np.asarray(8035 + (order * 2_654_435_761 % 4_294_967_296) % 2520)


def _month(order: np.ndarray) -> np.ndarray:
    return np.asarray(_day(order) // 30)
