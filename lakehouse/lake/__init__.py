"""Delta tables, and the hop that carries rows from one to the next."""

from lakehouse.lake.hop import Desired, Hopped, News, hop, walk
from lakehouse.lake.maintenance import Maintained, maintain
from lakehouse.lake.race import again
from lakehouse.lake.table import Conflict, KeyChanged, Lake, Table

__all__ = [
    "Conflict",
    "Desired",
    "Hopped",
    "KeyChanged",
    "Lake",
    "Maintained",
    "News",
    "Table",
    "again",
    "hop",
    "maintain",
    "walk",
]
