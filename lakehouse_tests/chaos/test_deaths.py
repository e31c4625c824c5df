"""Processes of the real daemon that die at a door: what they left is taken up without a further event."""

from itertools import count

import pytest

from lakehouse_tests import sample
from lakehouse_tests.chaos.conftest import House

pytestmark = pytest.mark.slow

SLOWEST = 60
"""Seconds from a death to the oracle's state: found by run monitoring, one pause, one run."""
WORKER = [
    "after Bucket.get lakehouse-landing",
    "before Table.append raw/flights",
    "after Table.append raw/flights",
    "before Table.apply cleaned/flights",
    "after Table.apply serving/carrier_punctuality",
    "before ItemTable._put lakehouse-carrier_punctuality",
    "after ItemTable._put lakehouse-carrier_punctuality",
    "before ItemTable.advance lakehouse-carrier_punctuality",
]
SENSOR = [
    "before Table.append landing/inbox",
    "before Queue.delete ",
    "after Queue.delete ",
]
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
    assert seconds < SLOWEST
