import os

import duckdb
from deltalake import DeltaTable

lake = os.environ.get("LAKEHOUSE_LAKE", ".lakehouse/lake")
table = DeltaTable(f"{lake}/serving/carrier_punctuality")

# DuckDB, over Arrow: its own delta extension is not needed
flights = table.to_pyarrow_dataset()
print(duckdb.sql("select carrier, flights from flights order by flights desc limit 3"))

# pandas
print(table.to_pandas().head(3))

# plain deltalake: who wrote what, when
print(table.history(1)[0]["operation"], "at version", table.version())
