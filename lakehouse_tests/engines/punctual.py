"""Flights whose cleaning and serving are portable, beside functions that no engine may be given."""

import dataframely as dy
import narwhals as nw

from lakehouse.dataset import Dataset, Serving
from lakehouse.datasets.flights import Flight


def tidied(raw: nw.LazyFrame) -> nw.LazyFrame:
    """Carriers in capitals without blanks; training flights are left out, and an empty tail number is none."""
    known = nw.when(nw.col("tailnum") != "").then("tailnum")
    return raw.filter(~nw.col("dest").is_in(["XXX"])).with_columns(
        carrier=nw.col("carrier").str.strip_chars().str.to_uppercase(), tailnum=known
    )


def punctuality(flights: nw.LazyFrame, airlines: nw.LazyFrame) -> nw.LazyFrame:
    """How late each airline is, by integers, which add up to one sum everywhere."""
    late = (nw.col("arr_delay") >= 15).cast(nw.Int64)
    return (
        flights.group_by("carrier")
        .agg(
            nw.len().alias("flights"),
            late.sum().alias("late"),
            nw.col("dep_delay").null_count().alias("cancelled"),
            nw.col("arr_delay").mean().alias("mean_arr_delay"),
            nw.col("arr_delay").max().alias("worst"),
            nw.col("time_hour").max().alias("last"),
        )
        .join(airlines.select("carrier", nw.col("name").alias("airline")), on="carrier", how="left")
    )


def departures(flights: nw.LazyFrame) -> nw.LazyFrame:
    """Every departure, as an application shows it, and how many its airport had that day."""
    day = nw.col("time_hour").dt.date()
    return flights.with_columns(day=day).select(
        "time_hour",
        "carrier",
        "flight",
        "day",
        nw.concat_str("origin", "dest", separator="-").alias("route"),
        nw.col("flight").count().over("origin", "day").cast(nw.Int64).alias("departures"),
    )


class Airline(dy.Schema):
    """One airline."""

    carrier = dy.String(primary_key=True)
    name = dy.String(nullable=False)


FLIGHTS = Dataset(
    name="flights",
    landing="flights/*.csv*",
    contract=Flight,
    clean=tidied,
    serving=[
        Serving(punctuality, key="carrier", group="carrier"),
        Serving(departures, key=["time_hour", "carrier", "flight"]),
    ],
)
AIRLINES = Dataset(name="airlines", landing="airlines/*.csv*", contract=Airline)
DATASETS = {"flights": FLIGHTS, "airlines": AIRLINES}
