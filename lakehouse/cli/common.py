"""What several commands ask for."""

from __future__ import annotations

from typing import Any

import click

from lakehouse.cli.plain import Failure
from lakehouse.settings import Settings

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def named(words: tuple[str, ...], example: str) -> dict[str, str]:
    """Columns and their values, as a person types them."""
    if odd := [word for word in words if not word.partition("=")[1]]:
        raise Failure(f"{odd[0]} is not column=value", f"as in {example}")
    return dict(word.partition("=")[::2] for word in words)


def landing_bucket() -> Any:
    from lakehouse.landing.objects import Bucket
    from lakehouse.settings import client

    return Bucket(client("s3"), Settings.load().required("bucket"))


def serving_named(name: str) -> Any:
    from lakehouse import model
    from lakehouse.dataset import load

    found = {s.name: s for d in load().values() for s in d.serving}
    found |= {m.name: m.serving for m in model.load().values()}
    if name not in found:
        raise Failure(f"no serving table {name}", f"one of: {', '.join(found)}")
    return found[name]


def local_lines() -> list[str]:
    note = Settings.load().home / "env"
    if not note.exists():
        raise Failure("nothing runs here", "start it: lakehouse up")
    return note.read_text().splitlines()
