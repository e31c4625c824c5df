"""What a terminal shows while something goes on, read from one."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse_tests.conftest import Road

TALE = """
import sys, time
from lakehouse import terminal
with terminal.patience("working"):
    time.sleep(0.2)
    if sys.argv[1:]:
        with terminal.busy("counting"):
            time.sleep(0.2)
            print("one", flush=True)
    TWO
    time.sleep(0.3)
"""
WAYS = {
    "print": 'print("two", flush=True)',
    "writelines": 'sys.stdout.writelines(["two\\n"]); sys.stdout.flush()',
    "buffer": 'sys.stdout.buffer.write(b"two\\n"); sys.stdout.buffer.flush()',
}
"""Of saying something on standard output."""
SHOWN = "\x1b[?25h"
"""The cursor is there again: the spinner is gone."""


def seen(*words: str, stdout: int | None = None, **environment: str) -> str:
    """What a terminal gets of a Python of these words: all, or standard error alone."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80", **environment}
    with subprocess.Popen([sys.executable, *words], stdout=stdout or theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        told = b""
        while part := _read(ours):
            told += part
        if process.stdout:
            assert process.stdout.read() == b"one\ntwo\n"
    os.close(ours)
    return told.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux's word for the end of a pseudo-terminal
        return b""


@pytest.mark.parametrize("way", WAYS)
def test_a_terminal_shows_that_something_goes_on_until_something_is_printed(way: str) -> None:
    before, printed, after = seen("-c", TALE.replace("TWO", WAYS[way])).partition("two")
    assert printed
    assert "working …" in before
    assert SHOWN in before
    assert "working" not in before.rpartition(SHOWN)[2] + after


def test_what_a_command_says_of_its_work_takes_the_place_of_that() -> None:
    before, _, after = seen("-c", TALE.replace("TWO", WAYS["print"]), "busy").partition("counting …")
    assert "working …" in before
    assert "working" not in after
    assert after.index("one") < after.index("two")


def test_what_is_printed_meanwhile_goes_where_standard_output_goes() -> None:
    told = seen("-c", TALE.replace("TWO", WAYS["print"]), "busy", stdout=subprocess.PIPE)
    assert "counting …" in told
    assert "one" not in told


def test_a_command_shows_that_it_is_at_work(tmp_path: Path) -> None:
    before, table, after = seen(
        "-m", "lakehouse.cli", "sql", "select 7 as n", LAKEHOUSE_HOME=str(tmp_path)
    ).partition("7")
    assert table
    assert "working …" in before
    assert "working" not in after


def test_each_upload_is_shown_and_not_the_first_alone(road: Road, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.csv", "b.csv")]
    for file in files:
        file.write_text("id\n1\n")
    place = {"LAKEHOUSE_LANDING_BUCKET": road.bucket.name, "LAKEHOUSE_HOME": str(tmp_path)}
    told = seen("-m", "lakehouse.cli", "land", *map(str, files), "--prefix", "flights/", **place)
    first, second = told.partition(f"s3://{road.bucket.name}/flights/a.csv")[::2]
    assert "uploading a.csv …" in first
    assert "uploading b.csv …" in second
    assert "uploading" not in second.partition(f"s3://{road.bucket.name}/flights/b.csv")[2]
