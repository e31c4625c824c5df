"""A made body goes the way of the client's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import boto3
import botocore.auth
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ClientError

from lakehouse.dynamodb.table import CONFIG
from lakehouse.dynamodb.wire import Wire
from lakehouse_tests.dynamodb.faults import answer

SIGNED = ("Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Target", "Content-Type")


@pytest.fixture
def client() -> Any:
    named = {f"aws_{name}": name for name in ("access_key_id", "secret_access_key", "session_token")}
    return boto3.client(
        "dynamodb", region_name="eu-west-1", endpoint_url="http://127.0.0.1:9", config=CONFIG, **named
    )


@contextmanager
def answered(client: Any, status: int, body: dict[str, Any]) -> Iterator[list[AWSPreparedRequest]]:
    seen: list[AWSPreparedRequest] = []

    def before_send(request: AWSPreparedRequest, **_: Any) -> Any:
        seen.append(request)
        return answer(request.url, status, body)

    client.meta.events.register("before-send.dynamodb", before_send)
    yield seen
    client.meta.events.unregister("before-send.dynamodb", before_send)


def text(head: str | bytes) -> str:
    return head.decode() if isinstance(head, bytes) else head


def test_a_body_is_signed_as_the_client_signs_its_own(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: noon)
    with answered(client, 200, {}) as seen:
        client.put_item(TableName="t", Item={"_key": {"S": "é"}})
        Wire(client).send("PutItem", seen[0].body)
    its, ours = ([text(request.headers[name]) for name in SIGNED] for request in seen)
    assert ours == its
    assert seen[0].url == seen[1].url
    assert "Credential=access_key_id/20260101/eu-west-1/dynamodb/aws4_request" in its[0]


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (400, {"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "message": "no"}),
        (400, {"__type": "com.amazon.coral.validate#ValidationException", "message": "Item size"}),
        (
            400,
            {
                "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
                "Message": "cancelled",
                "CancellationReasons": [{"Code": "None"}, {"Code": "ThrottlingError", "Message": "slow"}],
            },
        ),
        (500, {"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError", "message": "again"}),
        (503, {}),
    ],
)
def test_a_refusal_is_raised_as_the_client_raises_it(client: Any, status: int, told: dict[str, Any]) -> None:
    faults: list[ClientError] = []
    for send in (
        lambda: client.transact_write_items(TransactItems=[{}]),
        lambda: Wire(client).send("TransactWriteItems", b"{}"),
    ):
        with answered(client, status, told), pytest.raises(ClientError) as raised:
            send()
        faults.append(raised.value)
    its, ours = faults
    assert type(ours) is type(its)
    for part in ("Error", "CancellationReasons"):
        assert ours.response.get(part) == its.response.get(part)
    assert ours.response["ResponseMetadata"]["HTTPStatusCode"] == status
