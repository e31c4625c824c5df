"""`lakehouse …`: the command line."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import click

from lakehouse.settings import SettingError, Settings


class Failure(click.ClickException):
    """An error for a person: what, perhaps why on a line of its own, and what to do."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(f"{what}\nHint: {hint}")
        self.what = what
        self.hint = hint

    def show(self, file: Any = None) -> None:
        """On standard error, in colour if that is a terminal."""
        what, _, why = self.what.partition("\n")
        told = [click.style("Error: ", fg="red", bold=True) + click.style(what, bold=True), why]
        told.append(click.style("Hint: ", fg="cyan", bold=True) + self.hint)
        click.echo("\n".join(line for line in told if line), file=file, err=file is None)


class Plain(click.Group):
    """Commands that end with what, why and what to do where AWS is not there, or not as the settings say."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if told := _told(error):
                raise told from error
            raise


NAMES = "the names are of LAKEHOUSE_LANDING_BUCKET, _QUEUE_URL, _TABLE_PREFIX; locally `lakehouse up` makes all"


def _told(error: Exception) -> Failure | None:
    """An error that is no fault of the code, for a person; None if it may be one."""
    from botocore.exceptions import BotoCoreError, ClientError

    from lakehouse.dynamodb.table import Throttled
    from lakehouse.local.aws import LocalAwsError
    from lakehouse.ml.features import NotYet
    from lakehouse.ml.learner import LearnerMissing
    from lakehouse.ml.registry import Refused
    from lakehouse.ml.training import NotReproducible
    from lakehouse.trace import Untraceable

    if isinstance(error, SettingError | Untraceable):
        return Failure(error.what, error.hint)
    if isinstance(error, NotYet | Refused | NotReproducible | LearnerMissing):
        return Failure(str(error), "`lakehouse model list` tells what there is")
    if isinstance(error, ClientError):
        told = error.response["Error"]
        return Failure(f"AWS refused {error.operation_name}\n{told['Code']}: {told['Message']}", NAMES)
    if isinstance(error, BotoCoreError | Throttled):
        away = "`lakehouse up` in another terminal starts a local AWS; another is found by the AWS_… variables"
        return Failure(f"AWS cannot be reached\n{error}", away)
    if isinstance(error, LocalAwsError):
        what, _, log = str(error).partition("\n")
        return Failure(f"{what}\n{log.strip()}", "the whole log is in LAKEHOUSE_HOME, .lakehouse if it is not set")
    return None


@click.group(cls=Plain, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lakehouse")
def main() -> None:
    """An event-driven lakehouse: a file lands in S3, an item changes in DynamoDB."""
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, _interrupted)
    _join_local()


def _interrupted(*_: object) -> None:
    """Both signals end a command the same way, once, so that what it started is always stopped."""
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.SIG_IGN)
    raise KeyboardInterrupt


AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@main.command()
@click.option("--drip", type=float, metavar="SECONDS", help="Land one more day of flights every so often.")
@click.option("--empty", is_flag=True, help="Land no sample into an empty bucket.")
def up(drip: float | None, empty: bool) -> None:
    """Start the local AWS and Dagster, and stay up until Ctrl-C. A first start lands a week of flights."""
    from lakehouse.landing.objects import Bucket
    from lakehouse.local import feed, house
    from lakehouse.settings import client

    settings = Settings.load()
    try:
        with house.local_aws(settings), house.dagster(settings) as address:
            settings = Settings.load()
            click.echo(f"Dagster  {address}\nAWS      {os.environ['AWS_ENDPOINT_URL']}")
            click.echo(f"Landing  s3://{settings.bucket}\nCtrl-C stops everything.")
            bucket = Bucket(client("s3"), settings.required("bucket"))
            there = {found.key for found in bucket.list()}
            if not there and not empty:
                sample = [*feed.sample(7)]
                _land_all(bucket, sample)
                there = {key for key, _ in sample}
            for day in range(365) if drip else []:
                new = [(k, b) for k, b in [*feed.flights(1, day), *feed.weather(1, day)] if k not in there]
                _land_all(bucket, new)
                time.sleep(drip if new and drip else 0)
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        click.echo("stopped")


def _land_all(bucket: Any, files: list[tuple[str, bytes]]) -> None:
    for key, body in files:
        bucket.put(key, body)
        click.echo(f"landed {key}")


@main.command()
@click.option("--days", default=7, show_default=True, help="Days of flights to land.")
def demo(days: int) -> None:
    """Run the main job from files to items, print what happened, stop everything."""
    from lakehouse.local import demo as job
    from lakehouse.local import house

    began = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"{time.monotonic() - began:6.1f} s  {text}")

    settings = Settings.load()
    fresh = not settings.home.exists() and _cloned_at() > time.time() - 3600
    say("starting the local AWS")
    with house.local_aws(settings):
        say("starting Dagster")
        with house.dagster(settings) as address:
            say(f"Dagster is at {address}")
            summary = job.run(Settings.load(), say, days)
    _print_summary(summary)
    click.echo(f"\nFrom start to summary: {time.monotonic() - began:.1f} s")
    if fresh:
        click.echo(f"From clone to summary: {time.time() - _cloned_at():.0f} s")
    if summary.broken:
        raise Failure("; ".join(summary.broken), "please report this, with .lakehouse/dagster.log")


def _cloned_at() -> float:
    """When this checkout was made, in epoch seconds; 0 if that is not known."""
    made = Path(__file__).parents[1] / ".git" / "description"
    return made.stat().st_mtime if made.exists() else 0.0


def _print_summary(summary: Any) -> None:
    click.echo("\nRows")
    for name, count in summary.rows.items():
        click.echo(f"  {name:34} {count:>9,}")
    click.echo("Items in DynamoDB")
    for name, count in summary.items.items():
        click.echo(f"  {name:34} {count:>9,}")
    click.echo(f"Events seen: {summary.events}")
    click.echo(f"Latency, upload to item: {summary.latency_seconds:.2f} s")
    click.echo(f"One item: {json.dumps(summary.item, default=str)}")
    click.echo("Guarantees held." if not summary.broken else "BROKEN: " + "; ".join(summary.broken))


@main.command()
@AS_JSON
def env(as_json: bool) -> None:
    """Print `export` lines, so that the AWS CLI and boto3 find what runs here."""
    if as_json:
        click.echo(json.dumps(dict(line.partition("=")[::2] for line in _local_lines())))
        return
    for line in _local_lines():
        name, _, value = line.partition("=")
        click.echo(f"export {name}='{value}'")


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--prefix", default="", help="Put before each file's name; for example flights/.")
@AS_JSON
def land(paths: tuple[Path, ...], prefix: str, as_json: bool) -> None:
    """Upload files to the landing bucket."""
    bucket = _bucket()
    landed = {}
    for path in paths:
        key = f"{prefix}{path.name}"
        landed[f"s3://{bucket.name}/{key}"] = bucket.put(key, path.read_bytes())
        if not as_json:
            click.echo(f"s3://{bucket.name}/{key}")
    if as_json:
        click.echo(json.dumps([{"object": name, "version": version} for name, version in landed.items()]))


@main.command()
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
    from lakehouse.layers.lag import distances
    from lakehouse.layers.tables import standing
    from lakehouse.ml.tables import standing as learned
    from lakehouse.settings import client

    settings = Settings.load()
    lake, datasets, models = Lake(settings.lake), load(), model.load()
    queue = Queue(client("sqs"), settings.required("queue_url")).depth()
    dead = Queue(client("sqs"), settings.dead_letter_url).depth().waiting if settings.dead_letter_url else None
    lags = distances(lake, datasets, lambda s: items_of(settings, s))
    tables = {
        name: {
            "rows": table.count,
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


@main.command()
@click.argument("query", required=False)
@click.option("--format", "shape", type=click.Choice(["table", "csv", "json"]), default="table")
def sql(query: str | None, shape: str) -> None:
    """Ask the lake, in polars SQL: `select * from cleaned.flights limit 5`. Without a query: a prompt.

    A table as it stood: `"cleaned.flights@12"`, `"cleaned.flights@2026-11-01T10:00:00Z"`.
    """
    import polars as pl

    from lakehouse.dataset import load
    from lakehouse.lake import Lake
    from lakehouse.query import QueryError, ask, columns

    settings, datasets = Settings.load(), load()
    lake = Lake(settings.lake)
    if query is None:
        from lakehouse import prompt

        prompt.run(partial(ask, lake, datasets), columns(lake, datasets), settings.home)
        return
    try:
        result = ask(lake, datasets, query)
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
    else:
        click.echo(result.write_csv() if shape == "csv" else result.write_json(), nl=shape == "json")


@main.command()
@click.argument("table")
@click.option("--to", "when", required=True, metavar="VERSION|TIME", help="12, or 2026-11-01T10:00:00Z.")
@click.option("--replay/--hold", default=True, help="What flows in again (default), or nothing until `resume`.")
def restore(table: str, when: str, replay: bool) -> None:
    """Put a table back; what depends on it follows: `lakehouse restore cleaned.flights --to 12`."""
    from lakehouse.lake import Conflict
    from lakehouse.lake.past import Forgotten, moment
    from lakehouse.lake.past import restore as put_back
    from lakehouse.layers.raw import RECALL

    lake, name, sources = _hopped(table)
    try:
        stands, version = put_back(lake, name, moment(when), sources, [RECALL], hold=not replay)
    except ValueError as error:
        raise Failure(f"{when} is neither a version nor a time", "as in 12, or 2026-11-01T10:00:00Z") from error
    except Forgotten as error:
        raise Failure(str(error), "`lakehouse status` tells the newest version; 7 days are kept") from error
    except Conflict as error:
        raise Failure(f"others write to {table} all the time: {error}", "try again") from error
    goes_on = "what came since flows in again" if replay else f"held until `lakehouse resume {table}`"
    click.echo(f"{table} stands as in version {stands}, now its version {version}: {goes_on}")


@main.command()
@click.argument("table")
def resume(table: str) -> None:
    """Let a held table be brought up to its sources again."""
    from lakehouse.lake.past import resume as go_on

    lake, name, _ = _hopped(table)
    found = lake.open(name)
    if found is None or not found.held:
        raise Failure(f"{table} is not held", "`lakehouse status` says which tables are")
    click.echo(f"{table} goes on, from its version {go_on(found)}")


def _hopped(table: str) -> tuple[Any, str, list[str]]:
    """The lake, a table's name in it, and its sources; only what a hop makes can be made again."""
    from lakehouse.dataset import load
    from lakehouse.lake import Lake
    from lakehouse.layers.tables import names, sources

    datasets, name = load(), table.replace(".", "/")
    found = sources(datasets, name)
    if found is None:
        can = [n.replace("/", ".") for n in names(datasets) if sources(datasets, n)]
        raise Failure(f"no table {table} that can be put back", f"one of: {', '.join(can)}")
    return Lake(Settings.load().lake), name, found


