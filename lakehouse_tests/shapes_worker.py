"""Walks the road of test_crash_shapes.py once and dies by SIGKILL at the n-th passage through any door."""

import sys
from itertools import count

import boto3

from lakehouse.dynamodb.table import CONFIG
from lakehouse.lake import Lake, Table
from lakehouse.landing.objects import Bucket
from lakehouse.landing.queue import Queue
from lakehouse_tests import crash_worker
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_crash_shapes import DATASETS


def main(fatal: int, lake: str, bucket: str, url: str, prefix: str) -> None:
    passages = count(1)
    crash_worker.DOORS.append((Table, "overwrite"))
    crash_worker.mine(lambda _: crash_worker.die() if next(passages) == fatal else None)
    s3, sqs, dynamodb = boto3.client("s3"), boto3.client("sqs"), boto3.client("dynamodb", config=CONFIG)
    road = Road(Lake(lake), Bucket(s3, bucket), Queue(sqs, url), DATASETS, prefix, dynamodb)
    road.receive()
    road.hops()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
