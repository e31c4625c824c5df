"""Every crash point: the road dies at its n-th passage through a door, for every n, and loses nothing."""

import signal
import subprocess
import sys

import pytest

from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import check, land

STRIDE = 7


def die(road: Road, passage: int) -> int:
    """Walk the road in a process of its own; gives how it ended."""
    places = [road.lake.root, road.bucket.name, road.queue.url, road.prefix]
    command = [sys.executable, "-m", "lakehouse_tests.crash_worker", str(passage), *places]
    return subprocess.run(command, check=False, timeout=120).returncode


def survive(road: Road, start: int, stride: int) -> None:
    land(road, sample.FILES)
    passage = start
    while (code := die(road, passage)) == -signal.SIGKILL:
        passage += stride
    assert code == 0
    while road.receive():
        pass
    road.hops()
    check(road, sample.FILES)


@pytest.mark.slow
def test_a_road_that_dies_again_and_again_ends_where_an_untouched_one_does(road: Road) -> None:
    survive(road, 1, STRIDE)


@pytest.mark.parametrize("passage", [1, 3, 8, 21, 55])
def test_a_road_that_died_once_is_taken_up_without_a_further_event(road: Road, passage: int) -> None:
    land(road, sample.FILES)
    assert die(road, passage) == -signal.SIGKILL
    visible_again(road)
    road.hops()
    check(road, sample.FILES)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1, STRIDE + 1))
def test_every_passage_kills_once(road: Road, start: int) -> None:
    survive(road, start, STRIDE)


def visible_again(road: Road) -> None:
    """Messages of a dead receiver come back after the queue's visibility timeout, which is short here."""
    import time

    end = time.monotonic() + 20
    while time.monotonic() < end:
        road.receive()
        depth = road.queue.depth()
        if not depth.waiting and not depth.in_flight:
            return
        time.sleep(0.2)
    raise AssertionError("messages never came back")
