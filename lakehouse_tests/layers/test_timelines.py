"""Every version of every key, and the time for which it stood."""

import io
import itertools
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dataframely as dy
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.dataset import Dataset, check
from lakehouse.lake.past import restore
from lakehouse.landing import inbox
from lakehouse.layers import history, raw
from lakehouse.layers.lag import lagging
from lakehouse.layers.tables import names
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_lives import HEADER, Policy, Reading
from lakehouse_tests.test_retention import forget
from lakehouse_tests.test_road import land

DAY = datetime(2026, 1, 1, tzinfo=UTC)


class Price(dy.Schema):
    """What a thing costs from a day on."""

    thing = dy.String(primary_key=True)
    since = dy.Datetime(nullable=True, time_zone="UTC")
    price = dy.Int64(nullable=False, min=0)


PRICES = Dataset("prices", "prices/*.csv", Price, order_by=["since"], history=True)
HEAD = "thing,since,price\n"


def day(number: int) -> datetime:
    return DAY + timedelta(days=number)


records = st.fixed_dictionaries(
    {
        "thing": st.sampled_from("ab"),
        "since": st.none() | st.integers(0, 5).map(day),
        "price": st.integers(0, 2),
        "_object": st.sampled_from("xyz"),
        "_modified": st.integers(0, 5).map(day),
        "_ended": st.none() | st.integers(0, 8).map(day),
    }
)


@given(st.lists(records, max_size=9))
def test_at_every_moment_the_newest_record_that_has_begun_and_not_ended_stands(found: list[Any]) -> None:
    told = [row | {"_generation": 1, "_record": n} for n, row in enumerate(found)]
    time_of = pl.Datetime("us", "UTC")
    kinds: dict[str, Any] = {"thing": pl.String, "since": time_of, "price": pl.Int64, "_object": pl.String}
    kinds |= {"_modified": time_of, "_ended": time_of, "_generation": pl.Int64, "_record": pl.Int64}
    table = history.timelines(PRICES, pl.DataFrame(told, schema=kinds))
    stood = table.filter(history.STOOD)
    for half, thing in itertools.product(range(-1, 20), "ab"):
        now = DAY + timedelta(hours=12 * half)
        standing = [r for r in told if r["thing"] == thing and (r["since"] or r["_modified"]) <= now]
        standing = [r for r in standing if r["_ended"] is None or r["_ended"] > now]
        expected = max(standing, key=newer, default=None)
        rows = stood.filter(
            (pl.col("thing") == thing)
            & (pl.col("valid_from") <= now)
            & (pl.col("valid_to").is_null() | (pl.col("valid_to") > now))
        ).to_dicts()
        assert [(r["price"], r["since"]) for r in rows] == [(r["price"], r["since"]) for r in [expected] if r]
    assert set(table["_record"]) == set(range(len(told)))
    assert (stood["is_current"] == stood["valid_to"].is_null()).all()
    assert not table.select("_record", "valid_from").is_duplicated().any()


def choking(rows: pl.LazyFrame) -> pl.LazyFrame:
    """A `clean` that raises on a thing called trouble."""
    if "trouble" in rows.collect()["thing"]:
        raise ValueError("trouble")
    return rows


@pytest.mark.parametrize("clean", [None, choking])
def test_a_generation_that_is_refused_takes_no_other_of_its_object_with_it(road: Road, clean: Any) -> None:
    prices = replace(PRICES, schema_evolution="fail", clean=clean)
    road.datasets = check([prices])
    lines = (
        "thing,since,price,unit\nmilk,2026-01-02,1,EUR\n",
        f"{HEAD}trouble,2026-01-03,2\n",
        f"{HEAD}milk,2026-01-04,3\n",
    )
    for line in lines:
        land(road, {"prices/1.csv": line.encode()})
        road.announce("prices/1.csv")
        road.hops()
    found = history.disagreement(road.lake, prices)
    assert found is not None
    assert found.is_empty()
    table = road.lake.open("history/prices")
    assert table is not None
    assert 3 in table.scan().collect()["price"]


