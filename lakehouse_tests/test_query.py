"""SQL over the lake, now and as it stood."""

import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from lakehouse.dataset import load
from lakehouse.lake import Lake, Table, paths
from lakehouse.lake.table import POINTERS
from lakehouse.layers import raw, tables
from lakehouse.query import QueryError, ask, columns, named


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """`cleaned/flights`: one row in version 1, two in 2, three in 3."""
    lake = Lake(str(tmp_path))
    for number in (1, 2, 3):
        table(lake).append(pl.DataFrame({"n": [number]}))
        time.sleep(0.02)
    return lake


def table(lake: Lake) -> Table:
    return lake.ensure("cleaned/flights", pl.Schema({"n": pl.Int64}))


def numbers(lake: Lake, query: str) -> list[int]:
    return sorted(ask(lake, {}, query)["n"])


@pytest.mark.parametrize("name", ['"cleaned.flights@{}"', 'cleaned."flights@{}"'])
@pytest.mark.parametrize("version", range(4))
def test_a_table_is_read_as_of_a_version(lake: Lake, name: str, version: int) -> None:
    assert numbers(lake, f"select n from {name.format(version)}") == [*range(1, version + 1)]


def test_a_table_is_read_as_of_a_time_and_beside_itself_as_it_is(lake: Lake) -> None:
    told = sorted((e["version"], e["timestamp"]) for e in table(lake).delta.history())
    for version, at in told:
        when = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
        for text in (when, when.replace("+00:00", "Z"), when.replace("+00:00", "")):
            assert numbers(lake, f'select n from "cleaned.flights@{text}"') == [*range(1, version + 1)]
    new = 'select a.n from cleaned.flights a left join "cleaned.flights@1" b on a.n = b.n where b.n is null'
    assert numbers(lake, new) == [2, 3]


def test_texts_comments_and_names_of_the_query_itself_are_no_tables(lake: Lake) -> None:
    query = """with gone as (select n from "cleaned.flights@2") -- from "cleaned.nothing@7"
        select n from gone where 'cleaned.nothing@3' <> '' union all select n from cleaned.flights where n = 3"""
    assert named(query) == ["cleaned.flights@2", "cleaned.flights"]
    assert numbers(lake, query) == [1, 2, 3]


def test_only_the_tables_that_a_query_names_are_opened(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = Lake.open
    monkeypatch.setattr(Lake, "open", lambda self, name: (opened.append(name), real(self, name))[1])
    ask(lake, {}, "select n from cleaned.flights")
    assert opened == ["cleaned/flights"]


def test_every_table_that_can_stand_tells_its_columns(lake: Lake) -> None:
    for name in tables.names(load()):
        layer, _, bare = name.partition("/")
        kinds = paths.SCHEMA if name == POINTERS else pl.Schema({"n": pl.Int64})
        raw.open_raw(lake, bare) if layer == "raw" else lake.ensure(name, kinds)
    told = columns(lake, load())
    assert {"landing.inbox", "landing.reconciled", "landing.flights", "lake.pointers", "erased.report"} <= {*told}
    assert all(told.values())


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ('select * from "cleaned.flights@9"', "cleaned/flights has no version 9: its newest version is 3"),
        ('select * from "cleaned.flights@2020-01-01"', "its log begins with 0, of 20"),
        ('select * from "cleaned.flights@noon"', "noon is neither a version nor a time"),
        ("drop table cleaned.flights", "a query begins with select or with"),
        ("select from where", "at line 1, column"),
        ("", "No expression was parsed"),
    ],
)
def test_what_cannot_be_answered_says_why(lake: Lake, query: str, told: str) -> None:
    with pytest.raises(QueryError, match=told):
        ask(lake, {}, query)


def forget(lake: Lake) -> None:
    held = table(lake).delta
    held.optimize.compact()
    held.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)


def test_a_version_whose_files_retention_removed_is_named(lake: Lake) -> None:
    forget(lake)
    with pytest.raises(QueryError, match=r"cleaned.flights@2: retention has removed"):
        ask(lake, {}, 'select * from "cleaned.flights@2"')
    assert numbers(lake, "select n from cleaned.flights") == [1, 2, 3]


def test_a_version_whose_log_retention_removed_is_named(lake: Lake) -> None:
    table(lake).delta.create_checkpoint()
    for entry in sorted((Path(lake.root) / "cleaned/flights/_delta_log").glob("*.json"))[:-1]:
        entry.unlink()
    with pytest.raises(QueryError, match="cleaned/flights has no version 1: retention has removed it"):
        ask(lake, {}, 'select * from "cleaned.flights@1"')
    with pytest.raises(QueryError, match="its log begins with 3"):
        ask(lake, {}, 'select * from "cleaned.flights@2020-01-01T00:00:00Z"')
