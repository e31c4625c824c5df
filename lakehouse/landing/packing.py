"""packed bytes → what is in them, within a bound: a small object may unpack to more than any memory holds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

from lakehouse.landing.refusal import Unreadable

LIMIT = 1 << 30
"""Bytes that one object may unpack to: all its members, and what is packed in them, together."""
PART = 1 << 20
"""Bytes that are unpacked at once."""
MEMBERS = 10_000
"""Members that one archive may have."""
INSIDE = "!/"
"""Between an archive's key and its member's name, where a member is named as an object."""
ARCHIVE = f"(?s)^(.*?){INSIDE}"
"""The archive's key in such a name."""
MAGIC = {".gz": b"\x1f\x8b\x08", ".zst": b"\x28\xb5\x2f\xfd", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\x00"}
ALIASES = {".tgz": (".tar", ".gz"), ".tbz2": (".tar", ".bz2"), ".txz": (".tar", ".xz"), ".tzst": (".tar", ".zst")}
TARGET = 4096
"""Bytes of what a link names that are told."""
NOT_FOLLOWED = "a link to {}, which is not followed"
FAULTS = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)
ARCHIVE_FAULTS = (*FAULTS, zipfile.BadZipFile, tarfile.TarError, RuntimeError, NotImplementedError)
Member = Callable[[], bytes] | None
"""How to have what is in a member, which raises `Unreadable` where that cannot be had; None if a later one has its
name, as an archive that was added to has it: superseded."""


class Overrun(Unreadable):
    """The object unpacks to more than `LIMIT`: it is refused whole, whichever of its members was too much."""


class Hollow(Unreadable):
    """A member without content of its own: a link, whose target may lie anywhere, or a device."""


@dataclass
class Budget:
    """The bytes to which one object may still unpack: its members, and what is packed in them, take from one.

    A packed tar has one for itself and one for its members: those are its bytes once more.
    """

    left: int = field(default_factory=lambda: LIMIT)

    def take(self, stream: Any) -> bytes:
        """All that is in a stream; a faulty one costs what it gave. Raises `Overrun` where that is too much."""
        return b"".join(iter(lambda: self.part(stream), b""))

    def part(self, stream: Any) -> bytes:
        """The next bytes of a stream, as `take` has them all."""
        part: bytes = stream.read(min(PART, self.left + 1))
        self.spend(len(part))
        return part

    def spend(self, size: int) -> None:
        if size > self.left:
            raise Overrun(f"unpacks to more than {LIMIT:,} bytes")
        self.left -= size


class Streams:
    """Packed streams, one after another, as one: `pbzip2` writes them so.

    Python's own readers drop a faulty stream behind the first, and all that follows it, without a word.
    """

    def __init__(self, body: IO[bytes], begun: Callable[[], Any]) -> None:
        self.body, self.begun = body, begun
        self.stream, self.ahead = begun(), b""

    def read(self, size: int) -> bytes:
        """The next bytes, at most so many; none is the end. Raises `EOFError` where a stream breaks off."""
        found = b""
        while not found and (not self.stream.eof or self._another()):
            found = self.stream.decompress(self._packed() if self.stream.needs_input else b"", size)
        return found

    def _packed(self) -> bytes:
        packed, self.ahead = self.ahead or self.body.read(PART), b""
        if not packed:
            raise EOFError("it breaks off within a stream")
        return packed

    def _another(self) -> bool:
        """Begin the next stream, if there is one; zeros may stand before it, or at the end."""
        ahead = self.stream.unused_data.lstrip(b"\0")
        while not ahead and (packed := self.body.read(PART)):
            ahead = packed.lstrip(b"\0")
        if ahead:
            self.stream, self.ahead = self.begun(), ahead
        return bool(ahead)


def _zstd(body: IO[bytes]) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(body, "zstd")


PACKED: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda body: gzip.GzipFile(fileobj=body),
    ".zst": _zstd,
    ".bz2": lambda body: Streams(body, bz2.BZ2Decompressor),
    ".xz": lambda body: Streams(body, lzma.LZMADecompressor),
}


