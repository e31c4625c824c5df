"""A large object goes into raw in pieces, and is one generation with one head in one commit all the same."""

import io

import polars as pl
import pytest

from lakehouse.lake import Table
from lakehouse.landing import content, objects
from lakehouse.landing.content import Body, Interrupted
from lakehouse.landing.objects import Bucket, Identity
from lakehouse.layers import ingest as verb
from lakehouse.layers import raw, sheets
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road

LARGE, SMALL = "flights/large.csv", "flights/small.csv"
COUNT = 100


@pytest.fixture
def large(road: Road, monkeypatch: pytest.MonkeyPatch) -> Road:
    """Of two objects that wait one is far larger than a piece, and a piece larger than a sheet."""
    monkeypatch.setattr(objects, "WHOLE", 500)
    monkeypatch.setattr(content, "PIECE", 1000)
    monkeypatch.setattr(sheets, "SHEET", 1000)
    road.bucket.put(LARGE, sample.flights(*[("AA", n + 1, 0) for n in range(COUNT)]))
    road.bucket.put(SMALL, sample.flights(("UA", 1, 0)))
    road.announce(LARGE, SMALL)
    return road


def ingest(road: Road) -> None:
    verb.ingest(road.lake, road.bucket, road.datasets["flights"])


def opened(road: Road) -> Table:
    return raw.open_raw(road.lake, "flights")


def heads(road: Road) -> dict[str, tuple[str, int, str | None]]:
    told = raw.heads(opened(road)).select("_object", "_state", "_records", "_reason").collect()
    return {key: (state, count, reason) for key, state, count, reason in told.iter_rows()}


def numbers(road: Road, key: str) -> list[int]:
    rows = opened(road).scan().filter((pl.col("_part") == "row") & (pl.col("_object") == key))
    return sorted(rows.select("_record").collect()["_record"])


def test_a_large_object_is_one_generation_of_many_files_in_one_commit(large: Road) -> None:
    before = opened(large).version
    ingest(large)
    assert heads(large) == {LARGE: ("read", COUNT, None), SMALL: ("read", 1, None)}
    assert numbers(large, LARGE) == list(range(1, COUNT + 1))
    rows = (
        opened(large).scan().filter(pl.col("_object") == LARGE, pl.col("_part") == "row").sort("_record").collect()
    )
    assert rows["flight"].to_list() == [str(n + 1) for n in range(COUNT)]
    assert rows["_generation"].unique().to_list() == [1]
    adds = pl.DataFrame(opened(large).delta.get_add_actions(flatten=True))
    assert len(adds.filter(pl.col("partition._part") == "row")) > 2
    assert opened(large).version == before + 2, "the columns, and one commit"
    ingest(large)
    assert opened(large).version == before + 2


def test_a_large_object_that_is_unreadable_at_its_end_brings_no_row(large: Road) -> None:
    large.bucket.put(LARGE, sample.flights(*[("AA", n + 1, 0) for n in range(COUNT)]) + b"\xff\xfe\n")
    ingest(large)
    state, count, reason = heads(large)[LARGE]
    assert (state, count) == ("refused", 0)
    assert "not UTF-8" in str(reason)
    assert numbers(large, LARGE) == []
    assert numbers(large, SMALL) == [1]


def test_a_large_object_that_breaks_off_commits_nothing_and_comes_whole_with_the_next_run(
    large: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, broken = Bucket.get, [True]

    class Cut(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 2000:
                raise ConnectionError("reset")
            return super().read(size)

    def cut(self: Bucket, key: str) -> tuple[Identity, bytes | Body] | None:
        got = get(self, key)
        if got and key == LARGE and broken.pop():
            broken.append(False)
            return got[0], Body(key, Cut(sample.flights(*[("AA", n + 1, 0) for n in range(COUNT)])))
        return got

    monkeypatch.setattr(Bucket, "get", cut)
    with pytest.raises(Interrupted, match="reset"):
        ingest(large)
    assert heads(large) == {}
    broken[:] = [False]
    ingest(large)
    assert heads(large) == {LARGE: ("read", COUNT, None), SMALL: ("read", 1, None)}
    assert numbers(large, LARGE) == list(range(1, COUNT + 1))
