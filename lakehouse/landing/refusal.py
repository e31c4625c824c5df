"""What makes an object unreadable, and names that no column can have."""

from __future__ import annotations

from collections.abc import Sequence

OWN = {
    *("_part", "_object", "_object_version", "_generation", "_modified", "_run", "_ingested_at", "_state"),
    *("_etag", "_size", "_records", "_reason", "_record", "_text", "_bad", "_row", "_rules", "_removed"),
    *("_reading", "_rescued", "_typed", "_change_type", "_commit_version", "_commit_timestamp"),
}
"""Column names that the lake itself writes beside a file's own."""


class Unreadable(Exception):
    """No record of the object can be read. Terminal: the object is refused with this reason."""


def check_names(names: Sequence[str]) -> None:
    """Refuse names that cannot be columns of one table. Delta tells no upper from lower case."""
    if not names or not all(names) or len({n.lower() for n in names}) < len(names):
        raise Unreadable(f"the header has an empty or doubled name: {list(names)}")
    if unfit := [n for n in names if "\0" in n or n.lower() in OWN]:
        raise Unreadable(f"the header has names that no column can have here: {unfit}")
