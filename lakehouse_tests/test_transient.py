"""What passes by itself is never held against a file: throttles, expired credentials, a full disk."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from lakehouse.dynamodb.table import ItemTable
from lakehouse.lake import Conflict, Table
from lakehouse.landing import inbox
from lakehouse.layers import ingest, raw
from lakehouse.layers.lag import lagging
from lakehouse.layers.tables import standing
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import check, items_of, land

MORE = {"flights/3.csv": sample.flights(("AA", 9, 90), ("DL", 4, "y"))}


def refusal(code: str) -> Exception:
    return ClientError({"Error": {"Code": code, "Message": code}}, "GetObject")


FAULTS: dict[str, Exception] = {
    "expired": refusal("ExpiredToken"),
    "throttled": refusal("SlowDown"),
    "forbidden": refusal("AccessDenied"),
    "broken": refusal("InternalError"),
    "unreachable": EndpointConnectionError(endpoint_url="http://s3"),
    "slow": ReadTimeoutError(endpoint_url="http://s3"),
    "full": OSError(errno.ENOSPC, "No space left on device"),
}


@contextmanager
def failing(owner: Any, name: str, fault: BaseException, after: int = 0) -> Iterator[None]:
    """Every call but the first `after` raises."""
    real, calls = getattr(owner, name), iter(range(after))

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls, None) is None:
            raise fault
        return real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, call)
        yield


def state(road: Road) -> dict[str, int]:
    return {name: table.version for name, table in standing(road.lake, road.datasets).items()}


def started(road: Road) -> None:
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    land(road, MORE)
    road.announce(*MORE)


def recovered(road: Road) -> None:
    assert "flights" in lagging(road.lake, road.datasets, road.items)
    road.hops()
    check(road, {**sample.FILES, **MORE})
    heads = raw.heads(raw.open_raw(road.lake, "flights")).collect()
    assert heads["_state"].to_list() == ["read"] * 3


@pytest.mark.parametrize("call", ["head_object", "get_object"])
@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - {"forbidden"}))
def test_an_object_that_cannot_be_fetched_now_is_fetched_later(road: Road, fault: str, call: str) -> None:
    flights = road.datasets["flights"]
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    with failing(road.bucket.client, call, FAULTS[fault]), pytest.raises(type(FAULTS[fault])):
        ingest.ingest(road.lake, road.bucket, flights)
    assert raw.open_raw(road.lake, "flights").version == 0
    assert lagging(road.lake, road.datasets, road.items)["flights"] == "raw/flights"
    ingest.ingest(road.lake, road.bucket, flights)
    heads = raw.heads(raw.open_raw(road.lake, "flights")).collect()
    assert heads["_state"].to_list() == ["read", "read"]


@pytest.mark.parametrize(("door", "fault"), [("append", FAULTS["full"]), ("apply", Conflict("another was first"))])
def test_a_table_that_cannot_be_written_now_is_written_later(road: Road, door: str, fault: Exception) -> None:
    started(road)
    before = state(road)
    with failing(Table, door, fault), pytest.raises(type(fault)):
        road.hops()
    moved = {name for name, version in state(road).items() if version != before[name]}
    assert moved <= (set() if door == "append" else {"raw/flights"})
    recovered(road)


@pytest.mark.parametrize("after", [0, pytest.param(3, marks=pytest.mark.slow)])
def test_items_that_cannot_be_written_now_are_written_later(road: Road, after: int) -> None:
    started(road)
    with failing(ItemTable, "_put", refusal("ExpiredToken"), after), pytest.raises(ClientError):
        road.hops()
    recovered(road)


def test_a_publish_cut_off_before_its_writes_is_made_good(road: Road) -> None:
    started(road)
    with failing(ItemTable, "write", FAULTS["unreachable"]), pytest.raises(EndpointConnectionError):
        road.hops()
    assert items_of(road, "carrier_punctuality")["AA"]["flights"] == 2
    recovered(road)


def test_a_message_is_deleted_only_after_the_inbox_holds_it(road: Road) -> None:
    land(road, sample.FILES)
    with failing(Table, "append", FAULTS["full"]), pytest.raises(OSError, match="No space"):
        road.receive()
    assert inbox.open_inbox(road.lake).scan().collect().is_empty()
    eventually(lambda: road.receive() and road.queue.depth().in_flight == 0)
    road.hops()
    check(road, sample.FILES)


def test_a_message_that_cannot_be_deleted_comes_again_and_changes_nothing(road: Road) -> None:
    land(road, sample.FILES)
    with failing(road.queue.client, "delete_message_batch", refusal("RequestThrottled")):
        eventually(lambda: _received(road) >= 3)
    road.hops()
    eventually(lambda: road.receive() and road.queue.depth().in_flight == 0)
    road.hops()
    check(road, sample.FILES)


def _received(road: Road) -> int:
    with pytest.raises(ClientError):
        road.receive()
    return inbox.open_inbox(road.lake).scan().collect()["key"].n_unique()


def eventually(done: Callable[[], object]) -> None:
    for _ in range(20):
        if done():
            return
    raise AssertionError("it never came to pass")
