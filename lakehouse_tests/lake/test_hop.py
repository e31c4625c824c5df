"""The hop, on plain Delta tables."""

import threading
from pathlib import Path

import polars as pl
import pytest

from lakehouse.lake import Conflict, Desired, Lake, News, Table, hop, table
from lakehouse.lake.hop import cursor_at

SCHEMA = pl.Schema({"k": pl.String, "v": pl.Int64})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path))


def copy(target: Table, news: list[News]) -> Desired:
    """The simplest work: the target is to hold what the source holds."""
    source = news[0].source.scan().collect()
    if news[0].whole:
        return Desired(source)
    scope = news[0].touched(["k"])
    return Desired(source.join(scope, on="k", how="semi"), scope)


def carry(lake: Lake, code: str = "1"):
    return hop(
        lambda: lake.ensure("target", SCHEMA), [lambda: lake.ensure("source", SCHEMA)], copy, key=["k"], code=code
    )


def put(lake: Lake, upserts: dict[str, int], deletes: tuple[str, ...] = ()) -> None:
    rows = pl.DataFrame({"k": list(upserts), "v": list(upserts.values())}, schema=SCHEMA)
    lake.ensure("source", SCHEMA).apply(rows, pl.DataFrame({"k": list(deletes)}, schema={"k": pl.String}), ["k"])


def rows(lake: Lake, name: str = "target") -> dict[str, int]:
    table = lake.open(name)
    assert table is not None
    return dict(table.scan().collect().iter_rows())


def test_a_hop_carries_inserts_updates_and_deletes(lake: Lake) -> None:
    put(lake, {"a": 1, "b": 2})
    carry(lake)
    put(lake, {"a": 5, "c": 3}, deletes=("b",))
    done = carry(lake)
    assert rows(lake) == {"a": 5, "c": 3}
    assert (done.upserted, done.deleted) == (2, 1)


def test_a_repeated_hop_commits_nothing(lake: Lake) -> None:
    put(lake, {"a": 1})
    first = carry(lake)
    second = carry(lake)
    assert not second.moved
    assert second.version == first.version


def test_a_change_that_changes_nothing_still_moves_the_cursor(lake: Lake) -> None:
    put(lake, {"a": 1})
    carry(lake)
    put(lake, {"b": 2})
    put(lake, {}, deletes=("b",))
    done = carry(lake)
    assert done.moved
    assert done.upserted == 0
    assert not carry(lake).moved


def test_only_rows_that_differ_are_in_the_targets_change_feed(lake: Lake) -> None:
    put(lake, {"a": 1, "b": 2, "c": 3})
    carry(lake)
    put(lake, {"a": 1, "b": 9})
    carry(lake)
    target = lake.open("target")
    assert target is not None
    changes = target.changes(target.version - 1)
    assert changes is not None
    assert changes["k"].unique().to_list() == ["b"]


def test_other_code_compares_the_whole_target(lake: Lake) -> None:
    put(lake, {"a": 1})
    carry(lake)
    target = lake.open("target")
    assert target is not None
    target.apply(pl.DataFrame({"k": ["stray"], "v": [0]}), pl.DataFrame({"k": ["a"]}), ["k"])
    assert not carry(lake).moved
    done = carry(lake, code="2")
    assert (done.upserted, done.deleted) == (1, 1)
    assert rows(lake) == {"a": 1}


def test_a_source_made_anew_is_taken_whole(lake: Lake, tmp_path: Path) -> None:
    put(lake, {"a": 1, "b": 2})
    carry(lake)
    (tmp_path / "source").rename(tmp_path / "lost")
    put(lake, {"a": 7})
    carry(lake)
    assert rows(lake) == {"a": 7}


def test_a_feed_that_does_not_reach_back_is_answered_by_the_difference(lake: Lake, tmp_path: Path) -> None:
    put(lake, {"a": 1, "b": 2})
    carry(lake)
    put(lake, {"c": 3}, deletes=("a",))
    put(lake, {"d": 4})
    for version in (2, 3):
        source = lake.open("source")
        assert source is not None
        source.delta.create_checkpoint()
        (tmp_path / "source" / "_delta_log" / f"{version:020}.json").unlink(missing_ok=version == 3)
        break
    carry(lake)
    assert rows(lake) == {"b": 2, "c": 3, "d": 4}


def test_of_two_handles_with_one_look_only_one_commits(lake: Lake) -> None:
    put(lake, {"a": 1})
    source = lake.ensure("source", SCHEMA)
    first, second = (lake.ensure("target", SCHEMA) for _ in range(2))
    news = source.scan().collect()
    first.append(news, [cursor_at(source, "1")])
    with pytest.raises(Conflict):
        second.append(news, [cursor_at(source, "1")])
    assert rows(lake) == {"a": 1}


def test_racing_hops_end_in_one_state(lake: Lake) -> None:
    faults: list[BaseException] = []

    def race() -> None:
        try:
            carry(lake)
        except BaseException as error:
            faults.append(error)

    for turn in range(4):
        put(lake, {"a": turn, f"n{turn}": turn})
        threads = [threading.Thread(target=race) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not faults
    assert rows(lake) == rows(lake, "source")


def test_a_delete_far_from_every_upsert_is_done(lake: Lake) -> None:
    put(lake, {"a": 1, "m": 2, "z": 3})
    carry(lake)
    put(lake, {"m": 5}, deletes=("a", "z"))
    carry(lake)
    assert rows(lake) == {"m": 5}
    put(lake, {}, deletes=("m",))
    carry(lake)
    assert rows(lake) == {}


def test_a_first_load_lies_in_files_that_a_later_change_copies_few_of(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(table.CONFIGURATION, table.FILE_SIZE, "50000")
    put(lake, {f"{n:06}": n * 7_919_993 for n in range(100_000)})
    carry(lake)
    target = lake.open("target")
    assert target is not None
    assert len(target.files) > 4
    put(lake, {"000007": 1})
    done = carry(lake)
    assert done.upserted == 1
    assert 0 < done.copied < 50_000


def test_an_upsert_into_many_files_leaves_files_of_their_size(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table.CONFIGURATION, table.FILE_SIZE, "50000")
    values = {f"{n:06}": n * 7_919_993 for n in range(100_000)}
    put(lake, values)
    carry(lake)
    put(lake, {key: -1 for key in [*values][::1000]})
    done = carry(lake)
    assert done.rewritten > 4
    target = lake.open("target")
    assert target is not None
    assert target.files["size_bytes"].max() < 200_000


def test_the_feed_reaches_back_over_a_first_load(lake: Lake) -> None:
    put(lake, {"a": 1})
    carry(lake)
    target = lake.open("target")
    assert target is not None
    changes = target.changes(0)
    assert changes is not None
    assert changes.select("k", "v", "_change_type").rows() == [("a", 1, "insert")]
