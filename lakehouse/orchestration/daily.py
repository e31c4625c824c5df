"""Once a day: every table held against the one before it, and maintenance."""

from typing import Any

import dagster as dg
import polars as pl

from lakehouse.dataset import Dataset, Serving
from lakehouse.dynamodb import sync
from lakehouse.lake import maintain
from lakehouse.layers import balance, serving
from lakehouse.layers.tables import standing
from lakehouse.orchestration.assets import checked, differences
from lakehouse.orchestration.resources import LakehouseResource


def build(datasets: dict[str, Dataset]) -> dict[str, list[Any]]:
    """Checks, jobs and schedules, as `dg.Definitions` takes them."""
    servings = [s for d in datasets.values() for s in d.serving]
    checks = [
        *(_balance(d) for d in datasets.values()),
        *(_as_computed(s, datasets) for s in servings),
        *(_agreement(s) for s in servings if s.publish),
    ]
    described = "Hold all of cleaned, serving and DynamoDB against what they were made from."
    selection = dg.AssetSelection.checks(*checks)
    verify = dg.define_asset_job("verify", selection, description=described, executor_def=dg.in_process_executor)
    upkeep = _maintenance(datasets)
    schedules = [
        dg.ScheduleDefinition(job=verify, cron_schedule="0 3 * * *", default_status=RUNNING),
        dg.ScheduleDefinition(job=upkeep, cron_schedule="0 4 * * *", default_status=RUNNING),
    ]
    return {"asset_checks": checks, "jobs": [verify, upkeep], "schedules": schedules}


RUNNING = dg.DefaultScheduleStatus.RUNNING


def _balance(dataset: Dataset) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=["cleaned", dataset.name], name="balance_of_all", description="`balance`, of every object."
    )
    def check(lakehouse: LakehouseResource) -> dg.AssetCheckResult:
        return checked("balance_of_all", balance.unbalanced(lakehouse.lake, dataset))

    return check


def _as_computed(one: Serving, datasets: dict[str, Dataset]) -> dg.AssetChecksDefinition:
    described = "What was computed change by change is what is computed at once, in a sample of groups."

    @dg.asset_check(asset=["serving", one.name], name="as_computed", description=described)
    def check(lakehouse: LakehouseResource) -> dg.AssetCheckResult:
        return checked("as_computed", serving.disagreement(lakehouse.lake, one, datasets))

    return check


def _agreement(one: Serving) -> dg.AssetChecksDefinition:
    described = "Every item is as the serving table says, and there is no other."

    @dg.asset_check(asset=["dynamodb", one.name], name="agreement_of_all", description=described)
    def check(lakehouse: LakehouseResource) -> dg.AssetCheckResult:
        items = lakehouse.items(one)
        if items.peek() is None:
            return checked("agreement_of_all", pl.DataFrame())
        sync.publish(lakehouse.lake, one, items)
        return checked("agreement_of_all", differences(sync.verify(lakehouse.lake, one, items)))

    return check


def _maintenance(datasets: dict[str, Dataset]) -> dg.JobDefinition:
    @dg.op(name="maintain_tables", description="Compact, checkpoint, and remove what retention has passed.")
    def tables(context: dg.OpExecutionContext, lakehouse: LakehouseResource) -> None:
        for done in maintain(standing(lakehouse.lake, datasets).values()):
            context.log.info(f"{done.table}: compacted {done.compacted}, removed {done.removed} files")

    @dg.job(name="maintenance", executor_def=dg.in_process_executor, description="Keep the lake small.")
    def job() -> None:
        tables()

    return job
