"""What a tick of the sensor costs that finds nothing, by the number of datasets: its two looks, sweep included.

    .venv/bin/python -m benchmarks.tick --datasets 10 20 50

So many datasets like the README's, each with a serving table that is published, over the local AWS; a file of each
has come all the way. Then ticks find nothing to receive and nothing that lags. Milliseconds of processor time of
the process in which a tick's code runs, one for each number; Dagster's own and the local AWS's are not in it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import dagster as dg
from dagster_aws.s3 import S3Resource

from lakehouse.dataset import Dataset, check
from lakehouse.dynamodb.sync import items_of, publish
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.landing.objects import Bucket
from lakehouse.layers import balance, cleaned, ingest, serving
from lakehouse.local import house
from lakehouse.orchestration import sensor
from lakehouse.orchestration.resources import DynamoDBResource, LakehouseResource, SQSResource
from lakehouse.settings import Settings, client

SOURCE = '''"""Orders of one shop."""

import dataframely as dy
import polars as pl

from lakehouse.dataset import Dataset, Serving


class Order(dy.Schema):
    number = dy.Int64(primary_key=True)
    customer = dy.String(nullable=False)
    amount = dy.Float64(min=0)


def spent{n}(orders{n}: pl.LazyFrame) -> pl.LazyFrame:
    return orders{n}.group_by("customer").agg(spent=pl.col("amount").sum())


dataset = Dataset(
    name="orders{n}",
    landing="orders{n}/*.csv",
    contract=Order,
    serving=[Serving(spent{n}, key="customer", group="customer", publish=True)],
)
'''
FILE = b"number,customer,amount\n1,ann,10\n2,bob,5\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--datasets", type=int, nargs="+", default=[10, 20, 50])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    print("| datasets | first tick, ms | later ticks, ms, median | least | most | n |\n|---|---|---|---|---|---|")
    for number in options.datasets:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            first, *later = process.submit(measured, number, options.repeats + 1).result()
        spread = f"{statistics.median(later):.0f} | {min(later):.0f} | {max(later):.0f}"
        print(f"| {number} | {first:.0f} | {spread} | {len(later)} |", flush=True)


def measured(number: int, ticks: int) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LAKEHOUSE_HOME"] = folder
        for name in [n for n in os.environ if n.startswith("LAKEHOUSE_") and n != "LAKEHOUSE_HOME"]:
            del os.environ[name]
        with house.local_aws(Settings.load()), dg.DagsterInstance.ephemeral() as instance:
            settings, datasets = Settings.load(), declared(Path(folder), number)
            bucket, lake = Bucket(client("s3"), settings.required("bucket")), Lake(settings.lake)
            for dataset in datasets.values():
                bucket.put(f"{dataset.name}/1.csv", FILE)
            place = LakehouseResource(s3=S3Resource(), sqs=SQSResource(), dynamodb=DynamoDBResource())
            while len(inbox.receive(place.queue(), bucket.name, lake, datasets, wait=1, budget=sensor.BUDGET)):
                pass
            for dataset in datasets.values():
                ingest.ingest(lake, bucket, dataset)
                cleaned.clean(lake, dataset)
                cleaned.quarantine(lake, dataset)
                balance.weigh(lake, dataset)
                for one in dataset.serving:
                    serving.serve(lake, one, datasets)
                    publish(lake, one, items_of(settings, one))
            sweep, found = sensor.Sweep(), []
            with patch.object(sensor, "TICK_SECONDS", 2):
                for _ in range(ticks):
                    began = time.process_time()
                    told = sensor.tick(instance, place, datasets, sweep)
                    found.append(1000 * (time.process_time() - began))
                    assert not told.run_requests
                    assert told.skip_reason
                    assert told.skip_reason.skip_message == "0 events; behind: nothing"
            return found


def declared(folder: Path, number: int) -> dict[str, Dataset]:
    package = folder / f"shops{number}"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for n in range(number):
        (package / f"orders{n}.py").write_text(SOURCE.replace("{n}", str(n)))
    sys.path.insert(0, str(folder))
    return check([importlib.import_module(f"{package.name}.orders{n}").dataset for n in range(number)])


if __name__ == "__main__":
    main()
