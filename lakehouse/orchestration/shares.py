"""A share of a backfill or of an oversized backlog → a run.

`lakehouse backfill DATASET --workers N --runs` asks for them; of a dataset that declares `partition_by`, a sensor
does while a run of it carries a backlog that is oversized.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from lakehouse.dataset import Dataset
from lakehouse.layers import fanout
from lakehouse.layers.backfill import help_out
from lakehouse.orchestration.composite import HEAVY, WEIGHT
from lakehouse.orchestration.resources import LakehouseResource
from lakehouse.orchestration.sensor import DATASET

JOB, OP = "share", "carry_share"
LOOK_SECONDS = 15


class Share(dg.Config):
    """Which part of what."""

    dataset: str = Field(description="The dataset whose layers are brought up to raw.")
    path: int | None = Field(
        None, description="The number of the path to which a backfill will switch; none: where the layers lie."
    )
    worker: int = Field(description="The place among the workers: it begins with every so manieth portion.")
    workers: int = Field(description="How many workers there are, the one that asked for this run among them.")


def job(datasets: dict[str, Dataset]) -> dg.JobDefinition:
    """The job. Its tag has a launcher that knows heavy runs give it a machine of its own."""

    @dg.op(name=OP, description="Take portions of raw until none is left.")
    def carry(context: dg.OpExecutionContext, config: Share, lakehouse: LakehouseResource) -> None:
        rows: dict[str, Any] = {}
        taken = help_out(
            lakehouse.lake,
            datasets[config.dataset],
            config.path,
            config.worker,
            config.workers,
            lambda done: rows.update({done.table: rows.get(done.table, 0) + done.upserted}),
        )
        context.add_output_metadata({"portions": taken, **rows})

    @dg.job(
        name=JOB,
        description="Take a share of a backfill or a backlog that others carry too; without one, nothing.",
        tags={WEIGHT: HEAVY},
        executor_def=dg.in_process_executor,
    )
    def share() -> None:
        carry()

    return share


def build(datasets: dict[str, Dataset]) -> dict[str, list[Any]]:
    """The job, and the sensor that asks for its runs where a dataset can fan out."""
    apart = [dataset for dataset in datasets.values() if dataset.partition_by]

    @dg.sensor(
        name="shares",
        job_name=JOB,
        minimum_interval_seconds=LOOK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Further workers for a run that carries an oversized backlog.",
    )
    def shares(context: dg.SensorEvaluationContext, lakehouse: LakehouseResource) -> Iterator[dg.RunRequest]:
        for dataset in apart:
            under_way = dg.RunsFilter(tags={DATASET: dataset.name}, statuses=[dg.DagsterRunStatus.STARTED])
            if context.instance.get_runs_count(under_way):
                yield from requests(lakehouse, dataset)

    return {"jobs": [job(datasets)], "sensors": [shares] if apart else []}


def requests(lakehouse: LakehouseResource, dataset: Dataset) -> Iterator[dg.RunRequest]:
    """A run for each further worker of the plan that is under way; asked for again, the same ones."""
    plan, workers = fanout.joined(lakehouse.lake, dataset), lakehouse.settings.workers
    if plan is None:
        return
    for worker in range(1, workers):
        share = {"dataset": dataset.name, "worker": worker, "workers": workers}
        config = {"ops": {OP: {"config": share}}}
        yield dg.RunRequest(f"{plan.name}/{worker}", config, tags={"lakehouse/share": dataset.name})
