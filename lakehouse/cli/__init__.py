"""`lakehouse …`: the command line. A room for each noun; what a command needs is imported when it runs."""

from __future__ import annotations

import os
import signal

import click

from lakehouse.cli import erasing, items, landing, models, running, tables
from lakehouse.cli.common import local_lines
from lakehouse.cli.plain import Plain
from lakehouse.settings import Settings


@click.group(cls=Plain, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lakehouse")
def main() -> None:
    """An event-driven lakehouse: a file lands in S3, an item changes in DynamoDB."""
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, _interrupted)
    _join_local()


for room in (running, landing, tables, items, models, erasing):
    for command in room.COMMANDS:
        main.add_command(command)


def _interrupted(*_: object) -> None:
    """Both signals end a command the same way, once, so that what it started is always stopped."""
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.SIG_IGN)
    raise KeyboardInterrupt


def _join_local() -> None:
    """Where the environment names no queue, use what `lakehouse up` left below the home, if anything."""
    if "LAKEHOUSE_QUEUE_URL" in os.environ or not (Settings.load().home / "env").exists():
        return
    for line in local_lines():
        name, _, value = line.partition("=")
        os.environ.setdefault(name, value)
