"""A warm worker, forked from what has everything imported, starts an engine of its own."""

import sys
import time
from pathlib import Path

import pytest

from lakehouse.orchestration.launcher import ForkServer

WORK = """
import narwhals as nw, polars as pl
from lakehouse.engines import compute

def summed(rows: nw.LazyFrame) -> nw.LazyFrame:
    return rows.group_by("group").agg(nw.col("n").sum())

rows = compute(summed, [pl.DataFrame({"group": ["a", "a"], "n": [1, 2]})])
open("OUT", "w").write(repr(rows.rows()))
"""


@pytest.mark.slow
def test_a_forked_worker_computes_on_an_engine_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    (tmp_path / "work.py").write_text(WORK.replace("OUT", str(out)))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    monkeypatch.setenv("LAKEHOUSE_ENGINE", "sail")
    server = ForkServer(["lakehouse.definitions", "lakehouse.datasets.*"])
    try:
        assert server.start([sys.executable, "-m", "work"], tmp_path / "note") is None
        end = time.monotonic() + 200
        while not (out.exists() and out.read_text()):
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.05)
    finally:
        server.stop()
    assert out.read_text() == "[('a', 3)]"
