"""What the docs tell a person to do, done."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import land

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
HOPS = """
from lakehouse.dataset import load
from lakehouse.dynamodb import sync
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.landing.objects import Bucket
from lakehouse.landing.queue import Budget, Queue
from lakehouse.layers import balance, cleaned, ingest, serving
from lakehouse.settings import Settings, client

settings, datasets = Settings.load(), load()
lake, orders = Lake(settings.lake), datasets["orders"]
queue = Queue(client("sqs"), settings.queue_url)
inbox.receive(queue, settings.bucket, lake, datasets, wait=5, budget=Budget())
ingest.ingest(lake, Bucket(client("s3"), settings.bucket), orders)
for hop in (cleaned.clean, cleaned.quarantine, balance.weigh):
    hop(lake, orders)
for one in orders.serving:
    serving.serve(lake, one, datasets)
    sync.publish(lake, one, sync.items_of(settings, one))
"""
"""What a run of Dagster does, without Dagster: its part has tests of its own."""


@pytest.mark.slow
def test_the_tutorial_s_file_and_commands_do_what_it_says(road: Road, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "lakehouse", tmp_path / "lakehouse")
    shutil.copy(DOCS / "tutorial" / "orders.py", tmp_path / "lakehouse" / "datasets")
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "lakehouse").write_text(f'#!/bin/sh\nexec {sys.executable} -m lakehouse.cli "$@"\n')
    (commands / "lakehouse").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path),
        "LAKEHOUSE_HOME": str(tmp_path / "home"),
        "LAKEHOUSE_LAKE": road.lake.root,
        "LAKEHOUSE_LANDING_BUCKET": road.bucket.name,
        "LAKEHOUSE_QUEUE_URL": road.queue.url,
        "LAKEHOUSE_TABLE_PREFIX": road.prefix,
    }

    def said(*command: str) -> str:
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "orders/shop.csv" in said("bash", "-e", str(DOCS / "tutorial" / "land.sh"))
    said(sys.executable, "-c", HOPS)
    told = said("bash", "-e", str(DOCS / "tutorial" / "look.sh"))
    assert '"spent": 10' in told
    assert "amount|dtype" in told
    assert "oops" in told
    for step in ("serving/spent @", "cleaned/orders @", "raw/orders @", "landing/inbox @"):
        assert step in told


@pytest.mark.parametrize(
    ("recipe", "needs"),
    [
        ("other_tools.py", ["duckdb", "pandas"]),
        pytest.param("spark.py", ["pysail", "pyspark"], marks=pytest.mark.slow),
    ],
)
def test_the_lake_opens_unchanged_in_other_tools(road: Road, recipe: str, needs: list[str]) -> None:
    for name in needs:
        pytest.importorskip(name)
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    done = subprocess.run(
        [sys.executable, str(DOCS / "recipes" / recipe)],
        env=os.environ | {"LAKEHOUSE_LAKE": road.lake.root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "carrier" in done.stdout
    assert {"other_tools.py": " at version ", "spark.py": "rows at first: 0"}[recipe] in done.stdout


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Objects of one kind: where they land" in (tmp_path / "reference" / "index.html").read_text()
    assert "shop.csv" in (tmp_path / "tutorial" / "index.html").read_text()
