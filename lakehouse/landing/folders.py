"""object key → columns: folders that are named `column=value`, as Hive, Spark and Athena lay files out."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

from lakehouse.landing.packing import INSIDE
from lakehouse.landing.refusal import OWN

NULL = "__HIVE_DEFAULT_PARTITION__"


def told(key: str) -> dict[str, str]:
    """What the folders say, as text; of a name that two have the inner one's. An archive's name is no folder."""
    found: dict[str, str] = {}
    for folder in key.split("/")[:-1]:
        name, equals, value = map(unquote, folder.partition("="))
        if equals and name and "\0" not in name and name.lower() not in OWN and not folder.endswith(INSIDE[:-1]):
            found[name] = value
    return {name: value for name, value in found.items() if value != NULL}


def names(objects: Iterable[str]) -> list[str]:
    """The columns that the folders of some objects are named after, one of each spelling."""
    return [*dict.fromkeys(name for key in sorted(objects) for name in told(key))]
