"""One message when a dataset or a check begins to fail, and one when it is well again, however many runs end."""

import json
from collections.abc import Callable, Iterator

import boto3
import dagster as dg
import pytest

from lakehouse.orchestration import alerts
from lakehouse.orchestration.alerts import LATE, Ended, Told, news
from lakehouse.orchestration.resources import SNSResource
from lakehouse.orchestration.sensor import DATASET


def runs(*told: str) -> list[Ended]:
    """`flights+` is a run of flights that went well, `flights-` one that failed."""
    return [Ended(t[:-1], f"run{n}", t[-1] == "+", float(n)) for n, t in enumerate(told, start=1)]


@pytest.mark.parametrize(
    ("ends", "subjects"),
    [
        ([], []),
        (["flights+"], []),
        (["flights-"], ["flights fails"]),
        (["flights-", "flights-", "flights-"], ["flights fails"]),
        (["flights-", "weather-", "flights+"], ["flights fails", "weather fails", "flights is well again"]),
        (["flights-", "flights+", "flights-"], ["flights fails", "flights is well again", "flights fails"]),
    ],
)
def test_only_what_changes_is_told(ends: list[str], subjects: list[str]) -> None:
    told, messages = news(Told(0.0, {}), runs(*ends))
    assert [subject for subject, _ in messages] == [f"lakehouse: {subject}" for subject in subjects]
    assert news(told, runs(*ends)) == (told, [])


def test_what_was_told_before_is_told_by_no_later_look() -> None:
    told, messages = news(Told(0.0, {}), runs("flights-"))
    told, messages = news(Told.read(told.cursor(), now=9.0), runs("flights-", "flights+"))
    assert [text for _, text in messages] == ["In run run2 flights went well; it had failed since run run1."]
    assert told.failing == {}


def test_a_run_that_is_read_after_one_that_ended_later_is_told() -> None:
    late, early, last = (
        Ended(name, name, False, at) for name, at in (("late", 100.0), ("early", 130.0), ("last", 131.0))
    )
    told, messages = news(Told(1.0, {}), [early])
    assert [subject for subject, _ in messages] == ["lakehouse: early fails"]
    told = Told.read(told.cursor(), now=9.0)
    assert told.until < late.at
    told, messages = news(told, [late, early, last])
    assert [subject for subject, _ in messages] == ["lakehouse: late fails", "lakehouse: last fails"]


def test_the_cursor_keeps_no_run_that_no_look_takes_again() -> None:
    told, _ = news(Told(1.0, {}), [Ended("flights", f"run{at}", True, float(at)) for at in range(2, 400)])
    assert (told.until, len(told.seen)) == (399 - LATE, LATE)


def test_who_begins_to_look_tells_nothing_of_before() -> None:
    assert Told.read(None, now=9.0) == Told(9.0, {})


Mailbox = Callable[[], dict[str, str]]


