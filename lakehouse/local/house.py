"""Everything on this machine: the local AWS, its wiring, and Dagster, started and stopped together."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

from lakehouse.local import aws
from lakehouse.settings import Settings, client

ROOT = Path(__file__).parents[2]
WAIT = 180
WATCH_SECONDS = 3
LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries {
    name locationOrLoadError { ... on PythonError { className } } } } } }"""
RELOAD = "mutation ($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) { __typename } }"
GONE = "DagsterUserCodeUnreachableError"

Process = subprocess.Popen[bytes]


@contextmanager
def local_aws(settings: Settings) -> Iterator[dict[str, str]]:
    """The local AWS with the landing stack in it; gives the environment that finds it, already set here."""
    running = aws.start(settings.home)
    try:
        os.environ.update(running.environment())
        outputs = aws.deploy(client("cloudformation"), client("sqs"), client("s3"))
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
        if running.process:
            (settings.home / "env").unlink(missing_ok=True)
        running.stop()


@contextmanager
def dagster(
    settings: Settings,
    instance: Path = ROOT / "deploy" / "dagster.yaml",
    workspace: Path = ROOT / "workspace.yaml",
) -> Iterator[str]:
    """`dagster dev` on the loopback; gives its address. What dies is started again; all ends with the block."""
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(instance, home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    port, log = aws.free_port(), settings.home / "dagster.log"
    log.unlink(missing_ok=True)
    address, stopping = f"http://127.0.0.1:{port}", threading.Event()

    def start() -> Process:
        command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port)]
        with log.open("ab") as out:
            return subprocess.Popen(
                [*command, "-w", str(workspace)], stdout=out, stderr=out, cwd=ROOT, start_new_session=True
            )

    running: list[Process] = []
    watch = threading.Thread(target=_watch, args=(running, start, address, stopping, _code()))
    try:
        with aws.uninterrupted():
            running.append(start())
        _await(address, running[0], log)
        watch.start()
        yield address
    finally:
        stopping.set()
        if watch.ident:
            watch.join()
        if running:
            _end(running[0])


def _watch(
    running: list[Process],
    start: Callable[[], Process],
    address: str,
    stopping: threading.Event,
    loaded: dict[str, int],
) -> None:
    """Do what Dagster does not: start it again when a part of it died, and reload the code when its process is
    gone or a file of it has changed.

    Runs are forked from the new code at once; a sensor of the old would ask on for what that no longer does.
    `loaded`: the files before Dagster was started, so that one saved meanwhile is taken up, too.
    """
    while not stopping.wait(WATCH_SECONDS):
        written = _code()
        if running[0].poll() is not None:
            _end(running[0])
            running[0] = start()
        elif not _revived(address, written != loaded):
            continue
        loaded = written


def _code() -> dict[str, int]:
    """Every file of the package, and when it was changed."""
    found = {}
    for folder, _, names in os.walk(ROOT / "lakehouse"):
        for path in (Path(folder, name) for name in names if name.endswith(".py")):
            with suppress(FileNotFoundError):
                found[str(path)] = path.stat().st_mtime_ns
    return found


def _revived(address: str, changed: bool) -> bool:
    """Reload each code location, or each whose process is gone, as a person would by the button of that name;
    whether all were asked.
    """
    with suppress(OSError, HTTPException, ValueError, LookupError, TypeError):
        for entry in _ask(address, LOCATIONS)["workspaceOrError"]["locationEntries"]:
            if changed or (entry["locationOrLoadError"] or {}).get("className") == GONE:
                _ask(address, RELOAD, name=entry["name"])
        return True
    return False


def _ask(address: str, query: str, **variables: str) -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


def _await(address: str, process: Process, log: Path) -> None:
    end = time.monotonic() + WAIT
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError, HTTPException), urllib.request.urlopen(f"{address}/server_info", timeout=1):
            return
        time.sleep(0.2)
    raise aws.LocalAwsError(f"Dagster did not start:\n{log.read_text()[-2000:]}")


def _end(process: Process) -> None:
    """Ask the whole session to stop, wait, then end what is left of it."""
    for sign, patience in ((signal.SIGINT, 5), (signal.SIGTERM, 3), (signal.SIGKILL, 5)):
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
