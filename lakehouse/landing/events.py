"""message body → object events: every envelope in which S3 speaks, decoded once.

S3 direct, SNS-wrapped, SNS raw delivery, EventBridge, and EventBridge inside SNS. Keys are form-encoded in S3's
own records and plain in EventBridge's. What is none of these is parked with its reason; nothing raises.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

TEMPORARY = (".tmp", ".crc", ".part", ".crdownload")
EVENTBRIDGE = {"Object Created": "created", "Object Deleted": "removed"}
DEPTH = 3


@dataclass(frozen=True)
class ObjectEvent:
    """Something happened to an object. `kind` is `created` or `removed`; `event_name` is S3's own word."""

    bucket: str
    key: str
    kind: str
    event_name: str
    version_id: str | None
    etag: str | None
    size: int | None
    sequencer: str | None
    event_time: datetime | None


@dataclass(frozen=True)
class Decoded:
    """What a message held: its events, and why (part of) it is kept aside, if it is."""

    events: tuple[ObjectEvent, ...] = ()
    parked: str | None = None


class _Foreign(Exception):
    pass


def decode(body: str) -> Decoded:
    """All events of one message body. A bad record among good ones parks the message and keeps the good ones."""
    try:
        return _envelope(json.loads(body), DEPTH)
    except _Foreign as error:
        return Decoded(parked=str(error))
    except (ValueError, RecursionError) as error:
        return Decoded(parked=f"not JSON: {error}")


def ignorable(key: str) -> str | None:
    """Why an object key never starts a run; None if it may."""
    if key.endswith("/"):
        return "a directory marker"
    if any(part.startswith((".", "_")) for part in key.split("/")):
        return "a hidden or marker name"
    return "a temporary name" if key.lower().endswith(TEMPORARY) else None


def _envelope(value: Any, depth: int) -> Decoded:
    if not isinstance(value, dict) or not depth:
        raise _Foreign("not an S3 event")
    if value.get("Event") == "s3:TestEvent":
        return Decoded()
    if value.get("Type") == "Notification" and isinstance(value.get("Message"), str):
        return _envelope(json.loads(value["Message"]), depth - 1)
    if value.get("detail-type") in EVENTBRIDGE:
        return _records([value], _eventbridge)
    if isinstance(value.get("Records"), list):
        return _records(value["Records"], _record)
    raise _Foreign("not an S3 event")


def _records(records: list[Any], read: Any) -> Decoded:
    events, faults = [], []
    for number, record in enumerate(records):
        try:
            events.append(read(record))
        except _Foreign as error:
            faults.append(f"record {number}: {error}")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            faults.append(f"record {number}: {type(error).__name__}: {error}")
    return Decoded(tuple(events), "; ".join(faults) or None)


def _record(record: dict[str, Any]) -> ObjectEvent:
    name, s3 = _text(record["eventName"]), record["s3"]
    thing = s3["object"]
    return ObjectEvent(
        _text(s3["bucket"]["name"]),
        unquote_plus(_text(thing["key"]), errors="strict"),
        _kind(name),
        name,
        _optional(thing.get("versionId")),
        _optional(thing.get("eTag")),
        _size(thing.get("size")),
        _optional(thing.get("sequencer")),
        _time(record.get("eventTime")),
    )


def _eventbridge(value: dict[str, Any]) -> ObjectEvent:
    detail = value["detail"]
    thing = detail["object"]
    return ObjectEvent(
        _text(detail["bucket"]["name"]),
        _text(thing["key"]),
        EVENTBRIDGE[value["detail-type"]],
        _removal(detail) if value["detail-type"] == "Object Deleted" else value["detail-type"],
        _optional(thing.get("version-id")),
        _optional(thing.get("etag")),
        _size(thing.get("size")),
        _optional(thing.get("sequencer")),
        _time(value.get("time")),
    )


def _removal(detail: dict[str, Any]) -> str:
    """What EventBridge tells of a deletion, in the word of S3's own notifications."""
    family = "LifecycleExpiration" if detail.get("reason") == "Lifecycle Expiration" else "ObjectRemoved"
    marked = detail.get("deletion-type") == "Delete Marker Created"
    return f"{family}:{'DeleteMarkerCreated' if marked else 'Delete'}"


def _kind(name: str) -> str:
    family = name.removeprefix("s3:").split(":")[0]
    if family == "ObjectCreated":
        return "created"
    if family in ("ObjectRemoved", "LifecycleExpiration"):
        return "removed"
    raise _Foreign(f"{name} is neither a creation nor a removal")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _Foreign("a name is missing")
    value.encode()
    return value


def _optional(value: Any) -> str | None:
    return _text(value) if isinstance(value, str) and value else None


def _size(value: Any) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    if not 0 <= value < 1 << 63:
        raise _Foreign("a size that no object has")
    return value


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    found = datetime.fromisoformat(value)
    return found.astimezone(UTC) if found.tzinfo else None
