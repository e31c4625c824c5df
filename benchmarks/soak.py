"""Mixed traffic and faults until the time is over; then everything as the oracle says, memory flat, files few.

    .venv/bin/python -m benchmarks.soak --minutes 60

`dagster dev` runs as shipped, over the local AWS. Files of flights and airlines land, are overwritten, have broken
records among them; events come again, three times and out of order. Every so often, in turn: processes die at a
share of the doors that they pass, DynamoDB refuses a third of all calls, the daemon is killed, the process that
holds the code is killed, the local AWS is stopped and started again with its state. The last tenth of the time is
without faults. Exit code 1 where something is lost or doubled, memory has grown, or a table has many files.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import polars as pl
from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.memory import family, pss
from lakehouse.lake import Table
from lakehouse.lake.maintenance import CROWD
from lakehouse.layers.tables import standing
from lakehouse.local import aws, house
from lakehouse.settings import Settings
from lakehouse_tests import sample
from lakehouse_tests.chaos.conftest import VISIBILITY, comes_right, environment, road_here
from lakehouse_tests.conftest import Road

WORKSPACE = """load_from:
  - python_module:
      module_name: lakehouse_tests.chaos.shaken
      location_name: lakehouse
      working_directory: {root}
"""
KEYS = 200
"""Objects that traffic goes to, so that most puts overwrite."""
CARRIERS = ["AA", "UA", "DL"]
FAULT_SECONDS = 8.0
PATIENCE = 300.0
GROWTH = 1.15
"""By how much the last third's memory may lie above the first third's."""
FILES = 2 * CROWD
"""Live files that one partition of a table may have at the end."""


@dataclass
class Soak:
    """What happened, and what was found at the end."""

    events: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)
    seconds_to_right: float = 0.0
    files: dict[str, int] = field(default_factory=dict)

    @property
    def growth(self) -> float:
        return high(self.memory[-(len(self.memory) // 3) :]) / high(self.memory[: len(self.memory) // 3])

    @property
    def wrong(self) -> list[str]:
        found = [f"{name} has {count} files" for name, count in self.files.items() if count > FILES]
        return [*found, f"memory has grown by {self.growth:.2f}"] if self.growth > GROWTH else found


def soak(home: Path, seconds: float, every: float, dice: random.Random) -> Soak:
    """Run it; `every`: seconds between two faults. Raises `AssertionError` where the oracle disagrees."""
    told, folder = Soak(), home / "shaken"
    folder.mkdir()
    (folder / "workspace.yaml").write_text(WORKSPACE.format(root=house.ROOT))
    with environment(LAKEHOUSE_HOME=str(home), SHAKEN=str(folder)), ExitStack() as stack:
        local = stack.enter_context(_aws(home))
        stack.enter_context(house.local_aws(Settings.load()))
        outside = set(family(os.getpid()))
        stack.enter_context(house.dagster(Settings.load(), workspace=folder / "workspace.yaml"))
        road = road_here()
        road.queue.client.set_queue_attributes(QueueUrl=road.queue.url, Attributes=VISIBILITY)
        begun = time.monotonic()
        faults = cycle(_faults(folder, local, lambda: {*family(os.getpid())} - outside).items())
        due = begun + every
        while (now := time.monotonic()) < begun + seconds:
            with suppress(ClientError, BotoCoreError):
                told.events[_traffic(road, dice)] += 1
            if now > due and now < begun + 0.9 * seconds:
                name, fault = next(faults)
                fault()
                told.faults[name] += 1
                due = time.monotonic() + every
            told.memory.append(sum(pss(pid) for pid in {*family(os.getpid())} - outside - local.pids))
            time.sleep(dice.uniform(0.2, 1.0))
        files = _landed(road)
        told.seconds_to_right = comes_right(road, files, PATIENCE)
        told.files = {name: _most(table) for name, table in standing(road.lake, road.datasets).items()}
        told.events["objects"] = len(files)
        with suppress(OSError):
            told.faults["died at a door"] = len((folder / "died").read_text())
    return told


class _aws:
    """The local AWS, which can be stopped and started again at the same address."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __enter__(self) -> _aws:
        self.running = aws.start(self.home)
        return self

    def again(self) -> None:
        self.running.stop()
        time.sleep(2)
        self.running = aws.start(self.home)

    @property
    def pids(self) -> set[int]:
        return {self.running.process.pid} if self.running.process else set()

    def __exit__(self, *_: object) -> None:
        self.running.stop()


