"""Dagster's runs and their checks → SNS: one message when one of them begins to fail, one when it is well again.

A look takes the runs that ended since the last, however many, and what their checks found; where its time is over,
the next goes on. The cursor is kept by Dagster with the tick. A tick that dies after it has told tells again. A
run's end is stamped before it is committed, so a look goes back a little, and the cursor keeps which runs it has
seen there.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
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
TIME = 30.0
"""Seconds of a look; Dagster allows it 60."""
MOST = 5_000
"""Runs of a look: more than can end within `LATE`."""
LATE = 60.0
"""Seconds from the stamp of a run's end until it can be read, at most."""
QUIET = {"empty", "warned", "lag"}
"""Checks whose warnings are no news: what broke the contract is kept and counted, the sweep goes after a lag."""


@dataclass(frozen=True)
class Ended:
    """A run that ended, or a check in it: of which job or dataset, whether it went well, when in epoch seconds.

    `found`: what the check found, in numbers or words.
    """

    name: str
    run: str
    good: bool
    at: float
    found: str = ""


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

    Of what fails again and again only the first failure is told, and the first success after it.
    """
    failing, messages = dict(told.failing), []
    for run in runs:
        if run.run in told.seen:
            continue
        if not run.good and run.name not in failing:
            failing[run.name] = run.run
            found = f": {run.found}" if run.found else "."
            messages.append((f"lakehouse: {run.name} fails", f"In run {run.run} {run.name} failed{found}"))
        elif run.good and (since := failing.pop(run.name, None)):
            text = f"In run {run.run} {run.name} went well; it had failed since run {since}."
            messages.append((f"lakehouse: {run.name} is well again", text))
    until = max([told.until, *(run.at - LATE for run in runs)])
    return Told(until, failing, [*dict.fromkeys(run.run for run in runs if run.at > until)]), messages


def ended(instance: dg.DagsterInstance, told: Told) -> Iterator[Ended]:
    """The runs that ended since, the first to end first; behind one that was not seen yet, its checks."""
    end = time.monotonic() + TIME
    found = instance.get_run_records(
        dg.RunsFilter(statuses=ENDED, updated_after=datetime.fromtimestamp(told.until, UTC)),
        order_by="update_timestamp",
        ascending=True,
        limit=MOST,
    )
    for record in found:
        if (at := record.update_timestamp.timestamp()) > told.until:
            run = record.dagster_run
            good = run.status == dg.DagsterRunStatus.SUCCESS
            yield Ended(run.tags.get(DATASET, run.job_name), run.run_id, good, at)
            if run.run_id not in told.seen:
                yield from _checked(instance, run.run_id, at)
                if time.monotonic() > end:
                    return


def _checked(instance: dg.DagsterInstance, run: str, at: float) -> Iterator[Ended]:
    records = instance.get_records_for_run(run, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
    for record in records:
        event: Any = record.event_log_entry.dagster_event
        verdict: dg.AssetCheckEvaluation = event.event_specific_data
        if verdict.severity == dg.AssetCheckSeverity.WARN and verdict.check_name in QUIET:
            continue
        counts = {n: v.value for n, v in verdict.metadata.items() if isinstance(v, dg.IntMetadataValue)}
        found = verdict.description or ", ".join(f"{name} {count:,}" for name, count in counts.items())
        table = verdict.asset_key.to_user_string()
        yield Ended(f"check {verdict.check_name} of {table}", run, verdict.passed, at, found)


def build() -> dg.SensorDefinition:
    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Failures and recoveries of runs and checks to an SNS topic, and so to mail or chat.",
    )
    def alerts(context: dg.SensorEvaluationContext, sns: SNSResource) -> dg.SensorResult:
        topic = Settings.load().alert_topic
        told = Told.read(context.cursor, datetime.now(UTC).timestamp())
        if not topic:
            return dg.SensorResult(skip_reason=NO_TOPIC, cursor=told.cursor())
        told, messages = news(told, [*ended(context.instance, told)])
        for subject, text in messages:
            client(sns).publish(TopicArn=topic, Subject=subject[:SUBJECT], Message=text)
        return dg.SensorResult(skip_reason=f"{len(messages)} told", cursor=told.cursor())

    return alerts
