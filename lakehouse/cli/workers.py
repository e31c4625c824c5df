"""backfill → its further workers: processes of this machine, or runs of Dagster's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from lakehouse.cli.plain import Failure

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Workers:
    """Those that take a share of a dataset's backfill, the caller among them. Processes end with the block.

    `runs`: the environment of Dagster's commands, if the others are to be runs.
    """

    dataset: str
    count: int
    runs: Mapping[str, str] | None
    started: list[subprocess.Popen] = field(default_factory=list)

    def start(self, path: int, worker: int) -> None:
        """Start one; it takes portions until none is left at the path."""
        if self.runs is None:
            self.started.append(subprocess.Popen(self._process(path, worker)))
        else:
            self.started.append(subprocess.Popen(self._run(path, worker, self.runs), env=self.runs))

    def _process(self, path: int, worker: int) -> list[str]:
        words = ["backfill", self.dataset, "--workers", str(self.count), "--json"]
        words += ["--help-path", str(path), "--worker", str(worker)]
        return [sys.executable, "-m", "lakehouse.cli", *words]

    def _run(self, path: int, worker: int, runs: Mapping[str, str]) -> list[str]:
        """Dagster's own command, which puts the run into its queue; the daemon launches it by the job's tags."""
        share = {"dataset": self.dataset, "path": path, "worker": worker, "workers": self.count}
        config = json.dumps({"ops": {"carry_share": {"config": share}}})
        place = _workspace(Path(runs["DAGSTER_HOME"]))
        words = ["job", "launch", "-w", str(place), "-j", "share", "--config-json", config]
        return [sys.executable, "-m", "dagster", *words]

    def __enter__(self) -> Self:
        if self.runs is not None and not (home := Path(self.runs["DAGSTER_HOME"])).is_dir():
            raise Failure(f"no Dagster keeps its state at {home}", "first: lakehouse up, or set DAGSTER_HOME")
        return self

    def __exit__(self, *failure: object) -> None:
        for process in self.started:
            if failure[0] and self.runs is None:
                process.terminate()
            process.wait()


def _workspace(home: Path) -> Path:
    """The instance's own, as in the image; else this repository's."""
    own = home / "workspace.yaml"
    return own if own.exists() else ROOT / "workspace.yaml"
