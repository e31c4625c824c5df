"""Whoever loses a race to commit looks again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from lakehouse.lake.table import Conflict

Answer = TypeVar("Answer")
LOOKS = 12
LONGEST = 1.0
"""Seconds of a pause. All pauses together are 4 s on average: longer than others write to one table in a row."""


def again(look: Callable[[], Answer]) -> Answer:
    """What `look` answers, once no other commits between its look and its commit.

    After a loss it is called anew, with growing pauses, a bounded number of times. Raises the last `Conflict`.
    """
    for lost in range(LOOKS - 1):
        try:
            return look()
        except Conflict:
            time.sleep(random.uniform(0, min(LONGEST, 0.05 * 2**lost)))
    return look()