@pytest.mark.parametrize("mode", ["add", "rescue"])
def test_columns_beyond_the_contract_are_no_part_of_a_history(road: Road, mode: Any) -> None:
    """Whether a file, a folder or a value that does not fit brings them, with the first file or a later one."""
    prices = replace(PRICES, landing="prices/**", schema_evolution=mode)
    road.datasets = check([prices])
    typed = io.BytesIO()
    pl.DataFrame(
        {"thing": ["milk"], "since": [day(1)], "price": [2], "shop": ["x"], "until": ["?"]}
    ).write_parquet(typed)
    odd = io.BytesIO()
    pl.DataFrame({"thing": ["milk"], "since": ["soon"], "price": [5]}).write_parquet(odd)
    files = {
        "prices/shop=y/1.csv": f"{HEAD}milk,{day(0).isoformat()},1\n".encode(),
        "prices/2.parquet": typed.getvalue(),
        "prices/3.csv": f"{HEAD}milk,{day(2).isoformat()},3\n".encode(),
        "prices/4.parquet": odd.getvalue(),
    }
    for key, body in files.items():
        land(road, {key: body})
        road.announce(key)
        road.hops()
    table = road.lake.open("history/prices")
    assert table is not None
    assert sorted(table.scan().select("price").collect()["price"]) == [1, 2, 3, 5]
    found = history.disagreement(road.lake, prices)
    assert found is not None
    assert found.is_empty()
    assert lagging(road.lake, road.datasets, road.items) == {}


