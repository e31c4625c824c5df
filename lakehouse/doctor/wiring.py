"""AWS: whether it answers, who asks, and whether a new object's event finds its way into the queue."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from lakehouse.doctor.finding import Finding, Patient, fault, warning, well

SKEW, REFUSED = 30, 300
"""Seconds by which a clock may be off. AWS refuses a signature that is five minutes old."""
WEEK, LONGEST = 7 * 24 * 3600, 14 * 24 * 3600
"""For how long a queue should keep a message at least, and what SQS allows."""
UP = "`lakehouse up` in another terminal starts a local AWS; another is found by the AWS_… variables"
TEMPLATE = (
    "deploy deploy/lakehouse.yaml and set the LAKEHOUSE_… variables from its outputs; locally: `lakehouse up`"
)
CREATED, REMOVED = "s3:ObjectCreated:*", "s3:ObjectRemoved:*"
VERSIONS = "aws s3api put-bucket-versioning --bucket {} --versioning-configuration Status=Enabled"
SUBSCRIBE = "aws sns subscribe --topic-arn {} --protocol sqs --notification-endpoint {}"


def ports(patient: Patient) -> Iterator[Finding]:
    """Whether somebody listens where AWS is said to be."""
    address = urlsplit(patient.ask("sqs").meta.endpoint_url)
    host, port = address.hostname or "", address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), timeout=3).close()
    except OSError as error:
        yield fault("ports", f"nothing answers at {host}:{port} ({error})", UP)
    else:
        yield well("ports", f"{host}:{port} answers")


def credentials(patient: Patient) -> Iterator[Finding]:
    who = patient.ask("sts").get_caller_identity()
    yield well("credentials", who["Arn"])
    if told := who["ResponseMetadata"]["HTTPHeaders"].get("date"):
        yield _clock(abs((datetime.now(UTC) - parsedate_to_datetime(told)).total_seconds()))


def _clock(off: float) -> Finding:
    if off < SKEW:
        return well("clock", f"within {SKEW} s of AWS's")
    mend = "let the machine take its time from the net: timedatectl set-ntp true"
    return (fault if off > REFUSED else warning)("clock", f"{off:,.0f} s off AWS's", mend)


def bucket(patient: Patient) -> Iterator[Finding]:
    name, s3 = patient.settings.required("bucket"), patient.ask("s3")
    s3.head_bucket(Bucket=name)
    if s3.get_bucket_versioning(Bucket=name).get("Status") == "Enabled":
        yield well("bucket", f"s3://{name}, with versions")
    else:
        yield warning(
            "bucket", f"s3://{name} keeps no versions: what is overwritten is lost", VERSIONS.format(name)
        )


def queue(patient: Patient) -> Iterator[Finding]:
    told = patient.queue
    yield well("queue", f"{told['ApproximateNumberOfMessages']} waiting")
    if int(told["MessageRetentionPeriod"]) < WEEK:
        days = int(told["MessageRetentionPeriod"]) // 86400
        seen = f"it keeps messages for {days} days: what waits longer is found by `lakehouse reconcile` alone"
        yield warning("queue", seen, f"set its MessageRetentionPeriod to {LONGEST}")
    if not told.get("Policy"):
        yield fault("queue", "no policy of it lets anybody send to it", TEMPLATE)
    if not told.get("RedrivePolicy"):
        yield warning("dead letters", "no queue for them: a message that kills its reader comes again", TEMPLATE)
    elif url := patient.settings.dead_letter_url:
        yield _dead(patient.ask("sqs"), url)


def _dead(sqs: Any, url: str) -> Finding:
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    count = int(told["Attributes"]["ApproximateNumberOfMessages"])
    if not count:
        return well("dead letters", "none")
    return warning("dead letters", f"{count} waiting", "mend their cause, then `lakehouse redrive`")


def wiring(patient: Patient) -> Iterator[Finding]:
    """Bucket → topic → queue, or bucket → queue: which of S3's events arrive."""
    found = patient.ask("s3").get_bucket_notification_configuration(Bucket=patient.settings.required("bucket"))
    arn, events = patient.queue["QueueArn"], set[str]()
    for wired in found.get("QueueConfigurations", []):
        events.update(wired["Events"] if wired["QueueArn"] == arn else [])
    wirings = found.get("TopicConfigurations", [])
    topics = {
        topic: _topic(patient.ask("sns"), topic, arn) for topic in dict.fromkeys(w["TopicArn"] for w in wirings)
    }
    yield from topics.values()
    for wired in wirings:
        events.update(wired["Events"] if topics[wired["TopicArn"]].state == "well" else [])
    if not events and "EventBridgeConfiguration" in found:
        seen = "the bucket tells EventBridge, whose rules are not read here"
        yield warning("wiring", seen, "see that a rule sends its events to the queue")
    elif not any(event.startswith("s3:ObjectCreated:") for event in events):
        yield fault("wiring", "no event of a new object reaches the queue", f"add {CREATED}, or {TEMPLATE}")
    elif REMOVED not in events:
        mend = f"add {REMOVED}; until then `lakehouse reconcile` finds removals"
        yield warning("wiring", "no event of a removed object reaches the queue", mend)
    else:
        yield well("wiring", ", ".join(sorted(events)))


def _topic(sns: Any, topic: str, queue: str) -> Finding:
    """Whether the topic stands and passes on to the queue."""
    try:
        pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
        ends = {s["Endpoint"] for page in pages for s in page["Subscriptions"]}
    except ClientError as error:
        return fault("topic", f"{topic}: {error.response['Error']['Code']}", TEMPLATE)
    if queue in ends:
        return well("topic", topic)
    return fault("topic", f"{topic} does not pass on to the queue", SUBSCRIBE.format(topic, queue))


def alerts(patient: Patient) -> Iterator[Finding]:
    """The topic that is told of failures and recoveries, if one is set."""
    if topic := patient.settings.alert_topic:
        patient.ask("sns").get_topic_attributes(TopicArn=topic)
        yield well("alerts", topic)
