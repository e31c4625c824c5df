"""packed bytes → what is in them, within a bound: a small object may unpack to more than any memory holds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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
FAULTS = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)
ARCHIVE_FAULTS = (*FAULTS, zipfile.BadZipFile, tarfile.TarError, RuntimeError, NotImplementedError)


class Overrun(Unreadable):
    """The object unpacks to more than `LIMIT`: it is refused whole, whichever of its members was too much."""


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


def _zstd(body: IO[bytes]) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(body, "zstd")


PACKED: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda body: gzip.GzipFile(fileobj=body),
    ".zst": _zstd,
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
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


def members(body: bytes, budget: Budget) -> Iterator[tuple[str, bytes | Unreadable]]:
    """Each file in a zip or tar, by name; of two of one name the later. Raises `Unreadable` of the whole."""
    try:
        yield from (_zipped if body.startswith(b"PK") else _tarred)(body, budget)
    except ARCHIVE_FAULTS as error:
        raise Unreadable(f"an archive that cannot be opened: {error}") from error


def _zipped(body: bytes, budget: Budget) -> Iterator[tuple[str, bytes | Unreadable]]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        files = {one.filename: one for one in archive.infolist() if not one.is_dir()}
        yield from _opened(files, lambda name: archive.open(files[name]), budget)


def _tarred(body: bytes, budget: Budget) -> Iterator[tuple[str, bytes | Unreadable]]:
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:") as archive:
        files = {one.name: one for one in archive if one.isfile()}
        yield from _opened(files, lambda name: archive.extractfile(files[name]), budget)


def _opened(
    files: dict[str, Any], read: Callable[[str], Any], budget: Budget
) -> Iterator[tuple[str, bytes | Unreadable]]:
    if len(files) > MEMBERS:
        raise Unreadable(f"an archive of {len(files):,} members; {MEMBERS:,} are allowed")
    for name in files:
        try:
            with read(name) as stream:
                found = budget.take(stream)
        except ARCHIVE_FAULTS as error:
            yield name, Unreadable(f"a member that cannot be unpacked: {error}")
            continue
        yield name, found