@main.command()
@click.argument("table")
@click.argument("key", nargs=-1, required=True)
def get(table: str, key: tuple[str, ...]) -> None:
    """One item from DynamoDB: `lakehouse get carrier_punctuality carrier=UA`."""
    from lakehouse.dynamodb.sync import items_of

    settings, serving = Settings.load(), _serving(table)
    wanted = dict(part.partition("=")[::2] for part in key)
    if set(wanted) != set(serving.keys):
        raise Failure(f"the key of {table} is {', '.join(serving.keys)}", "name each as column=value")
    item = items_of(settings, serving).get(wanted, serving.keys)
    if item is None:
        raise Failure(f"no item {wanted} in {table}", "`lakehouse status` tells whether it lags")
    click.echo(json.dumps(item, default=str, indent=2))


@main.command()
@AS_JSON
def doctor(as_json: bool) -> None:
    """Look at everything that the lake stands on; exit code 1 where a fault is found."""
    from dataclasses import asdict

    from lakehouse import doctor as practice
    from lakehouse.dataset import load

    found = []
    for one in practice.examine(practice.Patient(Settings.load(), load())):
        found.append(one)
        if not as_json:
            sign, colour = {"well": ("✓", "green"), "warning": ("!", "yellow"), "fault": ("✗", "red")}[one.state]
            click.echo(f"{click.style(sign, fg=colour, bold=True)} {one.subject:13} {one.seen}")
            if one.mend:
                click.echo(f"{'':15} {click.style('→', fg='cyan')} {one.mend}")
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found]))
    if any(one.state == "fault" for one in found):
        sys.exit(1)


