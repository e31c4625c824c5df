"""Small input files, in the shape of the real ones."""

HEADER = "time_hour,carrier,flight,origin,dest,tailnum,dep_delay,arr_delay,air_time,distance"


def flights(*rows: tuple[str, int, int | str]) -> bytes:
    """A CSV of flights: (carrier, number, minutes late) each."""
    lines = [f"2013-01-01T10:00:00Z,{c},{n},JFK,LAX,N{n},0,{late},300,2475" for c, n, late in rows]
    return "\n".join([HEADER, *lines, ""]).encode()


FILES = {
    "airlines/airlines.csv": b"carrier,name\nAA,American\nUA,United\n",
    "flights/1.csv": flights(("AA", 1, 5), ("UA", 2, 20)),
    "flights/2.csv": flights(("AA", 3, 30), ("UA", 2, 40), ("DL", 4, "x")),
}
