"""The one door to SQS: drain within a budget, delete, count."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

CALL = 10
HIDDEN = 30
"""Seconds for which messages that are merely looked at are hidden, if whoever looks dies over it."""


@dataclass(frozen=True)
class Message:
    """One received message. `receipt` changes at every receive; `id` is no identity of what it says."""

    id: str
    receipt: str
    body: str
    sent_at: datetime | None
    received: int = 1
    """How often, about."""


@dataclass(frozen=True)
class Budget:
    """Where a drain stops: messages, bytes of bodies, seconds."""

    messages: int = 1000
    bytes: int = 16 << 20
    seconds: float = 20.0


@dataclass(frozen=True)
class Depth:
    """Approximate numbers, as SQS gives them."""

    waiting: int
    in_flight: int


class Queue:
    def __init__(self, client: Any, url: str) -> None:
        self.client = client
        self.url = url

    def drain(self, budget: Budget, wait: int = 0) -> list[Message]:
        """Messages until a short fetch or the budget's end. The first receive waits up to `wait` seconds."""
        end = time.monotonic() + budget.seconds
        taken: dict[str, Message] = {}
        size = 0
        while len(taken) < budget.messages and size < budget.bytes:
            got = self._receive(0 if taken else min(wait, 20))
            taken |= {m.id: m for m in got}
            size += sum(len(m.body) for m in got)
            if len(got) < CALL or time.monotonic() > end:
                break
        return list(taken.values())

    def peek(self, most: int) -> list[Message]:
        """Up to `most` messages, which stay. Who drains at the same time misses them for a while."""
        seen: dict[str, Message] = {}
        try:
            while len(seen) < most and (got := self._receive(1, HIDDEN)):
                seen |= {m.id: m for m in got}
        finally:
            for start in range(0, len(seen), CALL):
                batch = [*seen.values()][start : start + CALL]
                entries = [
                    {"Id": str(i), "ReceiptHandle": m.receipt, "VisibilityTimeout": 0} for i, m in enumerate(batch)
                ]
                self.client.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)
        return list(seen.values())[:most]

    def send(self, body: str) -> None:
        self.client.send_message(QueueUrl=self.url, MessageBody=body)

    def delete(self, messages: Sequence[Message]) -> list[Message]:
        """Delete in tens; gives those that SQS kept. They come again, which changes nothing."""
        kept: list[Message] = []
        for start in range(0, len(messages), CALL):
            batch = messages[start : start + CALL]
            entries = [{"Id": str(i), "ReceiptHandle": m.receipt} for i, m in enumerate(batch)]
            answer = self.client.delete_message_batch(QueueUrl=self.url, Entries=entries)
            kept += [batch[int(failed["Id"])] for failed in answer.get("Failed", [])]
        return kept

    def depth(self) -> Depth:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return Depth(*(int(found[n]) for n in names))

    def _receive(self, wait: int, hidden: int | None = None) -> list[Message]:
        answer = self.client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=CALL,
            WaitTimeSeconds=wait,
            MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
            **({} if hidden is None else {"VisibilityTimeout": hidden}),
        )
        return [_message(m) for m in answer.get("Messages", [])]


def _message(raw: dict[str, Any]) -> Message:
    told = raw.get("Attributes", {})
    sent, count = told.get("SentTimestamp"), int(told.get("ApproximateReceiveCount", 1))
    moment = datetime.fromtimestamp(int(sent) / 1000, UTC) if sent else None
    return Message(raw["MessageId"], raw["ReceiptHandle"], raw["Body"], moment, count)


class Rationed(Queue):
    """A queue of which one budget is taken in all, in however many drains."""

    def __init__(self, queue: Queue, budget: Budget) -> None:
        super().__init__(queue.client, queue.url)
        self.left = budget

    @property
    def spent(self) -> bool:
        return min(self.left.messages, self.left.bytes, self.left.seconds) <= 0

    def portion(self, messages: int) -> Budget:
        """What is left, of so many messages at most."""
        return replace(self.left, messages=min(messages, self.left.messages))

    def drain(self, budget: Budget, wait: int = 0) -> list[Message]:
        began = time.monotonic()
        taken = super().drain(budget, wait)
        size, seconds = sum(len(m.body) for m in taken), time.monotonic() - began
        self.left = Budget(self.left.messages - len(taken), self.left.bytes - size, self.left.seconds - seconds)
        return taken