@main.command()
@click.option("--no-open", is_flag=True, help="Only write it and print where.")
@AS_JSON
def dashboard(no_open: bool, as_json: bool) -> None:
    """Write the dashboard, one HTML file that needs no network, and open it."""
    from importlib.util import find_spec

    from lakehouse import terminal
    from lakehouse.dataset import load
    from lakehouse.dynamodb.sync import items_of
    from lakehouse.lake import Lake

    if not find_spec("vl_convert"):
        raise Failure("the dashboard's libraries are not installed", "pip install 'lakehouse[dashboard]'")
    from lakehouse.dashboard import write

    settings = Settings.load()
    path = settings.home / "dashboard.html"
    items = (lambda s: items_of(settings, s)) if settings.queue_url else None
    with terminal.busy("drawing"):
        sections = write(Lake(settings.lake), load(), path, items)
    charts = [card.title for section in sections for card in section.cards]
    click.echo(json.dumps({"path": str(path), "charts": charts}) if as_json else str(path))
    if not (no_open or as_json):
        click.launch(str(path))


@main.command()
@click.argument("what")
@click.argument("key", nargs=-1)
@click.option("--rows", default=5, show_default=True, help="Rows to show of each table.")
@AS_JSON
def trace(what: str, key: tuple[str, ...], rows: int, as_json: bool) -> None:
    """Where a row came from: `lakehouse trace carrier_punctuality carrier=UA`.

    Back through cleaned and raw to the objects, the runs that read them and the events that told of them.
    `lakehouse trace s3://bucket/key` goes the other way: everything that an object touched.
    """
    from lakehouse import terminal
    from lakehouse import trace as way
    from lakehouse.dataset import load
    from lakehouse.lake import Lake

    lake, datasets = Lake(Settings.load().lake), load()
    if what.startswith("s3://"):
        with terminal.busy("following"):
            steps = way.of_object(lake, datasets, *what.removeprefix("s3://").partition("/")[::2])
    else:
        if not key or not all("=" in part for part in key):
            raise Failure("which row?", f"name a column and its value: lakehouse trace {what} column=value")
        with terminal.busy("following"):
            steps = way.of_row(lake, datasets, what, dict(part.partition("=")[::2] for part in key))
    told = [{"table": s.table, "version": s.version, "by": [*s.by], "count": len(s.rows)} for s in steps]
    if as_json:
        for one, step in zip(told, steps, strict=True):
            one["rows"] = step.rows.head(rows).to_dicts()
        click.echo(json.dumps(told, default=terminal.plain))
        return
    for step in steps:
        title = f"{step.table} @{step.version}"
        terminal.table(title, step.rows, rows, f"by {', '.join(step.by)}" if step.by else "the whole table")


