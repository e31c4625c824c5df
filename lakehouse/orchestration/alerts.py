"""Dagster's runs → SNS: one message when a dataset begins to fail, one when it is well again.

A look takes every run that ended since the last, however many; the cursor is kept by Dagster with the tick. A tick
that dies after it has told tells again. Dagster stamps a run's end before it commits it, so a look goes back a
little, and the cursor keeps which runs it has seen there.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from lakehouse.orchestration.resources import SNSResource, client
from lakehouse.orchestration.sensor import DATASET
from lakehouse.settings import Settings

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
NO_TOPIC = "No topic: set LAKEHOUSE_ALERT_TOPIC_ARN to be told by SNS of failures and recoveries."
SUBJECT = 100
"""Characters; SNS refuses more."""
LATE = 60.0
"""Seconds from the stamp of a run's end until it can be read, at most."""


@dataclass(frozen=True)
class Ended:
    """A run that ended: of which job or dataset, whether it went well, when in epoch seconds."""

    name: str
    run: str
    good: bool
    at: float


@dataclass(frozen=True)
class Told:
    """From when on runs are looked at, since which run each of those that fail is failing, and the runs that were
    seen though they ended later than that.
    """

    until: float
    failing: Mapping[str, str]
    seen: Sequence[str] = ()

    @classmethod
    def read(cls, cursor: str | None, now: float) -> "Told":
        """Who has told nothing yet begins now: what failed before is no news."""
        return cls(**json.loads(cursor)) if cursor else cls(now, {})

    def cursor(self) -> str:
        return json.dumps({"until": self.until, "failing": dict(self.failing), "seen": list(self.seen)})


def news(told: Told, runs: Sequence[Ended]) -> tuple[Told, list[tuple[str, str]]]:
    """What is to be told of runs that ended, in their order: (subject, text) each; and what is told then.

    Of a dataset that fails again and again only the first failure is told, and the first success after it.
    """
    failing, messages = dict(told.failing), []
    for run in runs:
        if run.run in told.seen:
            continue
        if not run.good and run.name not in failing:
            failing[run.name] = run.run
            messages.append((f"lakehouse: {run.name} fails", f"Run {run.run} of {run.name} failed."))
        elif run.good and (since := failing.pop(run.name, None)):
            text = f"Run {run.run} of {run.name} went well; it had failed since run {since}."
            messages.append((f"lakehouse: {run.name} is well again", text))
    until = max([told.until, *(run.at - LATE for run in runs)])
    return Told(until, failing, [run.run for run in runs if run.at > until]), messages


def ended(instance: dg.DagsterInstance, since: float) -> list[Ended]:
    """Every run that ended since, the first to end first."""
    found = instance.get_run_records(
        dg.RunsFilter(statuses=ENDED, updated_after=datetime.fromtimestamp(since, UTC)),
        order_by="update_timestamp",
        ascending=True,
    )
    return [_ended(record) for record in found if record.update_timestamp.timestamp() > since]


def _ended(record: Any) -> Ended:
    run = record.dagster_run
    name, good = run.tags.get(DATASET, run.job_name), run.status == dg.DagsterRunStatus.SUCCESS
    return Ended(name, run.run_id, good, record.update_timestamp.timestamp())


def build() -> dg.SensorDefinition:
    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Failures and recoveries to an SNS topic, and so to mail or chat.",
    )
    def alerts(context: dg.SensorEvaluationContext, sns: SNSResource) -> dg.SensorResult:
        topic = Settings.load().alert_topic
        told = Told.read(context.cursor, datetime.now(UTC).timestamp())
        if not topic:
            return dg.SensorResult(skip_reason=NO_TOPIC, cursor=told.cursor())
        told, messages = news(told, ended(context.instance, told.until))
        for subject, text in messages:
            client(sns).publish(TopicArn=topic, Subject=subject[:SUBJECT], Message=text)
        return dg.SensorResult(skip_reason=f"{len(messages)} told", cursor=told.cursor())

    return alerts