@pytest.fixture
def mailbox(local: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Mailbox:
    """What was told since one looked last: text by subject, in order."""
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    url = sqs.create_queue(QueueName="mail")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    monkeypatch.setenv("LAKEHOUSE_ALERT_TOPIC_ARN", topic)

    def read() -> dict[str, str]:
        found: dict[str, str] = {}
        while got := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            bodies = [json.loads(message["Body"]) for message in got]
            assert not {body["Subject"] for body in bodies} & {*found}, "told twice"
            found |= {body["Subject"]: body["Message"] for body in bodies}
            for message in got:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    return read


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def ends(instance: dg.DagsterInstance, dataset: str, good: bool) -> str:
    job = dg.GraphDefinition(name=dataset).to_job()
    run = instance.create_run_for_job(job, tags={DATASET: dataset})
    told = dg.DagsterEventType.RUN_SUCCESS if good else dg.DagsterEventType.RUN_FAILURE
    instance.report_dagster_event(alerts_event(told, dataset), run.run_id)
    return run.run_id


def alerts_event(kind: dg.DagsterEventType, job: str) -> dg.DagsterEvent:
    return dg.DagsterEvent(event_type_value=kind.value, job_name=job)


def test_failures_and_recoveries_reach_the_topic_though_many_runs_end_between_two_looks(
    instance: dg.DagsterInstance, mailbox: Mailbox
) -> None:
    cursor = look(instance, Told(1.0, {}).cursor())
    for number in range(20):
        ends(instance, f"d{number}", good=False)
    cursor = look(instance, cursor)
    assert {*mailbox()} == {f"lakehouse: d{number} fails" for number in range(20)}
    ends(instance, "d1", good=False)
    ends(instance, "d2", good=True)
    look(instance, cursor)
    assert [*mailbox()] == ["lakehouse: d2 is well again"]


def test_a_check_that_fails_in_a_run_that_goes_well_is_told_and_so_is_its_recovery(
    instance: dg.DagsterInstance, mailbox: Mailbox
) -> None:
    cursor = look(instance, Told(1.0, {}).cursor())
    runs = [carried(instance, contract=False), carried(instance, contract=False), carried(instance, volume=False)]
    cursor = look(instance, cursor)
    begun = "lakehouse: check contract of cleaned/flights fails"
    odd = "lakehouse: check volume of cleaned/flights fails"
    again = "lakehouse: check contract of cleaned/flights is well again"
    told = mailbox()
    assert {*told} == {begun, odd, again}
    assert told[begun] == f"In run {runs[0]} check contract of cleaned/flights failed: count 3"
    assert told[again].startswith(f"In run {runs[2]} ")
    cursor = look(instance, cursor)
    assert mailbox() == {}
    carried(instance)
    look(instance, cursor)
    assert [*mailbox()] == ["lakehouse: check volume of cleaned/flights is well again"]


def test_a_look_that_runs_out_of_time_is_gone_on_with_by_the_next(
    instance: dg.DagsterInstance, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "TIME", -1.0)
    cursor = look(instance, Told(1.0, {}).cursor())
    for name in ("one", "two", "three"):
        ends(instance, name, good=False)
    for name in ("one", "two", "three"):
        cursor = look(instance, cursor)
        assert [*mailbox()] == [f"lakehouse: {name} fails"]
    look(instance, cursor)
    assert mailbox() == {}


@pytest.mark.parametrize("name", ["empty", "warned", "lag"])
def test_a_warning_that_needs_nobody_is_not_told_and_a_failure_of_that_name_is(
    instance: dg.DagsterInstance, mailbox: Mailbox, name: str
) -> None:
    cursor = look(instance, Told(1.0, {}).cursor())
    carried(instance, severity=dg.AssetCheckSeverity.WARN, **{name: False})
    cursor = look(instance, cursor)
    assert mailbox() == {}
    carried(instance, **{name: False})
    look(instance, cursor)
    assert [*mailbox()] == [f"lakehouse: check {name} of cleaned/flights fails"]


def carried(
    instance: dg.DagsterInstance, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR, **verdicts: bool
) -> str:
    """A run that goes well, whatever its checks find."""
    key = dg.AssetKey(["cleaned", "flights"])
    verdicts = {"contract": True, "volume": True} | verdicts

    @dg.asset(key=key, check_specs=[dg.AssetCheckSpec(name, asset=key) for name in verdicts])
    def flights() -> dg.MaterializeResult:
        found = [
            dg.AssetCheckResult(check_name=n, passed=good, severity=severity, metadata={"count": 0 if good else 3})
            for n, good in verdicts.items()
        ]
        return dg.MaterializeResult(check_results=found)

    done = dg.materialize([flights], instance=instance)
    assert done.success
    return done.run_id


def look(instance: dg.DagsterInstance, cursor: str | None) -> str | None:
    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    result = alerts.build()(context, sns=SNSResource())
    assert isinstance(result, dg.SensorResult)
    return result.cursor


def test_without_a_topic_the_sensor_says_which_setting_it_misses(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAKEHOUSE_ALERT_TOPIC_ARN", raising=False)
    result = alerts.build()(dg.build_sensor_context(instance=instance), sns=SNSResource())
    assert isinstance(result, dg.SensorResult)
    assert "LAKEHOUSE_ALERT_TOPIC_ARN" in str(result.skip_reason)
