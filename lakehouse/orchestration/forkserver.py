"""command → worker: `python -m …` runs in a fork of a process that has everything imported, or is spawned.

Read on standard input, a socket, and run as a process of its own, so that nothing but imports ever happens in it:
a polars query or a Delta write in a parent makes its forks hang. Modules are free to do either when imported, so
after the imports a probe is forked that must do both. Where it cannot, or a module cannot be imported, every
worker is spawned instead.

A worker holds the lock on its note for as long as it lives, however it ends; the note says its process id.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import site
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PROBE_SECONDS = 5.0
REAP_SECONDS = 1.0


def main(workers: str, *modules: str) -> None:
    """`workers`: JSON of those that run already, the notes by process id."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork", category=DeprecationWarning)
    running = {int(pid): Path(note) for pid, note in json.loads(workers).items()}
    fault = preload(modules)
    gc.freeze()  # what is imported is never garbage, and a full collection went through it for 0.14 s
    serve(socket.socket(fileno=0), fault, running)


def serve(channel: socket.socket, fault: str | None, workers: dict[int, Path]) -> None:
    """Start what is asked for until the other side hangs up. `fault`: why nothing may be forked here."""
    code = own_files()
    with channel, channel.makefile("rw") as lines:
        while True:
            while not select.select([channel], [], [], REAP_SECONDS)[0]:
                _reap(workers)
            line = lines.readline()
            if not line:
                return
            _reap(workers)
            if own_files() != code:
                _answer(lines, {"renewing": True})
                running = json.dumps({pid: str(note) for pid, note in workers.items()})
                os.execv(sys.executable, [sys.executable, "-m", __spec__.name, running, *sys.argv[2:]])
            asked = json.loads(line)
            try:
                pid = start(asked["command"], Path(asked["note"]), channel.fileno(), fault)
            except OSError as error:
                _answer(lines, {"error": str(error)})
                continue
            workers[pid] = Path(asked["note"])
            _answer(lines, {"pid": pid, "spawned": fault})


def _answer(lines: Any, words: dict[str, object]) -> None:
    lines.write(json.dumps(words) + "\n")
    lines.flush()


def start(command: Sequence[str], note: Path, channel: int, fault: str | None) -> int:
    """Start one worker, its note locked; gives its process id."""
    lock = os.open(note, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if fault is None and list(command[:2]) == [sys.executable, "-m"]:
            pid = _fork(lambda: _become(command[2:], channel))
        else:
            pid = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[lock]).pid
        os.write(lock, str(pid).encode())
    finally:
        os.close(lock)
    return pid


def _fork(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else int(done.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        if metrics := sys.modules.get("lakehouse.metrics"):  # what ends like this has no exit handlers
            metrics.flush()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _become(arguments: Sequence[str], channel: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, channel)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = list(arguments)
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def preload(modules: Sequence[str]) -> str | None:
    """Import, then probe; gives the reason why nothing may be forked here, or None.

    `package.*` stands for every module that the package has now.
    """
    threads: dict[str, int] = {}
    for asked in modules:
        name = asked
        try:
            for name in _each(asked):
                before = _threads()
                importlib.import_module(name)
                threads[name] = _threads() - before
        except (Exception, SystemExit) as error:
            return f"{name} cannot be imported: {type(error).__name__}: {error}"
    if forks():
        return None
    guilty = [name for name, started in threads.items() if started and name.startswith("lakehouse")]
    named = ", ".join(guilty) or "a module that is imported with them"
    return f"a forked process cannot run queries: {named} runs a query or writes a table when imported"


def _each(asked: str) -> list[str]:
    package = asked.removesuffix(".*")
    if package == asked:
        return [asked]
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return [f"{package}.{module.name}" for module in found]


def forks() -> bool:
    """Whether a fork of this process can run a streaming query, read and write files and Delta tables."""
    with tempfile.TemporaryDirectory() as folder:
        pid = _fork(lambda: _try(folder))
        end = time.monotonic() + PROBE_SECONDS
        while time.monotonic() < end:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return status == 0
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return False


def _try(folder: str) -> None:
    import polars as pl
    from deltalake import DeltaTable

    query = pl.LazyFrame({"a": [1, 2, 3]}).group_by("a").agg(pl.len())
    query.collect(engine="streaming").write_delta(folder)
    pl.read_csv(b"a\n1\n").write_parquet(f"{folder}/a.parquet")  # by threads that a query need not start
    assert DeltaTable(folder).version() == 0


def own_files() -> dict[str, int]:
    """Every Python file beside an imported module that is not installed, and when it was changed."""
    places = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    places += [*site.getsitepackages(), site.getusersitepackages()]
    installed = tuple(place + os.sep for place in places)
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    folders = {os.path.dirname(f) for f in files if f and not os.path.abspath(f).startswith(installed)}
    found = [path for folder in folders for path in Path(folder).glob("*.py")]
    return {str(path): path.stat().st_mtime_ns for path in found if path.exists()}


def _threads() -> int:
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else 1


def _reap(workers: dict[int, Path]) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if note := workers.pop(pid, None):
                note.unlink(missing_ok=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