def packed_as(body: bytes) -> str | None:
    """The packing that the bytes themselves tell of."""
    found = next((suffix for suffix, magic in MAGIC.items() if body.startswith(magic)), None)
    return None if found == ".bz2" and body[4:10] != b"1AY&SY" else found


def unpacked(suffix: str, body: IO[bytes], budget: Budget) -> Iterator[bytes]:
    """Raises `Unreadable` where the bytes are not so packed, or are too many."""
    try:
        stream = PACKED[suffix](body)
        yield from iter(lambda: budget.part(stream), b"")
    except FAULTS as error:
        raise Unreadable(f"cannot be unpacked as {suffix}: {error}") from error


def is_archive(body: bytes) -> bool:
    return body.startswith((b"PK\x03\x04", b"PK\x05\x06")) or body[257:262] == b"ustar"


def members(file: IO[bytes], budget: Budget, superseded: bool = False) -> Iterator[tuple[str, Member]]:
    """Each file in a zip or tar, by name, to be had before the next is asked for.

    `superseded`: those whose name a later one has can be had, too. Raises `Unreadable` of the whole.
    """
    file.seek(0)
    opened = _zipped if file.read(2) == b"PK" else _tarred
    file.seek(0)
    try:
        yield from opened(file, budget, superseded)
    except ARCHIVE_FAULTS as error:
        raise Unreadable(f"an archive that cannot be opened: {error}") from error


def _zipped(file: IO[bytes], budget: Budget, superseded: bool) -> Iterator[tuple[str, Member]]:
    with zipfile.ZipFile(file) as archive:
        files = [(one.filename, one) for one in archive.infolist() if not one.is_dir()]
        yield from _opened(files, partial(_of_zip, archive), budget, superseded)


def _of_zip(archive: zipfile.ZipFile, one: zipfile.ZipInfo) -> IO[bytes]:
    stream = archive.open(one)
    if not stat.S_ISLNK(one.external_attr >> 16):
        return stream
    with stream:
        raise Hollow(NOT_FOLLOWED.format(stream.read(TARGET).decode(errors="replace")))


def _tarred(file: IO[bytes], budget: Budget, superseded: bool) -> Iterator[tuple[str, Member]]:
    with tarfile.open(fileobj=file, mode="r:") as archive:
        files = [(one.name, one) for one in archive if not one.isdir()]
        _check_end(file, archive.offset)
        yield from _opened(files, partial(_of_tar, archive), budget, superseded)


def _of_tar(archive: tarfile.TarFile, one: tarfile.TarInfo) -> Any:
    if one.isfile():
        return archive.extractfile(one)
    raise Hollow(NOT_FOLLOWED.format(one.linkname) if one.linkname else "neither a file nor a link")


def _check_end(file: IO[bytes], at: int) -> None:
    """Raise where no end of the archive is: tarfile takes a header that is damaged, or cut off, for the end."""
    left = file.seek(0, io.SEEK_END) - at
    file.seek(at)
    rest = iter(partial(file.read, PART), b"")
    if left < tarfile.BLOCKSIZE or any(part.count(0) < len(part) for part in rest):
        raise Unreadable(f"a tar that is damaged, or cut off, at byte {at:,}: members that follow cannot be told")


def _opened(
    files: Sequence[tuple[str, Any]], read: Callable[[Any], Any], budget: Budget, superseded: bool
) -> Iterator[tuple[str, Member]]:
    if len(files) > MEMBERS:
        raise Unreadable(f"an archive of {len(files):,} members; {MEMBERS:,} are allowed")
    last = dict(files)
    for name, file in files:
        yield name, partial(_content, read, file, budget) if superseded or file is last[name] else None


def _content(read: Callable[[Any], Any], file: Any, budget: Budget) -> bytes:
    try:
        with read(file) as stream:
            return budget.take(stream)
    except ARCHIVE_FAULTS as error:
        raise Unreadable(f"a member that cannot be unpacked: {error}") from error
