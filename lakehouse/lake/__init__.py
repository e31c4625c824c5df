"""Delta tables, and the hop that carries rows from one to the next."""

from lakehouse.lake.hop import Desired, Hopped, News, hop
from lakehouse.lake.table import Conflict, Lake, Table

__all__ = ["Conflict", "Desired", "Hopped", "Lake", "News", "Table", "hop"]
