"""Commands for what lands: files, events, and what was refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lakehouse.cli.common import AS_JSON, landing_bucket
from lakehouse.cli.plain import Failure, Told
from lakehouse.settings import Settings
from lakehouse.words import counted


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--prefix", default="", help="Put before each file's name; for example flights/.")
@AS_JSON
def land(paths: tuple[Path, ...], prefix: str, as_json: bool) -> None:
    """Upload files to the landing bucket."""
    from lakehouse import terminal

    bucket = landing_bucket()
    landed = {}
    for path in paths:
        key = f"{prefix}{path.name}"
        with terminal.busy(f"uploading {path.name}"):
            landed[f"s3://{bucket.name}/{key}"] = bucket.put(key, path.read_bytes())
        if not as_json:
            click.echo(f"s3://{bucket.name}/{key}")
    if as_json:
        click.echo(json.dumps([{"object": name, "version": version} for name, version in landed.items()]))


@click.command()
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
    settings = Settings.load()
    prefixes = not dataset and settings.undeclared != "off"
    with terminal.busy("listing the bucket"):
        announced = compare(Lake(settings.lake), landing_bucket(), chosen, prefixes=prefixes)
    if as_json:
        click.echo(json.dumps(announced))
        return
    for name, count in announced.items():
        click.echo(f"{name}: {counted(count, 'object')} announced")


@click.command()
@AS_JSON
def redrive(as_json: bool) -> None:
    """Move the dead letters back into the queue. `landing/dead_letters` in Dagster shows them."""
    from lakehouse.landing import dead_letters
    from lakehouse.landing.queue import Queue
    from lakehouse.settings import client

    settings, sqs = Settings.load(), client("sqs")
    dead = Queue(sqs, settings.required("dead_letter_url"))
    moved = dead_letters.redrive(dead, Queue(sqs, settings.required("queue_url")))
    click.echo(json.dumps({"moved": moved}) if as_json else f"{counted(moved, 'message')} moved back")


@click.command()
@click.argument("prefix")
@AS_JSON
def infer(prefix: str, as_json: bool) -> None:
    """Print a dataset file for what landed below PREFIX; save it as lakehouse/datasets/NAME.py."""
    from lakehouse.dataset import load
    from lakehouse.lake import Lake
    from lakehouse.layers import inferred

    try:
        file = inferred.infer(Lake(Settings.load().lake), prefix, load())
    except inferred.Nothing as error:
        raise Failure(str(error), "`lakehouse status` names the raw tables") from error
    click.echo(json.dumps({"prefix": prefix, "file": file}) if as_json else file, nl=as_json)


@click.group(cls=Told)
def quarantine() -> None:
    """What is refused: files, records and messages, each with its reason and an id."""


@quarantine.command("list")
@click.argument("dataset", required=False)
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True)
@AS_JSON
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
        click.echo(f"{name}: {counted(count, kind)}")


@quarantine.command()
@click.argument("id")
@AS_JSON
def show(id: str, as_json: bool) -> None:
    """All that is known of one refused thing: `lakehouse quarantine show flights/2.csv#14`."""
    import polars as pl

    found = _refused(None).filter(pl.col("id") == id).collect()
    if found.is_empty():
        raise Failure(f"nothing refused is called {id}", "`lakehouse quarantine list` tells the ids")
    if as_json:
        click.echo(found.write_json())
        return
    for row in found.iter_rows(named=True):
        click.echo("\n".join(f"{name:8} {value}" for name, value in row.items() if value is not None))


@quarantine.command()
@click.argument("what", required=False, metavar="[DATASET|ID]")
@AS_JSON
def replay(what: str | None, as_json: bool) -> None:
    """Send refused files and messages down the road again, for a reader that was mended.

    Records that broke a contract need no replay: they are held against it again when it changes.
    """
    from lakehouse.dataset import load
    from lakehouse.lake import Lake
    from lakehouse.layers import refused, undeclared

    settings, datasets = Settings.load(), load()
    lake, prefixes = Lake(settings.lake), settings.undeclared != "off"
    sent = refused.replay(lake, settings.required("bucket"), datasets, what, prefixes=prefixes)
    if what and not sent and what not in [*datasets, *undeclared.tables(lake, datasets)]:
        raise Failure(f"nothing refused is called {what}", f"an id of the list, or one of: {', '.join(datasets)}")
    if as_json:
        click.echo(json.dumps(sent))
        return
    for name, count in sent.items():
        click.echo(f"{name}: {count} sent again")
    if not sent:
        click.echo("nothing to send again")


def _refused(dataset: str | None) -> Any:
    """The listing, of one dataset, of a prefix that has none, or of all."""
    import polars as pl

    from lakehouse.dataset import load
    from lakehouse.lake import Lake
    from lakehouse.layers import undeclared
    from lakehouse.layers.refused import listing

    datasets, lake = load(), Lake(Settings.load().lake)
    names = [*datasets, *undeclared.tables(lake, datasets)]
    if dataset and dataset not in names:
        raise Failure(f"no dataset {dataset}", f"one of: {', '.join(names)}")
    rows = listing(lake, datasets)
    return rows.filter(pl.col("dataset") == dataset) if dataset else rows


COMMANDS = (land, reconcile, redrive, infer, quarantine)
