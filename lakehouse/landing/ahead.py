"""items → results in their order, the next ones begun while one is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

One = TypeVar("One")
Told = TypeVar("Told")


def ahead(pool: Executor, call: Callable[[One], Told], items: Iterable[One], most: int) -> Iterator[Told]:
    """What `call` makes of each item, in `pool`; no more than `most` are begun beyond the one that is told."""
    begun: deque[Future[Told]] = deque()
    for one in items:
        begun.append(pool.submit(call, one))
        if len(begun) > most:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()
