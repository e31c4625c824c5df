"""Jobs that the launcher's tests run."""

import os
import signal
import time
from pathlib import Path

import dagster as dg


@dg.op
def query() -> None:
    import polars as pl

    frame = pl.LazyFrame({"a": [1, 2, 3]}).group_by("a").agg(pl.len()).collect(engine="streaming")
    assert frame.height == 3


@dg.op
def sleep() -> None:
    for _ in range(300):
        time.sleep(0.1)


@dg.op
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dg.job(executor_def=dg.in_process_executor)
def querying() -> None:
    query()


@dg.job(executor_def=dg.in_process_executor)
def sleeping() -> None:
    sleep()


@dg.job(executor_def=dg.in_process_executor)
def dying() -> None:
    die()


DAGSTER_YAML = Path(__file__).parents[2] / "deploy" / "dagster.yaml"
