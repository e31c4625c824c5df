"""Once a day: every table held against the one before it.

The checks block, so that the run fails with them.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl

from lakehouse.dataset import Dataset, Serving
from lakehouse.dynamodb import sync
from lakehouse.dynamodb.table import Cursor, ItemTable
from lakehouse.lake import Lake
from lakehouse.layers import balance, history, serving
from lakehouse.model import Model
from lakehouse.orchestration.assets import TIMELINE, compared, differences
from lakehouse.orchestration.resources import LakehouseResource


def build(datasets: dict[str, Dataset], models: dict[str, Model]) -> dict[str, list[Any]]:
    """Checks, jobs and schedules, as `dg.Definitions` takes them."""
    servings = [s for d in datasets.values() for s in d.serving]
    checks = [
        *(_balance(d) for d in datasets.values()),
        *(_timeline(d) for d in datasets.values() if d.history),
        *(_as_computed(s, datasets) for s in servings),
        *(_agreement(s) for s in servings if s.publish),
        *(_agreement(m.serving) for m in models.values() if m.publish),
    ]
    described = "Hold all of cleaned, serving and DynamoDB against what they were made from."
    selection = dg.AssetSelection.checks(*checks)
    verify = dg.define_asset_job("verify", selection, description=described, executor_def=dg.in_process_executor)
    schedule = dg.ScheduleDefinition(job=verify, cron_schedule="0 3 * * *", default_status=RUNNING)
    return {"asset_checks": checks, "jobs": [verify], "schedules": [schedule]}


RUNNING = dg.DefaultScheduleStatus.RUNNING


def _balance(dataset: Dataset) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=["cleaned", dataset.name],
        name="balance_of_all",
        description="`balance`, of every object.",
        blocking=True,
    )
    def check(lakehouse: LakehouseResource) -> dg.AssetCheckResult:
        lake = lakehouse.lake
        found = unmoved(lambda: balance.level(lake, dataset), lambda: balance.unbalanced(lake, dataset))
        return compared("balance_of_all", found)

    return check


def _timeline(dataset: Dataset) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=["history", dataset.name], name="timeline", description=TIMELINE, blocking=True)
    def check(lakehouse: LakehouseResource) -> dg.AssetCheckResult:
        return compared("timeline", history.disagreement(lakehouse.lake, dataset))

    return check


def _as_computed(one: Serving, datasets: dict[str, Dataset]) -> dg.AssetChecksDefinition:
    described = "What was computed change by change is what is computed at once, in a sample of groups."

    @dg.asset_check(asset=["serving", one.name], name="as_computed", description=described, blocking=True)
    def check(lakehouse: LakehouseResource) -> dg.AssetCheckResult:
        today = datetime.now(UTC).toordinal()
        return compared("as_computed", serving.disagreement(lakehouse.lake, one, datasets, seed=today))

    return check


def _agreement(one: Serving) -> dg.AssetChecksDefinition:
    described = "Every item is as the serving table says, and there is no other."

    @dg.asset_check(asset=["dynamodb", one.name], name="agreement_of_all", description=described, blocking=True)
    def check(lakehouse: LakehouseResource) -> dg.AssetCheckResult:
        lake, items = lakehouse.lake, lakehouse.items(one)
        found = unmoved(lambda: _published(lake, one, items), lambda: differences(sync.verify(lake, one, items)))
        return compared("agreement_of_all", found)

    return check


def _published(lake: Lake, one: Serving, items: ItemTable) -> Cursor | None:
    """The items' cursor; None where it lags."""
    cursor, table = items.peek(), lake.open(f"serving/{one.name}")
    reached = cursor and table and (cursor.table_id, cursor.version) == (table.id, table.version)
    return cursor if reached else None


def unmoved(level: Callable[[], object | None], compare: Callable[[], pl.DataFrame]) -> pl.DataFrame | None:
    """What is wrong; None where something lags, or seems wrong and moved meanwhile: two moments differ."""
    before = level()
    if before is None:
        return None
    found = compare()
    return found if found.is_empty() or level() == before else None
