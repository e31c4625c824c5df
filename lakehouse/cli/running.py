"""Commands that start the house, and look at what it stands on."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from lakehouse.cli.common import AS_JSON, local_lines
from lakehouse.cli.plain import Failure
from lakehouse.settings import Settings


@click.command()
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


@click.command()
@click.option("--days", type=click.IntRange(1, 364), default=7, show_default=True, help="Days of flights to land.")
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


@click.command()
@AS_JSON
def env(as_json: bool) -> None:
    """Print `export` lines, so that the AWS CLI and boto3 find what runs here."""
    if as_json:
        click.echo(json.dumps(dict(line.partition("=")[::2] for line in local_lines())))
        return
    for line in local_lines():
        name, _, value = line.partition("=")
        click.echo(f"export {name}='{value}'")


@click.command()
@AS_JSON
def doctor(as_json: bool) -> None:
    """Look at everything that the lake stands on; exit code 1 where a fault is found."""
    from dataclasses import asdict

    from lakehouse import doctor as practice

    found = []
    for one in practice.examine(practice.Patient(Settings.load())):
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


def _land_all(bucket: Any, files: list[tuple[str, bytes]]) -> None:
    for key, body in files:
        bucket.put(key, body)
        click.echo(f"landed {key}")


def _cloned_at() -> float:
    """When this checkout was made, in epoch seconds; 0 if that is not known."""
    made = Path(__file__).parents[2] / ".git" / "description"
    return made.stat().st_mtime if made.exists() else 0.0


def _print_summary(summary: Any) -> None:
    from lakehouse import terminal

    click.echo("\nRows")
    for name, count in summary.rows.items():
        click.echo(f"  {name:34} {count:>9,}")
    click.echo("Items in DynamoDB")
    for name, count in summary.items.items():
        click.echo(f"  {name:34} {count:>9,}")
    click.echo(f"Events seen: {summary.events}")
    click.echo(f"Latency, upload to item: {summary.latency_seconds:.2f} s")
    click.echo(f"One item: {json.dumps(summary.item, default=terminal.plain)}")
    click.echo("Guarantees held." if not summary.broken else "BROKEN: " + "; ".join(summary.broken))


COMMANDS = (up, demo, env, doctor)
