"""Everything on this machine: the local AWS, its wiring, and Dagster, started and stopped together."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lakehouse.local import aws
from lakehouse.settings import Settings, client

ROOT = Path(__file__).parents[2]
WAIT = 90


@contextmanager
def local_aws(settings: Settings) -> Iterator[dict[str, str]]:
    """The local AWS with the landing stack in it; gives the environment that finds it, already set here."""
    running = aws.start(settings.home)
    try:
        os.environ.update(running.environment())
        outputs = aws.deploy(client("cloudformation"), client("sqs"))
        environment = running.environment() | {
            "LAKEHOUSE_HOME": str(settings.home),
            "LAKEHOUSE_LAKE": settings.lake,
            "LAKEHOUSE_LANDING_BUCKET": outputs["LandingBucket"],
            "LAKEHOUSE_QUEUE_URL": outputs["QueueUrl"],
            "LAKEHOUSE_DEAD_LETTER_QUEUE_URL": outputs["DeadLetterQueueUrl"],
            "LAKEHOUSE_TABLE_PREFIX": settings.table_prefix,
        }
        os.environ.update(environment)
        (settings.home / "env").write_text("".join(f"{k}={v}\n" for k, v in environment.items()))
        yield environment
    finally:
        running.stop()


@contextmanager
def dagster(
    settings: Settings,
    instance: Path = ROOT / "deploy" / "dagster.yaml",
    workspace: Path = ROOT / "workspace.yaml",
) -> Iterator[str]:
    """`dagster dev` on the loopback; gives its address. Every process of it ends with the block."""
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(instance, home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    port = aws.free_port()
    command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port)]
    log = settings.home / "dagster.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "-w", str(workspace)],
            stdout=out,
            stderr=out,
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _await(address, process, log)
        yield address
    finally:
        _end(process)


def _await(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + WAIT
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{address}/server_info", timeout=1):
            return
        time.sleep(0.2)
    raise RuntimeError(f"Dagster did not start:\n{log.read_text()[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the whole session to stop, wait, then end what is left of it."""
    for sign, patience in ((signal.SIGINT, 15), (signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        end = time.monotonic() + patience
        while time.monotonic() < end:
            process.poll()
            if not _group_lives(process.pid):
                return
            time.sleep(0.1)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
