"""The local AWS is stopped, however its start ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lakehouse.local import aws

STOPPED_WITHIN = 60


def left(home: Path) -> list[str]:
    """The processes that work below a folder, or whose environment names it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            about = os.readlink(process / "cwd") + (process / "environ").read_text(errors="replace")
            if str(home) in about and int(process.name) != os.getpid():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def interrupt(*_: object) -> bool:
    raise KeyboardInterrupt


def test_a_start_that_is_interrupted_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "_alive", interrupt)
    with pytest.raises(KeyboardInterrupt):
        aws.start(tmp_path)
    assert left(tmp_path) == []


def test_an_interruption_waits_until_the_process_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    known = False
    with pytest.raises(KeyboardInterrupt), aws.uninterrupted():  # noqa: PT012  # the block is what is tested
        signal.raise_signal(signal.SIGINT)
        known = True
    assert known


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.2, 0.6, 1, 1.5, 3, 6])
def test_up_interrupted_early_leaves_no_process(tmp_path: Path, seconds: float) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LAKEHOUSE_", "DAGSTER_"))}
    environment["LAKEHOUSE_HOME"] = str(tmp_path)
    command = [sys.executable, "-m", "lakehouse.cli", "up"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=STOPPED_WITHIN)
    assert left(tmp_path) == []
    assert not (tmp_path / "env").exists()
