"""Commands for the items in DynamoDB."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from lakehouse.cli.common import AS_JSON, named, serving_named
from lakehouse.cli.plain import Failure
from lakehouse.settings import Settings
from lakehouse.words import counted


@click.command()
@click.argument("table")
@click.argument("key", nargs=-1, required=True, metavar="COLUMN=VALUE...")
@AS_JSON
def get(table: str, key: tuple[str, ...], as_json: bool) -> None:
    """One item from DynamoDB: `lakehouse get carrier_punctuality carrier=UA`."""
    from lakehouse import terminal
    from lakehouse.dynamodb.items import Unfit
    from lakehouse.dynamodb.sync import items_of

    settings, serving = Settings.load(), serving_named(table)
    wanted = named(key, "lakehouse get carrier_punctuality carrier=UA")
    if set(wanted) != set(serving.keys):
        raise Failure(f"the key of {table} is {', '.join(serving.keys)}", "name each as column=value")
    items = items_of(settings, serving)
    try:
        item = items.get(_typed(settings, table, wanted), serving.keys)
    except Unfit as error:
        raise Failure(f"no item of {table} has {error}", "name each column's value: column=value") from error
    except items.client.exceptions.ResourceNotFoundException as error:
        raise Failure(f"nothing of {table} is published yet", "`lakehouse status` tells how far it is") from error
    if item is None:
        raise Failure(f"no item {wanted} in {table}", "`lakehouse status` tells whether it lags")
    click.echo(json.dumps(item, default=terminal.plain, indent=None if as_json else 2))


@click.command()
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
    servings = [serving_named(table)] if table else [s for s in every if s.publish]
    differing, told = 0, {}
    for serving in servings:
        with terminal.busy(f"comparing {serving.name}"):
            found = sync.verify(Lake(settings.lake), serving, sync.items_of(settings, serving), repair=repair)
        differing += len(found)
        told[serving.name] = [vars(one) for one in found]
        if as_json:
            continue
        click.echo(
            f"{serving.name}: {counted(len(found), 'difference')}{' (repaired)' if found and repair else ''}"
        )
        for one in found[:20]:
            click.echo(f"  {one.key}: table {one.row}, item {one.item}")
    if as_json:
        click.echo(json.dumps(told, default=terminal.plain))
    if differing and not repair:
        sys.exit(1)


def _typed(settings: Settings, table: str, wanted: dict[str, str]) -> dict[str, Any]:
    """The key in the types of the serving table, which say how its items are named: a time can be typed in many
    ways, and an item has one of them."""
    import polars as pl
    from deltalake.exceptions import DeltaError

    from lakehouse.lake import Lake
    from lakehouse.lake.scope import typed

    try:
        found = Lake(settings.lake).open(f"serving/{table}")
    except (DeltaError, OSError):  # whoever may read the items alone types the key as they have it
        return wanted
    kinds = found.kinds if found else {}
    known = pl.select(typed(value, kinds[c]).alias(c) for c, value in wanted.items() if c in kinds)
    return wanted | {c: values[0] for c, values in known.to_dict().items() if values[0] is not None}


COMMANDS = (get, verify)
