"""Processes of the real daemon that die at a door: what they left is taken up without a further event."""

import os
import signal
import subprocess
import time
from itertools import count

import pytest

from lakehouse_tests import sample
from lakehouse_tests.chaos.conftest import House

pytestmark = pytest.mark.slow

WORKER = [
    "after Bucket.get lakehouse-landing",
    "after Table.append raw/flights",
    "before Table.apply cleaned/flights",
    "after ItemTable._put lakehouse-carrier_punctuality",
    "before ItemTable.advance lakehouse-carrier_punctuality",
]
SENSOR = [
    "before Table.append landing/inbox",
    "before Queue.delete ",
]
PROCESSES = ["ps", "-eww", "-o", "pid,pgid,args"]
numbers = count(10)


@pytest.fixture(autouse=True)
def standing(mined_house: House) -> None:
    """Everything has arrived before a test begins."""
    if not mined_house.files:
        mined_house.land(dict(sample.FILES))
    mined_house.comes_right()


@pytest.mark.parametrize("door", WORKER)
def test_a_run_that_dies_at_a_door_is_taken_up_again(mined_house: House, door: str) -> None:
    killed(mined_house, door)


@pytest.mark.parametrize("door", SENSOR)
def test_a_sensor_that_dies_at_a_door_is_taken_up_again(mined_house: House, door: str) -> None:
    killed(mined_house, door)


def killed(house: House, door: str) -> None:
    number = next(numbers)
    house.arm(door)
    house.land({f"flights/{number}.csv": sample.flights(("AA", number, 30), ("UA", 2, number))})
    house.dies()
    seconds = house.comes_right()
    print(f"\n{door}: {seconds:.1f} s")


@pytest.mark.parametrize("part", ["dagster._daemon", "dagster dev", "code-server start"])
def test_a_part_of_dagster_that_is_killed_is_started_again(mined_house: House, part: str) -> None:
    os.kill(process_of(mined_house, part), signal.SIGKILL)
    number = next(numbers)
    mined_house.land({f"flights/{number}.csv": sample.flights(("AA", number, 30))})
    seconds = mined_house.comes_right()
    print(f"\n{part}: {seconds:.1f} s")


def process_of(house: House, part: str) -> int:
    """The first process of the house's own group whose command names a part, once it is there."""
    end = time.monotonic() + 180
    while time.monotonic() < end:
        told = subprocess.run(PROCESSES, check=True, capture_output=True, text=True).stdout
        lines = [line.split(None, 2) for line in told.splitlines()[1:]]
        mine = {pgid for _, pgid, command in lines if str(house.mines) in command}
        if found := [int(pid) for pid, pgid, command in lines if pgid in mine and part in command]:
            return min(found)
        time.sleep(0.5)
    raise AssertionError(f"there is no {part}")
