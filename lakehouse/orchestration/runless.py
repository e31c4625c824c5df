"""What Dagster keeps beside its runs → deleted by age: events that no run told, and what checks once found.

Dagster deletes events with their run alone, and has no call for these: a materialization of the inbox for each
tick that brought something, a row for each check of each run. Hence its own tables, from modules that are private.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import sqlalchemy as db
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as Checks
from dagster._core.storage.event_log.schema import AssetEventTagsTable as Tags
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Events

RUNLESS = ""
"""The run that Dagster writes where there is none."""


def forget_runless(instance: dg.DagsterInstance, keep: timedelta) -> int:
    """Delete what was told longer ago; gives how many. The latest of each asset, and of each check, stays."""
    storage: Any = instance.event_log_storage
    before = (datetime.now(UTC) - keep).replace(tzinfo=None)
    latest = db.select(db.func.max(Events.c.id)).group_by(
        Events.c.asset_key, Events.c.dagster_event_type, Events.c.partition
    )
    old = (Events.c.run_id == RUNLESS) & (Events.c.timestamp < before) & Events.c.id.not_in(latest)
    standing = db.select(db.func.max(Checks.c.id)).group_by(Checks.c.asset_key, Checks.c.check_name)
    past = (Checks.c.evaluation_event_timestamp < before) & Checks.c.id.not_in(standing)
    with storage.index_connection() as connection:
        gone = int(connection.execute(Checks.delete().where(past)).rowcount) + _without(connection, old)
    with storage.run_connection(RUNLESS) as connection:
        _without(connection, old)
    return gone


def _without(connection: Any, old: Any) -> int:
    connection.execute(Tags.delete().where(Tags.c.event_id.in_(db.select(Events.c.id).where(old))))
    return int(connection.execute(Events.delete().where(old)).rowcount)
