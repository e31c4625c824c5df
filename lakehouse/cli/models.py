"""Commands for what was learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lakehouse.cli.common import AS_JSON, named
from lakehouse.cli.plain import Failure, Told
from lakehouse.settings import Settings


@click.group(name="model", cls=Told)
def models() -> None:
    """What was learned: its versions, who is champion, and back again."""


MODEL = click.option("--model", "name", help="Which model; not needed where there is one.")


WHY = click.option("--why", default="by hand", show_default=True, help="Kept with the promotion.")


@models.command(name="list")
@MODEL
@AS_JSON
def list_models(name: str | None, as_json: bool) -> None:
    """Every version, the newest last; a star marks the champion."""
    from lakehouse.ml import registry

    lake, model = _model(name)
    known, found = registry.champion(lake, model.name), registry.versions(lake, model.name)
    if as_json:
        click.echo(json.dumps([{**_told(one), "champion": one.id == known} for one in found]))
        return
    if not found:
        asked = f"at {model.warmup.days} days of labelled rows, or by `lakehouse model train`"
        click.echo(f"no version yet: one is trained {asked}")
    for one in found:
        auc = one.metrics["challenger"]["auc"]["value"]
        told = f"{'*' if one.id == known else ' '} {one.id}  {one.trained_at:%Y-%m-%d %H:%M}  AUC {auc:.4f}"
        click.echo(f"{told}  {'passed' if one.passed else 'refused: ' + '; '.join(one.reasons)}")


@models.command(name="show")
@click.argument("version")
@click.option("--file", type=click.Path(dir_okay=False, path_type=Path), help="Write it there instead.")
@MODEL
@AS_JSON
def show_model(version: str, file: Path | None, name: str | None, as_json: bool) -> None:
    """The model card of a version, as Markdown."""
    from lakehouse.ml import registry

    lake, model = _model(name)
    shown = registry.version(lake, model.name, version)
    if file is None:
        click.echo(json.dumps({"id": shown.id, "card": shown.card}) if as_json else shown.card)
        return
    try:
        file.write_text(shown.card, encoding="utf-8")
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror}", "name a file in a folder of yours") from error
    told = {"id": shown.id, "file": str(file)}
    click.echo(json.dumps(told) if as_json else f"the card of {shown.id} is in {file}")


@models.command(name="train")
@MODEL
@AS_JSON
def train_model(name: str | None, as_json: bool) -> None:
    """Train a version on the tables as they are, and judge it. The sensor, or you, promote what passes."""
    from lakehouse.ml import training

    made = training.train(*_model(name))
    verdict = "passed" if made.passed else "refused: " + "; ".join(made.reasons)
    click.echo(json.dumps(_told(made)) if as_json else f"{made.id} {verdict}")


@models.command(name="promote")
@click.argument("version")
@WHY
@MODEL
@AS_JSON
def promote_model(version: str, why: str, name: str | None, as_json: bool) -> None:
    """Make a version that passed the gate the champion."""
    from lakehouse.ml import registry

    lake, model = _model(name)
    chosen = registry.version(lake, model.name, version).id
    done = registry.promote(lake, model.name, chosen, who=_who(), why=why)
    told = {"champion": chosen, "already": not done}
    click.echo(json.dumps(told) if as_json else f"{chosen} is champion{'' if done else ' already'}")


@models.command(name="rollback")
@click.argument("version", required=False)
@WHY
@MODEL
@AS_JSON
def rollback_model(version: str | None, why: str, name: str | None, as_json: bool) -> None:
    """Make an earlier champion the champion again: the one before, or the one named."""
    from lakehouse.ml import registry

    lake, model = _model(name)
    now = registry.rollback(lake, model.name, version, who=_who(), why=why)
    click.echo(json.dumps({"champion": now}) if as_json else f"{now} is champion")


@models.command(name="reproduce")
@click.argument("version")
@MODEL
@AS_JSON
def reproduce_model(version: str, name: str | None, as_json: bool) -> None:
    """Train a version again from the table versions that it pins; exit code 1 where the bytes differ."""
    from lakehouse.ml import registry, training

    lake, model = _model(name)
    trained = registry.version(lake, model.name, version)
    if training.reproduce(lake, model, trained):
        told = {"id": trained.id, "bytes": len(trained.text.encode()), "same": True}
        click.echo(json.dumps(told) if as_json else f"{trained.id}: the same {told['bytes']:,} bytes")
        return
    now, then = registry.learner(model.learner).libraries(), trained.pins["libraries"]
    others = [f"{n} was {then.get(n)}, is {v}" for n, v in now.items() if then.get(n) != v]
    raise Failure(f"{trained.id}: other bytes", "; ".join(others) or "it may be another machine")


@click.command()
@click.argument("values", nargs=-1, required=True, metavar="COLUMN=VALUE...")
@MODEL
@AS_JSON
def predict(values: tuple[str, ...], name: str | None, as_json: bool) -> None:
    """The champion's answer for the newest row with these values: `lakehouse predict flight=1545 carrier=UA`.

    `seen`: the row is of the time that the champion was trained and judged on; the answer is no prediction.
    """
    from lakehouse import terminal
    from lakehouse.ml import scoring

    lake, model = _model(name)
    wanted = named(values, "lakehouse predict flight=1545 carrier=UA")
    if unknown := set(wanted) - set(model.key):
        hint = f"name {', '.join(model.key)} as column=value"
        raise Failure(f"{', '.join(sorted(unknown))} is not in the key", hint)
    answer = scoring.ask(lake, model, wanted)
    click.echo(json.dumps(answer, default=terminal.plain, indent=None if as_json else 2))


def _model(name: str | None) -> tuple[Any, Any]:
    from lakehouse.lake import Lake
    from lakehouse.model import load

    found = load()
    if name is None and len(found) == 1:
        (name,) = found
    if name not in found:
        raise Failure(f"no model {name}" if name else "name a model", f"--model one of: {', '.join(found)}")
    return Lake(Settings.load().lake), found[name]


def _told(one: Any) -> dict[str, Any]:
    """A version in JSON's words."""
    told = {"id": one.id, "trained_at": one.trained_at.isoformat(), "auc": one.metrics["challenger"]["auc"]}
    return {**told, "passed": one.passed, "reasons": one.reasons}


def _who() -> str:
    import getpass

    return getpass.getuser()


COMMANDS = (models, predict)
