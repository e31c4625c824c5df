"""The dashboard as an asset: drawn by the hour, away from the road that carries events."""

from importlib.util import find_spec
from typing import Any

import dagster as dg

from lakehouse.dataset import Dataset
from lakehouse.orchestration.resources import LakehouseResource

HOURLY = "7 * * * *"


def build(datasets: dict[str, Dataset]) -> dict[str, list[Any]]:
    """Asset, job and schedule, as `dg.Definitions` takes them; none where the charts' library is not installed."""
    if not find_spec("vl_convert"):
        return {"assets": [], "jobs": [], "schedules": []}

    @dg.asset(
        key="dashboard",
        deps=[["serving", s.name] for d in datasets.values() for s in d.serving if s.charts],
        group_name="pictures",
        kinds={"dashboard", "polars"},
        owners=["team:data"],
        description="One HTML file that needs no network: the datasets' charts, and how the pipeline does.",
    )
    def dashboard(lakehouse: LakehouseResource) -> dg.MaterializeResult:
        from lakehouse.dashboard import write

        path = lakehouse.settings.home / "dashboard.html"
        sections = write(lakehouse.lake, datasets, path, lakehouse.items)
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(str(path)),
                "charts": sum(len(s.cards) for s in sections),
                "kilobytes": path.stat().st_size >> 10,
            }
        )

    job = dg.define_asset_job("dashboard", [dashboard], executor_def=dg.in_process_executor)
    schedule = dg.ScheduleDefinition(
        job=job, cron_schedule=HOURLY, default_status=dg.DefaultScheduleStatus.RUNNING
    )
    return {"assets": [dashboard], "jobs": [job], "schedules": [schedule]}
