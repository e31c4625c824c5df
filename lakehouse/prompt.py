"""Lines typed at a terminal → queries → tables printed, until Ctrl-D.

A query ends with a semicolon, or with an empty line, and may take as many lines as it likes. `\\d` lists the
tables, `\\d TABLE` its columns. What was asked is kept below the home.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory

from lakehouse import terminal
from lakehouse.query import QueryError

Execute = Callable[[str], pl.DataFrame]
"""The rows of a query. What it raises is told, and the prompt goes on."""
Tables = Callable[[], Mapping[str, Mapping[str, object]]]
"""Of each table, by its name in SQL, the columns with their types."""
WORDS = ["select", "from", "where", "group by", "order by", "limit", "join", "on", "count(*)", "as", "and", "or"]
GREETING = "A query ends with ; or an empty line. \\d lists the tables, \\d TABLE its columns, Ctrl-D ends."
ROWS = 40


def run(execute: Execute, tables: Tables, home: Path) -> None:
    """Ask and answer. `tables` is asked at each `\\d`, since they come while the prompt stands."""
    home.mkdir(parents=True, exist_ok=True)
    with terminal.busy("looking at the tables"):
        known = tables()
    words = [*WORDS, *known, *{column for columns in known.values() for column in columns}]
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(home / "sql_history")),
        completer=WordCompleter(words, ignore_case=True, WORD=True),
        complete_while_typing=False,
        multiline=Condition(lambda: not complete(session.default_buffer.text)),
        prompt_continuation="    ... ",
    )
    terminal.console().print(GREETING, style="dim", markup=False)
    while True:
        try:
            asked = session.prompt("lake> ").strip().rstrip(";").strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if asked:
            answer(execute, tables, asked)


def complete(text: str) -> bool:
    """Whether Enter sends what was typed."""
    lines = text.rstrip(" ").split("\n")
    return not text.strip() or text.lstrip().startswith("\\") or text.rstrip().endswith(";") or not lines[-1]


def answer(execute: Execute, tables: Tables, asked: str) -> None:
    command, _, name = asked.partition(" ")
    try:
        if command == "\\d":
            _list(tables(), name.strip())
            return
        with terminal.busy("asking"):
            rows = execute(asked)
    except QueryError as error:
        terminal.console().print(str(error), style="red", markup=False)
        terminal.console().print(f"Hint: {error.hint}", style="cyan", markup=False)
        return
    except (Exception, pl.exceptions.PanicException) as error:
        terminal.console().print(f"{type(error).__name__}: {error}", style="red", markup=False)
        return
    terminal.table("", rows, ROWS)


def _list(tables: Mapping[str, Mapping[str, object]], name: str) -> None:
    if name and name not in tables:
        terminal.console().print(f"no table {name}; \\d lists them", style="red", markup=False)
    elif name:
        columns = [(column, str(kind)) for column, kind in tables[name].items()]
        told = pl.DataFrame(columns, schema=["column", "type"], orient="row")
        terminal.table(name, told, len(columns), what="column")
    else:
        rows = [(table, len(columns)) for table, columns in tables.items()]
        told = pl.DataFrame(rows, schema=["table", "columns"], orient="row")
        terminal.table("", told, len(rows), what="table")