@main.command()
@click.argument("table", required=False)
@click.option("--repair", is_flag=True, help="Put items as their rows say; remove those without a row.")
@AS_JSON
def verify(table: str | None, repair: bool, as_json: bool) -> None:
    """DynamoDB against the serving tables; exit code 1 where they differ."""
    from lakehouse import model, terminal
    from lakehouse.dataset import load
    from lakehouse.dynamodb import sync
    from lakehouse.lake import Lake

    settings = Settings.load()
    every = [*(s for d in load().values() for s in d.serving), *(m.serving for m in model.load().values())]
    servings = [_serving(table)] if table else [s for s in every if s.publish]
    differing, told = 0, {}
    for serving in servings:
        with terminal.busy(f"comparing {serving.name}"):
            found = sync.verify(Lake(settings.lake), serving, sync.items_of(settings, serving), repair=repair)
        differing += len(found)
        told[serving.name] = [vars(one) for one in found]
        if as_json:
            continue
        click.echo(f"{serving.name}: {len(found)} differences{' (repaired)' if found and repair else ''}")
        for one in found[:20]:
            click.echo(f"  {one.key}: table {one.row}, item {one.item}")
    if as_json:
        click.echo(json.dumps(told, default=terminal.plain))
    if differing and not repair:
        sys.exit(1)


