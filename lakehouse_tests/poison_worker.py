"""Ingests one dataset, and dies by SIGKILL on any object that says so. Run by test_poison.py."""

import os
import signal
import sys
from datetime import timedelta

import boto3
import polars as pl

from lakehouse.dataset import load
from lakehouse.lake import Lake
from lakehouse.landing import readers
from lakehouse.landing.objects import Bucket
from lakehouse.layers import ingest, raw

read = readers.read_csv


def deadly(body: bytes) -> pl.DataFrame:
    if b"POISON" in body:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(body)


if __name__ == "__main__":
    lake, bucket, run, failures = sys.argv[1:]
    readers.READERS[".csv"] = deadly
    ingest.TRIAL = timedelta(0)
    raw.BATCH = 4
    flights = load()["flights"]
    ingest.ingest(Lake(lake), Bucket(boto3.client("s3"), bucket), flights, run=run, failures=int(failures))
