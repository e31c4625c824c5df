"""run → worker process: Dagster's run launcher, warm.

One process a run, as with the stock launcher, but forked from a process that has imported everything, which takes
about 10 ms in place of 3 s. All that is used of Dagster's private parts is imported here and nowhere else.
"""

import contextlib
import fcntl
import json
import os
import pkgutil
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
]
RENEWALS = 3


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
        described = "Modules to import before the first run."
        return {"preload": Field([str], default_value=[*PRELOAD, *_datasets()], description=described)}

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
            if self._server and not self._server.lives():
                self._server.stop()
                self._server = None
            self._server = self._server or ForkServer(self._preload)
            fault = self._server.start(command, self._note(run.run_id))
        if fault:
            self._instance.report_engine_event(f"Spawned, not forked: {fault}", run, cls=type(self))

    def terminate(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        pid = living(self._note(run_id))
        if pid is None:
            return False
        os.kill(pid, signal.SIGINT)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        if living(self._note(run.run_id)) is None:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "The run's process is gone.")
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def dispose(self) -> None:
        with self._lock:
            if self._server:
                self._server.stop()
            self._server = None

    def _note(self, run_id: str) -> Path:
        folder = Path(self._instance.root_directory) / "workers"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / run_id


def living(note: Path) -> int | None:
    """The process id of the worker that holds the note's lock, or None if it is dead."""
    with contextlib.suppress(FileNotFoundError), note.open("r+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(held.read())
    return None


class ForkServer:
    """The client's side of `forkserver`."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._channel, theirs = socket.socketpair()
        command = [sys.executable, "-m", "lakehouse.orchestration.forkserver", *modules]
        with theirs:
            self._process = subprocess.Popen(command, stdin=theirs.fileno())
        self._lines = self._channel.makefile("rw")

    def start(self, command: Sequence[str], note: Path) -> str | None:
        """Start a worker; gives the reason if it had to be spawned. Raises if the server died."""
        for _ in range(RENEWALS):
            self._lines.write(json.dumps({"command": list(command), "note": str(note)}) + "\n")
            self._lines.flush()
            answer = json.loads(self._lines.readline() or "{}")
            if "pid" in answer:
                return str(answer["spawned"]) if answer["spawned"] else None
            if "renewing" not in answer:
                break
        raise RuntimeError("the run launcher's fork server ended; see the daemon's log")

    @property
    def pid(self) -> int:
        return self._process.pid

    def lives(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        self._lines.close()
        self._channel.close()
        self._process.wait(timeout=5)


def _datasets() -> list[str]:
    import lakehouse.datasets as package

    return [f"{package.__name__}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]