@main.command()
@click.argument("dataset", required=False)
@AS_JSON
def reconcile(dataset: str | None, as_json: bool) -> None:
    """List the landing bucket against what is in; send what no event brought, or took, down the road."""
    from lakehouse import terminal
    from lakehouse.dataset import load
    from lakehouse.lake import Lake
    from lakehouse.landing.reconcile import reconcile as compare

    datasets = load()
    if dataset and dataset not in datasets:
        raise Failure(f"no dataset {dataset}", f"one of: {', '.join(datasets)}")
    chosen = {dataset: datasets[dataset]} if dataset else datasets
    with terminal.busy("listing the bucket"):
        announced = compare(Lake(Settings.load().lake), _bucket(), chosen)
    if as_json:
        click.echo(json.dumps(announced))
        return
    for name, count in announced.items():
        click.echo(f"{name}: {count} objects announced")


@main.command()
@AS_JSON
def redrive(as_json: bool) -> None:
    """Move the dead letters back into the queue. `landing/dead_letters` in Dagster shows them."""
    from lakehouse.landing import dead_letters
    from lakehouse.landing.queue import Queue
    from lakehouse.settings import client

    settings, sqs = Settings.load(), client("sqs")
    dead = Queue(sqs, settings.required("dead_letter_url"))
    moved = dead_letters.redrive(dead, Queue(sqs, settings.required("queue_url")))
    click.echo(json.dumps({"moved": moved}) if as_json else f"{moved} messages moved back")


@main.group()
def quarantine() -> None:
    """What is refused: files, records and messages, each with its reason and an id."""


