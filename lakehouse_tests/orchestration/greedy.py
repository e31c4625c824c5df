"""A module that runs a query when it is imported: what a user's dataset file must not do, and may."""

import polars as pl

ROWS = pl.DataFrame({"a": [3, 1, 2]}).lazy().sort("a").collect(engine="streaming")
