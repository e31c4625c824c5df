"""A folder in the bucket's place: what the road costs where getting an object costs next to nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lakehouse.landing import objects
from lakehouse.landing.content import Body
from lakehouse.landing.objects import Bucket, Identity


class Folder(Bucket):
    """Objects as files below a folder, each under its key."""

    def __init__(self, root: Path) -> None:
        super().__init__(None, root.name)
        self.root = root

    def put(self, key: str, body: bytes) -> None:
        (self.root / key).parent.mkdir(parents=True, exist_ok=True)
        (self.root / key).write_bytes(body)

    def look(self, key: str) -> Identity:
        told = os.stat(f"{self.root}/{key}")
        modified = datetime.fromtimestamp(told.st_mtime, UTC)
        return Identity(key, None, str(told.st_mtime_ns), told.st_size, modified)

    def get(self, key: str) -> tuple[Identity, bytes | Body]:
        found = self.look(key)
        if found.size > objects.WHOLE:
            return found, Body(key, (self.root / key).open("rb"))
        with open(f"{self.root}/{key}", "rb", buffering=0) as file:
            return found, file.read()

    def list(self, prefix: str = "", after: str = "") -> Iterator[Identity]:
        keys = sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())
        yield from (self.look(key) for key in keys if key.startswith(prefix) and key > after)
