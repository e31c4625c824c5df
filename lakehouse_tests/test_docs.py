"""What the docs tell a person to do, done."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import land

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PATIENCE = 300


@pytest.mark.slow
def test_the_tutorial_s_file_and_commands_do_what_it_says(tmp_path: Path) -> None:
    """With `up` running all the while, as it says: the file is taken up without a word."""
    for name in ("lakehouse", "deploy"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "workspace.yaml", tmp_path)
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "lakehouse").write_text(f'#!/bin/sh\nexec {sys.executable} -m lakehouse.cli "$@"\n')
    (commands / "lakehouse").chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LAKEHOUSE_", "DAGSTER_"))}
    environment |= {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path),
        "LAKEHOUSE_HOME": str(tmp_path / "home"),
        "PYTHONUNBUFFERED": "1",
    }

    def said(script: str) -> str:
        command = ["bash", "-e", str(DOCS / "tutorial" / script)]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    up = [sys.executable, "-m", "lakehouse.cli", "up", "--empty"]
    with subprocess.Popen(up, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as house:
        try:
            assert house.stdout
            assert house.stdout.readline().startswith("Dagster")
            shutil.copy(DOCS / "tutorial" / "orders.py", tmp_path / "lakehouse" / "datasets")
            assert "orders/shop.csv" in said("land.sh")
            end = time.monotonic() + PATIENCE
            while "oops" not in (told := said("look.sh")):
                assert time.monotonic() < end, f"the orders never arrived:\n{told}"
                time.sleep(1)
        finally:
            house.terminate()
            house.wait(90)
    assert '"spent": 10' in told
    assert "amount|dtype" in told
    for step in ("serving/spent @", "dynamodb/spent @", "cleaned/orders @", "raw/orders @", "landing/inbox @"):
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
