"""The one door to DynamoDB: versioned puts and tombstones, and the cursor beside the items."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeVar

import polars as pl
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as Unreachable

from lakehouse import metrics
from lakehouse.dynamodb.items import (
    CONTROL,
    DELETED,
    EXPIRES,
    KEY,
    VERSION,
    Item,
    encode,
    key_of,
    to_row,
)
from lakehouse.dynamodb.pace import Pace
from lakehouse.dynamodb.wire import Wire

EPOCH = 1 << 24  # together below 2**53, so that a client that reads numbers as floats sees them exactly
TOMBSTONE_SECONDS = 7 * 24 * 3600
WORKERS = 8
WINDOW = 256
TOGETHER = 100
READ_TOGETHER = 100
ATTEMPTS = 10
CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=5, read_timeout=20)
"""For the client: this module alone retries. botocore's ten attempts inside ours would last for minutes."""
THROTTLES = {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"}
TRANSIENT = THROTTLES | {
    "TransactionConflictException",
    "TransactionInProgressException",
    "ReplicatedWriteConflictException",
    "ContinuousBackupsUnavailableException",  # of a table that has just been made
    "InternalServerError",
    "ServiceUnavailable",
}
CANCELLED = {"ThrottlingError", "ProvisionedThroughputExceeded"}
"""What a transaction that was throttled gives as the reason of one of its items."""
INVALID = "ValidationException"
NEWER = "attribute_not_exists(#v) OR #v < :v"
CONDITION = f'"ConditionExpression":"{NEWER}","ExpressionAttributeNames":{{"#v":"{VERSION}"}}'


T = TypeVar("T")
R = TypeVar("R")


class Throttled(Exception):
    """DynamoDB kept refusing, or could not be reached. Transient: the cursor has not moved, the sweep goes on."""


@dataclass(frozen=True)
class Cursor:
    """Up to where the items are written: a serving table's id and version, and the epoch of writing them whole.

    `key`: the columns that the items are keyed by. `whole_at`: when the items took the table whole, in epoch
    seconds; 0 once they were searched for what a writer of before has put since.
    """

    table_id: str
    epoch: int
    version: int
    key: tuple[str, ...] = ()
    whole_at: int = 0

    @property
    def number(self) -> int:
        """The version of every item written at this cursor: greater in a later epoch, whatever the version."""
        return self.epoch * EPOCH + self.version


@dataclass(frozen=True)
class Written:
    """Items written, removed and left alone because a newer version stood there; rows that do not fit.

    `rejected`: (key, reason) of each. `unheld`: how many rows of the whole table have no item for that. `keys`: a
    bounded sample of the keys that were to be written, as values of the key columns.
    """

    put: int = 0
    deleted: int = 0
    stale: int = 0
    rejected: tuple[tuple[str, str], ...] = ()
    unheld: int = 0
    keys: tuple[tuple[Any, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """An item to put, as JSON without its version, or its tombstone.

    `reason` says why a tombstone stands where a row does not fit.
    """

    key: str
    text: str
    is_put: bool = True
    reason: str | None = None


class ItemTable:
    """One DynamoDB table of items, keyed by `_key`. Make its client with `CONFIG`."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name
        self._wire = Wire(client)

    def ensure(self) -> None:
        """Create the table: on demand, restorable to any second, its tombstones expiring.

        A cursor in it tells that all of this is done.
        """
        if self.peek():
            return
        with suppress(self.client.exceptions.ResourceInUseException):
            self._call(
                "create_table",
                AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
                KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
            )
        self.client.get_waiter("table_exists").wait(TableName=self.name, WaiterConfig={"Delay": 1})
        self._expire()
        self._keep_backups()

    def stands(self) -> bool:
        try:
            return bool(self._call("describe_table")["Table"]["TableStatus"] == "ACTIVE")
        except self.client.exceptions.ResourceNotFoundException:
            return False

    def cursor(self) -> Cursor | None:
        return _cursor(self._get(CONTROL))

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
            "key": {"L": [{"S": k} for k in new.key]},
            "whole_at": {"N": str(new.whole_at)},
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
        try:
            self._call("put_item", Item=item, **condition)
        except self.client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def write(
        self,
        puts: Iterable[pl.DataFrame],
        deletes: Iterable[str],
        *,
        key: Sequence[str],
        number: int,
        together: bool = False,
    ) -> Written:
        """Write rows and tombstones at one version; what stands there newer stays.

        `puts`: batches of whole rows; `deletes`: items' keys. A row that DynamoDB cannot hold leaves a tombstone,
        so that nobody reads the value before it. An item of the same version was written by an earlier attempt and
        is left as it is. `together` writes a hundred a call, for twice the write units: for many rows at once.
        Slows down to what the table grants; raises `Throttled` after about a minute of refusals.
        """
        rejected: list[tuple[str, str]] = []
        put = deleted = stale = 0
        size, ahead = (TOGETHER, 2 * WORKERS) if together else (1, WINDOW)
        batches, pace = _windows(_changes(puts, deletes, key, rejected), size), Pace()
        with ThreadPoolExecutor(WORKERS) as pool:
            for window in _windows(batches, ahead):
                shares = (window[worker::WORKERS] for worker in range(WORKERS))
                told = pool.map(lambda share: [*chain(*(self._together(b, number, pace) for b in share))], shares)
                for change, done in chain.from_iterable(told):
                    if change.reason is not None and (done or self._stands(change.key, number)):
                        rejected.append((change.key, change.reason))
                    elif not done:
                        stale += 1
                    elif change.is_put:
                        put += 1
                    else:
                        deleted += 1
        return Written(put, deleted, stale, tuple(rejected))

    def remove(self, keys: Iterable[str]) -> None:
        """Delete items without a tombstone: a late writer may put them again."""
        for key in keys:
            self._call("delete_item", Key={KEY: {"S": key}})

    def get(self, row: Mapping[str, Any], key: Sequence[str]) -> dict[str, Any] | None:
        """The item of a key as a row; None if there is none."""
        item = self._get(key_of(row, key))
        return None if item is None or DELETED in item else to_row(item)

    def fetch(self, keys: Iterable[str]) -> Iterator[Item]:
        """The items of these keys, tombstones too, read consistently, a hundred a call."""
        for window in _windows(iter(keys), READ_TOGETHER):
            wanted = [{KEY: {"S": key}} for key in window]
            for attempt in range(ATTEMPTS):
                request = {self.name: {"Keys": wanted, "ConsistentRead": True}}
                answer = _patiently(lambda r: self.client.batch_get_item(RequestItems=r), request)
                yield from answer["Responses"].get(self.name, [])
                wanted = answer["UnprocessedKeys"].get(self.name, {}).get("Keys", [])
                if not wanted:
                    break
                _pause(attempt)
            else:
                raise Throttled(f"{self.name}: {len(wanted)} keys were left unread")

    def count(self) -> int:
        """The number of live items, by a scan that reads them all."""
        live = {
            "FilterExpression": "attribute_not_exists(#d) AND #k <> :control",
            "ExpressionAttributeNames": {"#d": DELETED, "#k": KEY},
            "ExpressionAttributeValues": {":control": {"S": CONTROL}},
        }
        pages = self.client.get_paginator("scan").paginate(TableName=self.name, Select="COUNT", **live)
        return sum(page["Count"] for page in pages)

    def scan(self, *, tombstones: bool = False) -> Iterator[Item]:
        """Every live item, on request every tombstone too, read consistently, a page at a time."""
        start: dict[str, Any] = {}
        while True:
            page = self._call("scan", ConsistentRead=True, **start)
            for item in page["Items"]:
                if item[KEY]["S"] != CONTROL and (tombstones or DELETED not in item):
                    yield item
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _expire(self) -> None:
        found = self._call("describe_time_to_live")["TimeToLiveDescription"]
        if found.get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
            return
        try:
            self._call("update_time_to_live", TimeToLiveSpecification={"Enabled": True, "AttributeName": EXPIRES})
        except ClientError as error:
            if _code(error) != INVALID:  # invalid, because another creator has just set it
                raise

    def _keep_backups(self) -> None:
        self._call(
            "update_continuous_backups", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )

    def _get(self, key: str) -> Item | None:
        return self._call("get_item", Key={KEY: {"S": key}}, ConsistentRead=True).get("Item")  # type: ignore[no-any-return]

    def _stands(self, key: str, number: int) -> bool:
        return (self._get(key) or {}).get(VERSION) == {"N": str(number)}

    def _together(self, batch: list[Change], number: int, pace: Pace) -> list[tuple[Change, bool]]:
        """Each change as it was written, and whether: False where a newer version stands.

        All or nothing: those that are told to be stale are set aside and the others sent again; whatever else
        DynamoDB has against them, each is asked about alone.
        """
        if len(batch) == 1:
            return [self._alone(batch[0], number, pace)]
        puts = ",".join(f'{{"Put":{self._newer(change, number)}}}' for change in batch)
        body = f'{{"TransactItems":[{puts}]}}'.encode()
        stale = [False] * len(batch)
        try:
            _patiently(lambda b: self._wire.send("TransactWriteItems", b), body, pace, len(batch))
            return [(change, True) for change in batch]
        except self.client.exceptions.TransactionCanceledException as error:
            stale = [reason == "ConditionalCheckFailed" for reason in _reasons(error)]
        except ClientError as error:
            if _code(error) != INVALID:
                raise
        if not any(stale):
            return [self._alone(change, number, pace) for change in batch]
        rest = [change for change, is_stale in zip(batch, stale, strict=True) if not is_stale]
        told = [(change, False) for change, is_stale in zip(batch, stale, strict=True) if is_stale]
        return told + (self._together(rest, number, pace) if rest else [])

    def _alone(self, change: Change, number: int, pace: Pace) -> tuple[Change, bool]:
        """As `_together`; a put that DynamoDB refuses becomes a tombstone with the reason."""
        try:
            return change, self._put(change, number, pace)
        except ClientError as error:
            if _code(error) != INVALID or not change.is_put:
                raise
            return self._alone(_tombstone(change.key, str(error.response["Error"]["Message"])), number, pace)

    def _put(self, change: Change, number: int, pace: Pace) -> bool:
        try:
            _patiently(lambda b: self._wire.send("PutItem", b), self._newer(change, number).encode(), pace)
        except self.client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _newer(self, change: Change, number: int) -> str:
        """The put of an item, on condition that no newer version stands there, as JSON."""
        version = f'{{"N":"{number}"}}'
        item = f'{change.text[:-1]},"{VERSION}":{version}}}'
        values = f'"ExpressionAttributeValues":{{":v":{version}}}'
        return f'{{"TableName":"{self.name}","Item":{item},{CONDITION},{values}}}'

    def _call(self, verb: str, **request: Any) -> Any:
        return _patiently(lambda r: getattr(self.client, verb)(TableName=self.name, **r), request)


def peeked(tables: Sequence[ItemTable]) -> list[Cursor | None]:
    """Each table's cursor, as `peek` gives it. Tables of one client are asked a hundred a call."""
    found: list[Cursor | None] = []
    for part in _windows(iter(tables), READ_TOGETHER):
        asked = {t.name: {"Keys": [{KEY: {"S": CONTROL}}], "ConsistentRead": True} for t in part}
        try:
            answer = _patiently(lambda r: part[0].client.batch_get_item(RequestItems=r), asked)  # noqa: B023
        except ClientError as error:
            if _code(error) != "ResourceNotFoundException":
                raise
            answer = {"UnprocessedKeys": asked}
        left = answer["UnprocessedKeys"]
        for table in part:
            told = answer.get("Responses", {}).get(table.name, [])
            found.append(table.peek() if table.name in left else _cursor(next(iter(told), None)))
    return found


def _cursor(item: Item | None) -> Cursor | None:
    if item is None:
        return None
    key = tuple(k["S"] for k in item["key"]["L"]) if "key" in item else ()
    epoch, version, whole_at = (int(item.get(k, {"N": "0"})["N"]) for k in ("epoch", "version", "whole_at"))
    return Cursor(item["table_id"]["S"], epoch, version, key, whole_at)


def _changes(
    puts: Iterable[pl.DataFrame], deletes: Iterable[str], key: Sequence[str], rejected: list[tuple[str, str]]
) -> Iterator[Change]:
    """Rows and deletes as changes; a row whose key itself is unfit has no item and goes to `rejected`."""
    for row in chain.from_iterable(encode(rows, key) for rows in puts):
        if row.text is not None:
            yield Change(row.name, row.text)
        elif row.keyed:
            yield _tombstone(row.name, row.reason)
        else:
            rejected.append((row.name, str(row.reason)))
    for name in deletes:
        yield _tombstone(name)


def _tombstone(key: str, reason: str | None = None) -> Change:
    expires = int(time.time()) + TOMBSTONE_SECONDS
    item = {KEY: {"S": key}, DELETED: {"BOOL": True}, EXPIRES: {"N": str(expires)}}
    return Change(key, json.dumps(item, ensure_ascii=False), False, reason)


def _windows(things: Iterator[T], size: int) -> Iterator[list[T]]:
    while window := list(islice(things, size)):
        yield window


def _patiently(call: Callable[[R], Any], request: R, pace: Pace | None = None, items: int = 1) -> Any:
    pace = pace or Pace()
    for attempt in range(ATTEMPTS):
        pace.wait(items)
        try:
            answer = call(request)
            pace.granted(items)
            return answer
        except ClientError as error:
            if not _is_transient(error):
                pace.granted(items)
                raise
            if _is_throttle(error):
                pace.refused()
            last: Exception = error
        except (Unreachable, HTTPClientError) as error:
            last = error
        metrics.add("lakehouse.throttles", 1)
        _pause(attempt)
    raise Throttled(str(last)) from last


def _is_transient(error: ClientError) -> bool:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    return _code(error) in TRANSIENT or status >= 500 or _is_throttle(error)


def _is_throttle(error: ClientError) -> bool:
    return _code(error) in THROTTLES or not CANCELLED.isdisjoint(_reasons(error))


def _reasons(error: ClientError) -> list[str]:
    """Of each item of a cancelled transaction why, or "None"."""
    return [reason["Code"] for reason in error.response.get("CancellationReasons", [])]


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0, min(8.0, 0.05 * 2**attempt)))


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])
