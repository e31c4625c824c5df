"""raw → cleaned, quarantine and balance, a portion a commit."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from lakehouse.dataset import Dataset
from lakehouse.lake import Table
from lakehouse.layers import balance, cleaned, ingest, raw, serving
from lakehouse.layers.lag import lagging
from lakehouse.layers.portion import Portion
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_retention import forget
from lakehouse_tests.test_road import check, land

FILES = {
    f"flights/{n:02}.csv": sample.flights(("AA", n, n), ("UA", 99, n), ("DL", n, "late")) for n in range(1, 9)
}
TARGETS = [f"{layer}/flights" for layer in ("cleaned", "quarantine", "balance")]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two objects a portion; gives how many objects each portion of flights took."""
    monkeypatch.setattr(raw, "BATCH", 2)
    taken: list[int] = []
    rows = Portion.rows

    def counted(self: Portion, dataset: Dataset) -> pl.DataFrame:
        taken.extend([len(self.objects)] * (dataset.name == "flights"))
        return rows(self, dataset)

    monkeypatch.setattr(Portion, "rows", counted)
    return taken


def take(road: Road, files: dict[str, bytes]) -> None:
    land(road, files)
    road.announce(*files)
    ingest.ingest(road.lake, road.bucket, road.datasets["flights"])


def versions(road: Road) -> dict[str, int]:
    tables = {name: road.lake.open(name) for name in TARGETS}
    return {name: table.version for name, table in tables.items() if table}


def test_a_first_load_is_taken_a_portion_a_commit(road: Road, small: list[int]) -> None:
    take(road, FILES)
    road.hops()
    assert small == [2] * 4 * len(TARGETS)
    assert versions(road) == dict.fromkeys(TARGETS, 4)
    check(road, FILES)


@pytest.mark.slow
def test_a_stretch_of_changes_is_taken_a_portion_a_commit(road: Road, small: list[int]) -> None:
    take(road, {"flights/00.csv": sample.flights(("AA", 1, 1))})
    road.hops()
    before = versions(road)
    del small[:]
    take(road, FILES)
    road.hops()
    assert small == [2] * 4 * len(TARGETS)
    assert versions(road) == {name: version + 4 for name, version in before.items()}
    check(road, {"flights/00.csv": sample.flights(("AA", 1, 1)), **FILES})


def tenfold(raw: pl.LazyFrame) -> pl.LazyFrame:
    return raw.with_columns(arr_delay=pl.col("arr_delay") + "0")


def other_code(road: Road) -> None:
    flights = road.datasets["flights"]
    road.datasets["flights"] = Dataset(
        flights.name, flights.landing, flights.contract, tenfold, ["arr_delay"], serving=flights.serving
    )


def lost_history(road: Road) -> None:
    forget(road, "raw/flights")


def raw_anew(road: Road) -> None:
    (Path(road.lake.root) / "raw/flights").rename(Path(road.lake.root) / "lost")
    road.announce(*FILES)


@pytest.mark.parametrize("turn", [lost_history, pytest.param(raw_anew, marks=pytest.mark.slow)])
def test_a_table_taken_anew_by_portions_ends_as_one_taken_at_once(
    road: Road, small: list[int], turn: Callable[[Road], None]
) -> None:
    take(road, {**FILES, "flights/00.csv": sample.flights(("AA", 77, 1))})
    road.hops()
    road.bucket.client.delete_object(Bucket=road.bucket.name, Key="flights/00.csv")
    later = {"flights/03.csv": sample.flights(("AA", 3, 33), ("DL", 3, 3))}
    del small[:]
    turn(road)
    if turn is raw_anew:
        take(road, {**FILES, **later})
    else:
        take(road, later)
        lost_history(road)
    road.hops()
    assert max(small) == 2
    gone = {} if turn is raw_anew else {"flights/00.csv": sample.flights(("AA", 77, 1))}
    check(road, {**gone, **FILES, **later})


@pytest.mark.slow
def test_other_code_is_applied_to_every_portion(road: Road, small: list[int]) -> None:
    take(road, FILES)
    road.hops()
    del small[:]
    other_code(road)
    road.hops()
    assert max(small) == 2
    assert standing(road) == {99: 80, **{n: 10 * n for n in range(1, 9)}}


def standing(road: Road) -> dict[int, int]:
    table = road.lake.open("cleaned/flights")
    assert table is not None
    return dict(table.scan().select("flight", "arr_delay").collect().iter_rows())


def test_a_walk_that_died_on_the_way_is_no_ground_for_other_code(
    road: Road, small: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    take(road, FILES)
    road.hops()
    before = road.datasets["flights"]
    other_code(road)
    die_after(monkeypatch, 2)
    with pytest.raises(ConnectionError):
        cleaned.clean(road.lake, road.datasets["flights"])
    monkeypatch.undo()
    road.datasets["flights"] = before
    road.hops()
    check(road, FILES)


@pytest.mark.slow
def test_what_is_served_waits_while_a_table_that_it_reads_is_taken_anew(
    road: Road, small: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    take(road, FILES)
    road.hops(everything=True)
    other_code(road)
    die_after(monkeypatch, 2)
    with pytest.raises(ConnectionError):
        cleaned.clean(road.lake, road.datasets["flights"])
    monkeypatch.undo()
    served = {s.name: serving.serve(road.lake, s, road.datasets) for s in road.servings()}
    assert not any(done.moved for done in served.values())
    assert lagging(road.lake, road.datasets, road.items)["flights"] == "cleaned/flights"
    road.hops()
    assert lagging(road.lake, road.datasets, road.items) == {}


def die_after(monkeypatch: pytest.MonkeyPatch, commits: int) -> None:
    apply, left = Table.apply, iter(range(commits))

    def once(self: Table, *args: object) -> int:
        if next(left, None) is None:
            raise ConnectionError
        return apply(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Table, "apply", once)


@pytest.mark.slow
def test_a_walk_of_other_code_in_between_leaves_none_of_its_rows(
    road: Road, small: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    take(road, FILES)
    mine = road.datasets["flights"]
    apply, calls = Table.apply, iter(range(3))

    def overtaken(self: Table, *args: object) -> None:
        if self.name == "cleaned/flights" and next(calls, None) == 2:
            other_code(road)
            cleaned.clean(road.lake, road.datasets["flights"])
            assert standing(road)[8] == 80
            road.datasets["flights"] = mine
        apply(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Table, "apply", overtaken)
    cleaned.clean(road.lake, mine)
    assert next(calls, None) is None
    road.hops()
    check(road, FILES)


@pytest.mark.slow
def test_who_writes_in_between_makes_the_walk_begin_anew(
    road: Road, small: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    take(road, FILES)
    apply, calls = Table.apply, iter(range(3))
    late = {"flights/02.csv": sample.flights(("AA", 2, 222))}

    def overtaken(self: Table, *args: object) -> None:
        if self.name == "cleaned/flights" and next(calls, None) == 2:
            take(road, late)
            cleaned.clean(road.lake, road.datasets["flights"])
        apply(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Table, "apply", overtaken)
    cleaned.clean(road.lake, road.datasets["flights"])
    road.hops()
    assert balance.unbalanced(road.lake, road.datasets["flights"]).is_empty()
    check(road, {**FILES, **late})
