"""`lakehouse …`: the command line."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click

from lakehouse.settings import SettingError, Settings


class Failure(click.ClickException):
    """An error for a person: what, and what to do."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(f"{what}\nHint: {hint}")


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

    if isinstance(error, SettingError):
        return Failure(error.what, error.hint)
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
                sample = [*feed.reference(), *feed.flights(7), *feed.weather(7)]
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
def env() -> None:
    """Print `export` lines, so that the AWS CLI and boto3 find what runs here."""
    for line in _local_lines():
        name, _, value = line.partition("=")
        click.echo(f"export {name}='{value}'")


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--prefix", default="", help="Put before each file's name; for example flights/.")
def land(paths: tuple[Path, ...], prefix: str) -> None:
    """Upload files to the landing bucket."""
    bucket = _bucket()
    for path in paths:
        bucket.put(f"{prefix}{path.name}", path.read_bytes())
        click.echo(f"s3://{bucket.name}/{prefix}{path.name}")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """The queue, every table, every DynamoDB table, and how far each is from its source.

    Lag is in events for raw, in commits for the others. Items are counted by a scan.
    """
    from lakehouse.dataset import load
    from lakehouse.dynamodb.sync import items_of
    from lakehouse.lake import Lake
    from lakehouse.landing.queue import Queue
    from lakehouse.layers.lag import distances
    from lakehouse.layers.tables import standing
    from lakehouse.settings import client

    settings = Settings.load()
    lake, datasets = Lake(settings.lake), load()
    queue = Queue(client("sqs"), settings.required("queue_url")).depth()
    dead = Queue(client("sqs"), settings.dead_letter_url).depth().waiting if settings.dead_letter_url else None
    lags = distances(lake, datasets, lambda s: items_of(settings, s))
    tables = {
        name: {
            "rows": table.count,
            "version": table.version,
            "lag": lags.get(name, 0),
            "committed_at": table.committed_at.isoformat(timespec="seconds"),
        }
        for name, table in standing(lake, datasets).items()
    }
    items = {}
    for serving in (s for d in datasets.values() for s in d.serving if s.publish):
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
        committed = str(facts["committed_at"])
        click.echo(f"{name:34} {facts['rows']:>9,} {facts['version']:>8} {facts['lag']:>5}  {committed}")
    click.echo(f"\n{'DynamoDB':34} {'items':>9} {'version':>8} {'lag':>5}")
    for name, held in items.items():
        click.echo(f"{name:34} {held['items']:>9,} {held['version']!s:>8} {held['lag']:>5}")


@main.command()
@click.argument("query")
@click.option("--format", "shape", type=click.Choice(["table", "csv", "json"]), default="table")
def sql(query: str, shape: str) -> None:
    """Ask the lake, in polars SQL: `select * from cleaned.flights limit 5`."""
    import polars as pl

    from lakehouse.dataset import load
    from lakehouse.lake import Lake
    from lakehouse.layers.tables import standing

    frames = _frames(standing(Lake(Settings.load().lake), load()))
    try:
        result = pl.SQLContext(frames).execute(query, eager=True)
    except pl.exceptions.PolarsError as error:
        raise Failure(str(error), f"tables: {', '.join(frames) or 'none yet'}") from error
    if shape == "table":
        with pl.Config(tbl_rows=50, tbl_cols=20, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
            click.echo(result)
    else:
        click.echo(result.write_csv() if shape == "csv" else result.write_json(), nl=shape == "json")


def _frames(tables: dict[str, Any]) -> dict[str, Any]:
    """Each table as `layer.name`; of raw, the rows under its name and the heads under `landing.`."""
    import polars as pl

    frames = {}
    for name, table in tables.items():
        layer, _, bare = name.partition("/")
        rows = table.scan()
        if layer == "raw":
            frames[f"landing.{bare}"] = rows.filter(pl.col("_part") == "head")
            rows = rows.filter(pl.col("_part") == "row")
        frames[f"{layer}.{bare}"] = rows
    return frames


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
@click.argument("table", required=False)
@click.option("--repair", is_flag=True, help="Put items as their rows say; remove those without a row.")
def verify(table: str | None, repair: bool) -> None:
    """DynamoDB against the serving tables; exit code 1 where they differ."""
    from lakehouse.dataset import load
    from lakehouse.dynamodb import sync
    from lakehouse.lake import Lake

    settings = Settings.load()
    servings = [_serving(table)] if table else [s for d in load().values() for s in d.serving if s.publish]
    differing = 0
    for serving in servings:
        found = sync.verify(Lake(settings.lake), serving, sync.items_of(settings, serving), repair=repair)
        differing += len(found)
        click.echo(f"{serving.name}: {len(found)} differences{' (repaired)' if found and repair else ''}")
        for one in found[:20]:
            click.echo(f"  {one.key}: table {one.row}, item {one.item}")
    if differing and not repair:
        sys.exit(1)


@main.command()
@click.argument("dataset", required=False)
def reconcile(dataset: str | None) -> None:
    """List the landing bucket against what is in; send what no event brought, or took, down the road."""
    from lakehouse.dataset import load
    from lakehouse.lake import Lake
    from lakehouse.landing.reconcile import reconcile as compare

    datasets = load()
    if dataset and dataset not in datasets:
        raise Failure(f"no dataset {dataset}", f"one of: {', '.join(datasets)}")
    chosen = {dataset: datasets[dataset]} if dataset else datasets
    for name, count in compare(Lake(Settings.load().lake), _bucket(), chosen).items():
        click.echo(f"{name}: {count} objects announced")


@main.command()
def maintain() -> None:
    """Compact small files; delete files and log entries that retention has passed."""
    from lakehouse.dataset import load
    from lakehouse.lake import Lake
    from lakehouse.lake import maintain as tend
    from lakehouse.layers.tables import standing

    for done in tend(standing(Lake(Settings.load().lake), load()).values()):
        click.echo(f"{done.table}: {'compacted, ' if done.compacted else ''}{done.removed} files deleted")


def _serving(name: str) -> Any:
    from lakehouse.dataset import load

    found = {s.name: s for d in load().values() for s in d.serving}
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
