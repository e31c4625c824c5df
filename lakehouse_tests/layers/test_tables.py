"""The tables' names, declared and found."""

from pathlib import Path

from lakehouse.layers.tables import names, standing
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road


def test_every_table_that_the_road_makes_is_named(road: Road) -> None:
    for key, body in sample.FILES.items():
        road.bucket.put(key, body)
    road.announce(*sample.FILES)
    road.hops()
    root = Path(road.lake.root)
    made = {log.parent.relative_to(root).as_posix() for log in root.glob("*/**/_delta_log")}
    assert standing(road.lake, road.datasets).keys() == made
    assert made <= set(names(road.datasets))
