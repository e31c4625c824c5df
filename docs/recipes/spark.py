import os

from pysail.spark import SparkConnectServer
from pyspark.sql.connect.session import SparkSession

lake = os.environ.get("LAKEHOUSE_LAKE", ".lakehouse/lake")

# another Spark Connect server that reads Delta is named by its sc:// address
server = SparkConnectServer("127.0.0.1", 0)
server.start()
ip, port = server.listening_address
spark = SparkSession.builder.remote(f"sc://{ip}:{port}").create()

# the table as it is, and as it was
table = f"{lake}/serving/carrier_punctuality"
spark.read.format("delta").load(table).orderBy("flights", ascending=False).show(3)
print("rows at first:", spark.read.format("delta").option("versionAsOf", 0).load(table).count())

# SQL over several
for name in ("flights", "airlines"):
    spark.read.format("delta").load(f"{lake}/cleaned/{name}").createOrReplaceTempView(name)
spark.sql("select name, count(*) as flights from flights join airlines using (carrier) group by name").show()
