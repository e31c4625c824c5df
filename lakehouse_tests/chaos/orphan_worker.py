"""Walks the road and dies by SIGKILL between a data file and its commit. Run by test_orphans.py.

Both happen inside delta-rs, so a thread watches the table's folder and kills the process as soon as a new data
file stands there.
"""

import os
import sys
import threading
from pathlib import Path

from lakehouse_tests.crash_worker import die, walk


def data_files(folder: Path) -> set[str]:
    found = os.walk(folder)
    return {os.path.join(at, name) for at, _, names in found if "_delta_log" not in at for name in names}


def watch(folder: Path) -> None:
    before = data_files(folder)
    while not data_files(folder) - before:
        pass
    die()


def main(table: str, lake: str, *places: str) -> None:
    threading.Thread(target=watch, args=(Path(lake) / table,), daemon=True).start()
    walk(lake, *places)


if __name__ == "__main__":
    main(*sys.argv[1:])
