"""A house of its own: local AWS and the real `dagster dev`, whose processes die where a test says."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from lakehouse.dataset import load
from lakehouse.dynamodb.table import CONFIG
from lakehouse.lake import Lake
from lakehouse.landing.objects import Bucket
from lakehouse.landing.queue import Queue
from lakehouse.layers.lag import lagging
from lakehouse.local import house
from lakehouse.settings import Settings
from lakehouse_tests.conftest import Road
from lakehouse_tests.oracle import Files
from lakehouse_tests.test_road import check

LAST_WORDS = 6000
PATIENCE = 300.0
"""Seconds for what takes some on a quiet machine: how long it took is told, not judged."""
OURS = ("AWS_", "LAKEHOUSE_", "DAGSTER_")
VISIBILITY = {"VisibilityTimeout": "10"}
"""The messages of a dead sensor come back after this; the template's 60 seconds would only be waited for."""
WORKSPACE = """load_from:
  - python_module:
      module_name: lakehouse_tests.chaos.mined
      location_name: lakehouse
      working_directory: {root}
"""


@contextmanager
def environment(**changes: str) -> Iterator[None]:
    """The environment without AWS, Dagster and this project but for `changes`; afterwards as it was."""
    before = dict(os.environ)
    for name in [n for n in before if n.startswith(OURS)]:
        del os.environ[name]
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def road_here() -> Road:
    """The road by the environment's settings: in the bucket, the queue and the tables of the running house."""
    settings = Settings.load()
    return Road(
        Lake(settings.lake),
        Bucket(boto3.client("s3"), settings.required("bucket")),
        Queue(boto3.client("sqs"), settings.required("queue_url")),
        load(),
        settings.table_prefix,
        boto3.client("dynamodb", config=CONFIG),
    )


def comes_right(road: Road, files: Files, patience: float = PATIENCE) -> float:
    """Wait until everything is as the oracle says; gives the seconds that it took."""
    began = time.monotonic()
    while True:
        try:
            assert lagging(road.lake, road.datasets, road.items) == {}
            check(road, files)
            return time.monotonic() - began
        except (AssertionError, ClientError):
            if time.monotonic() - began > patience:
                raise
        time.sleep(0.2)


@dataclass
class House:
    """The running house. `files` is all that a test has landed."""

    road: Road
    home: Path
    mines: Path
    files: Files

    def land(self, files: Files) -> None:
        for key, body in files.items():
            self.road.bucket.put(key, body)
        self.files |= files

    def arm(self, door: str) -> None:
        (self.mines / "sprung").unlink(missing_ok=True)
        (self.mines / "new").write_text(door)
        (self.mines / "new").rename(self.mines / "armed")

    def dies(self, patience: float = PATIENCE) -> None:
        """Wait until a process has died at the armed door."""
        end = time.monotonic() + patience
        while not (self.mines / "sprung").exists():
            assert time.monotonic() < end, f"nobody passed {(self.mines / 'armed').read_text()}"
            time.sleep(0.05)

    def comes_right(self, patience: float = PATIENCE) -> float:
        """As the function; where it does not, what Dagster said last is told with the failure."""
        try:
            return comes_right(self.road, self.files, patience)
        except BaseException:
            print((self.home / "dagster.log").read_text()[-LAST_WORDS:])
            raise


@pytest.fixture(scope="module")
def mined_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home, mines = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("mines")
    workspace = mines / "workspace.yaml"
    workspace.write_text(WORKSPACE.format(root=house.ROOT))
    with environment(LAKEHOUSE_HOME=str(home), MINES=str(mines)), ExitStack() as stack:
        stack.enter_context(house.local_aws(Settings.load()))
        stack.enter_context(house.dagster(Settings.load(), workspace=workspace))
        road = road_here()
        road.queue.client.set_queue_attributes(QueueUrl=road.queue.url, Attributes=VISIBILITY)
        yield House(road, home, mines, {})
