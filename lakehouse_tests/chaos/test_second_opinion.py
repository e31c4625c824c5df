"""The same tests on moto. What passes on one emulator only is a hidden assumption.

Known differences, and why none matters to the road. moto sends neither `sequencer` nor `versionId`: both only save
a look. It sends no event for a delete marker: `reconcile` finds what no event told. It encodes slashes: the
decoder decodes all there is. It takes batches that AWS refuses: the writer never sends them. Its transactions copy
every table, so that three days of flights take minutes: here it is one.
"""

import itertools
import os
import subprocess
import sys

import pytest

from lakehouse.local import feed
from lakehouse_tests.conftest import SECOND, Road
from lakehouse_tests.test_road import check, land

pytestmark = pytest.mark.slow

SAME = [
    "lakehouse_tests/chaos/test_second_opinion.py::test_a_real_day_arrives_as_the_oracle_says",
    "lakehouse_tests/test_road.py::test_every_event_three_times_and_shuffled_changes_nothing",
    "lakehouse_tests/test_road.py::test_an_overwritten_objects_old_rows_leave_every_layer[disk]",
    "lakehouse_tests/test_road.py::test_what_no_event_brought_is_found_by_reconcile",
    "lakehouse_tests/test_road.py::test_a_lost_item_table_is_written_again",
    "lakehouse_tests/test_road.py::test_two_roads_at_once_end_in_one_state[disk]",
    "lakehouse_tests/test_road.py::test_foreign_and_unrouted_messages_are_kept_in_the_inbox",
    "lakehouse_tests/dynamodb/test_table.py",
]


def test_a_real_day_arrives_as_the_oracle_says(road: Road) -> None:
    reference = {key: body for key, body in feed.reference() if key.startswith("airlines/")}
    files = dict(itertools.chain(reference.items(), feed.flights(1), feed.weather(1)))
    land(road, files)
    while road.receive():
        pass
    road.hops()
    check(road, files)


def test_moto_is_of_the_same_opinion() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SAME]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | {SECOND: "1"}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
