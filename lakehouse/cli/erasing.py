"""The command for the right to be forgotten."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from lakehouse.cli.common import AS_JSON, landing_bucket
from lakehouse.cli.plain import Failure
from lakehouse.settings import Settings


@click.command()
@click.argument("subject", metavar="COLUMN=VALUE")
@click.option("--yes", is_flag=True, help="Erase what the plan says without asking.")
@AS_JSON
def erase(subject: str, yes: bool, as_json: bool) -> None:
    """Erase a subject from landing, lake and DynamoDB: `lakehouse erase customer=ann@example.org`.

    First the plan: where the subject is, and how many. Then, confirmed, it is done, and `erased.report` tells what
    was done and what is out of reach. Cut off, it goes on where it was when it is called again. With --json and
    without --yes it only plans.
    """
    from lakehouse import terminal
    from lakehouse.lake import Conflict
    from lakehouse.landing import erased
    from lakehouse.layers import erase as erasure

    column, equals, value = subject.partition("=")
    if not (column and equals and value.strip()):
        raise Failure("whom?", "name a column and its value: lakehouse erase customer=ann@example.org")
    site = _site()
    one = erased.subject(site.lake, column, value)
    with terminal.busy("looking through every version, table and item"):
        plan = erasure.plan(site, one)
    if not as_json:
        _tell("Planned", plan)
        click.echo(f"Not reached: {'; '.join(erasure.BEYOND)}.")
    if not yes and (as_json or not click.confirm("Erase? There is no way back")):
        click.echo(json.dumps({"planned": [asdict(f) for f in plan]}) if as_json else "Nothing was erased.")
        return
    try:
        with terminal.busy("erasing"):
            done = erasure.erase(site, one, plan)
    except Conflict as error:
        raise Failure(f"others write all the time: {error}", "call again: it goes on") from error
    if as_json:
        told = {"planned": [asdict(f) for f in plan], "done": [asdict(f) for f in done]}
        click.echo(json.dumps({**told, "not_reached": erasure.BEYOND}))
        return
    _tell("Done", done)


def _tell(title: str, finds: Any) -> None:
    click.echo(f"{title}:" if finds else f"{title}: nothing of the subject")
    for find in finds:
        click.echo(f"  {find.place}: {find.count:,} {find.what}{f', {find.how}' if find.how else ''}")


def _site() -> Any:
    from lakehouse import model
    from lakehouse.dataset import load
    from lakehouse.dynamodb.sync import items_of
    from lakehouse.lake import Lake
    from lakehouse.layers.erase import Site

    settings, datasets = Settings.load(), load()
    servings = [*(s for d in datasets.values() for s in d.serving), *(m.serving for m in model.load().values())]
    published = [s for s in servings if s.publish]
    return Site(Lake(settings.lake), landing_bucket(), datasets, published, lambda s: items_of(settings, s))


COMMANDS = (erase,)
