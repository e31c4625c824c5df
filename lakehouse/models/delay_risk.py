"""Will this flight arrive 15 minutes late or more? Asked one hour before the hour in which it is to leave."""

from datetime import timedelta

import polars as pl

from lakehouse.model import ASKED, Model, Source

KEY = ["time_hour", "carrier", "flight"]
LEFT = pl.col("time_hour") + pl.duration(minutes=59 + pl.col("dep_delay"))
"""When the delay of a departure is known at the latest: of the schedule only the hour is told."""
ARRIVED = LEFT + pl.duration(minutes=pl.col("air_time") + 60)
OBSERVED = pl.col("time_hour") + pl.duration(hours=1)
LOCAL = pl.col("time_hour").dt.convert_time_zone("America/New_York")


def delay_risk(flights: pl.LazyFrame, weather: pl.LazyFrame, planes: pl.LazyFrame) -> pl.LazyFrame:
    """Will this flight arrive 15 minutes late or more? Asked one hour before the hour in which it is to leave."""
    rows = flights.select(
        *KEY,
        "origin",
        "dest",
        "tailnum",
        "distance",
        hour=LOCAL.dt.hour().cast(pl.Int32),
        weekday=LOCAL.dt.weekday().cast(pl.Int32),
        asked=pl.col("time_hour") - pl.duration(hours=1),
    ).sort(ASKED)
    left = flights.filter(pl.col("dep_delay").is_not_null()).with_columns(left=LEFT).sort("left")
    rows = _weather(rows, weather)
    rows = _plane(rows, left, planes)
    for by, hours in (("origin", 1), ("origin", 3), ("carrier", 3)):
        rows = _recent(rows, left, by, hours)
    return rows.drop("tailnum")


def _before(rows: pl.LazyFrame, told: pl.LazyFrame, at: str, by: str, within: str | None = None) -> pl.LazyFrame:
    """The last row of `told` before the question, and that within a time."""
    asof = {"by": by, "strategy": "backward", "tolerance": within, "check_sortedness": False}
    return rows.join_asof(told, left_on=ASKED, right_on=at, **asof)  # type: ignore[arg-type]


def _weather(rows: pl.LazyFrame, weather: pl.LazyFrame) -> pl.LazyFrame:
    seen = ["temp", "humid", "wind_speed", "precip", "visib"]
    told = weather.select("origin", *seen, observed=OBSERVED).sort("observed")
    return _before(rows, told, "observed", "origin", "6h").drop("observed")


def _plane(rows: pl.LazyFrame, left: pl.LazyFrame, planes: pl.LazyFrame) -> pl.LazyFrame:
    """The plane's age and seats, and its previous departure from New York."""
    flown = left.filter(pl.col("tailnum").is_not_null()).select("tailnum", "left", plane_delay="dep_delay")
    hours = ((pl.col(ASKED) - pl.col("left")).dt.total_minutes() / 60).alias("plane_hours")
    rows = _before(rows, flown, "left", "tailnum", "24h").with_columns(hours).drop("left")
    known = planes.select("tailnum", "seats", plane_year="year")
    return rows.join(known, on="tailnum", how="left", maintain_order="left")


def _recent(rows: pl.LazyFrame, left: pl.LazyFrame, by: str, hours: int) -> pl.LazyFrame:
    """The mean delay and the number of departures in the last hours, of the same `by`, from running sums."""
    late = pl.col("dep_delay").clip(-30, 180)
    sums = left.select(by, "left", _sum=late.cum_sum().over(by), _count=pl.int_range(1, pl.len() + 1).over(by))
    now = _before(rows, sums, "left", by).drop("left")
    early = now.with_columns(pl.col(ASKED).alias("_now"), pl.col(ASKED) - pl.duration(hours=hours))
    then = sums.rename({"_sum": "_sum_then", "_count": "_count_then"})
    both = _before(early, then, "left", by).drop("left", ASKED).rename({"_now": ASKED})
    count = pl.col("_count").fill_null(0) - pl.col("_count_then").fill_null(0)
    total = pl.col("_sum") - pl.col("_sum_then").fill_null(0)
    told = both.with_columns(
        pl.when(count > 0).then(total / count).alias(f"{by}_delay_{hours}h"),
        count.cast(pl.Int32).alias(f"{by}_departures_{hours}h"),
    )
    return told.drop("_sum", "_count", "_sum_then", "_count_then")


model = Model(
    features=delay_risk,
    label=pl.col("arr_delay") >= 15,
    key=KEY,
    sources={
        "flights": Source(
            "time_hour",
            later={
                "dep_delay": LEFT,
                "dep_time": LEFT,
                "arr_delay": ARRIVED,
                "arr_time": ARRIVED,
                "air_time": ARRIVED,
            },
        ),
        "weather": Source("time_hour", known=OBSERVED),
    },
    horizon=timedelta(days=4),
    segments=["origin", "carrier"],
    params={
        "learning_rate": 0.1,
        "num_leaves": 31,
        "max_depth": 7,
        "min_data_in_leaf": 100,
        "feature_fraction": 0.8,
    },
)
