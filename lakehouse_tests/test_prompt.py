"""The prompt: what is typed, and what is answered."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from lakehouse import prompt
from lakehouse.query import QueryError

TABLES: dict[str, Mapping[str, object]] = {
    "cleaned.airlines": {"carrier": pl.String, "name": pl.String},
    "serving.spent": {"spent": pl.Float64},
}


def typed(home: Path, text: str, tables: Mapping[str, Mapping[str, object]] = TABLES) -> list[str]:
    """The queries that reach the lake when this is typed, up to Ctrl-D."""
    asked: list[str] = []

    def execute(query: str) -> pl.DataFrame:
        asked.append(query)
        if "selekt" in query:
            raise pl.exceptions.SQLSyntaxError("expected a statement, found: [selekt]")
        if "nothing" in query:
            raise QueryError("no table nothing", "tables: [cleaned.airlines]")
        tables.update(TABLES)
        return pl.DataFrame({"carrier": ["AA", "UA"]})

    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keys.send_text(text + "\x04")
        prompt.run(execute, lambda: tables, home)
    return asked


def test_a_query_takes_as_many_lines_as_it_likes_and_ends_with_a_semicolon(tmp_path: Path) -> None:
    assert typed(tmp_path, "select *\rfrom cleaned.airlines\rlimit 5;\r") == [
        "select *\nfrom cleaned.airlines\nlimit 5"
    ]
    assert typed(tmp_path, "select 1;\rselect 2;\r") == ["select 1", "select 2"]


def test_an_empty_line_ends_a_query_too(tmp_path: Path) -> None:
    assert typed(tmp_path, "select 1\r\r") == ["select 1"]


def test_what_was_asked_is_there_the_next_time(tmp_path: Path) -> None:
    typed(tmp_path, "select 1;\r")
    assert typed(tmp_path, "\x1b[A\r") == ["select 1"]


def test_a_listing_that_fails_is_told_and_the_prompt_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Away(dict[str, Mapping[str, object]]):
        def items(self) -> Any:
            raise OSError("the lake is away")

    assert typed(tmp_path, "\\d\rselect 1;\r", Away(TABLES)) == ["select 1"]
    assert "OSError: the lake is away" in capsys.readouterr().out


def test_an_error_is_told_and_the_prompt_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(tmp_path, "selekt;\rselect 1;\r") == ["selekt", "select 1"]
    told = capsys.readouterr().out
    assert "SQLSyntaxError: expected a statement, found: [selekt]" in told
    assert "AA" in told


def test_what_a_query_lacks_is_told_with_a_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed(tmp_path, "select * from nothing;\r")
    assert capsys.readouterr().out.splitlines()[1:] == ["no table nothing", "Hint: tables: [cleaned.airlines]"]


def test_a_table_that_comes_while_the_prompt_stands_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(tmp_path, "\\d\rselect 1;\r\\d cleaned.airlines\r", {})
    assert "carrier" in capsys.readouterr().out


def test_tables_and_their_columns_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(tmp_path, "\\d\r\\d cleaned.airlines\r\\d nothing\r") == []
    told = capsys.readouterr().out
    for word in (
        "cleaned.airlines",
        "serving.spent",
        "carrier",
        "String",
        "no table nothing; \\d lists them",
        "2 columns",
        "2 tables",
    ):
        assert word in told
