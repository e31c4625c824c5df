"""Computes flights anew; dies by SIGKILL at the n-th passage through a door of Delta. Run by test_backfill.py."""

import sys
from itertools import count

from deltalake import DeltaTable

from lakehouse.dataset import load
from lakehouse.lake import Lake, Table
from lakehouse.layers.backfill import backfill
from lakehouse_tests import crash_worker

crash_worker.DOORS[:] = [(DeltaTable, "create"), *((Table, door) for door in ("append", "apply", "overwrite"))]


def main(root: str, fatal: int) -> None:
    passages = count(1)
    crash_worker.mine(lambda _: crash_worker.die() if next(passages) == fatal else None)
    backfill(Lake(root), load()["flights"])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
