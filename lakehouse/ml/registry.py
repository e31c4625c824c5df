"""Two append-only Delta tables a model: `models/<name>`, what was trained and how it was judged, and
`promotions/<name>`, whose last row names the champion."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from lakehouse.lake import Lake, Table, again
from lakehouse.lake.table import Cursor, schema, stamp

TIME = pl.Datetime("us", "UTC")
TRAINED = schema(
    {
        "id": pl.String,
        "trained_at": TIME,
        "run": pl.String,
        "text": pl.String,
        "facts": pl.String,
        "code": pl.String,
        "recipe": pl.String,
        "until": TIME,
        "against": pl.String,
        "passed": pl.Boolean,
        "reasons": pl.String,
        "card": pl.String,
    }
)
PROMOTED = schema(
    {
        "number": pl.Int64,
        "id": pl.String,
        "code": pl.String,
        "until": TIME,
        "at": TIME,
        "who": pl.String,
        "why": pl.String,
    }
)


class Refused(Exception):
    """A promotion that may not be: why, and what to do."""


@dataclass(frozen=True)
class Version:
    """A trained model as the registry holds it. `until`: nothing after it was seen, in training or by the gate."""

    id: str
    trained_at: datetime
    run: str
    text: str
    code: str
    recipe: str
    until: datetime
    against: str | None
    passed: bool
    reasons: list[str]
    card: str
    columns: list[str]
    categories: dict[str, list[str]]
    pins: dict[str, Any]
    metrics: dict[str, Any]
    reference: dict[str, Any]
    predicted: dict[str, Any]

    @property
    def learned(self) -> Any:
        """What answers: the `Learned` of its learner."""
        return learner(self.pins["learner"]).Learned(self.text, self.columns, self.categories)

    def row(self) -> pl.DataFrame:
        told = {name: getattr(self, name) for name in TRAINED if name not in ("facts", "reasons")}
        facts = {name: getattr(self, name) for name in FACTS}
        return pl.DataFrame(
            [told | {"facts": json.dumps(facts), "reasons": json.dumps(self.reasons)}],
            schema=TRAINED,
            orient="row",
        )


FACTS = ("columns", "categories", "pins", "metrics", "reference", "predicted")
"""Of a version, what is kept as one JSON text."""


def learner(module: str) -> Any:
    """The module that learns and answers, as a model names it."""
    return importlib.import_module(module)


def open_models(lake: Lake, name: str) -> Table:
    return lake.ensure(f"models/{name}", TRAINED)


def open_promotions(lake: Lake, name: str) -> Table:
    return lake.ensure(f"promotions/{name}", PROMOTED)


def _trained(lake: Lake, name: str) -> pl.LazyFrame:
    """What was trained; nothing where nobody has made the table, since who reads makes none."""
    table = lake.open(f"models/{name}")
    return table.scan() if table else pl.LazyFrame(schema=TRAINED)


def versions(lake: Lake, name: str, ids: list[str] | None = None) -> list[Version]:
    """Every trained version, or these, the oldest first."""
    rows = _trained(lake, name)
    rows = rows if ids is None else rows.filter(pl.col("id").is_in(ids))
    return [_version(row) for row in rows.sort("trained_at").collect().iter_rows(named=True)]


def version(lake: Lake, name: str, wanted: str) -> Version:
    """One version by its id, or as much of it as is unique. Raises `Refused` where there is none."""
    rows = _trained(lake, name).filter(pl.col("id").str.starts_with(wanted)).collect()
    if len(rows) != 1:
        raise Refused(f"{len(rows)} versions of {name} are named {wanted}")
    return _version(rows.row(0, named=True))


def _version(row: dict[str, Any]) -> Version:
    facts = json.loads(row.pop("facts"))
    return Version(**row | facts | {"reasons": json.loads(row["reasons"])})


def newest(lake: Lake, name: str) -> Version | None:
    """The version trained last."""
    ids = _trained(lake, name).sort("trained_at").select("id").tail(1).collect()["id"].to_list()
    return version(lake, name, ids[0]) if ids else None


def history(table: Table) -> pl.DataFrame:
    """The promotions, the oldest first."""
    return table.scan().sort("number").collect()


def champion(lake: Lake, name: str) -> str | None:
    """The id of the version in force."""
    table = lake.open(f"promotions/{name}")
    return _last(history(table)) if table else None


def _last(promotions: pl.DataFrame) -> str | None:
    return promotions["id"].last() if len(promotions) else None  # type: ignore[return-value]  # text


def record(lake: Lake, name: str, trained: Version) -> bool:
    """Append a version; False where it is there already. One commit: text, pins and verdict together."""

    def act() -> bool:
        table = open_models(lake, name)
        if not table.scan().filter(pl.col("id") == trained.id).collect().is_empty():
            return False
        table.append(trained.row(), [_fence(table, "record")])
        return True

    return again(act)


def promote(lake: Lake, name: str, wanted: str, *, who: str, why: str) -> bool:
    """Make a version champion; False if it is. The stored verdict is read again here, whoever asks.

    Raises `Refused` for a version that the gate refused, that was judged against another champion than the one
    now in force, or that was champion before: only `rollback` goes back.
    """

    def act() -> bool:
        chosen, table = version(lake, name, wanted), open_promotions(lake, name)
        known = history(table)
        if chosen.id == _last(known):
            return False
        if not chosen.passed:
            raise Refused(f"the gate refused {chosen.id}: {'; '.join(chosen.reasons)}")
        if chosen.id in known["id"]:
            raise Refused(f"{chosen.id} was champion before; a rollback goes back to it")
        if chosen.against != _last(known):
            raise Refused(f"{chosen.id} was judged against {chosen.against}, not {_last(known)}: train again")
        _append(table, known, chosen, who, why)
        return True

    return again(act)


def rollback(lake: Lake, name: str, to: str | None = None, *, who: str, why: str) -> str:
    """Make an earlier champion the champion again, the one before if none is named; gives its id. One append.

    What was rolled back is passed over: who goes back twice does not come to it again. By its id it can be named.
    """

    def act() -> str:
        table = lake.open(f"promotions/{name}")
        known = history(table) if table else pl.DataFrame(schema=PROMOTED)
        wanted = to or _before(known["id"].to_list())
        if table is None or wanted is None:
            raise Refused(f"{name} has no earlier champion to go back to")
        chosen = version(lake, name, wanted)
        if chosen.id == _last(known) or chosen.id not in known["id"]:
            raise Refused(f"{chosen.id} is champion now, or never was")
        _append(table, known, chosen, who, why)
        return chosen.id

    return again(act)


def _before(promoted: list[str]) -> str | None:
    """The champion before the one in force: who is promoted again takes all that came after it away."""
    standing: list[str] = []
    for one in promoted:
        standing = [*(standing[: standing.index(one)] if one in standing else standing), one]
    return standing[-2] if len(standing) > 1 else None


def _append(table: Table, known: pl.DataFrame, chosen: Version, who: str, why: str) -> None:
    told = {"number": len(known), "id": chosen.id, "code": chosen.code, "until": chosen.until}
    row = pl.DataFrame([told | {"at": datetime.now(UTC), "who": who, "why": why}], schema=PROMOTED, orient="row")
    table.append(row, [_fence(table, "promote")])


def _fence(table: Table, verb: str) -> Cursor:
    """With it the commit is refused if another came after the look."""
    return Cursor(verb, table.version, stamp(table.id))
