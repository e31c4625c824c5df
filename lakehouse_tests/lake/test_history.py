"""Whatever became of a source's history, the next hop leaves the target as the source stands."""

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from lakehouse.lake import Lake, Table
from lakehouse_tests.lake.test_hop import carry, put, rows


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path))


def source(lake: Lake) -> Table:
    table = lake.open("source")
    assert table is not None
    return table


def place(lake: Lake) -> Path:
    return Path(lake.root) / "source"


def clean_log(lake: Lake) -> None:
    source(lake).delta.create_checkpoint()
    for entry in sorted((place(lake) / "_delta_log").glob("*.json"))[:-1]:
        entry.unlink()


def vacuum(lake: Lake) -> None:
    source(lake).delta.optimize.compact()
    gone = source(lake).delta.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
    assert gone, "nothing was removed"


def lose_changes(lake: Lake) -> None:
    shutil.rmtree(place(lake) / "_change_data")


def restore(lake: Lake) -> None:
    source(lake).delta.restore(2)


def from_backup(lake: Lake) -> None:
    """The source as it was kept before its last changes: the same table, an earlier version."""
    shutil.rmtree(place(lake))
    (place(lake).parent / "backup").rename(place(lake))


def begin_anew(lake: Lake) -> None:
    shutil.rmtree(place(lake))
    for turn in range(6):
        put(lake, {"anew": turn})


def retype(lake: Lake) -> None:
    """The keys stay, but for one; the values were integers and are not any more."""
    halves = source(lake).scan().collect().with_columns(pl.col("v") + 0.5)
    source(lake).overwrite(halves.filter(pl.col("k") != "d"), [])


LOSSES: list[Callable[[Lake], None]] = [clean_log, vacuum, lose_changes, restore, from_backup, begin_anew, retype]


def same(lake: Lake) -> bool:
    return rows(lake) == rows(lake, "source")


@pytest.mark.parametrize("carried_before_the_loss", [True, False])
@pytest.mark.parametrize("lose", LOSSES)
def test_a_source_that_lost_its_history_is_taken_by_the_difference(
    lake: Lake, lose: Callable[[Lake], None], carried_before_the_loss: bool
) -> None:
    put(lake, {"a": 1, "b": 2, "c": 3})
    carry(lake)
    put(lake, {"a": 5}, deletes=("b",))
    shutil.copytree(place(lake), place(lake).parent / "backup")
    put(lake, {"d": 4, "e": 6}, deletes=("c",))
    put(lake, {"a": 7})
    if carried_before_the_loss:
        carry(lake)
    lose(lake)
    carry(lake)
    assert same(lake)
    put(lake, {"f": 8}, deletes=("a",))
    carry(lake)
    assert same(lake)
    assert not carry(lake).moved


def test_compaction_and_checkpoints_say_nothing_new(lake: Lake) -> None:
    for number in range(5):
        put(lake, {f"k{number}": number})
    carry(lake)
    before = rows(lake)
    source(lake).delta.optimize.compact()
    source(lake).delta.create_checkpoint()
    done = carry(lake)
    assert (done.upserted, done.deleted) == (0, 0)
    assert rows(lake) == before
    assert not carry(lake).moved


def test_a_feed_that_cannot_be_read_now_is_no_lost_history(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a moment's throttle would have every reader take its source whole."""
    put(lake, {"a": 1})
    carry(lake)
    put(lake, {"b": 2})

    def withheld(self: DeltaTable, *_: object) -> None:
        raise DeltaError("Generic S3 error: Error performing GET http://s3/ in 4.5s, after 10 retries: SlowDown")

    with monkeypatch.context() as patch:
        patch.setattr(DeltaTable, "load_cdf", withheld)
        with pytest.raises(DeltaError, match="SlowDown"):
            carry(lake)
    assert rows(lake) == {"a": 1}
    assert carry(lake).upserted == 1
    assert same(lake)
