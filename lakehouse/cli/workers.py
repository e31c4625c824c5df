"""backfill → its further workers: processes of this machine, or runs of Dagster's."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Workers:
    """Those that take a share of a dataset's backfill, the caller among them. Processes end with the block."""

    dataset: str
    count: int
    runs: bool
    started: list[subprocess.Popen] = field(default_factory=list)

    def start(self, path: int, worker: int) -> None:
        """Start one; it takes portions until none is left at the path."""
        self.started.append(
            subprocess.Popen(self._run(path, worker) if self.runs else self._process(path, worker))
        )

    def _process(self, path: int, worker: int) -> list[str]:
        words = ["backfill", self.dataset, "--workers", str(self.count), "--json"]
        words += ["--help-path", str(path), "--worker", str(worker)]
        return [sys.executable, "-m", "lakehouse.cli", *words]

    def _run(self, path: int, worker: int) -> list[str]:
        """Dagster's own command, which puts the run into its queue; the daemon launches it by the job's tags."""
        share = {"dataset": self.dataset, "path": path, "worker": worker, "workers": self.count}
        config = json.dumps({"ops": {"carry_share": {"config": share}}})
        words = [
            "job",
            "launch",
            "-w",
            str(ROOT / "workspace.yaml"),
            "-j",
            "backfill_share",
            "--config-json",
            config,
        ]
        return [sys.executable, "-m", "dagster", *words]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        for process in self.started:
            if failure[0] and not self.runs:
                process.terminate()
            process.wait()
