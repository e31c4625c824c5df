"""work → results: every way of it in turn, each in a process of its own, for some rounds after a warm-up."""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Role = Literal["road", "peer", "floor"]
PEERS = Path("build/peers/bin/python")
LAST_WORDS = 400


@dataclass(frozen=True)
class Way:
    """`call`: a generator function as `module:name`, see `way`. `settings`: how a peer was set up."""

    name: str
    role: Role
    call: str
    settings: str = ""


@dataclass(frozen=True)
class Goal:
    """`way` is to do at least `times` as much a second as `other`. `figure`: by which of a result's figures."""

    way: str
    other: str
    times: float
    figure: str = "seconds"


@dataclass(frozen=True)
class Bound:
    """`way` is to have at most so many MB in memory."""

    way: str
    most: float


@dataclass(frozen=True)
class Work:
    """A piece of work. `make` gives the folder of its data, made once a size; a way does `amount` of `unit`."""

    name: str
    title: str
    unit: str
    make: Callable[[Path, float], Path]
    amount: Callable[[Path], float]
    ways: Sequence[Way]
    size: float
    quick: float
    goals: Sequence[Goal] = ()
    bounds: Sequence[Bound] = ()
    also: Mapping[str, str] = field(default_factory=dict)
    """Further figures that its ways tell, and the heads of their columns."""
    sizes: Callable[[float], Sequence[float]] | None = None
    """How large what each way meets is, where they do one thing at growing sizes."""
    around: Callable[[Path], AbstractContextManager[object]] = nullcontext
    """What stands while its ways run, given the data: a service, and the environment that finds it."""
    rounds: int = 5
    cut: float = 120
    """Seconds after which a way is cut off, and gives no ratio."""


@dataclass(frozen=True)
class Result:
    """What one way's rounds gave: a list of figures by name, or why there are none."""

    work: str
    way: str
    role: Role
    size: float
    amount: float
    runs: list[dict[str, Any]] = field(default_factory=list)
    failed: str = ""

    def median(self, figure: str) -> float:
        return float(statistics.median(run[figure] for run in self.runs))

    def spread(self, figure: str) -> tuple[float, float]:
        found = [run[figure] for run in self.runs]
        return min(found), max(found)


def measure(work: Work, data: Path, size: float, rounds: int, scratch: Path) -> list[Result]:
    """One result a way. The first round is a warm-up and not counted; who fails in it takes no further part."""
    place = work.make(data, size)
    runs: dict[str, list[dict[str, Any]]] = {w.name: [] for w in work.ways}
    failed: dict[str, str] = {}
    with work.around(place):
        for number in range(rounds + 1):
            for way in [w for w in work.ways if w.name not in failed]:
                told = _once(work, way, place, size, scratch)
                if isinstance(told, str):
                    failed[way.name] = told
                elif number:
                    runs[way.name].append(told)
                print(f"{work.name}, {way.name}: {told if isinstance(told, str) else _line(told)}", flush=True)
    amount = work.amount(place)
    return [
        Result(work.name, w.name, w.role, size, amount, runs[w.name], failed.get(w.name, "")) for w in work.ways
    ]


def _line(told: dict[str, Any]) -> str:
    return f"{told['seconds']:.2f} s, {told['processor']:.2f} s of processor, {told['peak_mb']:.0f} MB"


def _once(work: Work, way: Way, place: Path, size: float, scratch: Path) -> dict[str, Any] | str:
    """The figures of one run, or why it gave none."""
    python = str(PEERS) if way.role == "peer" else sys.executable
    if not Path(python).exists():
        return f"no {python}: `make bench` makes it"
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        out = Path(folder) / "out"
        out.mkdir()
        command = [python, "-m", "benchmarks.way", way.call, str(place), str(out), str(size)]
        with open(f"{folder}/log", "w+b") as log:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, start_new_session=True, env=environment()
            )
            try:
                told, _ = process.communicate(timeout=work.cut)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                return f"cut off after {work.cut:.0f} s"
            log.seek(0)
            if process.returncode:
                words = log.read().decode(errors="replace").strip().splitlines() or [""]
                return f"failed: {words[-1][:LAST_WORDS]}"
        found: dict[str, Any] = json.loads(told.splitlines()[-1])
        return found


def environment() -> dict[str, str]:
    """What a process of ours gets, whatever stands around it now."""
    return os.environ | {"PYTHONPATH": os.getcwd(), "PYTHONWARNINGS": "ignore"}


def fresh(folder: Path) -> Path:
    """The folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def kept(path: Path, results: Sequence[Result]) -> None:
    path.write_text("".join(json.dumps(asdict(one)) + "\n" for one in results))


def told(path: Path) -> list[Result]:
    return [Result(**json.loads(line)) for line in path.read_text().splitlines()]
