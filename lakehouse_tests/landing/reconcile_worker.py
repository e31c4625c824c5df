"""Reconciles a lake with a listing of many keys that is made as it is asked for. Run by test_reconcile.py."""

import resource
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from lakehouse.dataset import load
from lakehouse.lake import Lake
from lakehouse.landing.objects import Bucket
from lakehouse.landing.reconcile import reconcile

MODIFIED = datetime(2026, 1, 1, tzinfo=UTC)
PAGE = 1000


def key_of(number: int) -> str:
    return f"flights/{number:09}.csv"


class Listing:
    """An S3 client of a bucket without the first, the middle and the last object, and with three others."""

    def __init__(self, count: int) -> None:
        self.count = count

    def get_paginator(self, _: str) -> "Listing":
        return self

    def paginate(self, Bucket: str, Prefix: str, StartAfter: str = "") -> Iterator[dict[str, Any]]:
        for start in range(0, self.count, PAGE):
            keys = [key_of(n) for n in range(start, start + PAGE) if n not in self.gone]
            keys += [f"{keys[-1]}.csv"] if start in self.new else []
            facts = {"ETag": '"e"', "Size": 7, "LastModified": MODIFIED}
            yield {"Contents": [{"Key": key, **facts} for key in keys if key > StartAfter]}

    @property
    def gone(self) -> set[int]:
        return {0, self.count // 2, self.count - 1}

    @property
    def new(self) -> set[int]:
        return {0, self.count // 2, self.count - PAGE}


def main(root: str, count: int) -> None:
    datasets = {"flights": load()["flights"]}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = reconcile(Lake(root), Bucket(Listing(count), "fake"), datasets)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(sum(found.values()), (peak - before) * 1024)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
