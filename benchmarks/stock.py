"""The same assets as `dagster dev` runs them unless told otherwise: multiprocess executor, a short poll."""

import dagster as dg

from lakehouse.definitions import build
from lakehouse.orchestration import sensor

sensor.TICK_SECONDS = 0
defs = build(dg.multiprocess_executor)
