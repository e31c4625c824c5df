"""A glance sees every change, and opens only what changed."""

import shutil
from pathlib import Path

import boto3
import polars as pl
import pytest

from lakehouse.lake import Lake
from lakehouse.lake.glance import Glance
from lakehouse.lake.paths import switch

BOTH = pytest.mark.parametrize("root", ["disk", pytest.param("s3", marks=pytest.mark.slow)], indirect=True)
ONE = pl.DataFrame({"a": [1]})


def made(lake: Lake, name: str = "raw/x") -> None:
    lake.ensure(name, ONE.schema).append(ONE)


@BOTH
def test_what_nobody_wrote_to_is_not_opened_again(root: str) -> None:
    lake = Lake(root)
    made(lake)
    first = Glance.of(lake)
    assert first.open("raw/x") is first.open("raw/x") is Glance.of(lake, first).open("raw/x")
    assert Glance.of(lake).open("raw/x") is not first.open("raw/x")


@BOTH
def test_a_commit_is_seen_by_the_next_look(root: str) -> None:
    lake = Lake(root)
    made(lake)
    look = Glance.of(lake)
    for version in (1, 2, 3):
        seen = look.open("raw/x")
        assert seen is not None
        assert seen.version == version
        table = lake.open("raw/x")
        assert table is not None
        table.append(ONE)
        look = Glance.of(lake, look)


def test_a_commit_between_the_opening_of_a_table_and_the_look_at_its_tip_is_seen_by_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(str(tmp_path))
    made(lake)
    opened = Lake.open

    def overtaken(self: Lake, name: str) -> object:
        table, other = opened(self, name), opened(self, name)
        assert other is not None
        other.append(ONE)
        return table

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Lake, "open", overtaken)
        look = Glance.of(lake)
        look.open("raw/x")
    table = Glance.of(lake, look).open("raw/x")
    assert table is not None
    assert table.version == 2


def removed(root: str) -> None:
    """Everything below a lake."""
    if "://" not in root:
        shutil.rmtree(root)
        return
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    s3 = boto3.client("s3")
    for one in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
        s3.delete_object(Bucket=bucket, Key=one["Key"])


@BOTH
def test_a_table_made_again_up_to_the_same_version_is_another(root: str) -> None:
    lake = Lake(root)
    made(lake)
    look = Glance.of(lake)
    before = look.open("raw/x")
    removed(root)
    made(lake)
    after = Glance.of(lake, look).open("raw/x")
    assert before is not None
    assert after is not None
    assert (after.version, after.id != before.id) == (before.version, True)


def test_a_table_that_is_gone_or_new_is_seen_so(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    made(lake)
    look = Glance.of(lake)
    assert look.open("raw/x")
    assert look.open("raw/y") is None
    shutil.rmtree(tmp_path / "raw")
    made(lake, "raw/y")
    look = Glance.of(lake, look)
    assert look.open("raw/x") is None
    assert look.open("raw/y")


def test_a_table_that_was_switched_is_seen_where_it_now_lies(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    made(lake)
    look = Glance.of(lake)
    before = look.open("raw/x")
    made(Lake(str(tmp_path), paths={"raw/x": 1}))
    switch(lake, {"raw/x": 1})
    after = Glance.of(lake, look).open("raw/x")
    assert before is not None
    assert after is not None
    assert after.id != before.id
