"""A death between a data file and its commit leaves a file that no commit names, until vacuum takes it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lakehouse.lake.maintenance import clean
from lakehouse_tests import sample
from lakehouse_tests.chaos.orphan_worker import data_files
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_crash import visible_again
from lakehouse_tests.test_road import check, land

pytestmark = pytest.mark.slow

TRIES = 12
RETENTION = 7 * 86_400


def walk(road: Road, table: str) -> int:
    places = [road.lake.root, road.bucket.name, road.queue.url, road.prefix]
    command = [sys.executable, "-m", "lakehouse_tests.chaos.orphan_worker", table, *places]
    return subprocess.run(command, check=False, timeout=300).returncode


def orphans(road: Road, table: str) -> set[str]:
    """Data files, whole or half written, of which the table's log knows nothing."""
    folder = Path(road.lake.root) / table
    log = "".join(path.read_text() for path in (folder / "_delta_log").glob("*.json"))
    return {path for path in data_files(folder) if Path(path).name not in log}


@pytest.mark.parametrize("table", ["landing/inbox", "raw/flights", "cleaned/flights"])
def test_a_file_without_a_commit_is_no_row_and_is_vacuumed(road: Road, table: str) -> None:
    files = dict(sample.FILES)
    for number in range(10, 10 + TRIES):
        land(road, more := {f"flights/{number}.csv": sample.flights(("AA", number, 30), ("UA", 2, number))})
        files |= more
        assert walk(road, table) == -signal.SIGKILL
        if left := orphans(road, table):
            break
    assert left
    print(f"\n{table}: {[Path(path).name for path in left]} after {number - 9} deaths")
    land(road, sample.FILES)
    visible_again(road)
    road.hops()
    files = {key: body for key, body in files.items() if key not in sample.FILES} | sample.FILES
    check(road, files)
    assert left <= orphans(road, table)
    gone(road, table, left)
    road.hops()
    check(road, files)


def gone(road: Road, table: str, files: set[str]) -> None:
    """After the retention vacuum takes them; before it does not."""
    opened = road.lake.open(table)
    assert opened is not None
    clean(opened)
    assert all(Path(path).exists() for path in files)
    old = time.time() - RETENTION - 60
    for path in files:
        os.utime(path, (old, old))
    clean(opened)
    assert not any(Path(path).exists() for path in files)
