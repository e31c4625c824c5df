"""The doctor meets each planted fault and names it, with what to do."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from click.testing import CliRunner

from lakehouse import datasets, doctor
from lakehouse.cli import main
from lakehouse.doctor import machine
from lakehouse.engines import spark
from lakehouse.lake import Lake
from lakehouse.landing import inbox
from lakehouse.local import aws
from lakehouse.settings import Settings


@dataclass
class House:
    """What `deploy/lakehouse.yaml` makes: bucket, topic, queue and dead letters, in a hurry."""

    settings: Settings
    topic: str
    arn: str

    def found(self, **changes: Any) -> dict[str, doctor.Finding]:
        """The worst finding of each subject."""
        patient = doctor.Patient(replace(self.settings, **changes))
        order = ["well", "warning", "fault"]
        return {f.subject: f for f in sorted(doctor.examine(patient), key=lambda f: order.index(f.state))}

    def sole(self, subject: str, state: str, **changes: Any) -> doctor.Finding:
        """The finding of one subject, which must be the only one that is not well, and say what to do."""
        found = self.found(**changes)
        assert {s: f.state for s, f in found.items() if f.state != "well"} == {subject: state}
        assert found[subject].mend
        return found[subject]


POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage"}],
}


@pytest.fixture
def house(local: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> House:
    name = f"doctor-{tmp_path.name.replace('_', '-')[:40]}-{datetime.now(UTC):%f}"
    s3, sns, sqs = boto3.client("s3"), boto3.client("sns"), boto3.client("sqs")
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    dead_arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 5})
    wanted = {"MessageRetentionPeriod": "604800", "RedrivePolicy": redrive, "Policy": json.dumps(POLICY)}
    url = sqs.create_queue(QueueName=name, Attributes=wanted)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name=name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    made = House(Settings(tmp_path, str(tmp_path / "lake"), name, url, dead, f"{name}-"), topic, arn)
    wire(made, "s3:ObjectCreated:*", "s3:ObjectRemoved:*")
    return made


def wire(house: House, *events: str, **wiring: Any) -> None:
    topics = {"TopicConfigurations": [{"TopicArn": house.topic, "Events": [*events]}]} if events else {}
    boto3.client("s3").put_bucket_notification_configuration(
        Bucket=house.settings.bucket, NotificationConfiguration=topics | wiring
    )


def test_a_house_in_order_has_no_finding(house: House) -> None:
    inbox.open_inbox(Lake(house.settings.lake))
    found = house.found()
    assert {f.state for f in found.values()} == {"well"}
    assert {"python", "packages", "disk", "tables", "settings", "ports", "credentials", "clock"} <= {*found}
    assert {"bucket", "queue", "dead letters", "topic", "wiring", "lag"} <= {*found}


def test_a_house_as_the_template_makes_it_has_no_finding_and_a_topic_is_told_once(house: House) -> None:
    clients = (boto3.client(name) for name in ("cloudformation", "sqs", "s3"))
    made = aws.deploy(*clients, bucket=f"{house.settings.bucket}-made")
    urls = {"queue_url": made["QueueUrl"], "dead_letter_url": made["DeadLetterQueueUrl"]}
    fresh = replace(house.settings, bucket=made["LandingBucket"], **urls)
    found = [*doctor.examine(doctor.Patient(fresh))]
    assert [f for f in found if f.state != "well"] == []
    assert [f.subject for f in found].count("topic") == 1


def test_another_python_or_package_than_asked_for_is_named(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.platform, "python_version", lambda: "3.9.1")
    assert "3.9.1" in house.sole("python", "fault").seen
    monkeypatch.undo()
    version = machine._version
    monkeypatch.setattr(machine, "_version", lambda name: "0.9" if name == "polars" else version(name))
    assert "polars is 0.9, not <3,>=2.1" in house.sole("packages", "fault").seen


@pytest.mark.parametrize(("free", "state"), [(2 << 30, "warning"), (1 << 20, "fault")])
def test_a_full_disk_is_named(house: House, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, free))
    assert "GB free" in house.sole("disk", state).seen


def test_a_home_that_cannot_be_written_to_is_named(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_writable", lambda _: False)
    assert "cannot be written to" in house.sole("disk", "fault").seen


BROKEN = {
    "orders = (": "SyntaxError: '(' was never closed (orders.py, line 1)",
    "import dataframely as dy\nfrom lakehouse.dataset import Dataset\ndataset = Dataset('o', 'o/*', dy.Schema)": (
        "o: the contract Schema has no primary key"
    ),
}


@pytest.mark.parametrize("source", BROKEN)
def test_a_broken_dataset_file_is_named_and_hides_nothing_else(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str
) -> None:
    (tmp_path / "orders.py").write_text(source)
    monkeypatch.setattr(datasets, "__path__", [*datasets.__path__, str(tmp_path)])
    told = f"lakehouse/datasets/orders.py: {BROKEN[source]}"
    found = house.sole("datasets", "fault")
    assert (found.seen, found.mend) == (told, "mend the file")
    assert {"bucket", "queue", "wiring"} <= {*house.found()}
    assert told in CliRunner().invoke(main, ["sql", "select 1"]).output.splitlines()


def test_a_setting_that_is_missing_is_named_by_its_variable(house: House) -> None:
    assert "LAKEHOUSE_QUEUE_URL" in house.sole("settings", "fault", queue_url=None).seen


def test_a_port_that_nobody_listens_on_is_named_and_told_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = aws.free_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    finding = house.sole("ports", "fault")
    assert f"127.0.0.1:{port}" in finding.seen
    assert "lakehouse up" in finding.mend


def test_missing_credentials_are_named(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    finding = house.sole("credentials", "fault")
    assert "Unable to locate credentials" in finding.seen
    assert "AWS_PROFILE" in finding.mend


def test_a_region_that_is_missing_is_named(house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    assert "AWS_DEFAULT_REGION" in house.sole("region", "fault").mend


@pytest.mark.parametrize(("off", "state"), [(120, "warning"), (900, "fault")])
def test_a_clock_that_is_off_is_named(house: House, off: int, state: str) -> None:
    told = format_datetime(datetime.now(UTC) - timedelta(seconds=off), usegmt=True)
    answer = {"Arn": "me", "ResponseMetadata": {"HTTPHeaders": {"date": told}}}

    class Late:
        def get_caller_identity(self) -> dict[str, Any]:
            return answer

    def make(service: str, config: Any) -> Any:
        return Late() if service == "sts" else boto3.client(service, config=config)

    found = [*doctor.examine(doctor.Patient(house.settings, make))]
    (clock,) = (f for f in found if f.subject == "clock")
    assert clock.state == state
    assert off <= int(clock.seen.split()[0]) < off + 60


def test_a_bucket_that_is_gone_or_keeps_no_versions_is_named(house: House) -> None:
    found = house.found(bucket="there-is-none")
    assert found["bucket"].state == "fault"
    boto3.client("s3").put_bucket_versioning(
        Bucket=house.settings.bucket, VersioningConfiguration={"Status": "Suspended"}
    )
    assert "keeps no versions" in house.sole("bucket", "warning").seen


def test_a_queue_that_is_gone_is_named(house: House) -> None:
    gone = f"{house.settings.queue_url}-gone"
    finding = house.found(queue_url=gone)["queue"]
    assert finding.state == "fault"
    assert "NonExistentQueue" in finding.seen or "QueueDoesNotExist" in finding.seen


@contextmanager
def attributes(house: House, **changed: str) -> Iterator[None]:
    """The queue with other attributes; locally none can be taken away, so the answer is changed."""
    before = doctor.Patient.queue
    told = before.func(doctor.Patient(house.settings))  # type: ignore[attr-defined]
    doctor.Patient.queue = property(lambda _: {**told, **changed})  # type: ignore[assignment]
    try:
        yield
    finally:
        doctor.Patient.queue = before  # type: ignore[method-assign]


def test_a_queue_without_policy_or_dead_letters_or_that_keeps_too_briefly_is_named(house: House) -> None:
    with attributes(house, Policy=""):
        assert "lets anybody send" in house.sole("queue", "fault").seen
    with attributes(house, RedrivePolicy=""):
        assert "no queue for them" in house.sole("dead letters", "warning").seen
    with attributes(house, MessageRetentionPeriod="345600"):
        assert "4 days" in house.sole("queue", "warning").seen


def test_dead_letters_are_counted(house: House) -> None:
    boto3.client("sqs").send_message(QueueUrl=house.settings.dead_letter_url, MessageBody="?")
    assert house.sole("dead letters", "warning").seen == "1 waiting"


def test_a_topic_that_passes_on_to_nobody_is_named(house: House) -> None:
    sns = boto3.client("sns")
    for subscription in sns.list_subscriptions_by_topic(TopicArn=house.topic)["Subscriptions"]:
        sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    found = house.found()
    assert "does not pass on" in found["topic"].seen
    assert f"aws sns subscribe --topic-arn {house.topic}" in found["topic"].mend
    assert "no event of a new object" in found["wiring"].seen


def test_a_topic_that_is_gone_is_named(house: House) -> None:
    boto3.client("sns").delete_topic(TopicArn=house.topic)
    assert house.topic in house.found()["topic"].seen


def test_an_alert_topic_that_is_gone_is_named(house: House) -> None:
    topic = boto3.client("sns").create_topic(Name=f"{house.settings.bucket}-alerts")["TopicArn"]
    assert house.found(alert_topic=topic)["alerts"].state == "well"
    boto3.client("sns").delete_topic(TopicArn=topic)
    assert "LAKEHOUSE_ALERT_TOPIC_ARN" in house.sole("alerts", "fault", alert_topic=topic).mend


def test_a_bucket_that_tells_nobody_or_not_of_removals_is_named(house: House) -> None:
    wire(house)
    assert "no event of a new object" in house.sole("wiring", "fault").seen
    wire(house, "s3:ObjectCreated:*")
    assert "no event of a removed object" in house.sole("wiring", "warning").seen
    wire(house, EventBridgeConfiguration={})
    assert "EventBridge" in house.sole("wiring", "warning").seen


def test_a_bucket_that_tells_the_queue_itself_is_in_order(house: House) -> None:
    events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
    wire(house, QueueConfigurations=[{"QueueArn": house.arn, "Events": events}])
    assert {f.state for f in house.found().values()} == {"well"}


def test_a_table_that_cannot_be_opened_is_named_beside_those_that_can(house: House) -> None:
    lake = Lake(house.settings.lake)
    inbox.open_inbox(lake)
    log = Path(lake.uri("cleaned/flights")) / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("no log\n")
    assert house.found()["tables"].seen.startswith("cleaned/flights: ")


def test_a_table_that_was_made_for_another_key_is_named(house: House) -> None:
    lake = Lake(house.settings.lake)
    lake.ensure("cleaned/airlines", pl.Schema({"carrier": pl.String, "name": pl.String}), key=["name"])
    assert "made for the key name; carrier is declared" in house.found()["tables"].seen


def test_what_lags_is_named(house: House) -> None:
    inbox.announce(Lake(house.settings.lake), "flights", ["flights/1.csv"], event="test")
    assert "raw/flights by 1" in house.sole("lag", "warning").seen


def test_the_command_prints_each_finding_and_ends_with_one_where_there_is_a_fault(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(house.settings.home))
    monkeypatch.setenv("LAKEHOUSE_LANDING_BUCKET", str(house.settings.bucket))
    monkeypatch.delenv("LAKEHOUSE_QUEUE_URL", raising=False)
    told = CliRunner().invoke(main, ["doctor"])
    assert told.exit_code == 1
    assert "✗ settings      not set: LAKEHOUSE_QUEUE_URL\n" in told.output
    assert "→ deploy deploy/lakehouse.yaml" in told.output
    monkeypatch.setenv("LAKEHOUSE_QUEUE_URL", str(house.settings.queue_url))
    found = CliRunner().invoke(main, ["doctor", "--json"])
    assert found.exit_code == 0
    assert {f["state"] for f in json.loads(found.output)} == {"well"}


@pytest.mark.slow
def test_an_engine_that_does_not_answer_is_a_fault(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "TRIES", 1)
    assert "127.0.0.1:1" in house.sole("engine", "fault", engine="sc://127.0.0.1:1").seen
    assert house.found(engine="sail")["engine"].state == "well"
