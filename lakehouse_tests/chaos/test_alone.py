"""`dagster dev` and `dg dev` in the project's root, with nothing set and nothing running."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from lakehouse.local import aws, house
from lakehouse_tests.chaos.conftest import environment

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
LOCATION = "{ workspaceOrError { ... on Workspace { locationEntries { name } } } }"
TICKS = """query ($location: String!) { sensorsOrError(repositorySelector:
    {repositoryName: "__repository__", repositoryLocationName: $location})
    { ... on Sensors { results { name sensorState { ticks(limit: 1) { status skipReason } } } } } }"""


@contextmanager
def dev(command: list[str], home: Path) -> Iterator[str]:
    port = aws.free_port()
    with environment(DAGSTER_HOME=str(home), LAKEHOUSE_HOME=str(home)), (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:], str(port)],
            env=dict(os.environ),
            cwd=house.ROOT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        house._end(process)


def ask(address: str, query: str, **variables: str) -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


def first_tick(address: str) -> dict[str, Any]:
    end = time.monotonic() + 180
    while time.monotonic() < end:
        with suppress(OSError, LookupError, TypeError):
            (entry,) = ask(address, LOCATION)["workspaceOrError"]["locationEntries"]
            sensors = ask(address, TICKS, location=entry["name"])["sensorsOrError"]["results"]
            (sensor,) = [one for one in sensors if one["name"] == "landing"]
            tick = sensor["sensorState"]["ticks"][0]
            if tick["status"] != "STARTED":
                return dict(tick)
        time.sleep(0.5)
    raise AssertionError("the sensor never ticked")


@pytest.mark.parametrize(
    "command",
    [["dagster", "dev", "-h", "127.0.0.1", "-p"], ["dg", "dev", "--host", "127.0.0.1", "--port"]],
    ids=["dagster", "dg"],
)
def test_dagster_alone_loads_the_definitions_and_says_what_is_missing(tmp_path: Path, command: list[str]) -> None:
    with dev(command, tmp_path) as address:
        tick = first_tick(address)
    assert tick["status"] == "SKIPPED"
    assert tick["skipReason"].startswith("No queue: set LAKEHOUSE_QUEUE_URL")
