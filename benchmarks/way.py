"""One way of doing a piece of work, timed in this process, which ends with it.

    python -m benchmarks.way benchmarks.ways.peers:sink_delta DATA OUT SIZE

A way is a generator: what it does before its first `yield` is preparation, what it does after is timed, up to its
end or to a second `yield`, after which it checks and tidies up. What it returns is told beside the figures, one
JSON object on the last line. The peers' environment runs this too: it imports only the standard library.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Generator
from importlib import import_module
from pathlib import Path
from typing import Any

Told = dict[str, Any] | None
Steps = Generator[None, None, Told]
Way = Callable[[Path, Path, float], Steps]


def run(way: Way, data: Path, out: Path, size: float) -> dict[str, Any]:
    """Seconds by the wall and of the processor, all threads; the peak of memory in MB; bytes written to `out`."""
    steps = way(data, out, size)
    next(steps)
    before = _bytes(out)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    wall, processor = time.perf_counter(), time.process_time()
    ended, told = _step(steps)
    found = {"seconds": time.perf_counter() - wall, "processor": time.process_time() - processor}
    found |= {"peak_mb": peak(), "bytes": _bytes(out) - before}
    if not ended:
        _, told = _step(steps)
    return found | (told or {})


def _step(steps: Steps) -> tuple[bool, Told]:
    """Whether the way has ended with this step, and what it told then."""
    try:
        next(steps)
    except StopIteration as end:
        return True, end.value
    return False, None


def _bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def peak(process: int | str = "self") -> float:
    """The most memory that a process has had, in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def main() -> None:
    name, data, out, size = sys.argv[1:]
    module, _, function = name.partition(":")
    found = run(getattr(import_module(module), function), Path(data), Path(out), float(size))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