@quarantine.command("list")
@click.argument("dataset", required=False)
@click.option("--limit", default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_refused(dataset: str | None, limit: int, as_json: bool) -> None:
    """The newest refused things, of all datasets or one."""
    import polars as pl

    rows = _refused(dataset).sort("since", "id", descending=[True, False], nulls_last=True)
    if as_json:
        click.echo(rows.drop("text").head(limit).collect().write_json())
        return
    for row in rows.head(limit).collect().iter_rows(named=True):
        click.echo(f"{row['kind']:8} {row['id']}  {row['reason']}")
    counts = rows.group_by("dataset", "kind").agg(pl.len()).sort("dataset", "kind")
    for name, kind, count in counts.collect().iter_rows():
        click.echo(f"{name}: {count} {kind}s")


@quarantine.command()
@click.argument("id")
def show(id: str) -> None:
    """All that is known of one refused thing: `lakehouse quarantine show flights/2.csv#14`."""
    import polars as pl

    found = _refused(None).filter(pl.col("id") == id).collect()
    if found.is_empty():
        raise Failure(f"nothing refused is called {id}", "`lakehouse quarantine list` tells the ids")
    for row in found.iter_rows(named=True):
        click.echo("\n".join(f"{name:8} {value}" for name, value in row.items() if value is not None))


@quarantine.command()
@click.argument("what", required=False, metavar="[DATASET|ID]")
def replay(what: str | None) -> None:
    """Send refused files and messages down the road again, for a reader that was mended.

    Records that broke a contract need no replay: they are held against it again when it changes.
    """
    from lakehouse.dataset import load
    from lakehouse.lake import Lake
    from lakehouse.layers import refused

    settings, datasets = Settings.load(), load()
    sent = refused.replay(Lake(settings.lake), settings.required("bucket"), datasets, what)
    if what and not sent and what not in datasets:
        raise Failure(f"nothing refused is called {what}", f"an id of the list, or one of: {', '.join(datasets)}")
    for name, count in sent.items():
        click.echo(f"{name}: {count} sent again")
    if not sent:
        click.echo("nothing to send again")


def _refused(dataset: str | None) -> Any:
    """The listing, of one dataset or all."""
    import polars as pl

    from lakehouse.dataset import load
    from lakehouse.lake import Lake
    from lakehouse.layers.refused import listing

    datasets = load()
    if dataset and dataset not in datasets:
        raise Failure(f"no dataset {dataset}", f"one of: {', '.join(datasets)}")
    rows = listing(Lake(Settings.load().lake), datasets)
    return rows.filter(pl.col("dataset") == dataset) if dataset else rows


@main.command()
@click.argument("prefix")
def infer(prefix: str) -> None:
    """Print a dataset file for what landed below PREFIX; save it as lakehouse/datasets/NAME.py."""
    from lakehouse.dataset import load
    from lakehouse.lake import Lake
    from lakehouse.layers import inferred

    try:
        click.echo(inferred.infer(Lake(Settings.load().lake), prefix, load()), nl=False)
    except inferred.Nothing as error:
        raise Failure(str(error), "`lakehouse status` names the raw tables") from error


@main.command()
@AS_JSON
def maintain(as_json: bool) -> None:
    """Compact small files, z-order where declared; delete what retention has passed. Dagster does it every day."""
    from dataclasses import asdict

    from lakehouse import model, terminal
    from lakehouse.dataset import load
    from lakehouse.lake import Lake
    from lakehouse.lake import maintain as tend
    from lakehouse.layers.retention import sweep
    from lakehouse.layers.tables import orders, standing
    from lakehouse.ml.tables import pinned
    from lakehouse.ml.tables import standing as learned

    settings, datasets, models = Settings.load(), load(), model.load()
    all_done, lake = [], Lake(settings.lake)
    with terminal.busy("deleting what retention has passed"):
        expired = sweep(lake, _bucket, datasets, settings)
    if not as_json:
        for name, count in expired.items():
            what = "objects deleted from the landing bucket" if name.startswith("raw/") else "records expired"
            click.echo(f"{name}: {count} {what}")
    pins = pinned(lake, models)
    for table in (standing(lake, datasets) | learned(lake, models)).values():
        with terminal.busy(f"tending {table.name}"):
            (done,) = tend([table], pins, orders(datasets))
        all_done.append({**asdict(done), "expired": expired.get(table.name, 0)})
        if not as_json:
            click.echo(str(done))
    if as_json:
        click.echo(json.dumps(all_done))


@main.group(name="model")
def models() -> None:
    """What was learned: its versions, who is champion, and back again."""


MODEL = click.option("--model", "name", help="Which model; not needed where there is one.")
WHY = click.option("--why", default="by hand", show_default=True, help="Kept with the promotion.")


@models.command(name="list")
@MODEL
def list_models(name: str | None) -> None:
    """Every version, the newest last; a star marks the champion."""
    from lakehouse.ml import registry

    lake, model = _model(name)
    known = registry.champion(lake, model.name)
    for one in registry.versions(lake, model.name):
        auc = one.metrics["challenger"]["auc"]["value"]
        told = f"{'*' if one.id == known else ' '} {one.id}  {one.trained_at:%Y-%m-%d %H:%M}  AUC {auc:.4f}"
        click.echo(f"{told}  {'passed' if one.passed else 'refused: ' + '; '.join(one.reasons)}")


@models.command(name="show")
@click.argument("version")
@MODEL
def show_model(version: str, name: str | None) -> None:
    """The model card of a version, as Markdown."""
    from lakehouse.ml import registry

    lake, model = _model(name)
    click.echo(registry.version(lake, model.name, version).card)


@models.command(name="train")
@MODEL
def train_model(name: str | None) -> None:
    """Train a version on the tables as they are, and judge it; it is promoted by `promote` alone."""
    from lakehouse.ml import training

    made = training.train(*_model(name))
    click.echo(f"{made.id} {'passed' if made.passed else 'refused: ' + '; '.join(made.reasons)}")


@models.command(name="promote")
@click.argument("version")
@WHY
@MODEL
def promote_model(version: str, why: str, name: str | None) -> None:
    """Make a version that passed the gate the champion."""
    from lakehouse.ml import registry

    lake, model = _model(name)
    done = registry.promote(lake, model.name, version, who=_who(), why=why)
    click.echo(f"{version} is champion{'' if done else ' already'}")


@models.command(name="rollback")
@click.argument("version", required=False)
@WHY
@MODEL
def rollback_model(version: str | None, why: str, name: str | None) -> None:
    """Make an earlier champion the champion again: the one before, or the one named."""
    from lakehouse.ml import registry

    lake, model = _model(name)
    click.echo(f"{registry.rollback(lake, model.name, version, who=_who(), why=why)} is champion")


@models.command(name="reproduce")
@click.argument("version")
@MODEL
def reproduce_model(version: str, name: str | None) -> None:
    """Train a version again from the table versions that it pins; exit code 1 where the bytes differ."""
    from lakehouse.ml import registry, training
    from lakehouse.ml.learner import libraries

    lake, model = _model(name)
    trained = registry.version(lake, model.name, version)
    if training.reproduce(lake, model, trained):
        click.echo(f"{trained.id}: the same {len(trained.text):,} bytes")
        return
    now, then = libraries(), trained.pins["libraries"]
    others = [f"{n} was {then.get(n)}, is {v}" for n, v in now.items() if then.get(n) != v]
    raise Failure(f"{trained.id}: other bytes", "; ".join(others) or "it may be another machine")


@main.command()
@click.argument("values", nargs=-1, required=True)
@MODEL
def predict(values: tuple[str, ...], name: str | None) -> None:
    """The champion's answer for the newest row with these values: `lakehouse predict flight=1545 carrier=UA`."""
    from lakehouse.ml import scoring

    lake, model = _model(name)
    wanted = dict(part.partition("=")[::2] for part in values)
    if unknown := set(wanted) - set(model.key):
        hint = f"name {', '.join(model.key)} as column=value"
        raise Failure(f"{', '.join(sorted(unknown))} is not in the key", hint)
    click.echo(json.dumps(scoring.ask(lake, model, wanted), default=str, indent=2))


def _model(name: str | None) -> tuple[Any, Any]:
    from lakehouse.lake import Lake
    from lakehouse.model import load

    found = load()
    if name is None and len(found) == 1:
        (name,) = found
    if name not in found:
        raise Failure(f"no model {name or 'named'}", f"--model one of: {', '.join(found)}")
    return Lake(Settings.load().lake), found[name]


def _who() -> str:
    import getpass

    return getpass.getuser()


def _serving(name: str) -> Any:
    from lakehouse import model
    from lakehouse.dataset import load

    found = {s.name: s for d in load().values() for s in d.serving}
    found |= {m.name: m.serving for m in model.load().values()}
    if name not in found:
        raise Failure(f"no serving table {name}", f"one of: {', '.join(found)}")
    return found[name]


def _bucket() -> Any:
    from lakehouse.landing.objects import Bucket
    from lakehouse.settings import client

    return Bucket(client("s3"), Settings.load().required("bucket"))


def _local_lines() -> list[str]:
    note = Settings.load().home / "env"
    if not note.exists():
        raise Failure("nothing runs here", "start it: lakehouse up")
    return note.read_text().splitlines()


def _join_local() -> None:
    """Where the environment names no queue, use what `lakehouse up` left below the home, if anything."""
    if "LAKEHOUSE_QUEUE_URL" in os.environ or not (Settings.load().home / "env").exists():
        return
    for line in _local_lines():
        name, _, value = line.partition("=")
        os.environ.setdefault(name, value)


if __name__ == "__main__":
    main()
