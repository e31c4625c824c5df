"""Message visible in SQS → item in DynamoDB: this project as shipped, with Dagster's stock settings, and bare.

    .venv/bin/python -m benchmarks.latency --n 30 --gap 20 --stock 5

One hour of weather (three NDJSON rows) lands every 20 ± 10 s and goes through raw, cleaned, quarantine and
`airport_hourly` into DynamoDB; a day of flights (about 900 rows, 12 assets, some 800 items) is timed beside it.
`shipped`: daemon, sensor, warm launcher. `stock`: the same assets under `dagster dev` as it comes (run queue,
spawned runs, multiprocess executor, short poll). `bare`: the same hops in a warm loop, without Dagster.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lakehouse.dataset import Dataset, Serving, load
from lakehouse.dynamodb.sync import items_of, publish
from lakehouse.dynamodb.table import ItemTable
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.landing.objects import Bucket
from lakehouse.landing.queue import Budget, Queue
from lakehouse.layers import balance, cleaned, ingest, serving
from lakehouse.layers.lag import lagging
from lakehouse.local import feed, house
from lakehouse.settings import Settings, client

HERE = Path(__file__).parent
PATIENCE = 180


@dataclass
class Place:
    """Where files land and items appear."""

    bucket: Bucket
    lake: Lake
    settings: Settings
    datasets: dict[str, Dataset] = field(default_factory=load)

    def items(self, one: Serving) -> ItemTable:
        return items_of(self.settings, one)

    def find(self, name: str) -> Serving:
        return next(s for d in self.datasets.values() for s in d.serving if s.name == name)


def here() -> Place:
    settings = Settings.load()
    return Place(Bucket(client("s3"), settings.required("bucket")), Lake(settings.lake), settings)


def hours(day: int) -> Iterator[tuple[str, bytes, dict[str, str], Any]]:
    """(key, NDJSON of one hour, the item's key, the temperature to expect) in a day's weather."""
    ((key, body),) = feed.weather(1, day)
    rows = [json.loads(line) for line in body.splitlines()]
    for hour in sorted({row["time_hour"] for row in rows}):
        mine = [row for row in rows if row["time_hour"] == hour]
        text = "".join(json.dumps(row) + "\n" for row in mine).encode()
        yield key.replace(".ndjson", f"-{hour[11:13]}.ndjson"), text, mine[0], mine[0]["temp"]


def settle(place: Place, moment: Callable[[], None]) -> None:
    end = time.monotonic() + PATIENCE
    while not _empty() or lagging(place.lake, place.datasets, place.items):
        assert time.monotonic() < end, "the backlog was not worked off"
        moment()


def _empty() -> bool:
    depth = Queue(client("sqs"), Settings.load().required("queue_url")).depth()
    return not depth.waiting and not depth.in_flight


def weather(place: Place, n: int, gap: float, moment: Callable[[], None]) -> list[float]:
    """Seconds from landing to item, for n hours of weather."""
    hourly, found = place.find("airport_hourly"), []
    items = place.items(hourly)
    samples = [s for day in range(2, 30) for s in hours(day) if _known(items, hourly, s[2])][:n]
    assert len(samples) == n
    for key, body, row, temperature in samples:
        time.sleep(gap * random.uniform(0.5, 1.5))
        began = time.monotonic()
        place.bucket.put(key, body)
        while (item := items.get(row, hourly.keys)) is None or float(item["temp"] or 0) != temperature:
            assert time.monotonic() < began + PATIENCE, f"{key} never arrived"
            moment()
        found.append(time.monotonic() - began)
    return found


def _known(items: ItemTable, hourly: Serving, row: dict[str, Any]) -> bool:
    row["time_hour"] = row["time_hour"].replace("Z", "+00:00")
    return row["temp"] is not None and items.get(row, hourly.keys) is not None


def flights(place: Place, n: int, gap: float, moment: Callable[[], None]) -> list[float]:
    """Seconds from landing until no table and no item lags, for n more days of flights."""
    found = []
    for day in range(40, 40 + n):
        time.sleep(gap * random.uniform(0.5, 1.5))
        ((key, body),) = feed.flights(1, day)
        began = time.monotonic()
        place.bucket.put(key, body)
        table = place.find("carrier_punctuality")
        before = place.items(table).cursor()
        while place.items(table).cursor() == before or lagging(place.lake, place.datasets, place.items):
            assert time.monotonic() < began + PATIENCE, f"{key} never arrived"
            moment()
        found.append(time.monotonic() - began)
    return found


def prepare(place: Place, moment: Callable[[], None]) -> None:
    """References and ten days of flights, so that each hour of weather has an item to change."""
    for key, body in [*feed.reference(), *feed.flights(10, 2)]:
        place.bucket.put(key, body)
    settle(place, moment)


def bare(place: Place, queue: Queue) -> Callable[[], None]:
    """One pass of every hop that the waiting events concern."""

    def moment() -> None:
        if not inbox.receive(queue, place.bucket.name, place.lake, place.datasets, wait=1, budget=Budget()).height:
            return
        for name in lagging(place.lake, place.datasets, place.items):
            dataset = place.datasets[name]
            ingest.ingest(place.lake, place.bucket, dataset)
            cleaned.clean(place.lake, dataset)
            cleaned.quarantine(place.lake, dataset)
            balance.weigh(place.lake, dataset)
            for one in (s for d in place.datasets.values() for s in d.serving if name in s.upstreams):
                serving.serve(place.lake, one, place.datasets)
                publish(place.lake, one, place.items(one))

    return moment


def wait() -> None:
    time.sleep(0.02)


def told(name: str, found: list[float]) -> str:
    if not found:
        return f"| {name} | – | – | – | – | 0 |"
    ordered = sorted(found)
    tail = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    return (
        f"| {name} | {statistics.median(found):.2f} | {tail:.2f} "
        f"| {ordered[0]:.2f} | {ordered[-1]:.2f} | {len(found)} |"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--n", type=int, default=30)
    options.add_argument("--flights", type=int, default=5)
    options.add_argument("--stock", type=int, default=5)
    options.add_argument("--gap", type=float, default=20.0)
    chosen = options.parse_args()
    lines = []
    modes: dict[str, dict[str, Path]] = {
        "shipped": {},
        "stock": {"instance": HERE / "stock-instance.yaml", "workspace": HERE / "stock.yaml"},
    }
    for mode, paths in modes.items():
        if not (n := chosen.n if mode == "shipped" else chosen.stock):
            lines.append(told(mode, []))
            continue
        with home(mode) as settings, house.local_aws(settings), house.dagster(settings, **paths):
            place = here()
            prepare(place, wait)
            lines.append(told(f"{mode}, one hour of weather", weather(place, n, chosen.gap, wait)))
            print(lines[-1], file=sys.stderr, flush=True)
            days = min(chosen.flights, n)
            lines.append(told(f"{mode}, one day of flights", flights(place, days, chosen.gap, wait)))
            print(lines[-1], file=sys.stderr, flush=True)
    with home("bare") as settings, house.local_aws(settings):
        place = here()
        loop = bare(place, Queue(client("sqs"), place.settings.required("queue_url")))
        prepare(place, loop)
        lines.append(told("bare warm loop, one hour of weather", weather(place, chosen.n, 0.5, loop)))
        lines.append(told("bare warm loop, one day of flights", flights(place, chosen.flights, 0.5, loop)))
    print("| seconds from landing to item | median | p95 | least | most | n |\n|---|---|---|---|---|---|")
    print("\n".join(lines))


class home:
    """A fresh LAKEHOUSE_HOME."""

    def __init__(self, mode: str) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix=f"lakehouse-{mode}-", ignore_cleanup_errors=True)

    def __enter__(self) -> Settings:
        for name in [n for n in os.environ if n.startswith("LAKEHOUSE_")]:
            del os.environ[name]
        os.environ["LAKEHOUSE_HOME"] = self.folder.name
        return Settings.load()

    def __exit__(self, *_: object) -> None:
        self.folder.cleanup()


if __name__ == "__main__":
    main()
