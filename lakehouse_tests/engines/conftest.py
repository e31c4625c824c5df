"""Engines: Sail in this process, and a Sail server that is started apart, with a cluster of workers."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lakehouse.local.aws import free_port


@pytest.fixture(scope="session")
def apart(local: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Sail server in a process of its own, whose work is done by its local cluster."""
    with sail(tmp_path_factory.mktemp("sail")) as (_, address):
        yield address


@pytest.fixture(params=["sail", "sc://"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each engine beside Polars, as the setting names it."""
    name = str(request.getfixturevalue("apart")) if request.param == "sc://" else str(request.param)
    monkeypatch.setenv("LAKEHOUSE_ENGINE", name)
    return name


@contextmanager
def sail(place: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A Sail server as anybody starts one: the process and its address."""
    port = free_port()
    environment = os.environ | {"SAIL_MODE": "local-cluster"}
    command = [sys.executable, "-m", "pysail", "spark", "server", "--port", str(port)]
    with (place / "log").open("wb") as log, subprocess.Popen(command, env=environment, stderr=log) as server:
        try:
            while not _listens(port):
                assert server.poll() is None, (place / "log").read_text()
                time.sleep(0.05)
            yield server, f"sc://127.0.0.1:{port}"
        finally:
            server.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
