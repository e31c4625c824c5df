"""One local AWS for the whole suite; a fresh lake, bucket and table names for each test."""

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import hypothesis
import pytest

from lakehouse.dataset import Dataset, Serving, load
from lakehouse.dynamodb.sync import publish
from lakehouse.dynamodb.table import CONFIG, ItemTable
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.landing.objects import Bucket
from lakehouse.landing.queue import Budget, Queue
from lakehouse.layers import balance, cleaned, history, ingest, serving, undeclared
from lakehouse.layers.lag import lagging
from lakehouse.local import aws

SECOND = "TEST_ON_MOTO"
"""Set, the suite runs against moto: a second opinion on what is a fact and what the first emulator's habit."""

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with _moto() if os.environ.get(SECOND) else _ministack(tmp_path_factory.mktemp("home")) as environment:
        before = dict(os.environ)
        os.environ.update(environment)
        yield environment
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _ministack(home: Path) -> Iterator[dict[str, str]]:
    running = aws.start(home)
    try:
        yield running.environment()
    finally:
        running.stop()


@contextmanager
def _moto() -> Iterator[dict[str, str]]:
    """In a process of its own: delta-rs holds Python's lock in calls that a server here would have to answer."""
    port = aws.free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while not _listens(port):
                assert server.poll() is None
                time.sleep(0.1)
            yield aws.LocalAws(port, None).environment()
        finally:
            server.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Road:
    """The whole road without Dagster: every hop once, in order."""

    lake: Lake
    bucket: Bucket
    queue: Queue
    datasets: dict[str, Dataset]
    prefix: str
    dynamodb: Any

    def items(self, one: Serving) -> ItemTable:
        return ItemTable(self.dynamodb, self.prefix + one.name)

    def receive(self) -> int:
        place = (self.queue, self.bucket.name, self.lake, self.datasets)
        return inbox.receive(*place, wait=1, budget=Budget()).height

    def hops(self, *, everything: bool = False) -> None:
        """What the runs do that the sweep asks for; or every hop, lagging or not."""
        undeclared.carry(self.lake, self.bucket, self.datasets)
        due = self.datasets if everything else lagging(self.lake, self.datasets, self.items)
        behind = [self.datasets[name] for name in due if name in self.datasets]
        for dataset in behind:
            ingest.ingest(self.lake, self.bucket, dataset)
            cleaned.clean(self.lake, dataset)
            cleaned.quarantine(self.lake, dataset)
            balance.weigh(self.lake, dataset)
            if dataset.history:
                history.track(self.lake, dataset)
        for one in self.servings():
            if {d.name for d in behind} & {*one.upstreams}:
                serving.serve(self.lake, one, self.datasets)
                publish(self.lake, one, self.items(one))

    def lose_items(self) -> None:
        """Delete every item table that there is."""
        for one in self.servings():
            with suppress(self.dynamodb.exceptions.ResourceNotFoundException):
                self.dynamodb.delete_table(TableName=self.items(one).name)

    def servings(self) -> list[Serving]:
        return [s for d in self.datasets.values() for s in d.serving]

    def announce(self, *keys: str) -> None:
        for key in keys:
            name = key.split("/")[0]
            inbox.announce(self.lake, name, [key], event="test")


@pytest.fixture
def root(request: pytest.FixtureRequest, local: dict[str, str], tmp_path: Path) -> str:
    """Where the lake is: on disk, or by `indirect` parameter on `s3://`."""
    if getattr(request, "param", "disk") == "disk":
        return str(tmp_path / "lake")
    bucket = f"lake-{uuid.uuid4().hex[:8]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/some/prefix"


@pytest.fixture
def road(local: dict[str, str], root: str) -> Road:
    name = f"landing-{uuid.uuid4().hex[:8]}"
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "2"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    wiring = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}]}
    s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=wiring)
    return Road(
        Lake(root), Bucket(s3, name), Queue(sqs, url), load(), f"{name}-", boto3.client("dynamodb", config=CONFIG)
    )
