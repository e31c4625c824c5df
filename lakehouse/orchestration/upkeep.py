"""By the clock: dead letters looked at, the bucket held against what is in, tables and histories kept small."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from lakehouse.dataset import Dataset
from lakehouse.lake import maintain
from lakehouse.lake.paths import retire
from lakehouse.landing.dead_letters import dead_letters
from lakehouse.landing.reconcile import reconcile
from lakehouse.layers import retention
from lakehouse.layers.tables import names, orders, unclaimed
from lakehouse.ml.tables import names as learned
from lakehouse.ml.tables import pinned, pinned_ids
from lakehouse.model import Model
from lakehouse.orchestration.assets import OWNERS, checked
from lakehouse.orchestration.daily import RUNNING
from lakehouse.orchestration.metadata import table_of
from lakehouse.orchestration.resources import LakehouseResource
from lakehouse.orchestration.runless import forget_runless

DEAD_LETTERS = ["landing", "dead_letters"]
PAGE = 1000
"""Runs that are looked at at once."""
ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def build(datasets: dict[str, Dataset], models: dict[str, Model]) -> dict[str, list[Any]]:
    """Assets, jobs and schedules, as `dg.Definitions` takes them."""
    dead = _dead_letters()
    look = dg.define_asset_job(
        "dead_letters", dg.AssetSelection.assets(DEAD_LETTERS), executor_def=dg.in_process_executor
    )
    jobs: list[Any] = [look, _reconciliation(datasets), _maintenance(datasets, models)]
    schedules = [
        dg.ScheduleDefinition(job=job, cron_schedule=cron, default_status=RUNNING)
        for job, cron in zip(jobs, ["0 * * * *", "0 2 * * *", "0 4 * * *"], strict=True)
    ]
    return {"assets": [dead], "jobs": jobs, "schedules": schedules}


def _dead_letters() -> dg.AssetsDefinition:
    described = "No message waits in the dead-letter queue; the oldest one's age is told in hours."

    @dg.asset(
        key=DEAD_LETTERS,
        group_name="landing",
        kinds={"aws"},
        owners=OWNERS,
        description="Messages received again and again and never deleted. `lakehouse redrive` moves them back.",
        check_specs=[dg.AssetCheckSpec("empty", asset=DEAD_LETTERS, description=described)],
    )
    def asset(lakehouse: LakehouseResource) -> dg.MaterializeResult:
        queue = lakehouse.dead_letters()
        if queue is None:
            told = dg.AssetCheckResult(check_name="empty", passed=True, metadata={"not looked at": NO_QUEUE})
            return dg.MaterializeResult(check_results=[told])
        waiting, found = queue.depth().waiting, dead_letters(queue)
        oldest = found["sent_at"].min()
        age = (datetime.now(UTC) - oldest) / timedelta(hours=1) if isinstance(oldest, datetime) else 0.0
        count = max(waiting, len(found))
        facts: dict[str, Any] = {"messages": count, "oldest_hours": round(age, 1), "letters": table_of(found)}
        return dg.MaterializeResult(metadata=facts, check_results=[checked("empty", found)])

    return asset


NO_QUEUE = "LAKEHOUSE_DEAD_LETTER_QUEUE_URL is not set"


def _reconciliation(datasets: dict[str, Dataset]) -> dg.JobDefinition:
    described = "Announce what no event brought, changed or took."

    @dg.op(name="reconcile_landing", description=described, pool="reconcile")
    def compare(context: dg.OpExecutionContext, lakehouse: LakehouseResource) -> None:
        prefixes = lakehouse.settings.undeclared != "off"
        counts = reconcile(lakehouse.lake, lakehouse.bucket(), datasets, prefixes=prefixes)
        context.add_output_metadata({name: count for name, count in counts.items()})

    @dg.job(name="reconcile", executor_def=dg.in_process_executor, description="The bucket against what is in.")
    def job() -> None:
        compare()

    return job


UNDECLARED = "undeclared"
"""The one op and pool of all tables that nobody has declared: which there are, only a run can tell."""


def _maintenance(datasets: dict[str, Dataset], models: dict[str, Model]) -> dg.JobDefinition:
    """An op a table, each in a pool of its own: no two ever tend one table. Writers do not wait for them."""
    ops = [_tended(name, datasets, models) for name in [*names(datasets), *learned(models)]]

    described = "Delete what retention has passed of refused records, landing, runs and replaced tables."

    @dg.op(description=described, pool="retention")
    def expire(context: dg.OpExecutionContext, lakehouse: LakehouseResource) -> None:
        settings = lakehouse.settings
        counts = retention.sweep(lakehouse.lake, lakehouse.bucket, datasets, settings)
        if keep := settings.run_retention:
            counts["runs"] = forget(context.instance, keep)
            counts["events without a run"] = forget_runless(context.instance, keep)
        retired = retire(lakehouse.lake, pinned_ids(lakehouse.lake, models))
        counts |= {f"{name}, replaced": files for name, files in retired.items()}
        context.add_output_metadata({name: count for name, count in counts.items()})

    @dg.op(description="Maintain the tables of prefixes that no dataset claims.", pool=f"table:{UNDECLARED}")
    def maintain__undeclared(context: dg.OpExecutionContext, lakehouse: LakehouseResource) -> None:
        for name in unclaimed(lakehouse.lake, datasets):
            if table := lakehouse.lake.open(name):
                (done,) = maintain([table])
                context.log.info(str(done))

    @dg.job(name="maintenance", executor_def=dg.in_process_executor, description="Keep the lake small.")
    def job() -> None:
        expire()
        for op in [*ops, maintain__undeclared]:
            op()

    return job


def _tended(name: str, datasets: dict[str, Dataset], models: dict[str, Model]) -> dg.OpDefinition:
    described = f"Compact, order, checkpoint, and remove what retention has passed of {name}."

    @dg.op(name=f"maintain__{name.replace('/', '__')}", description=described, pool=f"table:{name}")
    def tend(context: dg.OpExecutionContext, lakehouse: LakehouseResource) -> None:
        table = lakehouse.lake.open(name)
        if table is None:
            return
        (done,) = maintain([table], pinned(lakehouse.lake, models), orders(datasets))
        context.log.info(str(done))
        context.add_output_metadata(
            {
                "compacted": done.compacted,
                "ordered": done.ordered,
                "removed": done.removed,
                "files_before": done.before.files,
                "files_after": done.after.files,
                "bytes_before": done.before.bytes,
                "bytes_after": done.after.bytes,
            }
        )

    return tend


def forget(instance: dg.DagsterInstance, keep: timedelta) -> int:
    """Delete runs that ended longer ago, with all that they told; gives how many.

    The run of each asset's latest materialization stays, so that its page is never empty.
    """
    latest = instance.get_latest_materialization_events(instance.get_asset_keys()).values()
    kept = {event.run_id for event in latest if event}
    filters = dg.RunsFilter(statuses=ENDED, updated_before=datetime.now(UTC) - keep)
    gone = 0
    while old := _runs(instance, filters, kept):
        for run in old:
            instance.delete_run(run)
        gone += len(old)
    return gone


def _runs(instance: dg.DagsterInstance, filters: dg.RunsFilter, kept: set[str]) -> list[str]:
    records = instance.get_run_records(filters, limit=PAGE + len(kept), ascending=True)
    return [r.dagster_run.run_id for r in records if r.dagster_run.run_id not in kept]
