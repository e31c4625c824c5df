"""DynamoDB's own refusals, put into a boto3 client where the emulator has none."""

import io
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botocore.awsrequest import AWSResponse

WRITES = frozenset({"PutItem", "TransactWriteItems"})
CALLS = WRITES | {"GetItem", "BatchGetItem", "Scan"}
THROTTLE = "ProvisionedThroughputExceededException"


class _Raw(io.BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


def answer(url: str, status: int, body: dict[str, Any]) -> AWSResponse:
    return AWSResponse(url, status, {}, _Raw(json.dumps(body).encode()))


@contextmanager
def refused(
    client: Any, code: str, *, share: float = 1.0, verbs: frozenset[str] = CALLS
) -> Iterator[Counter[str]]:
    """Refuse a share of the requests with an error code; gives how many requests were tried, by verb."""
    dice, tried = random.Random(0), Counter[str]()

    def before_send(request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        verb = event_name.rpartition(".")[2]
        tried[verb] += 1
        if verb not in verbs or dice.random() >= share:
            return None
        kind = f"com.amazonaws.dynamodb.v20120810#{code}"
        return answer(request.url, 400, {"__type": kind, "message": "refused by the test"})

    with _registered(client, "before-send.dynamodb", before_send):
        yield tried


@contextmanager
def cancelled(client: Any, share: float) -> Iterator[None]:
    """Cancel a share of the transactions because one of their puts is throttled."""
    dice = random.Random(1)

    def before_send(request: Any, **_: Any) -> AWSResponse | None:
        if dice.random() >= share:
            return None
        count = len(json.loads(request.body)["TransactItems"])
        reasons = [{"Code": "None"}] * (count - 1) + [{"Code": "ThrottlingError", "Message": "slow down"}]
        kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
        body = {"__type": kind, "message": "Transaction cancelled", "CancellationReasons": reasons}
        return answer(request.url, 400, body)

    with _registered(client, "before-send.dynamodb.TransactWriteItems", before_send):
        yield


@contextmanager
def granting(client: Any, rate: float) -> Iterator[Counter[str]]:
    """Answer every transaction in the table's stead, so many items a second; gives how many, by what was said."""
    told, lock = Counter[str](), threading.Lock()
    began = time.monotonic()

    def before_send(request: Any, **_: Any) -> AWSResponse:
        items = len(json.loads(request.body)["TransactItems"])
        with lock:
            fits = told["granted"] + items <= (time.monotonic() - began + 0.05) * rate
            told["granted" if fits else "refused"] += items
        kind = f"com.amazonaws.dynamodb.v20120810#{THROTTLE}"
        return answer(request.url, *((200, {}) if fits else (400, {"__type": kind, "message": "too many"})))

    with _registered(client, "before-send.dynamodb.TransactWriteItems", before_send):
        yield told


@contextmanager
def unread(client: Any, share: float) -> Iterator[None]:
    """Leave a share of the keys of every BatchGetItem unprocessed."""
    dice = random.Random(2)

    def before_call(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        ((name, wanted),) = json.loads(params["body"])["RequestItems"].items()
        first, *others = wanted["Keys"]
        left = [key for key in others if dice.random() < share]
        context["left"] = {name: wanted | {"Keys": left}} if left else {}
        kept = [first, *(key for key in others if key not in left)]
        params["body"] = json.dumps({"RequestItems": {name: wanted | {"Keys": kept}}}).encode()

    def after_call(parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        parsed["UnprocessedKeys"] = context["left"]

    with (
        _registered(client, "before-call.dynamodb.BatchGetItem", before_call),
        _registered(client, "after-call.dynamodb.BatchGetItem", after_call),
    ):
        yield


@contextmanager
def _registered(client: Any, event: str, handler: Callable[..., Any]) -> Iterator[None]:
    client.meta.events.register(event, handler)
    try:
        yield
    finally:
        client.meta.events.unregister(event, handler)
