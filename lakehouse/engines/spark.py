"""frames → Spark Connect → rows: Sail in this process, or whatever listens at `sc://…`.

The engine reads Delta tables by itself, at the version that the hop looked at, and hands back what the function
gives of them, which is all that comes through this process.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import narwhals as nw
import polars as pl
from polars import selectors

from lakehouse.engines.frame import Frame

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ROWS = 32 << 20
"""Bytes of rows in memory that are sent at once. A message of Spark Connect holds 128 MB."""

TRIES = 6
"""How often a call is sent again to an engine that does not answer, which takes some twenty seconds. By itself the
client goes on for ten minutes; here the sweep comes again."""


class EngineFailed(Exception):
    """The engine did not answer, or could not compute. Transient: the next sweep tries again."""


def compute(function: Callable[..., Any], frames: Sequence[Frame], engine: str) -> pl.DataFrame:
    """What a portable function gives, computed by the engine.

    Rows in memory that are too many for a message go in parts: of what is cleaned every row stands for itself.
    """
    try:
        return _computed(function, frames, session(engine))
    except Exception as error:
        session.cache_clear()  # a server that was started anew knows nothing of it
        raise EngineFailed(f"{function.__name__} on {engine}: {_told(error)}") from error


def _computed(function: Callable[..., Any], frames: Sequence[Frame], spark: SparkSession) -> pl.DataFrame:
    first = frames[0]
    if isinstance(first, pl.DataFrame) and len(frames) == 1 and first.estimated_size() > ROWS and len(first) > 1:
        halves = first.head(len(first) // 2), first.tail(-(len(first) // 2))
        return pl.concat([_computed(function, [half], spark) for half in halves])
    given = [nw.from_native(_frame(spark, one)) for one in frames]
    return pl.DataFrame(function(*given).to_native().toArrow())


def _frame(spark: SparkSession, one: Frame) -> DataFrame:
    if isinstance(one, pl.DataFrame):
        return _sent(spark, one)
    table, groups = one.table.delta, one.groups
    rows = spark.read.format("delta").option("versionAsOf", table.version()).load(table.table_uri)
    if groups is None or one.beyond:
        return rows
    if groups.is_empty():
        return rows.limit(0)
    keys = _sent(spark, groups)
    (column,) = groups.columns
    return rows.join(keys, rows[column].eqNullSafe(keys[column]), "leftsemi")


def _sent(spark: SparkSession, rows: pl.DataFrame) -> DataFrame:
    """Rows of this process. Spark knows no unsigned integer, and no column without a type."""
    typed = rows.cast({pl.Null: pl.String})
    return spark.createDataFrame(typed.cast({selectors.unsigned_integer(): pl.Int64}).to_arrow())


def version(engine: str) -> str:
    """What the engine calls itself. Raises `EngineFailed` where it does not answer."""
    try:
        return str(session(engine).version)
    except Exception as error:
        raise EngineFailed(f"{engine}: {_told(error)}") from error


def _told(error: Exception) -> str:
    """The words of an error; gRPC's own are many lines around them."""
    details = getattr(error, "details", None)
    return str(details()) if callable(details) else str(error)


@cache
def session(engine: str) -> SparkSession:
    """A session that reckons in UTC. It lasts as long as the process, as does a server that is started here."""
    main = sys.modules["__main__"]
    named = patch.object(main, "__file__", getattr(main, "__file__", sys.executable), create=True)
    with named, warnings.catch_warnings():  # without a file, pyspark takes it for its own doctests, and exits
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        from pyspark.sql.connect import utils
        from pyspark.sql.connect.client.retries import DefaultPolicy
        from pyspark.sql.connect.session import SparkSession as Session
    utils.check_dependencies = lambda: None  # each module that is loaded later asks again
    builder: Any = Session.builder
    made: SparkSession = builder.remote(_embedded() if engine == "sail" else engine).create()
    made.client.set_retry_policies([DefaultPolicy(max_retries=TRIES, max_backoff=4000)])
    made.conf.set("spark.sql.session.timeZone", "UTC")
    return made


def _embedded() -> str:
    """Sail's server in this process, on loopback and a free port."""
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    _SERVERS.append(server)
    ip, port = server.listening_address
    return f"sc://{ip}:{port}"


_SERVERS: list[Any] = []
"""What would be stopped if nobody held it."""
