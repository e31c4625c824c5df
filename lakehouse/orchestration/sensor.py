"""SQS → inbox → run requests: one tick of the sensor, and the sweep in it."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from lakehouse.dataset import Dataset
from lakehouse.landing import inbox
from lakehouse.landing.queue import Budget
from lakehouse.layers.lag import lagging
from lakehouse.orchestration.resources import LakehouseResource

DATASET = "lakehouse/dataset"
ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
LONG_POLL_SECONDS = 20


def build(datasets: dict[str, Dataset], jobs: Sequence[Any]) -> dg.SensorDefinition:
    """The sensor that empties the queue into the inbox and asks for a run of every dataset that lags."""

    @dg.sensor(
        name="landing",
        jobs=list(jobs),
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="S3's events from SQS into the inbox; one run for every dataset that lags.",
    )
    def landing(context: dg.SensorEvaluationContext, lakehouse: LakehouseResource) -> dg.SensorResult:
        if not lakehouse.settings.queue_url:
            return dg.SensorResult(skip_reason="No queue: set LAKEHOUSE_QUEUE_URL, or start a local AWS: make up")
        behind = lagging(lakehouse.lake, datasets, lakehouse.items)
        wait = 1 if behind else LONG_POLL_SECONDS
        received = inbox.receive(lakehouse.queue(), lakehouse.lake, datasets, wait=wait, budget=Budget())
        if received:
            behind = lagging(lakehouse.lake, datasets, lakehouse.items)
        requests = list(_requests(context.instance, behind))
        told = f"{received} events; behind: {', '.join(behind.values()) or 'nothing'}"
        return dg.SensorResult(requests, skip_reason=None if requests else told)

    return landing


def _requests(instance: dg.DagsterInstance, behind: dict[str, str]) -> Iterator[dg.RunRequest]:
    for name, table in behind.items():
        records = instance.get_run_records(dg.RunsFilter(tags={DATASET: name}), limit=8)
        history = [(r.dagster_run.status, r.end_time or 0.0) for r in records]
        if due(history, time.time()):
            tags = {DATASET: name, "lakehouse/behind": table}
            yield dg.RunRequest(job_name=name, tags=tags)


def due(history: Sequence[tuple[dg.DagsterRunStatus, float]], now: float) -> bool:
    """Whether a dataset that lags gets a run: none is active, and a pause that grows with its failures is over.

    `history`: (status, end in epoch seconds) of its runs, the newest first.
    """
    if any(status in ACTIVE for status, _ in history):
        return False
    failures = 0
    for status, _ in history:
        if status != dg.DagsterRunStatus.FAILURE:
            break
        failures += 1
    return not failures or now - history[0][1] >= min(600.0, 2.0**failures)
