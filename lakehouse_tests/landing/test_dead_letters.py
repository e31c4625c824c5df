"""The dead-letter queue, looked at and emptied."""

import json
import time

import boto3
import pytest

from lakehouse.landing import inbox
from lakehouse.landing.dead_letters import dead_letters, redrive
from lakehouse.landing.queue import Budget, Queue
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import check, land


@pytest.fixture
def dead(road: Road) -> Queue:
    """The road's dead-letter queue, with all events of the sample in it: whoever received them died, twice."""
    road.receive()  # S3's test event
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName=f"{road.bucket.name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "2"})
    sqs.set_queue_attributes(
        QueueUrl=road.queue.url, Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"}
    )
    land(road, sample.FILES)
    dead, end = Queue(sqs, url), time.monotonic() + 30
    while dead.depth().waiting < len(sample.FILES):
        assert time.monotonic() < end
        road.queue.drain(Budget(seconds=1), 1)
    sqs.set_queue_attributes(QueueUrl=road.queue.url, Attributes={"VisibilityTimeout": "2"})
    return dead


def test_dead_letters_are_shown_with_reason_and_body_and_stay(dead: Queue) -> None:
    for _ in range(2):
        told = dead_letters(dead)
        assert len(told) == len(sample.FILES)
        assert all("never deleted" in reason and "an S3 event" in reason for reason in told["reason"])
        assert all("flights" in body or "airlines" in body for body in told["body"])
    assert len(dead_letters(dead, 2)) == 2
    assert dead.depth().waiting == len(sample.FILES)


def test_redriven_messages_arrive(road: Road, dead: Queue) -> None:
    assert redrive(dead, road.queue) == len(sample.FILES)
    assert dead_letters(dead).is_empty()
    assert redrive(dead, road.queue) == 0
    while road.receive():
        pass
    road.hops()
    check(road, sample.FILES)


@pytest.mark.parametrize("door", ["send", pytest.param("delete", marks=pytest.mark.slow)])
def test_a_redrive_that_dies_on_its_way_repeats_and_changes_nothing(
    road: Road, dead: Queue, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    dead.client.set_queue_attributes(QueueUrl=dead.url, Attributes={"VisibilityTimeout": "2"})
    with monkeypatch.context() as patch:
        patch.setattr(Queue, door, lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            redrive(dead, road.queue)
    time.sleep(2.5)
    assert redrive(dead, road.queue) == len(sample.FILES)
    while road.receive():
        pass
    box = inbox.open_inbox(road.lake)
    assert box.count == (2 if door == "delete" else 1) * len(sample.FILES)
    road.hops()
    check(road, sample.FILES)
