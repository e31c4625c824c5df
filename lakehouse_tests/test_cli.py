"""The command line, as a person types it."""

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from lakehouse.cli import main
from lakehouse.lake import Lake
from lakehouse.layers import raw


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake with three airlines in cleaned, and one object in raw."""
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    monkeypatch.setenv("LAKEHOUSE_LAKE", str(tmp_path / "lake"))
    lake = Lake(str(tmp_path / "lake"))
    rows = pl.DataFrame({"carrier": ["AA", "UA", "cleaned.airlines"], "name": ["American", "United", None]})
    lake.ensure("cleaned/airlines", rows.schema).append(rows)
    parts = pl.DataFrame({"_part": ["head", "row", "row"], "_object": ["a.csv"] * 3, "_record": [None, 1, 2]})
    raw.open_raw(lake, "airlines").append(parts)
    return lake


def ask(query: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["sql", query, *options])


def answer(query: str) -> list[dict[str, object]]:
    found = ask(query, "--format", "json")
    assert found.exit_code == 0, found.output
    return list(json.loads(found.output))


def test_sql_reads_a_table_by_layer_and_name(lake: Lake) -> None:
    assert answer("select name from cleaned.airlines where carrier = 'AA'") == [{"name": "American"}]


def test_a_tables_name_inside_a_text_is_a_text(lake: Lake) -> None:
    query = "select carrier from cleaned.airlines where carrier = 'cleaned.airlines'"
    assert answer(query) == [{"carrier": "cleaned.airlines"}]


def test_sql_joins_under_aliases_and_whole_names(lake: Lake) -> None:
    query = "select a.name from cleaned.airlines a join cleaned.airlines b on a.carrier = b.carrier"
    assert {row["name"] for row in answer(query)} == {None, "American", "United"}
    assert len(answer("select cleaned.airlines.carrier from cleaned.airlines")) == 3


def test_raw_shows_the_rows_and_landing_the_heads(lake: Lake) -> None:
    assert answer("select count(*) as n from raw.airlines") == [{"n": 2}]
    assert answer("select _object from landing.airlines") == [{"_object": "a.csv"}]


def test_sql_prints_a_table_or_csv(lake: Lake) -> None:
    query = "select carrier, name from cleaned.airlines where carrier = 'UA'"
    assert ask(query, "--format", "csv").output == "carrier,name\nUA,United\n"
    assert "│ UA" in ask(query).output


@pytest.mark.parametrize("query", ["select * from cleaned.nothing", "selekt", "select nope from cleaned.airlines"])
def test_a_wrong_query_ends_with_a_hint_that_names_the_tables(lake: Lake, query: str) -> None:
    found = ask(query)
    assert found.exit_code == 1
    assert "Hint: tables: landing.airlines, raw.airlines, cleaned.airlines" in found.output
    assert "Traceback" not in found.output


def test_maintain_names_every_table(lake: Lake) -> None:
    done = CliRunner().invoke(main, ["maintain"])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        "raw/airlines: 0 files deleted",
        "cleaned/airlines: 0 files deleted",
    ]
