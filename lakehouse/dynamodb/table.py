"""The one door to DynamoDB: versioned puts and tombstones, and the cursor beside the items."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError

from lakehouse.dynamodb.items import CONTROL, DELETED, EXPIRES, KEY, VERSION, Item, Unfit, key_of, to_item, to_row

EPOCH = 1 << 24  # together below 2**53, so that a client that reads numbers as floats sees them exactly
TOMBSTONE_SECONDS = 7 * 24 * 3600
WORKERS = 8
WINDOW = 256
ATTEMPTS = 10
THROTTLES = {
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "InternalServerError",
    "ServiceUnavailable",
}
NEWER = "attribute_not_exists(#k) OR #v < :v"


class Throttled(Exception):
    """DynamoDB kept refusing. Transient: the cursor has not moved, the next sweep goes on."""


@dataclass(frozen=True)
class Cursor:
    """Up to where the items are written: a serving table's id and version, and the epoch of writing them whole."""

    table_id: str
    epoch: int
    version: int

    @property
    def number(self) -> int:
        """The version of every item written at this cursor: greater in a later epoch, whatever the version."""
        return self.epoch * EPOCH + self.version


@dataclass(frozen=True)
class Written:
    """Items written, removed and left alone because a newer version stood there; rows that do not fit."""

    put: int = 0
    deleted: int = 0
    stale: int = 0
    rejected: tuple[tuple[str, str], ...] = ()


class ItemTable:
    """One DynamoDB table of items, keyed by `_key`."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name

    def ensure(self) -> None:
        """Create the table, on demand and with a TTL for tombstones, if it is not there."""
        try:
            self.client.describe_table(TableName=self.name)
            return
        except self.client.exceptions.ResourceNotFoundException:
            pass
        with suppress(self.client.exceptions.ResourceInUseException):
            self.client.create_table(
                TableName=self.name,
                AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
                KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
            )
        self.client.get_waiter("table_exists").wait(TableName=self.name, WaiterConfig={"Delay": 1})
        expiry = {"Enabled": True, "AttributeName": EXPIRES}
        self.client.update_time_to_live(TableName=self.name, TimeToLiveSpecification=expiry)

    def cursor(self) -> Cursor | None:
        item = self._get(CONTROL)
        if item is None:
            return None
        return Cursor(item["table_id"]["S"], int(item["epoch"]["N"]), int(item["version"]["N"]))

    def peek(self) -> Cursor | None:
        """The cursor, or None also where there is no table yet."""
        try:
            return self.cursor()
        except self.client.exceptions.ResourceNotFoundException:
            return None

    def advance(self, old: Cursor | None, new: Cursor) -> bool:
        """Move the cursor if it still is `old`; False if another writer moved it first."""
        item = {
            KEY: {"S": CONTROL},
            "table_id": {"S": new.table_id},
            "epoch": {"N": str(new.epoch)},
            "version": {"N": str(new.version)},
            "number": {"N": str(new.number)},
        }
        condition: dict[str, Any] = {
            "ConditionExpression": "attribute_not_exists(#k)",
            "ExpressionAttributeNames": {"#k": KEY},
        }
        if old:
            condition = {
                "ConditionExpression": "#n = :old AND #t = :id",
                "ExpressionAttributeNames": {"#n": "number", "#t": "table_id"},
                "ExpressionAttributeValues": {":old": {"N": str(old.number)}, ":id": {"S": old.table_id}},
            }
        return self._put(item, condition)

    def write(
        self,
        puts: Iterable[Mapping[str, Any]],
        deletes: Iterable[Mapping[str, Any]],
        *,
        key: Sequence[str],
        number: int,
    ) -> Written:
        """Write rows and tombstones at one version; what stands there newer stays.

        `puts`: whole rows; `deletes`: rows that hold at least the key. An item of the same version was written by
        an earlier attempt and is left as it is. Raises `Throttled` after about a minute of refusals.
        """
        rejected: list[tuple[str, str]] = []

        def items() -> Iterator[tuple[bool, Item]]:
            for row in puts:
                try:
                    yield True, to_item(row, key)
                except Unfit as error:
                    rejected.append((repr([row.get(k) for k in key]), str(error)))
            for row in deletes:
                try:
                    yield False, _tombstone(key_of(row, key))
                except Unfit:
                    continue

        put = deleted = stale = 0
        with ThreadPoolExecutor(WORKERS) as pool:
            for window in _windows(items()):
                results = pool.map(lambda pair: self._newer(pair[1], number), window)
                for (is_put, item), result in zip(window, results, strict=True):
                    if isinstance(result, str):
                        rejected.append((item[KEY]["S"], result))
                    elif not result:
                        stale += 1
                    elif is_put:
                        put += 1
                    else:
                        deleted += 1
        return Written(put, deleted, stale, tuple(rejected))

    def get(self, row: Mapping[str, Any], key: Sequence[str]) -> dict[str, Any] | None:
        """The item of a key as a row; None if there is none."""
        item = self._get(key_of(row, key))
        return None if item is None or DELETED in item else to_row(item)

    def scan(self) -> Iterator[Item]:
        """Every live item, read consistently, a page at a time."""
        pages = self.client.get_paginator("scan").paginate(TableName=self.name, ConsistentRead=True)
        for page in pages:
            yield from (i for i in page["Items"] if i[KEY]["S"] != CONTROL and DELETED not in i)

    def _get(self, key: str) -> Item | None:
        answer = self.client.get_item(TableName=self.name, Key={KEY: {"S": key}}, ConsistentRead=True)
        return answer.get("Item")  # type: ignore[no-any-return]

    def _newer(self, item: Item, number: int) -> bool | str:
        """True: written; False: a newer version stands there; text: why DynamoDB refuses it."""
        version = {"N": str(number)}
        condition = {
            "ConditionExpression": NEWER,
            "ExpressionAttributeNames": {"#k": KEY, "#v": VERSION},
            "ExpressionAttributeValues": {":v": version},
        }
        try:
            return self._put(item | {VERSION: version}, condition)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationException":
                raise
            return str(error.response["Error"]["Message"])

    def _put(self, item: Item, condition: dict[str, Any]) -> bool:
        try:
            _patiently(lambda: self.client.put_item(TableName=self.name, Item=item, **condition))
        except self.client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _tombstone(key: str) -> Item:
    expires = int(time.time()) + TOMBSTONE_SECONDS
    return {KEY: {"S": key}, DELETED: {"BOOL": True}, EXPIRES: {"N": str(expires)}}


def _windows(items: Iterator[tuple[bool, Item]]) -> Iterator[list[tuple[bool, Item]]]:
    while window := list(islice(items, WINDOW)):
        yield window


def _patiently(call: Callable[[], Any]) -> Any:
    for attempt in range(ATTEMPTS):
        try:
            return call()
        except ClientError as error:
            if error.response["Error"]["Code"] not in THROTTLES:
                raise
            last = error
            time.sleep(random.uniform(0, min(8.0, 0.05 * 2**attempt)))
    raise Throttled(str(last)) from last
