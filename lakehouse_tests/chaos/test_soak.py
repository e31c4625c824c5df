"""A minute and a half of mixed traffic, every fault once: what `benchmarks.soak` does for an hour."""

import random
from pathlib import Path

import pytest

from benchmarks.soak import FILES, soak

pytestmark = pytest.mark.slow

FAULTS = {"deaths at doors", "throttles", "daemon killed", "code server killed", "local AWS restarted"}


def test_mixed_traffic_under_every_fault_ends_as_the_oracle_says(tmp_path: Path) -> None:
    told = soak(tmp_path, 90, 8, random.Random(1))
    assert set(told.faults) >= FAULTS
    assert told.events["objects"] > 20
    assert max(told.files.values()) <= FILES
