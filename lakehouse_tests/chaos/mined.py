"""lakehouse.definitions, mined: whichever process passes the armed door dies by SIGKILL, once.

A test arms a door by writing its name into `armed` in the folder that `MINES` names; the dead leave `sprung`.
"""

import os
from contextlib import suppress
from pathlib import Path

from lakehouse import definitions
from lakehouse_tests.crash_worker import die, mine

FOLDER = Path(os.environ["MINES"])


def passage(door: str) -> None:
    with suppress(FileNotFoundError):
        if (FOLDER / "armed").read_text() == door:
            (FOLDER / "armed").rename(FOLDER / "sprung")
            die()


mine(passage)
definitions.built.cache_clear()  # the fork server has built what is not patched
defs = definitions.defs
