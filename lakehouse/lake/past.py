"""A table as it stood: by version, or by the time at which that was the newest."""

from __future__ import annotations

from datetime import UTC, datetime

from deltalake.exceptions import DeltaError

from lakehouse.lake.table import Lake, Table


class Forgotten(Exception):
    """A version that a table does not have, or has no more. The message says what it has."""


def moment(text: str) -> int | datetime:
    """`12` is a version, `2026-11-01T10:00:00Z` a time; a time without a zone is UTC. Raises `ValueError`."""
    if text.isdecimal():
        return int(text)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def as_of(lake: Lake, name: str, when: int | datetime) -> Table | None:
    """The table as it stood, None if nobody has made it. Raises `Forgotten`."""
    table = lake.open(name)
    if table is None:
        return None
    version = when if isinstance(when, int) else _version_at(table, when)
    newest = table.version
    try:
        table.delta.load_as_version(version)
    except DeltaError as error:
        kept = "retention has removed it" if version < newest else f"its newest version is {newest}"
        raise Forgotten(f"{name} has no version {version}: {kept}") from error
    return table


def _version_at(table: Table, when: datetime) -> int:
    """The newest version that had been committed at that time, as the log tells."""
    log = sorted((entry["version"], entry["timestamp"]) for entry in table.delta.history())
    past = [version for version, told in log if told <= when.timestamp() * 1000]
    if past:
        return int(past[-1])
    first, told = log[0]
    begins = datetime.fromtimestamp(told / 1000, UTC).isoformat(timespec="milliseconds")
    raise Forgotten(f"{table.name} cannot be told at {when.isoformat()}: its log begins with {first}, of {begins}")
