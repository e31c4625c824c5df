"""How many items a second a table grants: found out from its refusals."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

SPELL = 0.5
"""Seconds that are judged together: what is refused sooner after a cut was sent before it."""
BACK_OFF = 0.9
GROWTH = 1.25
"""Of the pace, a second."""
FREE_AFTER = 60
"""Seconds without a refusal after which nothing is held back."""
LEAST = 100
"""Items a second. Below it, the pauses after each refusal do."""


class Pace:
    """Holds the workers of one write back, once they are refused, to a little less than what was granted.

    Free at first. A refusal cuts the pace to a part of what was granted since the last cut; from there it grows
    until the next, so that it follows a table that grants more or less than before. For many threads at once.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._base = math.inf
        self._granted = 0
        self._since = self._next = clock()

    def wait(self, items: int) -> None:
        """Return when it is the turn of so many items."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + items / self._rate(now)
        if turn > now:
            self._sleep(turn - now)

    def granted(self, items: int) -> None:
        with self._lock:
            self._granted += items

    def refused(self) -> None:
        with self._lock:
            now = self._clock()
            if now - self._since < SPELL:
                return
            self._base = max(LEAST, BACK_OFF * self._granted / (now - self._since))
            self._since, self._granted = now, 0

    def _rate(self, now: float) -> float:
        since = now - self._since
        return math.inf if since > FREE_AFTER else self._base * GROWTH**since
