"""Globs over object keys: which keys one claims, and whether two share any."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from functools import cache

WILD = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


def _tokens(glob: str) -> list[str]:
    return re.findall(r"\*\*|.", glob, re.DOTALL)


def matches(glob: str, key: str) -> bool:
    """Whether the glob claims the key: `*` and `?` stay within a folder, `**` does not."""
    return _pattern(glob).fullmatch(key) is not None


@cache
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile("".join(WILD.get(token, re.escape(token)) for token in _tokens(glob)), re.DOTALL)


def claimed(glob: str) -> str:
    """A regular expression, of polars' kind, for the keys that the glob claims and what lies in their archives."""
    plain = "".join(WILD.get(token, re.sub(r"([][.^$*+?(){}|\\])", r"\\\1", token)) for token in _tokens(glob))
    return f"(?s)^{plain}(!/.*)?$"


def common(one: str, other: str) -> str | None:
    """A key that both globs match, or None where there is none."""
    a, b = _tokens(one), _tokens(other)
    seen = {(0, 0)}
    ends = deque([(0, 0, "")])
    while ends:
        i, j, key = ends.popleft()
        if i == len(a) and j == len(b):
            return key
        for i2, j2, letter in _steps(a, i, b, j):
            if (i2, j2) not in seen:
                seen.add((i2, j2))
                ends.append((i2, j2, key + letter))
    return None


def _steps(a: list[str], i: int, b: list[str], j: int) -> Iterator[tuple[int, int, str]]:
    """Where two globs can stand next: a star is passed by, or both take a letter that each allows."""
    one, other = a[i] if i < len(a) else "", b[j] if j < len(b) else ""
    if "*" in one:
        yield i + 1, j, ""
    if "*" in other:
        yield i, j + 1, ""
    if one and other and (letter := _letter(one, other)):
        yield i + ("*" not in one), j + ("*" not in other), letter


def _letter(one: str, other: str) -> str:
    """A letter that both tokens allow; "" if there is none."""
    if one in WILD and other in WILD:
        return "x"
    plain, wild = (other, one) if one in WILD else (one, other)
    return plain if plain == wild or wild == "**" or (wild in WILD and plain != "/") else ""
