"""object → its bytes without what packs them: at hand if they are few, else in pieces, fetched ahead."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat, takewhile
from pathlib import PurePosixPath
from typing import IO, Any

from lakehouse.landing import packing
from lakehouse.landing.ahead import ahead
from lakehouse.landing.refusal import Unreadable

PIECE = 4 << 20
"""Bytes that are read at once of what is not at hand."""


class Interrupted(Exception):
    """The service failed while an object was read: transient, whatever the object is."""


class Body:
    """The bytes of an object, as they come."""

    def __init__(self, key: str, stream: Any) -> None:
        self.key = key
        self.stream = stream

    def read(self, size: int) -> bytes:
        """The next bytes, as many as that unless it ends. Raises `Interrupted` where it breaks off."""
        try:
            return self.stream.read(size)  # type: ignore[no-any-return]
        except Exception as error:
            raise Interrupted(f"{self.key}: {error}") from error


@dataclass(frozen=True)
class Content:
    """`suffix`: what the name says of the format. `begin`: the first bytes; all of them, if there is no `rest`."""

    suffix: str
    begin: bytes
    rest: Iterator[bytes] | None = None

    def whole(self) -> bytes:
        """All bytes, at once. Raises `Unreadable` where they are too many for that."""
        return self.begin if self.rest is None else joined(self.pieces())

    @contextmanager
    def file(self) -> Iterator[IO[bytes]]:
        """All bytes, as a file: on disk, if they are not at hand. Raises `Unreadable` as `whole` does."""
        if self.rest is None:
            yield io.BytesIO(self.begin)
        else:
            with spooled(_within(self.pieces())) as file:
                yield file

    def pieces(self) -> Iterator[bytes]:
        """All bytes, once; each piece is fetched while the one before it is worked on."""
        yield self.begin
        if self.rest is None:
            return
        with ThreadPoolExecutor(1) as fetcher:
            yield from takewhile(len, ahead(fetcher, lambda rest: next(rest, b""), repeat(self.rest), 1))


def joined(pieces: Iterator[bytes]) -> bytes:
    """The pieces as one. Raises `Unreadable` where they are too many for that."""
    return b"".join(_within(pieces))


def _within(pieces: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        check_size(size)
        yield piece


@contextmanager
def spooled(pieces: Iterator[bytes]) -> Iterator[IO[bytes]]:
    """The pieces as a file on disk, for what is read from its end or more than once."""
    with tempfile.NamedTemporaryFile() as file:
        for piece in pieces:
            file.write(piece)
        file.seek(0)
        yield file


def check_size(size: int) -> None:
    """Raise where so many bytes are too many to be in memory at once."""
    if size > packing.LIMIT:
        raise Unreadable(f"more than {packing.LIMIT:,} bytes, and what is of its kind is read at once")


def unwrapped(key: str, body: bytes | Body, budget: packing.Budget) -> Content:
    """The content, and the suffix that tells its format, without what packs it, named or not."""
    suffixes = PurePosixPath(key.lower()).suffixes
    suffixes[-1:] = packing.ALIASES.get(suffixes[-1], suffixes[-1:]) if suffixes else []
    begin = body if isinstance(body, bytes) else body.read(PIECE)
    if not begin:
        raise Unreadable("the object is empty (0 bytes)")
    named = suffixes[-1] if suffixes and suffixes[-1] in packing.PACKED else None
    packed = suffixes.pop() if named else packing.packed_as(begin)
    suffix = suffixes[-1] if suffixes else ""
    rest = None if isinstance(body, bytes) else iter(partial(body.read, PIECE), b"")
    if packed:
        stream = io.BufferedReader(Streamed(chain([begin], rest or ())))
        return _begun(suffix, packing.unpacked(packed, stream, budget))
    return Content(suffix, begin, rest)


def _begun(suffix: str, parts: Iterator[bytes]) -> Content:
    pieces = _pieces(parts)
    begin, second = next(pieces, b""), next(pieces, b"")
    return Content(suffix, begin, chain([second], pieces) if second else None)


def _pieces(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The parts, joined to `PIECE` each."""
    joined = bytearray()
    for part in parts:
        joined += part
        if len(joined) >= PIECE:
            yield bytes(joined)
            joined.clear()
    if joined:
        yield bytes(joined)


class Streamed(io.RawIOBase):
    """Pieces, none of them empty, as a file that is read from its begin to its end."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces = pieces
        self.left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        into = memoryview(buffer)
        self.left = self.left or memoryview(next(self.pieces, b""))
        taken = min(len(into), len(self.left))
        into[:taken], self.left = self.left[:taken], self.left[taken:]
        return taken
