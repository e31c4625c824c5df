"""How the road does, from the lake alone: latency, backlog, quarantine, cursors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from lakehouse.dashboard.page import Tile
from lakehouse.dataset import Dataset
from lakehouse.lake import Lake, Table
from lakehouse.lake.table import schema
from lakehouse.landing import inbox
from lakehouse.layers import raw
from lakehouse.layers.lag import Items, distances, servings_of
from lakehouse.ml.lag import distances as learned
from lakehouse.model import Model

NEWEST = 2000
"""Events that are drawn."""
SECONDS = [0, 1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000]
"""What an axis of latencies names."""
TIME = pl.Datetime("us", "UTC")
PASSED = schema(
    {"dataset": pl.String, "key": pl.String, "at": TIME, "read_at": TIME, "served_at": TIME, "seconds": pl.Float64}
)


@dataclass(frozen=True)
class Health:
    """`passed`: one row an event that brought a generation, from upload to being served. `waiting`: of each event
    that raw has not read, when it was uploaded. `at`: when all this was so. `quarantine`: records a dataset and
    rule. `lags`: by table. `counts`: what a tile tells."""

    passed: pl.DataFrame
    waiting: pl.DataFrame
    at: datetime
    quarantine: pl.DataFrame
    lags: dict[str, int]
    counts: dict[str, int]

    def tiles(self) -> list[Tile]:
        seconds = self.passed["seconds"].drop_nulls()
        told = [f"{seconds.quantile(q):,.1f} s" if len(seconds) else "–" for q in (0.5, 0.95)]
        behind = [name for name, lag in self.lags.items() if lag]
        refused = int(self.quarantine["records"].sum())
        return [
            Tile("Objects read", f"{self.counts['read']:,}", f"{self.counts['events']:,} events"),
            Tile("Rows served from", f"{self.counts['rows']:,}", "in cleaned tables"),
            Tile("Upload to served", told[0], f"half of all; 95 % within {told[1]}"),
            Tile("Events waiting", f"{len(self.waiting):,}", "in the inbox", self.waiting.is_empty()),
            Tile("Quarantined", f"{refused:,}", "records, kept with their reasons", not refused),
            Tile("Cursors behind", str(len(behind)), ", ".join(behind[:2]) or "every table is level", not behind),
        ]

    def charts(self) -> list[tuple[str, Any]]:
        found = []
        if len(self.passed):
            found.append(("Upload to served\nSeconds; each point is an object.", self.latency()))
        if len(self.passed) or len(self.waiting):
            found.append(("Backlog\nObjects uploaded and not yet read, until now.", self.backlog()))
        if len(self.quarantine):
            found.append(("Quarantine\nRecords by the rule that they broke.", self.refused()))
        if any(self.lags.values()):
            found.append(("Cursor lag\nOf raw in events, of the others in commits.", self.behind()))
        return found

    def latency(self) -> Any:
        import altair as alt

        rows = self.passed.drop_nulls("seconds").select("dataset", "key", "at", "seconds")
        return (
            alt.Chart(rows, height=240)
            .mark_circle(size=42, opacity=0.65)
            .encode(
                x=alt.X("at:T", title=None),
                y=alt.Y("seconds:Q", title=None, scale=alt.Scale(type="symlog"), axis=alt.Axis(values=SECONDS)),
                color="dataset:N",
                tooltip=["key", "at:T", alt.Tooltip("seconds:Q", format=",.1f")],
            )
        )

    def backlog(self) -> Any:
        import altair as alt

        steps = [
            self.passed.select("at", step=1),
            self.passed.select(at="read_at", step=-1),
            self.waiting.select("at", step=1),
        ]
        rows = pl.concat(steps).drop_nulls().group_by(pl.col("at").dt.truncate("100ms")).sum().sort("at")
        rows = rows.select("at", waiting=pl.col("step").cum_sum())
        rows = pl.concat([rows, rows.tail(1).with_columns(pl.lit(self.at).cast(TIME).alias("at"))])
        return (
            alt.Chart(rows, height=240)
            .mark_area(interpolate="step-after", opacity=0.25, line=True)
            .encode(
                x=alt.X("at:T", title=None),
                y=alt.Y("waiting:Q", title=None, stack=False),
                tooltip=["at:T", "waiting:Q"],
            )
        )

    def refused(self) -> Any:
        return _bars(self.quarantine.with_columns(name=pl.format("{}: {}", "dataset", "rule")), "records")

    def behind(self) -> Any:
        rows = [(name, lag) for name, lag in self.lags.items() if lag]
        return _bars(pl.DataFrame(rows, schema=["name", "lag"], orient="row"), "lag")


def _bars(rows: pl.DataFrame, value: str) -> Any:
    import altair as alt

    rows = rows.sort(value, descending=True).head(12)
    named = alt.Y("name:N", sort=rows["name"].to_list(), title=None, axis=alt.Axis(labelLimit=180))
    base = alt.Chart(rows, height=26 * len(rows)).encode(
        x=alt.X(f"{value}:Q", axis=None, scale=alt.Scale(domainMax=1.2 * max(rows[value]))),
        y=named,
        tooltip=["name", value],
    )
    return base.mark_bar() + base.mark_text(align="left", dx=5).encode(text=f"{value}:Q")


def look(lake: Lake, datasets: dict[str, Dataset], items: Items | None, models: Mapping[str, Model]) -> Health:
    """`items`: those of DynamoDB, of which the cursors are looked at too."""
    box = lake.open(inbox.NAME)
    heads = {name: raw.heads(table).collect() for name in datasets if (table := lake.open(raw.name(name)))}
    passed = [_passed(lake, datasets, name, found) for name, found in heads.items()]
    kept = [table for name in datasets if (table := lake.open(f"cleaned/{name}"))]
    if items is None:
        unpublished = {n: [replace(s, publish=False) for s in d.serving] for n, d in datasets.items()}
        datasets = {n: replace(d, serving=unpublished[n]) for n, d in datasets.items()}
        models = {n: replace(m, publish=False) for n, m in models.items()}
    return Health(
        pl.concat([pl.DataFrame(schema=PASSED), *passed]).sort("at").tail(NEWEST),
        pl.concat([pl.DataFrame(schema={"at": TIME}), *(_waiting(lake, box, one) for one in datasets.values())]),
        datetime.now(UTC),
        pl.concat([pl.DataFrame(schema=REFUSED), *(_refused(lake, name) for name in datasets)]),
        distances(lake, datasets, items or _nothing) | learned(lake, models, items or _nothing),
        {
            "events": box.count if box else 0,
            "read": sum(found["_object"].n_unique() for found in heads.values()),
            "rows": sum(table.count for table in kept),
        },
    )


def _nothing(_: object) -> Any:
    raise AssertionError("nothing is published")


def _waiting(lake: Lake, box: Table | None, dataset: Dataset) -> pl.DataFrame:
    """The newest events, as many as raw has not read."""
    count = raw.lag(lake, dataset)
    if box is None or not count:
        return pl.DataFrame(schema={"at": TIME})
    newest = box.scan().filter(pl.col("dataset") == dataset.name).sort("received_at").tail(count)
    return newest.select(at=pl.coalesce("event_time", "received_at")).collect()


def _passed(lake: Lake, datasets: dict[str, Dataset], name: str, heads: pl.DataFrame) -> pl.DataFrame:
    """When each generation was uploaded, read, and in the last of the serving tables that read the dataset."""
    box = lake.open(inbox.NAME)
    if box is None:
        return pl.DataFrame(schema=PASSED)
    told = box.scan().filter((pl.col("dataset") == name) & pl.col("event_time").is_not_null())
    first = told.group_by("key", "version_id").agg(at=pl.col("event_time").min()).collect()
    found = heads.select(key="_object", version_id="_object_version", read_at="_ingested_at")
    passed = first.join(found, on=["key", "version_id"], nulls_equal=True).sort("read_at")
    passed = passed.with_columns(served_at="read_at")
    for serving in servings_of(datasets, name):
        if table := lake.open(f"serving/{serving.name}"):
            commits = [commit["timestamp"] for commit in table.delta.history()]
            served = pl.DataFrame({"last": pl.Series(commits, dtype=pl.Datetime("ms")).sort()})
            served = served.select(pl.col("last").dt.replace_time_zone("UTC").dt.cast_time_unit("us"))
            joined = passed.join_asof(served, left_on="read_at", right_on="last", strategy="forward")
            passed = joined.with_columns(served_at=pl.max_horizontal("served_at", "last")).drop("last")
    seconds = (pl.col("served_at") - pl.col("at")).dt.total_milliseconds() / 1000
    return passed.with_columns(dataset=pl.lit(name), seconds=seconds).select(list(PASSED))


REFUSED = schema({"dataset": pl.String, "rule": pl.String, "records": pl.Int64})


def _refused(lake: Lake, name: str) -> pl.DataFrame:
    table = lake.open(f"quarantine/{name}")
    if table is None:
        return pl.DataFrame(schema=REFUSED)
    rules = table.scan().select(rule=pl.col("_rules").str.split(", ")).explode("rule")
    counts = rules.group_by("rule").agg(records=pl.len().cast(pl.Int64)).sort("records", descending=True)
    return counts.select(pl.lit(name).alias("dataset"), "rule", "records").collect()
