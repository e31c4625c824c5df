"""run → worker process: Dagster's run launcher, warm.

One process a run, as with the stock launcher, but forked from a process that has imported everything, which takes
about 10 ms in place of 3 s. What launchers need of Dagster's private parts is imported here and in `composite`;
that of its storage in `runless`.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import Field
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData, serialize_value

PRELOAD = [
    "dagster._cli",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.storage.local_compute_log_manager",
    "polars",
    "deltalake",
    "pyarrow",
    "boto3",
    "botocore.signers",
    "dagster_aws.s3",
    "lakehouse.definitions",
    "lakehouse.orchestration.warm",
    "lakehouse.datasets.*",
]
RENEWALS = 3
ANSWER_SECONDS = 60.0
"""A server that says nothing for so long hangs. Importing everything on a cold machine is within it."""


class WarmRunLauncher(RunLauncher, ConfigurableClass):
    """Forks each run's worker from a preloaded process on this machine.

    The process is started by the first launch, is renewed when the code changes, and ends with the process that
    started it; workers end by themselves. A run whose worker is dead is found by run monitoring, through the lock
    that a worker holds while it lives.
    """

    def __init__(self, preload: Sequence[str], inst_data: ConfigurableClassData | None = None) -> None:
        self._preload = [*preload]
        self._inst_data = inst_data
        self._server: ForkServer | None = None
        self._lock = threading.Lock()
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        described = "Modules to import before the first run; `package.*`: every module of a package."
        return {"preload": Field([str], default_value=PRELOAD, description=described)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "WarmRunLauncher":
        return cls(inst_data=inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        run, origin = context.dagster_run, context.job_code_origin
        if origin is None:
            raise dg.DagsterInvariantViolationError(f"run {run.run_id} does not say where its code is")
        arguments = serialize_value(ExecuteRunArgs(origin, run.run_id, self._instance.get_ref()))
        command = [origin.executable_path or sys.executable, "-m", "dagster", "api", "execute_run", arguments]
        with self._lock:
            fault = self.start(command, self._note(run.run_id))
        if fault:
            self._instance.report_engine_event(f"Spawned, not forked: {fault}", run, cls=type(self))

    def start(self, command: Sequence[str], note: Path) -> str | None:
        """As `ForkServer.start`; a server that died or hangs is replaced, once."""
        for last in (False, True):
            self._server = self._server or ForkServer(self._preload)
            try:
                return self._server.start(command, note)
            except ServerLost:
                self._server.kill()
                self._server = None
                if lives(note):
                    return None
                if last:
                    raise
        raise AssertionError("unreachable")

    def terminate(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return self.interrupt(run_id)

    def interrupt(self, run_id: str) -> bool:
        """Ask the run's worker to end; False if none lives on this machine."""
        pid = worker(self._note(run_id))
        if pid is None:
            return False
        os.kill(pid, signal.SIGINT)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        if lives(self._note(run.run_id)):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "The run's process is gone.")

    def dispose(self) -> None:
        with self._lock:
            if self._server:
                self._server.stop()
            self._server = None

    def _note(self, run_id: str) -> Path:
        folder = Path(self._instance.root_directory) / "workers"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / run_id


def lives(note: Path) -> bool:
    """Whether a worker holds the note's lock."""
    with contextlib.suppress(FileNotFoundError), note.open("r+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def worker(note: Path) -> int | None:
    """The process id of a worker that lives; None if it is dead, or if its server died before it wrote the id."""
    if not lives(note):
        return None
    text = note.read_text() if note.exists() else ""
    return int(text) if text else None


class ServerLost(RuntimeError):
    """The fork server died or does not answer. Another may be started."""


class ForkServer:
    """The client's side of `forkserver`."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._channel, theirs = socket.socketpair()
        self._channel.settimeout(ANSWER_SECONDS)
        command = [sys.executable, "-m", "lakehouse.orchestration.forkserver", "{}", *modules]
        with theirs:
            self._process = subprocess.Popen(command, stdin=theirs.fileno())
        self._lines = self._channel.makefile("rw")

    def start(self, command: Sequence[str], note: Path) -> str | None:
        """Start a worker; gives the reason if it had to be spawned. Raises `ServerLost`.

        Raises `RuntimeError` where no process could be started.
        """
        for _ in range(RENEWALS):
            answer = self._ask({"command": list(command), "note": str(note)})
            if "pid" in answer:
                return str(answer["spawned"]) if answer["spawned"] else None
            if "error" in answer:
                raise RuntimeError(f"no worker could be started: {answer['error']}")
        raise ServerLost("the fork server is renewed again and again: its code keeps changing")

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        try:
            self._lines.write(json.dumps(question) + "\n")
            self._lines.flush()
            return dict(json.loads(self._lines.readline()))
        except (OSError, ValueError) as error:
            raise ServerLost("the fork server ended or hangs; see the daemon's log") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """Hang up, upon which the server ends; its workers go on."""
        with contextlib.suppress(OSError):
            self._lines.close()
        self._channel.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        self._process.kill()
        self.stop()
