"""Walks the road once and dies by SIGKILL at the n-th passage through any door. Run by test_crash.py."""

import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

import boto3
from deltalake import DeltaTable

from lakehouse.dataset import load
from lakehouse.dynamodb.table import CONFIG, ItemTable
from lakehouse.lake import Lake, Table
from lakehouse.landing.objects import Bucket
from lakehouse.landing.queue import Queue
from lakehouse_tests.conftest import Road

DOORS: list[tuple[type, str]] = [
    (Bucket, "get"),
    (DeltaTable, "create"),
    (Table, "write"),
    (Table, "append"),
    (Table, "apply"),
    (Queue, "delete"),
    (ItemTable, "_together"),
    (ItemTable, "_put"),
    (ItemTable, "advance"),
]


def mine(passage: Callable[[str], None]) -> None:
    """Announce every passage, before and after each call: `before Table.append raw/flights`."""

    def guard(door: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            told = f"{door} {getattr(args[0], 'name', '')}"
            passage(f"before {told}")
            result = call(*args, **kwargs)
            passage(f"after {told}")
            return result

        return guarded

    for owner, name in DOORS:
        setattr(owner, name, guard(f"{owner.__name__}.{name}", getattr(owner, name)))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def walk(lake: str, bucket: str, url: str, prefix: str) -> None:
    s3, sqs, dynamodb = boto3.client("s3"), boto3.client("sqs"), boto3.client("dynamodb", config=CONFIG)
    chosen = {n: d for n, d in load().items() if n in ("flights", "airlines", "planes", "weather")}
    road = Road(Lake(lake), Bucket(s3, bucket), Queue(sqs, url), chosen, prefix, dynamodb)
    road.receive()
    road.hops()


def main(fatal: int, *places: str) -> None:
    passages = count(1)
    mine(lambda _: die() if next(passages) == fatal else None)
    walk(*places)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
