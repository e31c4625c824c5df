"""Takes a share of a backfill, a portion an object; dies by SIGKILL at the n-th passage through a door of Delta,
or lives. Run by test_fanout.py and test_backlog.py; path 0: where the layers lie.
"""

import sys
from itertools import count

from deltalake import DeltaTable

from lakehouse.lake import Lake, Table
from lakehouse.layers import raw
from lakehouse.layers.backfill import help_out
from lakehouse_tests import crash_worker
from lakehouse_tests.test_fanout import PRICES

crash_worker.DOORS[:] = [(DeltaTable, "create"), *((Table, door) for door in ("append", "apply", "overwrite"))]


def main(root: str, path: int, worker: int, workers: int, fatal: int, batch: int) -> None:
    passages = count(1)
    crash_worker.mine(lambda _: crash_worker.die() if next(passages) == fatal else None)
    raw.BATCH = batch
    help_out(Lake(root), PRICES, path or None, worker, workers, lambda _: None)


if __name__ == "__main__":
    main(sys.argv[1], *(int(word) for word in sys.argv[2:]))
