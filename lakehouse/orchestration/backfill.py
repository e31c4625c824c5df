"""A share of a backfill as a run: `lakehouse backfill DATASET --workers N --runs` asks for them."""

from typing import Any

import dagster as dg
from pydantic import Field

from lakehouse.dataset import Dataset
from lakehouse.layers.backfill import help_out
from lakehouse.orchestration.composite import HEAVY, WEIGHT
from lakehouse.orchestration.resources import LakehouseResource

JOB, OP = "backfill_share", "carry_share"


class Share(dg.Config):
    """Which part of which backfill."""

    dataset: str = Field(description="The dataset that is computed anew.")
    path: int = Field(description="The number of the path to which its layers are to be switched.")
    worker: int = Field(description="The place among the workers: it begins with every so manieth portion.")
    workers: int = Field(description="How many workers there are, the one that asked for this run among them.")


def build(datasets: dict[str, Dataset]) -> dg.JobDefinition:
    """The job. Its tag has a launcher that knows heavy runs give it a machine of its own."""

    @dg.op(name=OP, description="Take portions of raw until none is left.")
    def carry(context: dg.OpExecutionContext, config: Share, lakehouse: LakehouseResource) -> None:
        place = (config.path, config.worker, config.workers)
        rows: dict[str, Any] = {}
        taken = help_out(
            lakehouse.lake,
            datasets[config.dataset],
            *place,
            lambda done: rows.update({done.table: rows.get(done.table, 0) + done.upserted}),
        )
        context.add_output_metadata({"portions": taken, **rows})

    @dg.job(
        name=JOB,
        description="Take a share of a backfill that is under way; without one, nothing.",
        tags={WEIGHT: HEAVY},
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        carry()

    return job
