"""what is refused, under ids that a person can type, and its way back onto the road.

Files that raw could not read, records that broke the contract, messages that no dataset took. Records are held
against the contract again by themselves when it changes, and a mended file is another file. What is sent here is
what only a mended reader can tell of: refused files, records that a reader could not split, and messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.lake import Lake, Table, again
from lakehouse.landing import inbox
from lakehouse.landing.packing import ARCHIVE
from lakehouse.layers import raw, undeclared

ABOUT = ["id", "kind", "dataset", "reason", "since", "text"]
"""`kind` is file, record or message. `since`: when it was refused; of a record, when its file was uploaded."""
NOTHING = pl.LazyFrame(schema=dict.fromkeys(ABOUT, pl.String) | {"since": raw.TIME})


def listing(lake: Lake, datasets: Mapping[str, Dataset]) -> pl.LazyFrame:
    """One row, of the columns `ABOUT`, for each thing that is refused now, of prefixes without a dataset too."""
    found = [of(lake, name) for name in [*datasets, *undeclared.tables(lake, datasets)]]
    if box := lake.open(inbox.NAME):
        found.append(messages(box))
    return pl.concat([NOTHING, *found], how="diagonal").select(ABOUT)


def of(lake: Lake, name: str) -> pl.LazyFrame:
    """The refused files and records of a dataset, or of a prefix that has none, as the listing has them."""
    found = [NOTHING]
    if table := lake.open(raw.name(name)):
        found.append(files(table))
    if table := lake.open(f"quarantine/{name}"):
        found.append(records(table))
    return pl.concat(found, how="diagonal").with_columns(dataset=pl.lit(name)).select(ABOUT)


def files(table: Table) -> pl.LazyFrame:
    """The objects of a raw table that could not be read."""
    state = pl.concat_str(pl.lit("S3 withholds it: "), "_reason")
    reason = pl.when(pl.col("_state") == raw.WITHHELD).then(state).otherwise("_reason")
    told = raw.refused_heads(table).select(pl.lit("file").alias("kind"), "_object", "_ingested_at", reason=reason)
    return told.rename({"_object": "id", "_ingested_at": "since"})


def records(table: Table) -> pl.LazyFrame:
    """The rows of a quarantine table."""
    number = pl.concat_str("_object", pl.lit("#"), "_record")
    told = table.scan().select(pl.lit("record").alias("kind"), "_rules", "_modified", "_text", id=number)
    return told.rename({"_rules": "reason", "_modified": "since", "_text": "text"})


def messages(box: Table) -> pl.LazyFrame:
    """The rows of the inbox that no dataset took. Several of one key have one id."""
    known = box.scan().filter(pl.col("dataset").is_in([inbox.PARKED, inbox.UNROUTED]))
    name = pl.coalesce("key", "message_id").alias("id")
    told = known.select(pl.lit("message").alias("kind"), name, "dataset", "reason", "received_at", "body")
    return told.rename({"received_at": "since", "body": "text"})


def replay(
    lake: Lake, bucket: str, datasets: Mapping[str, Dataset], what: str | None = None, *, prefixes: bool = True
) -> dict[str, int]:
    """Send refused things down the road again; gives how many, by dataset or prefix and as `messages`.

    `what`: a dataset, a prefix without one, an id of the listing, or all. `prefixes`: whether what no dataset
    claims goes to a table of its prefix. What passes leaves the quarantine by the next run; what fails
    again stays, with its reason of now. `bucket`: the landing bucket's name.
    """
    sent, known = {}, undeclared.tables(lake, datasets)
    names = [*datasets, *known]
    one = what if what in names else None
    for name in [one] if one else names:
        again = _again(lake, name, None if one else what)
        if count := inbox.announce(lake, name, again, event=inbox.REPLAY, generations=again):
            sent[name] = count
    reread = partial(inbox.reread, bucket=bucket, datasets=dict(datasets), known=set(known) if prefixes else None)
    if count := _redecode(lake, reread, None if one else what, one):
        sent["messages"] = count
    return sent


def _again(lake: Lake, dataset: str, what: str | None) -> dict[str, int]:
    """The objects to be read again, and the generation that each is in now: for a member, its archive."""
    table = lake.open(raw.name(dataset))
    if table is None:
        return {}
    newest = raw.last_heads(table).select("_object", "_generation")
    unsplit = table.scan().filter((pl.col("_part") == "row") & pl.col("_bad").is_not_null())
    unsplit = unsplit.join(newest, on=["_object", "_generation"], how="semi")
    wanted = pl.concat([raw.refused_heads(table).select("_object"), unsplit.select("_object")])
    if what is not None:
        held = lake.open(f"quarantine/{dataset}")
        rows = records(held).filter(pl.col("id") == what) if held else pl.LazyFrame(schema={"id": pl.String})
        wanted = pl.concat([wanted, rows.select(_object=pl.col("id").str.replace(r"#\d+$", ""))])
        one = what.rpartition("#")[0] if not rows.head(1).collect().is_empty() else what
        wanted = wanted.filter(pl.col("_object") == one)
    found = wanted.unique().with_columns(pl.col("_object").str.extract(ARCHIVE).alias("_archive")).collect()
    named = {*found["_object"], *found["_archive"].drop_nulls()}
    known = dict(newest.filter(pl.col("_object").is_in(list(named))).collect().iter_rows())
    landed = {archive if archive in known else key for key, archive in found.iter_rows()}
    return {key: known[key] for key in sorted(landed & known.keys())}


def _redecode(
    lake: Lake, reread: Callable[[pl.DataFrame], pl.DataFrame | None], what: str | None, into: str | None
) -> int:
    """Read the messages anew that no dataset took, their events key by key; gives how many passed.

    `what`: the id of those to read; None: all. `into`: the one dataset of which one of their events must be.

    Their events are in before they themselves leave: who dies in between does no more than repeat them.
    """
    box = lake.open(inbox.NAME)
    if box is None:
        return 0
    chosen = messages(box).select("id").collect()["id"] if what is None else [what]
    known = box.scan().filter(pl.col("dataset").is_in([inbox.PARKED, inbox.UNROUTED]))
    known = known.filter(pl.coalesce("key", "message_id").is_in(list(chosen)))
    rows = known.collect().partition_by("dataset", "message_id", "key")
    read = [(group, reread(group)) for group in rows]
    passed = [(g, r) for g, r in read if r is not None and (into is None or into in set(r["dataset"]))]
    if not passed:
        return 0
    box.append(pl.concat([r for _, r in passed]))
    _drop(lake, pl.concat([g.select("dataset", "message_id", "key").head(1) for g, _ in passed]))
    return len(passed)


def _drop(lake: Lake, messages: pl.DataFrame) -> None:
    """Take messages out of the inbox: a parked one whole, of one that no dataset took the events of a key."""
    key = ["dataset", "message_id", "key"]
    events = pl.col("key").is_not_null()
    for rows in (messages.filter(~events).select(key[:2]), messages.filter(events).select(key)):
        if not rows.is_empty():
            again(partial(_remove, lake, rows))


def _remove(lake: Lake, rows: pl.DataFrame) -> None:
    inbox.open_inbox(lake).apply(pl.DataFrame(schema=inbox.SCHEMA), rows, rows.columns)