def high(memory: list[float]) -> float:
    """What nine in ten samples lie below: who was killed weighs nothing, and a peak of a moment little."""
    return sorted(memory)[int(0.9 * len(memory))]


def _faults(folder: Path, local: _aws, ours: Callable[[], set[int]]) -> dict[str, Callable[[], None]]:
    def share(name: str, value: float) -> None:
        (folder / name).write_text(str(value))
        time.sleep(FAULT_SECONDS)
        (folder / name).unlink()

    def kill(part: str) -> None:
        for pid in sorted(ours()):
            with suppress(OSError):
                if part in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "):
                    return os.kill(pid, signal.SIGKILL)

    return {
        "deaths at doors": lambda: share("deaths", 0.2),
        "throttles": lambda: share("throttles", 0.33),
        "daemon killed": lambda: kill("dagster._daemon"),
        "code server killed": lambda: kill("code-server start"),
        "local AWS restarted": local.again,
    }


def _traffic(road: Road, dice: random.Random) -> str:
    """One upload, or one event again; gives what it was."""
    number = dice.randrange(KEYS)
    key = f"flights/{number}.csv"
    what = dice.choices(["flights", "broken", "airlines", "again"], [6, 2, 1, 3])[0]
    if what == "airlines":
        road.bucket.put("airlines/airlines.csv", f"carrier,name\nAA,American {number}\nUA,United\n".encode())
    elif what == "again":
        for _ in range(3):
            road.queue.send(_event(road.bucket.name, key))
    else:
        rows = [(dice.choice(CARRIERS), dice.randrange(1, 900), dice.randrange(-60, 300)) for _ in range(9)]
        late = [("UA", number + 1, "soon")] if what == "broken" else []
        road.bucket.put(key, sample.flights(*rows, *late))
    return what


def _event(bucket: str, key: str) -> str:
    thing = {"bucket": {"name": bucket}, "object": {"key": key, "size": 3}}
    return json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": thing}]})


def _landed(road: Road) -> dict[str, bytes]:
    """The bucket's objects in the order in which rows of one key are: by LastModified, then by name."""
    client, found = road.bucket.client, []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=road.bucket.name):
        for one in page.get("Contents", []):
            got = client.get_object(Bucket=road.bucket.name, Key=one["Key"])
            found.append((got["LastModified"], one["Key"], got["Body"].read()))
    return {key: body for _, key, body in sorted(found)}


def _most(table: Table) -> int:
    """The live files of the partition that has most."""
    files = pl.DataFrame(table.delta.get_add_actions(flatten=True))
    partition = pl.struct(pl.lit(0), *[c for c in files.columns if c.startswith("partition.")])
    return max(files.group_by(partition.alias("at")).len()["len"].to_list(), default=0)


def lines(told: Soak, seconds: float) -> Iterator[str]:
    yield f"{seconds / 60:.0f} minutes; {', '.join(f'{n} {what}' for what, n in told.events.items())}"
    yield f"faults: {', '.join(f'{n} × {what}' for what, n in told.faults.items())}"
    yield f"as the oracle says {told.seconds_to_right:.1f} s after the last upload"
    third = len(told.memory) // 3
    marks = [high(told.memory[i * third : (i + 1) * third]) for i in range(3)]
    yield f"memory, 90 % of each third below: {', '.join(f'{m:.0f} MB' for m in marks)}"
    yield f"most files of a partition: {', '.join(f'{n} {c}' for n, c in Counter(told.files).most_common(3))}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=30, help="seconds between two faults")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="lakehouse-soak-"))
    told = soak(home, 60 * options.minutes, options.every, random.Random(options.seed))
    print("\n".join([*lines(told, 60 * options.minutes), *told.wrong]))
    shutil.rmtree(home, ignore_errors=True)
    sys.exit(bool(told.wrong))


if __name__ == "__main__":
    main()
