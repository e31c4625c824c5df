"""SQS → inbox → run requests: one tick of the sensor, and the sweep in it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any

import dagster as dg
import polars as pl

from lakehouse import metrics
from lakehouse.dataset import Dataset
from lakehouse.lake.glance import Glance
from lakehouse.landing import inbox
from lakehouse.landing.queue import Budget, Rationed
from lakehouse.layers.lag import lagging
from lakehouse.orchestration.metadata import standing, table_of
from lakehouse.orchestration.resources import LakehouseResource

DATASET, FAILURES = "lakehouse/dataset", "lakehouse/failures"
"""Tags of a run: its dataset, and how many in a row before it came no further than raw."""
HISTORY = 10
LONGEST_PAUSE = 600.0
ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
LOOP = 5.0
"""Seconds from one of Dagster's looks for sensors that are due to the next."""
TICK_SECONDS = 20
"""How long a tick waits for something to do. Dagster allows it 60."""
BUDGET = Budget(messages=10_000, seconds=TICK_SECONDS)
"""What a tick takes from the queue."""
PORTION = 1_000
"""Messages a commit: what a tick holds in memory, however many wait."""


def build(datasets: dict[str, Dataset], jobs: Sequence[Any]) -> list[dg.SensorDefinition]:
    """The sensors that empty the queue into the inbox and ask for a run of every dataset that lags.

    Dagster looks for sensors that are due every 5 s, so that of one alone a tick that asked for a run is followed
    by the next only then. The second begins its ticks half way between: one of the two is always there.
    """
    sweep = Sweep()
    told = "S3's events from SQS into the inbox; one run for every dataset that lags."

    def sensor(name: str, later: float, description: str) -> dg.SensorDefinition:
        @dg.sensor(
            name=name,
            jobs=list(jobs),
            minimum_interval_seconds=1,
            default_status=dg.DefaultSensorStatus.RUNNING,
            description=description,
        )
        def landing(context: dg.SensorEvaluationContext, lakehouse: LakehouseResource) -> dg.SensorResult:
            if not lakehouse.settings.queue_url:
                return dg.SensorResult(skip_reason=NO_QUEUE)
            time.sleep(later)
            return tick(context.instance, lakehouse, datasets, sweep)

        return landing

    between = f"The same as `landing`, {LOOP / 2:g} s later. To pause what lands, stop both."
    return [sensor("landing", 0, told), sensor("landing_between", LOOP / 2, between)]


NO_QUEUE = (
    'No queue: set LAKEHOUSE_QUEUE_URL. For a local AWS: `make up`, then here: eval "$(.venv/bin/lakehouse env)"'
)


@dataclass
class Sweep:
    """What the ticks of one process know. What nobody wrote to since the last look is not opened again.

    `asked`: when a run of a dataset was last asked for. Dagster makes it after the tick, and of two ticks at once
    the other is not to ask for it, too.
    """

    last: Glance | None = None
    asked: dict[str, float] = field(default_factory=dict)
    asking: Lock = field(default_factory=Lock)

    def behind(self, lakehouse: LakehouseResource, datasets: dict[str, Dataset]) -> dict[str, str]:
        self.last = Glance.of(lakehouse.lake, self.last)
        return lagging(self.last, datasets, lakehouse.items)

    def requests(
        self, instance: dg.DagsterInstance, behind: dict[str, str], datasets: dict[str, Dataset]
    ) -> list[dg.RunRequest]:
        """The runs that are due, but those asked for within the last `LOOP` that Dagster has yet to make."""
        with self.asking:
            now = time.time()
            asked = {name: at for name, at in self.asked.items() if now - at < LOOP}
            found = [*_requests(instance, behind, datasets, asked)]
            self.asked = asked | {str(request.job_name): now for request in found}
        return found


