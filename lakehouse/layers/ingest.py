"""inbox → raw: what an event names is looked at, and read where it is not as its last head says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import accumulate

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.lake import Conflict, Desired, Hopped, Lake, News, Table, walk
from lakehouse.lake.hop import cursor_after
from lakehouse.landing import inbox
from lakehouse.landing.ahead import ahead
from lakehouse.landing.erased import erased
from lakehouse.landing.objects import Bucket, Identity, Unreachable
from lakehouse.landing.removals import REMOVED, Removal, removals
from lakehouse.layers import raw as raw_layer
from lakehouse.layers.generation import (
    Differing,
    Generation,
    Head,
    Known,
    began,
    content,
    head_rows,
    is_of,
    next_generations,
    refused,
    same,
)
from lakehouse.layers.raw import FLOOR, KEY, RECALL, SPARED, TRYING, WITHHELD, heads, last_heads
from lakehouse.layers.sheets import lay
from lakehouse.layers.subjects import kept_out

READERS = 8
BUNDLE = 2 << 20
"""Bytes of objects that are parsed at once if they are alike."""
TRIALS = 2
"""Processes that may die while they read an object and nothing else, before it is refused."""
TRIAL = timedelta(seconds=30)
"""A run that reads an object alone and takes longer than this without a word is taken for dead."""
DIED = "processes that read nothing else died while they read it; upload it again to try it anew"


@dataclass(frozen=True)
class Pace:
    """The run, how many objects it takes a commit, and whether each is read alone."""

    run: str
    objects: int
    alone: bool


def ingest(lake: Lake, bucket: Bucket, dataset: Dataset, *, run: str = "", failures: int = 0) -> Hopped:
    """Carry everything the inbox holds for a dataset into raw, a bounded batch a commit.

    If the run dies, what its commits brought their heads tell, and the next run finds those objects as they are.

    `failures`: runs that failed here before this one, in a row. After two, an object is read alone, behind a head
    that says so: an object that twice killed the process that read it is refused, and the dataset moves on. A
    run that fails and lives takes that head back, so that nothing is held against an object but deaths.
    """
    pace = Pace(run, 1 if failures > 1 else max(1, raw_layer.BATCH >> 4 * failures), alone=failures > 1)
    _recall(lake, dataset.name)
    try:
        return walk(
            lambda: raw_layer.open_raw(lake, dataset.name),
            lambda: inbox.of(inbox.open_inbox(lake), dataset.name),
            lambda raw, news, after: _batch(lake, dataset, raw, news, bucket, pace, after),
            key=KEY,
            code=raw_layer.code(dataset),
        )
    except BaseException:
        if pace.alone:
            _spare(lake, dataset.name, run)
        raise


def _recall(lake: Lake, dataset: str) -> None:
    """Announce the objects that S3 withheld and that it is time to ask for again."""
    raw = lake.open(raw_layer.name(dataset))
    if raw and raw_layer.recalls(raw) and not raw.held:
        due = raw_layer.withheld(raw).filter(pl.col("at") <= datetime.now(UTC)).collect()
        inbox.announce(lake, dataset, sorted(due["_object"]), event="recall")


def _spare(lake: Lake, dataset: str, run: str) -> None:
    """Take back what says that this run reads an object alone: the run failed, and it lived."""
    raw = raw_layer.open_raw(lake, dataset)
    tried = last_heads(raw).filter((pl.col("_state") == TRYING) & (pl.col("_run") == run)).collect()
    if spared := [{**began(h["_object"], h, run), "_state": SPARED} for h in tried.to_dicts()]:
        raw.append(head_rows(spared))


def _batch(
    lake: Lake, dataset: Dataset, raw: Table, news: News, bucket: Bucket, pace: Pace, after: str
) -> tuple[Desired, str]:
    """The next objects that are not as their heads say, within the pace and `BYTES`, and how far that goes."""
    with ThreadPoolExecutor(READERS) as pool:
        sizes = _named(dataset, raw, news, after)
        keys = [*sizes][: raw_layer.BATCH]
        upto = keys[-1] if len(sizes) > raw_layer.BATCH else ""
        differing = _differing(dataset, raw, news, bucket, {key: sizes[key] for key in keys}, pool)
        alone = pace.alone and not _found(raw, pace.run)
        taken = _within(differing, pace.objects if alone or not pace.alone else raw_layer.BATCH)
        if len(taken) < len(differing):
            upto = taken[-1].key
        if alone:
            told = iter([_alone(dataset, raw, news, bucket, one, pace.run) for one in taken])
        else:
            told = ahead(pool, partial(next_generations, bucket, dataset, run=pace.run), _bundles(taken), READERS)
        read = kept_out(dataset, (part for parts in told for part in parts), erased(lake))
        floor = raw.mark(FLOOR) or 0
        heads, written = lay(raw, map(lambda part: _above(part, floor), read))
    rows = head_rows(heads)
    return Desired(rows, new=True, more=bool(upto), marks=_marks(raw, rows), written=written), upto


def _above(part: Generation, floor: int) -> Generation:
    number = max(part.head["_generation"], floor + 1)
    inside = None if part.inside is None else map(lambda one: _above(one, floor), part.inside)
    return replace(part, head={**part.head, "_generation": number}, inside=inside)


def _marks(raw: Table, heads: pl.DataFrame) -> dict[str, int]:
    if not raw.mark(RECALL) and WITHHELD not in heads["_state"]:
        return {}
    return {RECALL: raw_layer.recall_at(raw, heads)}


def _named(dataset: Dataset, raw: Table, news: News, after: str) -> dict[str, int | None]:
    """The next keys, one more than a batch, that an event names, and the largest size that one tells.

    Without events whose version raw has read, as it is now to be read.
    """
    events = news.source.scan() if news.changes is None else news.changes.lazy()
    created = pl.when(pl.col("kind") == "created").then("version_id").alias("version_id")
    settled = (pl.col("_object") > after) & pl.col("_state").is_in(["read", "refused"])
    settled &= pl.col("_reading").fill_null("") == dataset.reading
    read = heads(raw).filter(settled).select(key="_object", version_id="_object_version")
    named = (
        events.filter(pl.col("key") > after)
        .select("key", created, "size")
        .join(read.drop_nulls(), on=["key", "version_id"], how="anti")
        .group_by("key")
        .agg(pl.col("size").max())
        .sort("key")
        .head(raw_layer.BATCH + 1)
    )
    return dict(named.collect().iter_rows())


def _replayed(news: News) -> dict[str, int]:
    """The generation of each key that is to be read again though the object is as its head says."""
    events = news.source.scan() if news.changes is None else news.changes.lazy()
    asked = events.filter(pl.col("event_name") == inbox.REPLAY).select("key", pl.col("sequencer").cast(pl.Int64))
    return dict(asked.group_by("key").max().collect().iter_rows())


def _differing(
    dataset: Dataset,
    raw: Table,
    news: News,
    bucket: Bucket,
    sizes: dict[str, int | None],
    pool: ThreadPoolExecutor,
) -> list[Differing]:
    """The objects that are not as their heads say.

    One without a head, whose size an event tells, is not looked at: it will be got, whatever it is.
    """
    replayed = _replayed(news)
    known = {h["_object"]: _unless(replayed, h) for h in last_heads(raw, sizes).collect().to_dicts()}
    new = [Differing(k, Known(), size) for k, size in sizes.items() if size is not None and k not in known]
    keys = sizes.keys() - {one.key for one in new}
    looks = dict(zip(keys, pool.map(lambda key: _look(bucket, key), keys), strict=True))
    why = _removals(raw, news, [key for key, look in looks.items() if look is None and key in known])
    unlike = {
        key: look
        for key, look in looks.items()
        if isinstance(look, Unreachable) or not same(look, known.get(key), dataset.reading, why.get(key))
    }
    inside = raw_layer.members(raw, unlike.keys() & known.keys())
    seen = [
        Differing(
            key,
            Known(known.get(key), inside.get(key, {})),
            look.size if isinstance(look, Identity) else 0,
            why.get(key),
        )
        for key, look in unlike.items()
    ]
    return sorted(new + seen, key=lambda one: one.key)


def _removals(raw: Table, news: News, gone: list[str]) -> dict[str, Removal]:
    """Why objects are gone, by key, as far as the inbox tells."""
    if not gone or news.source.part is None:
        return {}
    content = heads(raw).filter(pl.col("_object").is_in(gone) & ~pl.col("_state").is_in(REMOVED))
    written = dict(content.group_by("_object").agg(pl.col("_modified").max()).collect().iter_rows())
    return removals(news.source, news.source.part.value, dict.fromkeys(gone) | written)


def _unless(replayed: dict[str, int], head: Head) -> Head:
    """The head; where a replay asks for its generation to be read again, as one that says nothing of the content.

    By the generation, not by a time: once that has been read, the same event asks for nothing.
    """
    return {**head, "_state": SPARED} if replayed.get(head["_object"]) == head["_generation"] else head


def _look(bucket: Bucket, key: str) -> Identity | Unreachable | None:
    try:
        return bucket.look(key)
    except Unreachable as error:
        return error


def _within(objects: list[Differing], most: int) -> list[Differing]:
    """As many as `most` and `BYTES` allow, and at least one."""
    ends = [*accumulate(one.size for one in objects)]
    fitting = sum(end <= raw_layer.BYTES for end in ends)
    return objects[: min(most, max(1, fitting))]


def _bundles(objects: Sequence[Differing]) -> Iterator[list[Differing]]:
    """Neighbours that one thread gets and reads together: an even share, and no more than `BUNDLE`."""
    most, bundle, size = -(-len(objects) // READERS), list[Differing](), 0
    for one in objects:
        if bundle and (len(bundle) == most or size + one.size > BUNDLE):
            yield bundle
            bundle, size = [], 0
        bundle.append(one)
        size += one.size
    if bundle:
        yield bundle


def _found(raw: Table, run: str) -> bool:
    """Whether the run has refused the object for whose sake it reads them one by one."""
    mine = heads(raw).filter((pl.col("_run") == run) & (pl.col("_reason") == DIED))
    return not mine.collect().is_empty()


def _alone(dataset: Dataset, raw: Table, news: News, bucket: Bucket, one: Differing, run: str) -> list[Generation]:
    """The object's next generations, read behind a head that says so; refused if such heads tell of deaths."""
    found = _look(bucket, one.key)
    if not isinstance(found, Identity):
        return next_generations(bucket, dataset, [one], run)
    trials = _trials(dataset, raw, found)
    if trials and datetime.now(UTC) - trials[-1]["_ingested_at"] < TRIAL:
        raise Conflict(f"{one.key}: run {trials[-1]['_run']} began to read it less than {TRIAL} ago")
    if len(trials) >= TRIALS:
        return refused(found, one.known, run, dataset.reading, DIED)
    trying = {**began(one.key, one.known.last, run), **content(found, dataset.reading), "_state": TRYING}
    standing = cursor_after(raw, news, raw_layer.code(dataset), more=True)
    raw.append(head_rows([trying]), [standing], KEY)
    return next_generations(bucket, dataset, [replace(one, known=replace(one.known, last=trying))], run)


def _trials(dataset: Dataset, raw: Table, found: Identity) -> list[Head]:
    """The heads of runs that began to read this very content alone and said no more, the oldest first."""
    told = heads(raw).filter(pl.col("_object") == found.key).sort("_generation").collect().to_dicts()
    others = (n for n, h in enumerate(told) if h["_state"] != TRYING or not is_of(found, h, dataset.reading))
    return told[max(others, default=-1) + 1 :]
