"""The year month by month: the loop is better than a model that is never trained again."""

from pathlib import Path

import pytest

from lakehouse.lake import Lake
from lakehouse_tests.ml.conftest import MODEL
from lakehouse_tests.ml.replay import replay


@pytest.mark.slow
def test_the_loop_beats_a_stale_model_from_may_to_december(tmp_path: Path) -> None:
    found = replay(Lake(str(tmp_path / "lake")), MODEL)
    assert found.promotions > 1
    assert found.gain.low > 0
    assert found.by_day.low > 0