def newer(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["since"] is not None, row["since"] or DAY, row["_modified"], row["_object"], row["_record"]


def as_of(road: Road, name: str, now: datetime, columns: list[str]) -> list[tuple[Any, ...]]:
    table = road.lake.open(f"history/{name}")
    assert table is not None
    in_force = (pl.col("valid_from") <= now) & (pl.col("valid_to").is_null() | (pl.col("valid_to") > now))
    return sorted(table.scan().filter(in_force).select(columns).collect().rows())


def put(road: Road, **bodies: str | None) -> None:
    name = next(iter(road.datasets))
    for key, body in bodies.items():
        place = {"Bucket": road.bucket.name, "Key": f"{name}/{key}.csv"}
        if body is None:
            road.bucket.client.delete_object(**place)
        else:
            road.bucket.put(place["Key"], body.encode())
    road.announce(*(f"{name}/{key}.csv" for key in bodies))


TURNS: list[dict[str, str | None]] = [
    {"x": "a,p,1\nb,p,1\n", "y": "b,q,2\n"},
    {"x": "a,p,1\nc,p,3\n"},
    {"z": "b,r,5\na,r,x\n"},
    {"z": "a,r,4\n", "y": None},
    {"x": None},
    {"x": "a,p,1\nb,p,9\n", "z": None},
]


def anew(road: Road, dataset: Dataset) -> pl.DataFrame:
    """The table as one that is made at once."""
    forget(road, f"raw/{dataset.name}")
    before = rows(road, dataset)
    table = road.lake.open(history.name(dataset.name))
    assert table is not None
    table.overwrite(table.scan().head(0).collect(), [])
    changed = Dataset(dataset.name, dataset.landing, Reading, lambda frame: frame, on_delete=dataset.on_delete)
    history.track(road.lake, changed)
    history.track(road.lake, dataset)
    assert rows(road, dataset).equals(before)
    return before


def rows(road: Road, dataset: Dataset) -> pl.DataFrame:
    table = road.lake.open(history.name(dataset.name))
    assert table is not None
    return table.scan().collect().select(sorted(table.columns)).sort([*raw.KEY, "valid_from"])


@pytest.mark.slow
@pytest.mark.parametrize("batch", [250, 1])
@pytest.mark.parametrize("policy", ["keep", "retract"])
def test_as_of_any_moment_history_is_what_cleaned_was(
    road: Road, policy: Policy, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "BATCH", batch)
    dataset = Dataset("readings", "readings/*.csv", Reading, on_delete=policy, history=True)
    road.datasets = check([dataset])
    moments: list[tuple[datetime, list[tuple[Any, ...]]]] = []
    for turn in TURNS:
        put(road, **{key: body and HEADER + body for key, body in turn.items()})
        road.hops()
        table = road.lake.open("cleaned/readings")
        assert table is not None
        moments.append((datetime.now(UTC), sorted(table.scan().select("id", "place", "value").collect().rows())))
        assert lagging(road.lake, road.datasets, road.items) == {}
        wrong = history.disagreement(road.lake, dataset)
        assert wrong is not None
        assert wrong.is_empty()
        time.sleep(1.1)
    for now, cleaned in moments:
        assert as_of(road, "readings", now, ["id", "place", "value"]) == cleaned
    anew(road, dataset)


FILES = {
    "mon": f"{HEAD}bread,2026-01-01T00:00:00Z,1\nmilk,2026-01-01T00:00:00Z,7\n",
    "wed": f"{HEAD}bread,2026-01-03T00:00:00Z,3\n",
    "tue": f"{HEAD}bread,2026-01-02T00:00:00Z,2\nbread,2026-01-02T00:00:00Z,-1\n",
    "again": f"{HEAD}bread,2026-01-04T00:00:00Z,3\n",
}


@pytest.mark.parametrize("order", [*itertools.permutations(FILES)][::5])
def test_late_records_take_their_place_whatever_the_order_of_arrival(road: Road, order: tuple[str, ...]) -> None:
    road.datasets = check([PRICES])
    for key in order:
        put(road, **{key: FILES[key]})
        road.hops()
    table = road.lake.open("history/prices")
    assert table is not None
    columns = ["thing", "price", "valid_from", "valid_to", "is_current"]
    found = table.scan().filter(history.STOOD).select(columns).collect().sort("thing", "valid_from")
    assert found.rows() == [
        ("bread", 1, day(0), day(1), False),
        ("bread", 2, day(1), day(2), False),
        ("bread", 3, day(2), day(3), False),
        ("bread", 3, day(3), None, True),
        ("milk", 7, day(0), None, True),
    ]


def test_an_overwritten_objects_records_are_history_too(road: Road) -> None:
    road.datasets = check([PRICES])
    put(road, list=FILES["mon"])
    road.hops()
    put(road, list=f"{HEAD}bread,2050-01-01T00:00:00Z,9\n")
    road.hops()
    ahead = datetime(2049, 1, 1, tzinfo=UTC)
    assert as_of(road, "prices", day(5), ["thing", "price"]) == [("bread", 1), ("milk", 7)]
    assert as_of(road, "prices", ahead, ["thing", "price"]) == [("bread", 1)]
    assert as_of(road, "prices", ahead.replace(year=2051), ["thing", "price"]) == [("bread", 9)]


def test_a_dataset_without_history_has_no_such_table(road: Road) -> None:
    assert not [name for name in names(road.datasets) if name.startswith("history/")]


def test_what_a_restore_of_raw_took_back_is_no_part_of_the_history_that_follows(road: Road) -> None:
    road.datasets = check([PRICES])
    for price in range(3):
        land(road, {"prices/a.csv": f"{HEAD}x,,{price}\n".encode()})
        road.announce("prices/a.csv")
        road.hops()
        if not price:
            first = raw.open_raw(road.lake, "prices").version
    restore(road.lake, "raw/prices", first, [inbox.NAME], raw.put_back, hold=False)
    road.hops()
    told = history.open_history(road.lake, PRICES).scan().filter("is_current").collect()
    assert told["price"].to_list() == [2]
    assert history.disagreement(road.lake, PRICES).is_empty()  # type: ignore[union-attr]
    numbers = raw.heads(raw.open_raw(road.lake, "prices")).collect()["_generation"].sort().to_list()
    assert numbers == [1, 4]
