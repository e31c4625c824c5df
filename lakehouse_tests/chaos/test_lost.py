"""What is lost, and the command that brings it back. docs/recovery.md is this file as a table."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest

from lakehouse.local import aws, house
from lakehouse.settings import Settings
from lakehouse_tests import sample
from lakehouse_tests.chaos.conftest import comes_right, environment, road_here
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import check, land

pytestmark = pytest.mark.slow

MORE = {"flights/3.csv": sample.flights(("AA", 9, 90), ("UA", 2, 7))}
LAST = {"flights/4.csv": sample.flights(("DL", 8, 80))}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with environment(LAKEHOUSE_HOME=str(tmp_path)):
        yield tmp_path


def lakehouse(home: Path, *words: str, code: int = 0) -> str:
    """A command in a terminal of its own, which knows the home and nothing else."""
    command = [sys.executable, "-m", "lakehouse.cli", *words]
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LAKEHOUSE_", "DAGSTER_"))}
    mine["LAKEHOUSE_HOME"] = str(home)
    done = subprocess.run(command, env=mine, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@contextmanager
def up(home: Path) -> Iterator[None]:
    """`lakehouse up --empty` in a terminal, until Ctrl-C; this process finds the same local AWS."""
    command = [sys.executable, "-m", "lakehouse.cli", "up", "--empty"]
    mine = {**os.environ, "LAKEHOUSE_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=mine, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert any("Ctrl-C" in process.stdout.readline() for _ in range(4))
            os.environ.update(line.partition("=")[::2] for line in (home / "env").read_text().splitlines())
            yield
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0


def carry(road: Road) -> None:
    while road.receive():
        pass
    road.hops()


def started(road: Road) -> None:
    land(road, sample.FILES)
    carry(road)
    check(road, sample.FILES)


def test_a_lost_lake_is_built_again_after_reconcile(home: Path) -> None:
    with house.local_aws(Settings.load()):
        road = road_here()
        started(road)
        shutil.rmtree(road.lake.root)
        assert "flights: 2 objects announced" in lakehouse(home, "reconcile")
        road.hops()
        check(road, sample.FILES)


def test_a_lost_layer_is_built_again_by_the_next_run(home: Path) -> None:
    with house.local_aws(Settings.load()):
        road = road_here()
        started(road)
        for layer in ("cleaned", "quarantine", "serving"):
            shutil.rmtree(Path(road.lake.root) / layer)
        road.hops()
        check(road, sample.FILES)


def test_a_lost_raw_layer_is_built_again_from_the_inbox(home: Path) -> None:
    with house.local_aws(Settings.load()):
        road = road_here()
        started(road)
        shutil.rmtree(Path(road.lake.root) / "raw")
        road.hops()
        check(road, sample.FILES)


def test_a_lost_inbox_loses_no_row(home: Path) -> None:
    with house.local_aws(Settings.load()):
        road = road_here()
        started(road)
        land(road, MORE)
        while road.receive():
            pass
        shutil.rmtree(Path(road.lake.root) / "landing")
        assert "flights: 1 object announced" in lakehouse(home, "reconcile")
        road.hops()
        check(road, sample.FILES | MORE)


def test_lost_item_tables_are_noticed_and_repaired_by_verify(home: Path) -> None:
    with house.local_aws(Settings.load()):
        road = road_here()
        started(road)
        road.lose_items()
        assert "carrier_punctuality: 2 differences" in lakehouse(home, "verify", code=1)
        assert "carrier_punctuality: 2 differences (repaired)" in lakehouse(home, "verify", "--repair")
        check(road, sample.FILES)


def test_a_lost_queue_is_made_again_by_up_and_its_events_are_found_by_reconcile(home: Path) -> None:
    with house.local_aws(Settings.load()):
        road = road_here()
        started(road)
        land(road, MORE)
        road.queue.client.delete_queue(QueueUrl=road.queue.url)
    with house.local_aws(Settings.load()):
        road = road_here()
        assert "flights: 1 object announced" in lakehouse(home, "reconcile")
        road.hops()
        check(road, sample.FILES | MORE)
        land(road, LAST)
        carry(road)
        check(road, sample.FILES | MORE | LAST)


def test_a_local_aws_that_was_stopped_goes_on_where_it_was(home: Path) -> None:
    with house.local_aws(Settings.load()):
        started(road_here())
        land(road_here(), MORE)
    with house.local_aws(Settings.load()):
        road = road_here()
        (punctuality,) = [one for one in road.servings() if one.name == "carrier_punctuality"]
        assert road.items(punctuality).cursor()
        carry(road)
        check(road, sample.FILES | MORE)
        assert "flights: 0 objects announced" in lakehouse(home, "reconcile")


def test_a_local_aws_that_was_killed_comes_back_by_up_and_reconcile(home: Path) -> None:
    running = aws.start(home)
    assert running.process is not None
    with house.local_aws(Settings.load()):
        started(road_here())
        land(road_here(), MORE)
        running.process.kill()
        running.process.wait()
    with house.local_aws(Settings.load()):
        road = road_here()
        lakehouse(home, "reconcile")
        carry(road)
        check(road, sample.FILES | MORE)
        land(road, LAST)
        carry(road)
        check(road, sample.FILES | MORE | LAST)


def test_a_lost_dagster_database_is_made_again_by_up(home: Path) -> None:
    with up(home):
        road = road_here()
        land(road, sample.FILES)
        comes_right(road, sample.FILES)
    kept = {"dagster.yaml"}
    for path in (home / "dagster").iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with up(home):
        land(road_here(), MORE)
        seconds = comes_right(road_here(), sample.FILES | MORE)
        print(f"\nafter Dagster's database was lost: {seconds:.1f} s")


def test_all_but_the_bucket_is_lost_and_comes_back_by_up_and_reconcile(home: Path) -> None:
    with up(home):
        road = road_here()
        land(road, sample.FILES | MORE)
        comes_right(road, sample.FILES | MORE)
        names = boto3.client("dynamodb").list_tables()["TableNames"]
        for name in names:
            road.dynamodb.delete_table(TableName=name)
    shutil.rmtree(home / "lake")
    shutil.rmtree(home / "dagster")
    with up(home):
        lakehouse(home, "reconcile")
        seconds = comes_right(road_here(), sample.FILES | MORE)
        print(f"\nafter all but the bucket was lost: {seconds:.1f} s")


def test_a_lost_region_is_built_again_in_another_from_a_replica_of_the_bucket(home: Path, tmp_path: Path) -> None:
    """Of the first nothing is left. The replica's objects are put in the order in which they were written: S3's
    replication keeps their times, a put here does not.
    """
    with house.local_aws(Settings.load()):
        road = road_here()
        started(road)
        land(road, MORE)
        carry(road)
        replica = [
            (one.key, road.bucket.get(one.key)) for one in sorted(road.bucket.list(), key=lambda o: o.modified)
        ]
    with environment(LAKEHOUSE_HOME=str(tmp_path / "elsewhere")), house.local_aws(Settings.load()):
        there = road_here()
        assert [*there.bucket.list()] == []
        for key, found in replica:
            assert found
            there.bucket.put(key, bytes(found[1]))
        there.queue.client.purge_queue(QueueUrl=there.queue.url)
        assert "flights: 3 objects announced" in lakehouse(tmp_path / "elsewhere", "reconcile")
        there.hops()
        check(there, sample.FILES | MORE)
