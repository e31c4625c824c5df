"""Measurements that are runs of their own: what a command prints is what the page shows of it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measured import environment


@dataclass(frozen=True)
class Command:
    """`module`: run with the arguments, its tables and words on stdout, its progress on stderr.

    `quick` None: it has no quick form.
    """

    name: str
    title: str
    module: str
    full: Sequence[str]
    quick: Sequence[str] | None = None


COMMANDS = [
    Command(
        "latency",
        "Latency: a file lands → its item is written",
        "benchmarks.latency",
        ["--n", "30", "--gap", "20", "--stock", "3", "--flights", "3"],
        ["--n", "3", "--gap", "2", "--stock", "0", "--flights", "1"],
    ),
    Command(
        "arrivals",
        "Many files: ten a second, and a burst",
        "benchmarks.arrivals",
        ["--seconds", "300", "--rate", "10", "--burst", "2000"],
        ["--seconds", "0", "--burst", "200"],
    ),
    Command(
        "tick",
        "A tick that finds nothing",
        "benchmarks.tick",
        ["--datasets", "10", "20", "50", "--repeats", "7"],
        ["--datasets", "5", "--repeats", "3"],
    ),
    Command(
        "items",
        "What DynamoDB's client costs",
        "benchmarks.items",
        ["--items", "10000", "--repeats", "7"],
        ["--items", "2000", "--repeats", "2"],
    ),
    Command(
        "memory",
        "Memory of the whole house, by the backlog",
        "benchmarks.memory",
        ["--house", "--repeats", "5", "--sizes", "1000", "10000"],
    ),
    Command(
        "ingest-memory",
        "Memory of one process, by the backlog",
        "benchmarks.memory",
        ["--repeats", "5", "--sizes", "1000", "10000"],
    ),
]


def perform(command: Command, quick: bool, file: Path) -> bool:
    """Keep what the command tells, below the line that it was called by; whether it came to its end."""
    arguments = command.quick if quick else command.full
    if arguments is None:
        file.write_text("Left out of the quick run.\n")
        return True
    called, told = ["-m", command.module, *arguments], ""
    line = [sys.executable, *called]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout
        for said in process.stdout:
            print(said, end="", flush=True)
            told += said
    ended = f"\n**It failed**, with exit code {process.returncode}.\n" if process.returncode else ""
    file.write_text(f"`python {shlex.join(called)}`\n\n{told.strip()}\n{ended}")
    return not process.returncode
