"""Erases a subject and dies by SIGKILL at the n-th passage through a door. Run by test_erase.py."""

import sys
from itertools import count
from types import ModuleType

import boto3
from deltalake import DeltaTable

from lakehouse.dynamodb.table import CONFIG, ItemTable
from lakehouse.lake import Lake, Table, oblivion
from lakehouse.landing.erased import subject
from lakehouse.landing.objects import Bucket
from lakehouse.landing.queue import Queue
from lakehouse.layers.erase import erase
from lakehouse_tests import crash_worker, test_erase
from lakehouse_tests.conftest import Road

DOORS: list[tuple[type | ModuleType, str]] = [
    (Bucket, "replace"),
    (Bucket, "drop"),
    (DeltaTable, "create"),
    (DeltaTable, "create_checkpoint"),
    (Table, "append"),
    (Table, "apply"),
    (ItemTable, "_put"),
    (ItemTable, "advance"),
    (ItemTable, "remove"),
    (oblivion, "_delete"),
    (oblivion, "_emptied"),
]


def main(fatal: int, lake: str, bucket: str, url: str, prefix: str) -> None:
    passages = count(1)
    crash_worker.DOORS[:] = DOORS  # type: ignore[assignment]
    crash_worker.mine(lambda _: crash_worker.die() if next(passages) == fatal else None)
    s3, sqs, dynamodb = boto3.client("s3"), boto3.client("sqs"), boto3.client("dynamodb", config=CONFIG)
    road = Road(Lake(lake), Bucket(s3, bucket), Queue(sqs, url), test_erase.DATASETS, prefix, dynamodb)
    erase(test_erase.site(road), subject(road.lake, "customer", test_erase.ANN))


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
