"""What the tables ought to hold, told by `csv`, `json` and dicts from the input files alone.

It shares no import with the package.
"""

import csv
import io
import json
from datetime import datetime
from typing import Any

Files = dict[str, bytes]
"""The landing bucket's current objects, in the order in which they were last written."""


def flights(files: Files) -> dict[tuple[str, str, int], dict[str, str]]:
    """The newest good record of each key."""
    found: dict[tuple[str, str, int], dict[str, str]] = {}
    for name, body in files.items():
        if name.startswith("flights/"):
            for row in csv.DictReader(io.StringIO(body.decode(), newline="")):
                if None not in row and None not in row.values() and good(row):
                    found[(row["time_hour"], row["carrier"], int(row["flight"]))] = row
    return found


def good(row: dict[str, str]) -> bool:
    try:
        datetime.fromisoformat(row["time_hour"])
        late = int(row["arr_delay"] or 0)
        return len(row["carrier"]) == 2 and int(row["flight"]) > 0 and -240 <= late <= 3000
    except ValueError:
        return False


def airlines(files: Files) -> dict[str, str]:
    found = {}
    for name, body in files.items():
        if name.startswith("airlines/"):
            found |= {r["carrier"]: r["name"] for r in csv.DictReader(io.StringIO(body.decode()))}
    return found


def weather(files: Files) -> dict[tuple[str, str], dict[str, Any]]:
    lines = [line for name, body in files.items() if name.startswith("weather/") for line in body.splitlines()]
    return {(row["origin"], row["time_hour"]): row for row in map(json.loads, lines)}


def carrier_punctuality(files: Files) -> dict[str, dict[str, Any]]:
    """The serving table, and so the items, by carrier."""
    named, found = airlines(files), {}
    rows = list(flights(files).values())
    for carrier in {r["carrier"] for r in rows}:
        mine = [r for r in rows if r["carrier"] == carrier]
        found[carrier] = {
            "carrier": carrier,
            "flights": len(mine),
            "cancelled": sum(r["dep_delay"] == "" for r in mine),
            "late": sum(int(r["arr_delay"]) >= 15 for r in mine if r["arr_delay"]),
            "airline": named.get(carrier),
        }
    return found