def tick(
    instance: dg.DagsterInstance, lakehouse: LakehouseResource, datasets: dict[str, Dataset], sweep: Sweep
) -> dg.SensorResult:
    """Receive, and compare cursors, until a run is due or the time is over. With nothing behind it only waits.

    What waits in the queue is taken before each look. A run that is due leaves at once then: messages that go on
    coming are the next tick's.
    """
    end, bucket = time.monotonic() + TICK_SECONDS, lakehouse.settings.required("bucket")
    queue, wait = Rationed(lakehouse.queue(), BUDGET), 0
    received, prefixes = pl.DataFrame(schema=inbox.SCHEMA), lakehouse.settings.undeclared != "off"
    take = partial(inbox.receive, queue, bucket, lakehouse.lake, datasets, prefixes=prefixes)
    while True:
        came = take(wait=wait, budget=queue.portion(PORTION))
        received.extend(came)
        metrics.add("lakehouse.events", len(came))
        if len(came) >= PORTION and not queue.spent:
            wait = 0
            continue
        inbox.reroute(lakehouse.lake, bucket, datasets, prefixes=prefixes)
        behind = sweep.behind(lakehouse, datasets)
        metrics.level("lakehouse.lag", len(behind))
        requests = sweep.requests(instance, behind, datasets)
        left = int(end - time.monotonic())
        if requests or queue.spent or left < 1:
            told = f"{len(received)} events; behind: {', '.join(behind.values()) or 'nothing'}"
            events = [] if received.is_empty() else [_received(lakehouse, received)]
            return dg.SensorResult(requests, skip_reason=None if requests else told, asset_events=events)
        wait = 1 if behind else left


ABOUT = ["dataset", "key", "kind", "size", "sent_at", "reason"]


def _received(lakehouse: LakehouseResource, events: pl.DataFrame) -> dg.AssetMaterialization:
    """What a tick brought."""
    box = inbox.open_inbox(lakehouse.lake)
    facts: dict[str, Any] = {
        **standing(lakehouse.lake, box, f"{len(events):,} added"),
        "events": len(events),
        "objects": table_of(events.select(ABOUT)),
    }
    return dg.AssetMaterialization(["landing", "inbox"], metadata=facts)


def _requests(
    instance: dg.DagsterInstance,
    behind: dict[str, str],
    datasets: dict[str, Dataset],
    asked: Mapping[str, float],
) -> Iterator[dg.RunRequest]:
    for name, table in behind.items():
        records = instance.get_run_records(dg.RunsFilter(tags={DATASET: name}), limit=HISTORY)
        if name in asked and not (records and records[0].create_timestamp.timestamp() > asked[name]):
            continue
        rivals: list[str] = [name, *_feeding(datasets, table)]
        if instance.get_runs_count(dg.RunsFilter(tags={DATASET: rivals}, statuses=ACTIVE)):
            continue
        history = [Past(r.dagster_run.status, r.end_time or 0.0) for r in records]
        if due(history, time.time()):
            failures = _failures(instance, name, [r.dagster_run for r in records])
            tags = {DATASET: name, "lakehouse/behind": table, FAILURES: str(failures)}
            yield dg.RunRequest(job_name=name, tags=tags)


def _failures(instance: dg.DagsterInstance, name: str, runs: Sequence[dg.DagsterRun]) -> int:
    """How many runs in a row, the newest first, failed or died in the raw step: what it reads is to blame then.

    A run that never came to it says nothing of it.
    """
    count, step = 0, f"raw__{name}"
    for run in runs:
        if run.status != dg.DagsterRunStatus.FAILURE:
            break
        for told in instance.get_run_step_stats(run.run_id, [step]):
            if told.status and told.status.value == "SUCCESS":
                return count
            count += 1
    return count


def _feeding(datasets: dict[str, Dataset], table: str) -> list[str]:
    """The datasets whose runs bring the items of `dynamodb/…` up to date."""
    found = (s for d in datasets.values() for s in d.serving if table == f"dynamodb/{s.name}")
    return [upstream for serving in found for upstream in serving.upstreams]


@dataclass(frozen=True)
class Past:
    """A finished run: how it ended, and when, in epoch seconds."""

    status: dg.DagsterRunStatus
    end: float

    @property
    def good(self) -> bool:
        return self.status == dg.DagsterRunStatus.SUCCESS


def due(history: Sequence[Past], now: float) -> bool:
    """Whether a dataset that lags and has no active run gets one: a pause grows with the bad runs in a row.

    `history`: its runs, the newest first.
    """
    bad = [past.good for past in [*history, Past(dg.DagsterRunStatus.SUCCESS, 0.0)]].index(True)
    return not bad or now - history[0].end >= min(LONGEST_PAUSE, 2.0**bad)
