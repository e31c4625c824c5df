"""Every hour, away from the road that carries events: volumes, keys, cursors, and the dashboard."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from statistics import median
from typing import Any

import dagster as dg
import polars as pl

from lakehouse.dataset import Dataset, Serving
from lakehouse.lake import Lake, Table
from lakehouse.layers.lag import distances
from lakehouse.layers.raw import heads
from lakehouse.model import Model
from lakehouse.orchestration.assets import checked
from lakehouse.orchestration.metadata import bars, preview
from lakehouse.orchestration.resources import LakehouseResource

HOURLY = "7 * * * *"
COMMITS = 24
"""Of a table's newest commits, how many are compared."""
FEW = 5
"""With fewer commits before it, a commit is not judged."""
USUAL = 20
"""A commit of so many times the rows that are usual is told, and so is one of so small a part of them."""


def build(datasets: dict[str, Dataset], models: dict[str, Model]) -> dict[str, list[Any]]:
    """Assets, checks, job and schedule, as `dg.Definitions` takes them."""
    servings = [s for d in datasets.values() for s in d.serving]
    checks = [
        _volumes(
            [
                *([layer, name] for layer in ("raw", "cleaned") for name in datasets),
                *(["serving", name] for name in (*(one.name for one in servings), *models)),
            ]
        ),
        *(_unique(one) for one in servings),
        *(_lag(["raw", name], datasets) for name in datasets),
    ]
    drawn = [_dashboard(datasets, models)] if find_spec("vl_convert") else []
    selection: dg.AssetSelection = dg.AssetSelection.checks(*checks)
    if drawn:
        selection = selection | dg.AssetSelection.assets(*drawn)
    described = "What an hour brought against what is usual; the dashboard."
    job = dg.define_asset_job("watch", selection, description=described, executor_def=dg.in_process_executor)
    schedule = dg.ScheduleDefinition(
        job=job, cron_schedule=HOURLY, default_status=dg.DefaultScheduleStatus.RUNNING
    )
    return {"assets": drawn, "asset_checks": checks, "jobs": [job], "schedules": [schedule]}


def _dashboard(datasets: dict[str, Dataset], models: dict[str, Model]) -> dg.AssetsDefinition:
    @dg.asset(
        key="dashboard",
        deps=[
            *(["serving", s.name] for d in datasets.values() for s in d.serving if s.charts),
            *(["monitor", name] for name in models),
        ],
        group_name="pictures",
        kinds={"dashboard", "polars"},
        owners=["team:data"],
        description="One HTML file that needs no network: datasets, models, and how the pipeline does.",
    )
    def dashboard(lakehouse: LakehouseResource) -> dg.MaterializeResult:
        from lakehouse.dashboard import write

        path = lakehouse.settings.home / "dashboard.html"
        sections = write(lakehouse.lake, datasets, path, lakehouse.items, models)
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(str(path)),
                "charts": sum(len(s.cards) for s in sections),
                "kilobytes": path.stat().st_size >> 10,
            }
        )

    return dashboard


def written(table: Table) -> list[int]:
    """The rows that each of the newest commits wrote, the oldest first; those that wrote none are left out."""
    return [added + changed for added, changed in reversed(table.wrote(COMMITS)) if added + changed]


def records(raw: Table) -> list[int]:
    """As `written`, of a raw table by its heads: the log does not tell the rows of a commit that only adds."""
    runs = heads(raw).group_by("_run").agg(pl.col("_records").sum(), pl.col("_ingested_at").max())
    return runs.filter(pl.col("_records") > 0).sort("_ingested_at").tail(COMMITS).collect()["_records"].to_list()


def unusual(volumes: Sequence[int]) -> bool:
    """Whether the last volume is far from the median of those before it."""
    *before, last = volumes or [0]
    return len(before) >= FEW and not median(before) / USUAL <= last <= median(before) * USUAL


def _volumes(keys: Sequence[Sequence[str]]) -> dg.AssetChecksDefinition:
    """One op for all of them: every run makes the definitions anew before it begins."""
    described = (
        f"The last commit wrote no less than a {USUAL}th, and no more than {USUAL} times, of what is usual."
    )

    @dg.multi_asset_check(
        name="volumes",
        specs=[dg.AssetCheckSpec("volume", asset=key, description=described) for key in keys],
        can_subset=True,
    )
    def checks(
        context: dg.AssetCheckExecutionContext, lakehouse: LakehouseResource
    ) -> Iterator[dg.AssetCheckResult]:
        for check in sorted(context.selected_asset_check_keys):
            try:
                yield _volume(lakehouse.lake, check.asset_key)
            except Exception as error:  # it hides no other table
                told = f"{type(error).__name__}: {error}"
                yield dg.AssetCheckResult(
                    check_name="volume", asset_key=check.asset_key, passed=False, description=told
                )

    return checks


def _volume(lake: Lake, key: dg.AssetKey) -> dg.AssetCheckResult:
    table = lake.open("/".join(key.path))
    if table is None:
        return dg.AssetCheckResult(check_name="volume", asset_key=key, passed=True, metadata={"rows": 0})
    volumes = records(table) if key.path[0] == "raw" else written(table)
    return dg.AssetCheckResult(
        check_name="volume",
        asset_key=key,
        passed=not unusual(volumes),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "rows": volumes[-1] if volumes else 0,
            "usual": round(median(volumes)) if volumes else 0,
            "commits": bars(volumes),
            "preview": preview(table),
        },
    )


def _unique(one: Serving) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=["serving", one.name], name="unique", description="No key stands twice, or is null.")
    def check(lakehouse: LakehouseResource) -> dg.AssetCheckResult:
        table = lakehouse.lake.open(f"serving/{one.name}")
        if table is None:
            return checked("unique", pl.DataFrame())
        keys = table.scan().select(one.keys)
        null = pl.any_horizontal(pl.col(one.keys).is_null())
        return checked("unique", keys.filter(pl.struct(one.keys).is_duplicated() | null).collect())

    return check


def _lag(key: Sequence[str], datasets: dict[str, Dataset]) -> dg.AssetChecksDefinition:
    name = key[1]
    described = "Raw has read its events, and each table behind it its source. A warning: the sweep goes after it."

    @dg.asset_check(asset=key, name="lag", description=described)
    def check(lakehouse: LakehouseResource) -> dg.AssetCheckResult:
        lags = distances(lakehouse.lake, datasets, lakehouse.items)
        mine = {name, *(s.name for d in datasets.values() for s in d.serving if name in s.upstreams)}
        rows = [(table, lag) for table, lag in lags.items() if lag and table.split("/")[1] in mine]
        return checked("lag", pl.DataFrame(rows, schema=["table", "behind"], orient="row"), warn=True)

    return check
