"""Commands for the tables of the lake."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

import click

from lakehouse.cli.common import AS_JSON, landing_bucket
from lakehouse.cli.plain import Failure
from lakehouse.cli.workers import Workers
from lakehouse.settings import Settings, instance
from lakehouse.words import counted


@click.command()
@AS_JSON
def status(as_json: bool) -> None:
    """The queue, every table, every DynamoDB table, and how far each is from its source.

    Lag is in events for raw, in commits for the others. Items are counted by a scan.
    """
    from lakehouse import model
    from lakehouse.dataset import load
    from lakehouse.dynamodb.sync import items_of
    from lakehouse.lake import Lake
    from lakehouse.landing.queue import Queue
    from lakehouse.layers import raw
    from lakehouse.layers.lag import distances
    from lakehouse.layers.tables import standing
    from lakehouse.ml import lag
    from lakehouse.ml.tables import standing as learned
    from lakehouse.settings import client

    settings = Settings.load()
    lake, datasets, models = Lake(settings.lake).pinned(), load(), model.load()
    queue = Queue(client("sqs"), settings.required("queue_url")).depth()
    dead = Queue(client("sqs"), settings.dead_letter_url).depth().waiting if settings.dead_letter_url else None
    where = partial(items_of, settings)
    lags = distances(lake, datasets, where) | lag.distances(lake, models, where)
    tables = {
        name: {
            "rows": raw.records(table) if name.startswith("raw/") else table.count,
            "version": table.version,
            "lag": lags.get(name, 0),
            "held": table.held,
            "committed_at": table.committed_at.isoformat(timespec="seconds"),
        }
        for name, table in (standing(lake, datasets) | learned(lake, models)).items()
    }
    items = {}
    published = [*(s for d in datasets.values() for s in d.serving), *(m.serving for m in models.values())]
    for serving in (s for s in published if s.publish):
        found = items_of(settings, serving)
        cursor = found.peek()
        items[serving.name] = {
            "items": found.count() if cursor else 0,
            "version": cursor.version if cursor else None,
            "lag": lags.get(f"dynamodb/{serving.name}", 0),
        }
    queues = {"waiting": queue.waiting, "in_flight": queue.in_flight, "dead": dead}
    if as_json:
        click.echo(json.dumps({"queue": queues, "tables": tables, "dynamodb": items}))
        return
    click.echo(f"queue: {queue.waiting} waiting, {queue.in_flight} in flight, {dead} dead\n")
    click.echo(f"{'table':34} {'rows':>9} {'version':>8} {'lag':>5}  last commit")
    for name, facts in tables.items():
        committed = f"{facts['committed_at']}{', held' if facts['held'] else ''}"
        click.echo(f"{name:34} {facts['rows']:>9,} {facts['version']:>8} {facts['lag']:>5}  {committed}")
    click.echo(f"\n{'DynamoDB':34} {'items':>9} {'version':>8} {'lag':>5}")
    for name, held in items.items():
        click.echo(f"{name:34} {held['items']:>9,} {held['version']!s:>8} {held['lag']:>5}")


@click.command()
@click.argument("query", required=False)
@click.option(
    "--format",
    "shape",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
    help="How the rows are written.",
)
@click.option("--json", "shape", flag_value="json", help="As --format json.")
def sql(query: str | None, shape: str) -> None:
    """Ask the lake, in polars SQL: `select * from cleaned.flights limit 5`. Without a query: a prompt.

    From a pipe or with a format, the query is what is on standard input.

    A table as it stood: `"cleaned.flights@12"`, `"cleaned.flights@2026-11-01T10:00:00Z"`. Parquet goes into a file
    or a pipe: `lakehouse sql "…" --format parquet > late.parquet`.
    """
    import polars as pl

    from lakehouse import model
    from lakehouse.dataset import load
    from lakehouse.lake import Lake
    from lakehouse.query import QueryError, ask, columns

    if shape == "parquet" and sys.stdout.isatty():
        raise Failure("Parquet is not for a terminal", "send it into a file: … --format parquet > rows.parquet")
    settings, datasets, models = Settings.load(), load(), model.load()
    lake = Lake(settings.lake)
    if query is None and (shape != "table" or not sys.stdin.isatty()):
        query = sys.stdin.read()
    if query is None:
        from lakehouse import prompt

        execute = partial(ask, lake, datasets, models=models)
        prompt.run(execute, partial(columns, lake, datasets, models), settings.home)
        return
    try:
        result = ask(lake, datasets, query, models)
    except QueryError as error:
        raise Failure(str(error), error.hint) from error
    if shape == "table":
        with pl.Config(
            tbl_rows=50,
            tbl_cols=20,
            tbl_hide_dataframe_shape=True,
            tbl_hide_column_data_types=True,
            fmt_str_lengths=200,
            tbl_width_chars=160,
        ):
            click.echo(result)
    elif shape == "parquet":
        result.write_parquet(sys.stdout.buffer)
    else:
        spelled = result.select(_spelled(pl.col(name), kind) for name, kind in result.schema.items())
        click.echo(_written(spelled, shape), nl=shape == "json")


def _spelled(values: Any, kind: Any) -> Any:
    """The values with bytes in base64, at whatever depth: neither CSV nor JSON has a word for them."""
    import polars as pl

    match kind:
        case pl.Binary():
            return values.bin.encode("base64")
        case pl.List(inner=inner):
            return values.list.eval(_spelled(pl.element(), inner))
        case pl.Array(inner=inner):
            return values.arr.to_list().list.eval(_spelled(pl.element(), inner))
        case pl.Struct(fields=fields):
            return values.struct.with_fields(_spelled(pl.field(f.name), f.dtype) for f in fields)
    return values


def _written(rows: Any, shape: str) -> str:
    from polars.exceptions import ComputeError

    try:
        return str(rows.write_csv() if shape == "csv" else rows.write_json())
    except ComputeError as error:
        raise Failure(str(error).partition("\n")[0], "take --format json or parquet") from error


@click.command()
@click.argument("what", metavar="TABLE|s3://…")
@click.argument("key", nargs=-1, metavar="[COLUMN=VALUE]...")
@click.option("--rows", type=click.IntRange(0), default=5, show_default=True, help="Rows to show of each table.")
@AS_JSON
def trace(what: str, key: tuple[str, ...], rows: int, as_json: bool) -> None:
    """Where a row came from: `lakehouse trace carrier_punctuality carrier=UA`.

    With its item in DynamoDB, back through cleaned, its history and raw to the objects, the runs that read them,
    the records refused beside it and the events that told of them. Of a prediction, to the version that made it,
    too. `lakehouse trace s3://bucket/key` goes the other way: everything that an object touched.
    """
    from lakehouse import model, terminal
    from lakehouse import trace as way
    from lakehouse.dataset import load
    from lakehouse.lake import Lake

    settings, datasets, models = Settings.load(), load(), model.load()
    lake, items = Lake(settings.lake), _items(settings)
    if what.startswith("s3://"):
        with terminal.busy("following"):
            bucket, _, name = what.removeprefix("s3://").partition("/")
            steps = way.of_object(lake, datasets, bucket, name, models, items)
    else:
        if not key or not all("=" in part for part in key):
            raise Failure("which row?", f"name a column and its value: lakehouse trace {what} column=value")
        with terminal.busy("following"):
            wanted = dict(part.partition("=")[::2] for part in key)
            steps = way.of_row(lake, datasets, what, wanted, models, items)
    told = [{"table": s.table, "version": s.version, "by": [*s.by], "count": len(s.rows)} for s in steps]
    if as_json:
        for one, step in zip(told, steps, strict=True):
            one["rows"] = step.rows.head(rows).to_dicts()
        click.echo(json.dumps(told, default=terminal.plain))
        return
    for step in steps:
        title = f"{step.table} @{step.version}"
        first = [c for c in dict.fromkeys([*step.by, *way.RECORD]) if c in step.rows.columns]
        found = step.rows.select(*first, *(c for c in step.rows.columns if c not in first))
        terminal.table(title, found, rows, f"by {', '.join(step.by)}" if step.by else "the whole table")


@click.command()
@click.argument("table")
@click.option("--to", "when", required=True, metavar="VERSION|TIME", help="12, or 2026-11-01T10:00:00Z.")
@click.option("--replay/--hold", default=True, help="What flows in again (default), or nothing until `resume`.")
@AS_JSON
def restore(table: str, when: str, replay: bool, as_json: bool) -> None:
    """Put a table back; what depends on it follows: `lakehouse restore cleaned.flights --to 12`."""
    from lakehouse.lake import Conflict
    from lakehouse.lake.past import Forgotten, moment, no_marks
    from lakehouse.lake.past import restore as put_back
    from lakehouse.layers import raw

    lake, name, sources = _hopped(table)
    marks = raw.put_back if name.startswith("raw/") else no_marks
    try:
        if gone := _irreplaceable(lake, name, moment(when)):
            what = f"gone from the bucket: {counted(len(gone), 'object')} read since, {gone[0]} among them"
            raise Failure(what, "their rows would be lost: put back a layer after raw, or upload them again")
        stands, version = put_back(lake, name, moment(when), sources, marks, hold=not replay)
    except ValueError as error:
        raise Failure(f"{when} is neither a version nor a time", "as in 12, or 2026-11-01T10:00:00Z") from error
    except Forgotten as error:
        raise Failure(str(error), "`lakehouse status` tells the newest version; 7 days are kept") from error
    except Conflict as error:
        raise Failure(f"others write to {table} all the time: {error}", "try again") from error
    if as_json:
        click.echo(json.dumps({"table": name, "stands": stands, "version": version, "held": not replay}))
        return
    goes_on = "what came since flows in again" if replay else f"held until `lakehouse resume {table}`"
    click.echo(f"{table} stands as in version {stands}, now its version {version}: {goes_on}")


@click.command()
@click.argument("table")
@AS_JSON
def resume(table: str, as_json: bool) -> None:
    """Let a held table be brought up to its sources again."""
    from lakehouse.lake.past import resume as go_on

    lake, name, _ = _hopped(table)
    found = lake.open(name)
    if found is None or not found.held:
        raise Failure(f"{table} is not held", "`lakehouse status` says which tables are")
    version = go_on(found)
    told = {"table": name, "version": version}
    click.echo(json.dumps(told) if as_json else f"{table} goes on, from its version {version}")


@click.command()
@click.argument("dataset")
@click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that take a share each."
)
@click.option("--runs", is_flag=True, help="The other workers are runs of Dagster's, each where heavy runs go.")
@click.option("--help-path", type=int, hidden=True)
@click.option("--worker", type=int, default=0, hidden=True)
@AS_JSON
def backfill(dataset: str, workers: int, runs: bool, help_path: int | None, worker: int, as_json: bool) -> None:
    """Compute what follows from raw anew, beside what is read, then switch to it: `lakehouse backfill flights`.

    Nobody who reads is disturbed. Cut off, it goes on where it was when it is called again.
    """
    from lakehouse import terminal
    from lakehouse.dataset import load
    from lakehouse.lake import Conflict, Hopped, KeyChanged, Lake
    from lakehouse.layers.backfill import NotNow, help_out
    from lakehouse.layers.backfill import backfill as compute
    from lakehouse.layers.cleaned import RuleBroken

    datasets = load()
    if dataset not in datasets:
        raise Failure(f"no dataset {dataset}", f"one of: {', '.join(datasets)}")

    def tell(done: Hopped) -> None:
        if done.moved and not as_json:
            click.echo(f"{done.table}: {counted(done.upserted, 'row')} written, {done.deleted:,} removed")

    settings = Settings.load()
    lake, others = Lake(settings.lake), Workers(dataset, workers, instance(settings) if runs else None)
    stands = "what stood stands"
    try:
        if help_path is not None:
            help_out(lake, datasets[dataset], help_path, worker, workers, tell)
            return
        with terminal.busy(f"computing {dataset} anew"), others:
            done = compute(lake, datasets[dataset], tell, workers, others.start)
    except NotNow as error:
        raise Failure(str(error), error.hint) from error
    except RuleBroken as error:
        raise Failure(f"{error}; {stands}", "mend the file or the contract, then call again") from error
    except KeyChanged as error:
        raise Failure("an earlier backfill was left unfinished, of another key", str(error)) from error
    except Conflict as error:
        raise Failure(f"others write to the new path all the time: {error}; {stands}", "call again") from error
    if as_json:
        click.echo(json.dumps({"dataset": done.dataset, "path": done.path, "rows": dict(done.rows)}))
        return
    click.echo(f"switched to path {done.path}: {', '.join(f'{n} {rows:,}' for n, rows in done.rows.items())} rows")


@click.command()
@AS_JSON
def maintain(as_json: bool) -> None:
    """Compact small files, z-order where declared; delete what retention has passed. Dagster does it every day."""
    from dataclasses import asdict

    from lakehouse import model, terminal
    from lakehouse.dataset import load
    from lakehouse.lake import Lake
    from lakehouse.lake import maintain as tend
    from lakehouse.lake.paths import retire
    from lakehouse.layers.retention import sweep
    from lakehouse.layers.tables import orders, standing
    from lakehouse.ml.tables import pinned, pinned_ids
    from lakehouse.ml.tables import standing as learned

    settings, datasets, models = Settings.load(), load(), model.load()
    all_done, lake = [], Lake(settings.lake)
    with terminal.busy("deleting what retention has passed"):
        expired = sweep(lake, landing_bucket, datasets, settings)
        retired = retire(lake, pinned_ids(lake, models))
    if not as_json:
        for name, count in retired.items():
            click.echo(f"{name}: {counted(count, 'file')} of what a backfill replaced deleted")
        for name, count in expired.items():
            landed = name.startswith("raw/")
            what, how = ("object", "deleted from the landing bucket") if landed else ("record", "expired")
            click.echo(f"{name}: {counted(count, what)} {how}")
    pins = pinned(lake, models)
    for table in (standing(lake, datasets) | learned(lake, models)).values():
        with terminal.busy(f"tending {table.name}"):
            (done,) = tend([table], pins, orders(datasets))
        gone = {"expired": expired.get(table.name, 0), "retired": retired.get(table.name, 0)}
        all_done.append({**asdict(done), **gone})
        if not as_json:
            click.echo(str(done))
    if as_json:
        click.echo(json.dumps(all_done))


@click.command()
@click.option("--no-open", is_flag=True, help="Only write it and print where.")
@AS_JSON
def dashboard(no_open: bool, as_json: bool) -> None:
    """Write the dashboard, one HTML file that needs no network, and open it."""
    from importlib.util import find_spec

    from lakehouse import model, terminal
    from lakehouse.dataset import load
    from lakehouse.lake import Lake

    if not find_spec("vl_convert"):
        raise Failure("the dashboard's libraries are not installed", ".venv/bin/pip install -e '.[dashboard]'")
    from lakehouse.dashboard import write

    settings = Settings.load()
    path = settings.home / "dashboard.html"
    with terminal.busy("drawing"):
        sections = write(Lake(settings.lake), load(), path, _items(settings), model.load())
    charts = [card.title for section in sections for card in section.cards]
    click.echo(json.dumps({"path": str(path), "charts": charts}) if as_json else str(path))
    if not (no_open or as_json):
        click.launch(str(path))


def _items(settings: Settings) -> Any:
    """The items of a serving table; None where the settings name no AWS."""
    from lakehouse.dynamodb.sync import items_of

    return partial(items_of, settings) if settings.queue_url else None


def _irreplaceable(lake: Any, name: str, when: Any) -> list[str]:
    """What raw could not read again if it were put back; nothing of any other table."""
    from lakehouse.dataset import load
    from lakehouse.lake.past import as_of
    from lakehouse.landing.undeclared import stand_in
    from lakehouse.layers import raw

    now, past = lake.open(name), as_of(lake, name, when) if name.startswith("raw/") else None
    bare = name.removeprefix("raw/")
    return raw.irreplaceable(now, past, load().get(bare) or stand_in(bare), landing_bucket()) if past else []


def _hopped(table: str) -> tuple[Any, str, list[str]]:
    """The lake, a table's name in it, and its sources; only what a hop makes can be made again."""
    from lakehouse.dataset import load
    from lakehouse.lake import Lake
    from lakehouse.landing import inbox
    from lakehouse.layers.tables import names, sources, unclaimed

    lake, datasets, name = Lake(Settings.load().lake), load(), table.replace(".", "/")
    made = {n: found for n in names(datasets) if (found := sources(datasets, n))}
    made |= {n: [inbox.NAME] for n in unclaimed(lake, datasets)}
    if name not in made:
        can = [n.replace("/", ".") for n in made]
        raise Failure(f"no table {table} that can be put back", f"one of: {', '.join(can)}")
    return lake, name, made[name]


COMMANDS = (status, sql, trace, restore, resume, backfill, maintain, dashboard)
