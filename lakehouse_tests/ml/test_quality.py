"""What the dashboard says of a champion."""

from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest

from lakehouse.dashboard import quality
from lakehouse.lake import Lake
from lakehouse.ml.monitoring import WEEKS
from lakehouse.model import Model
from lakehouse_tests.ml.test_training import promoted


@pytest.mark.parametrize(("below", "astray"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.2), (0.1, -0.2)])
def test_a_week_that_breaks_the_promise_is_marked_and_another_versions_is_not_told(
    lake: Lake, model: Model, below: float, astray: float
) -> None:
    promoted(lake, model)
    (found,) = quality.look(lake, {model.name: model})
    auc = found.promised.value - below
    near = {f"calibration_{end}": astray + off for end, off in (("low", -0.01), ("high", 0.01))}
    near |= {"auc_low": auc - 0.01, "auc_high": auc + 0.01}
    told = {"auc": auc, "predicted": 0.2 + astray, "share": 0.2, "calibration": astray, **near}
    mine = {"week": datetime(2013, 1, 28, tzinfo=UTC), "model": found.champion.id, **told}
    other = {**mine, "week": datetime(2013, 2, 4, tzinfo=UTC), "model": "another", "auc": 0.123}
    weeks = pl.DataFrame([mine, other], schema=WEEKS)
    tiles = {tile.name: tile for tile in replace(found, weeks=weeks).tiles()}
    assert tiles["AUC since"].value == f"{auc:.3f}"
    assert (tiles["AUC since"].well, tiles["Predicted and true"].well) == (not below, not astray)
    assert tiles["Champion"].well
