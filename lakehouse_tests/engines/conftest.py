"""Engines: Polars, Sail in this process, and a Sail server that is started apart, with a cluster of workers."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse.local.aws import free_port


@pytest.fixture(scope="session")
def apart(local: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Sail server in a process of its own, whose work is done by its local cluster."""
    with serving(tmp_path_factory.mktemp("sail")) as (_, address):
        yield address
