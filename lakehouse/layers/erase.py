"""a subject → out of landing, lake and DynamoDB: planned, done so that it can be cut off anywhere, and reported.

First the subject is put on the list, then every raw table gets a commit: whoever looked before is refused, and
whoever looks after it knows the list. Then, in the order of the road, the objects, raw, what follows from it by
its own hops, what any table still has, the items, and last the past of each of these tables. All is found anew by
a look at what is there, so that a call that was cut off is taken up by the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any

import polars as pl

from lakehouse.dataset import Dataset, Serving, route
from lakehouse.dynamodb import sync
from lakehouse.dynamodb.items import DELETED, KEY, Item, to_row
from lakehouse.dynamodb.table import ItemTable
from lakehouse.lake import Conflict, Lake, Table, again, oblivion
from lakehouse.lake.table import schema
from lakehouse.landing import erased as listed
from lakehouse.landing import inbox
from lakehouse.landing.erased import REASON, REPORT, Erased, Subject
from lakehouse.landing.excision import Judge, Rest, excised
from lakehouse.landing.objects import REPLACES, Bucket, Identity, Unreachable, Version
from lakehouse.landing.packing import ARCHIVE, INSIDE
from lakehouse.landing.undeclared import name_of, stand_in
from lakehouse.layers import balance, cleaned, history, raw
from lakehouse.layers.lag import servings_of
from lakehouse.layers.serving import serve
from lakehouse.layers.subjects import free_of, judge
from lakehouse.layers.tables import of_raw

EMPTY = b""
ROUNDS = 3
READERS = 8
BATCH = 50_000
FENCE = "erased"
"""The mark of a raw table that tells how many subjects were on the list when it was last fenced."""
SCHEMA = schema(
    {
        "subject": pl.String,
        "at": pl.Datetime("us", "UTC"),
        "state": pl.String,
        "place": pl.String,
        "what": pl.String,
        "count": pl.Int64,
        "how": pl.String,
    }
)
"""`subject`: the salted hash of the value. `state`: planned, done, or not reached."""
APART = (listed.NAME, "models", "promotions", "monitor")
"""A table and layers that are not looked into."""
OF_RAW = ("cleaned", "quarantine", "history")
"""Layers whose rows say which record of raw they are."""
SERVED = ("tally", "serving")
"""Layers whose rows are what a function says."""
FENCED = ("raw", "cleaned", "quarantine", "balance", "history", "tally", "serving")
"""Layers into which every writer commits on the handle that he looked at."""
KEYS: Mapping[str, Sequence[str]] = {
    "quarantine": ("_object", "_record"),
    "history": (*raw.KEY, "valid_from"),
    "balance": ("_object",),
    "rejected": ("_key",),
    "reconciled": ("scope",),
}
"""What tells rows apart, where the table does not say it."""
FREE = {"inbox": inbox.NAMES, "reconciled": ("after",), "rejected": ("_key",), "report": ("place",)}
NAMELESS = "a place named after an erased subject"
BEYOND = (
    "backups and copies of lake, bucket and tables; a lake's bucket with versioning keeps them, too",
    "DynamoDB's point-in-time recovery, 35 days",
    "Dagster's run and event history",
    "models that were trained on the subject, and what `monitor/` tells of them: train again",
    "a prefix that is named after the subject: its tables and the partition of the inbox keep the name",
    "messages that wait in the queue or among the dead letters: they name objects; what they bring is kept out",
    "in `LAKEHOUSE_HOME`, `dashboard.html`: draw it again; `sql_history`, what was asked at the prompt: delete it",
    "objects of other buckets, and what anybody has downloaded",
    "other columns in which the value stands: erase it by their names",
)


@dataclass(frozen=True)
class Find:
    """Where something of the subject is, or was: how many of what, and what becomes of it."""

    place: str
    what: str
    count: int
    how: str = ""


@dataclass(frozen=True)
class Site:
    """All that a subject can be in. `servings`: those that are published, the models' too."""

    lake: Lake
    bucket: Bucket
    datasets: Mapping[str, Dataset]
    servings: Sequence[Serving]
    items: Callable[[Serving], ItemTable]

    def dataset(self, place: str) -> Dataset:
        """The dataset of a table of raw, or what stands in for one."""
        name = _bare(place).partition("/")[2]
        return self.datasets.get(name) or stand_in(name)

    def claims(self, key: str) -> Dataset:
        name = route(dict(self.datasets), key)
        prefix = key.partition("/")[0]
        return self.datasets[name] if name else stand_in(name_of(prefix, self.datasets))


def plan(site: Site, one: Subject) -> list[Find]:
    """Where the subject is, and how many records, rows and items. Nothing is written."""
    erased = Erased((one,))
    landed = [find for _, find in _landed(site, erased)]
    return [*landed, *_tables(site, erased), *_items(site, erased)]


def erase(
    site: Site, one: Subject, planned: Sequence[Find] = (), tell: Callable[[Find], None] = lambda _: None
) -> list[Find]:
    """Erase what the plan names, and write the report; `tell` is called with each find. Safe to repeat.

    `planned` is reported first: of a call that was cut off the plan tells. Raises `Conflict` where others write
    all the time; another call goes on.
    """
    done: list[Find] = []

    def note(find: Find) -> None:
        done.append(find)
        tell(find)

    listed.remember(site.lake, one, listed.remembered(site.lake, one))
    _report(site.lake, one, "planned", planned)
    erased = Erased((one,))
    _fence(site)
    found = [*_tables(site, erased)]
    objects = _from_landing(site, erased, note)
    names = {_bare(find.place) for find in found} | {raw.name(site.claims(key).name) for key in objects}
    touched = _following(site, names | listed.remembered(site.lake, one))
    listed.remember(site.lake, one, touched)
    mine = [place for place in oblivion.places(site.lake) if _bare(place) in touched]
    for place in mine:
        if place.startswith("raw/") and (count := again(partial(_from_raw, site, place, erased, objects))):
            note(Find(place, "rows", count, "deleted"))
    for _ in range(ROUNDS):
        failed = [*_followed(site, touched)]
        for find in failed:
            note(find)
        stuck = {find.place for find in failed}
        swept = [(place, again(partial(_from_table, site, place, erased, stuck))) for place in mine]
        for place, count in swept:
            if count:
                note(Find(place, "rows", count, "deleted"))
        if not any(count for _, count in swept):
            break
    for find in (*_held(site, mine), *_from_items(site, erased)):
        note(find)
    for place in mine:
        note(_forgotten(site, place, erased))
    for find in _followed(site, touched):
        note(find)
    _report(site.lake, one, "done", done)
    _report(site.lake, one, "not reached", [Find(beyond, "", 0) for beyond in BEYOND])
    return done


def _bare(place: str) -> str:
    """A table's name, whichever its path."""
    return re.sub(r"\.\d+$", "", place)


def _open(site: Site, place: str) -> Table | None:
    return site.lake.at(place, 0)


def _fence(site: Site) -> None:
    """A commit in every raw table: what was read before the list was known is refused."""
    count = len(listed.erased(site.lake).subjects)
    for place in oblivion.places(site.lake):
        if place.startswith("raw/") and (table := _open(site, place)) and table.mark(FENCE) != count:
            table.append(pl.DataFrame(), marks={FENCE: count})


def _versions(site: Site, erased: Erased) -> Iterator[tuple[Version, Identity | None, Rest | None]]:
    """Every version of the bucket and what would be left of it; no rest where S3 withholds it."""
    judges: dict[str, Judge] = {}

    def look(which: Version) -> tuple[Version, Identity | None, Rest | None]:
        try:
            got = site.bucket.get_version(which)
        except Unreachable:
            return which, None, None
        if got is None:
            return which, None, Rest(b"")
        dataset = site.claims(which.key)
        among = judges.setdefault(dataset.name, judge(dataset, erased))
        rest = excised(site.bucket, dataset, *got, erased, among)
        if which.latest and rest.body is None and rest.others:
            kept = _is_read(site, dataset, got[0], rest.lost)
            rest = replace(rest, body=EMPTY if kept else None, left=not kept)
        return which, got[0], rest

    versions = site.bucket.versions()
    with ThreadPoolExecutor(READERS) as pool:
        while window := [*islice(versions, READERS)]:
            yield from pool.map(look, window)


def _is_read(site: Site, dataset: Dataset, found: Identity, lost: Collection[str]) -> bool:
    """Whether raw has the records of this very content, so that those of others stay when it goes.

    A member or a sheet that raw refused is nowhere else. `lost`: the members of which that says nothing.
    """
    table = site.lake.open(raw.name(dataset.name))
    if table is None:
        return False
    last = raw.last_heads(table, [found.key]).collect().to_dicts()
    inside = raw.members(table, [found.key]).get(found.key, {})
    refused = {key for key, head in inside.items() if head["_state"] == "refused"}
    now = ("read", found.etag, found.version)
    read = any((head["_state"], head["_etag"], head["_object_version"]) == now for head in last)
    return read and refused <= {f"{found.key}{INSIDE}{name}" for name in lost}


def _landed(site: Site, erased: Erased) -> Iterator[tuple[Version, Find]]:
    for which, _, rest in _versions(site, erased):
        if find := _told(site, which, rest, erased):
            yield which, find


def _told(site: Site, which: Version, rest: Rest | None, erased: Erased) -> Find | None:
    place = "an object named after the subject" if erased.says(which.key) else which.key
    place = f"s3://{site.bucket.name}/{place}"
    if rest is None:
        return Find(place, "versions", 1, "not looked into: S3 withholds it")
    if not rest.gone:
        return Find(place, "versions", 1, f"not looked into: {rest.blind}") if rest.blind else None
    if rest.left:
        told = f"raw has not read all of the {rest.others:,} records of others"
        how = f"left: {rest.whole}; {told}: have it read and erase again, or delete it"
    elif rest.body == EMPTY:
        how = f"emptied: {rest.whole}; raw keeps {rest.others:,} records of others"
    elif rest.body is not None:
        how = "rewritten without them" if which.latest else "the old version deleted"
    else:
        how = f"deleted whole: {rest.whole}" if rest.whole else "deleted: nothing else is in it"
    return Find(place, "records", rest.gone, how)


def _from_landing(site: Site, erased: Erased, note: Callable[[Find], None]) -> dict[str, Identity]:
    """Rewrite or delete; gives the objects that were rewritten, also by a call before this, as they are now.

    One that cannot be rewritten for others is emptied, not deleted: raw would take that for the removal of theirs.
    The new version is there before the old one goes. One that was overwritten meanwhile is looked at again.
    """
    objects: dict[str, Identity] = {}
    for _ in range(ROUNDS):
        lost = False
        for which, found, rest in _versions(site, erased):
            if find := _told(site, which, rest, erased):
                note(find)
            if found is None or rest is None:
                continue
            if not rest.gone or rest.left:
                if which.latest and REPLACES in found.metadata:
                    objects[which.key] = found
                continue
            put = which.latest and rest.body is not None and site.bucket.replace(found, rest.body)
            now = site.bucket.look(which.key) if put else None
            if now:
                objects[which.key] = now
            if which.id != "null" or not which.latest or rest.body is None or (now and now.version):
                site.bucket.drop(which)
            elif not put:
                lost = True
        if not lost:
            break
    return objects


def _pages(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    yield from rows.collect_batches(chunk_size=BATCH)


def _mine(
    site: Site, place: str, table: Table, erased: Erased, stuck: Collection[str] = ()
) -> Iterator[pl.DataFrame]:
    """The rows of a table that are the subject's, a page at a time.

    `stuck`: the serving tables that do not follow. Of one, and of one that is held, the keys count by their words:
    its function may have called columns anew.
    """
    layer, rows = place.partition("/")[0], table.scan()
    among: Judge = erased.among
    free: Sequence[str] = FREE.get(_bare(place).rpartition("/")[2], ()) if layer in ("landing", "erased") else ()
    if layer == "raw":
        dataset = site.dataset(place)
        among, free = judge(dataset, erased), free_of(dataset, table.columns)
        rows = rows.filter(pl.col("_part") == "row")
    elif layer in ("cleaned", "history") and site.dataset(place).reader:
        free = table.columns
    elif layer in SERVED and (table.held or f"serving/{_bare(place).partition('/')[2]}" in stuck):
        free = table.key
    missed = _missed(site, place) if layer in OF_RAW else None
    for page in _pages(rows):
        gone = among(page, free)
        if missed:
            gone |= missed(page)
        if layer == "rejected":
            gone |= pl.Series([erased.keyed(key) for key in page["_key"]], dtype=pl.Boolean)
        if gone.any():
            yield page.filter(gone)


def _missed(site: Site, place: str) -> Callable[[pl.DataFrame], pl.Series] | None:
    """Whether rows are of records that raw has no more, where that alone tells whose they are: `clean` may have
    called columns anew. A generation that raw does not know is one that it was put back before, and tells nothing.
    """
    name = _bare(place).partition("/")[2]
    table = site.lake.open(raw.name(name))
    if table is None or name not in site.datasets or not site.datasets[name].clean:
        return None
    of = ["_object", "_generation"]
    heads = raw.heads(table).select(of).unique().with_columns(_known=pl.lit(True)).collect()
    rows = table.scan().filter(pl.col("_part") == "row").select(raw.KEY).with_columns(_in=pl.lit(True)).collect()

    def missed(page: pl.DataFrame) -> pl.Series:
        told = page.select(raw.KEY).join(heads, on=of, how="left", maintain_order="left")
        told = told.join(rows, on=raw.KEY, how="left", maintain_order="left")
        return told["_known"].is_not_null() & told["_in"].is_null()

    return missed


def _tables(site: Site, erased: Erased) -> Iterator[Find]:
    """Of each table how many rows are the subject's, and how many files of its past hold some."""
    for place in oblivion.places(site.lake):
        table = _open(site, place)
        if table is None or not {place, place.partition("/")[0]}.isdisjoint(APART):
            continue
        if count := sum(len(rows) for rows in _mine(site, place, table, erased)):
            yield Find(place, "rows", count, "deleted")
        if count := sum(_holds(site, place, erased, rows) for _, rows in oblivion.past(table)):
            yield Find(place, "files of its past", count, "deleted, and what the log tells of them")


def _holds(site: Site, place: str, erased: Erased, rows: pl.DataFrame) -> bool:
    dataset = site.dataset(place)
    free = rows.columns if dataset.reader else (*inbox.NAMES, "_key", "line")
    keyed = "_key" in rows.columns and any(erased.keyed(key) for key in rows["_key"].drop_nulls())
    return keyed or bool(erased.among(rows, free).any())


def _following(site: Site, names: Collection[str]) -> set[str]:
    """The tables with all that follows from them: a dataset's layers, and what is served from it."""
    found = set(names)
    for name in names:
        layer, _, bare = name.partition("/")
        if layer in ("landing", "erased", "tally", "serving", "rejected"):
            continue
        dataset = site.datasets.get(bare)
        found |= {raw.name(bare), *(f"{one}/{bare}" for one in (of_raw(dataset) if dataset else ()))}
        served = [*servings_of(dict(site.datasets), bare), *(s for s in site.servings if bare in s.upstreams)]
        found |= {f"{one}/{s.name}" for s in served for one in ("tally", "serving", "rejected")}
    return found


def _from_raw(site: Site, place: str, erased: Erased, objects: Mapping[str, Identity]) -> int:
    """Take the subject's rows out of raw, and have the heads say what is left; gives how many.

    The heads of what was rewritten stand for the new version from then on, so that its event tells nothing new.
    """
    table = _open(site, place)
    if table is None:
        return 0
    none = pl.DataFrame(schema={c: raw.SCHEMA[c] for c in raw.KEY})
    keys = pl.concat([none, *(rows.select(raw.KEY) for rows in _mine(site, place, table, erased))])
    if len(keys):
        table.apply(none, keys, raw.KEY)
    heads = raw.heads(table).select(c for c in raw.HEAD if c in table.columns).collect()
    says = pl.Series([erased.says(key) for key in heads["_object"]], dtype=pl.Boolean)
    named, kept = heads.filter(says), heads.filter(~says)
    mended = _mended(table, kept, erased, objects)
    changed = mended.join(kept, on=mended.columns, how="anti", nulls_equal=True)
    if len(changed) or len(named):
        table.apply(changed, named, ["_part", "_object", "_generation"])
    return len(keys) + len(named)


def _mended(table: Table, heads: pl.DataFrame, erased: Erased, objects: Mapping[str, Identity]) -> pl.DataFrame:
    at = ["_object", "_generation"]
    rows = table.scan().filter(pl.col("_part") == "row")
    counts = rows.group_by(at).agg(pl.len().cast(pl.Int64).alias("_left")).collect()
    told = heads.join(counts, on=at, how="left").with_columns(pl.col("_left").fill_null(0))
    fewer = (pl.col("_state") == "read") & (pl.col("_left") < pl.col("_records"))
    said = pl.Series([r is not None and erased.tells(r, broken=True) for r in heads["_reason"]], dtype=pl.Boolean)
    told = told.with_columns(
        pl.when(fewer).then("_left").otherwise("_records").alias("_records"),
        pl.when(said).then(pl.lit(REASON)).otherwise("_reason").alias("_reason"),
    ).drop("_left")
    last = pl.col("_generation") == pl.col("_generation").max().over("_object")
    landed = pl.coalesce(pl.col("_object").str.extract(ARCHIVE), "_object").is_in([*objects])
    current = (last & (landed | pl.col("_object").is_in([*objects]))).fill_null(False)
    rewritten = [_of_now(head, objects) for head in told.filter(current).to_dicts()]
    return pl.concat([told.filter(~current), pl.DataFrame(rewritten, schema=told.schema)])


def _of_now(head: dict[str, Any], objects: Mapping[str, Identity]) -> dict[str, Any]:
    """The head; if its content was rewritten, as one of the content that took its place."""
    now = objects.get(head["_object"]) or objects[head["_object"].partition(INSIDE)[0]]
    if head["_etag"] != now.metadata.get(REPLACES):
        return head
    size = {"_size": now.size} if now.key == head["_object"] else {}
    return {**head, "_object_version": now.version, "_etag": now.etag, **size}


def _from_table(site: Site, place: str, erased: Erased, stuck: Collection[str]) -> int:
    """Delete the rows of any other table that are the subject's; gives how many."""
    table = _open(site, place)
    if table is None or place.startswith("raw/"):
        return 0
    found = pl.concat(pages) if (pages := [*_mine(site, place, table, erased, stuck)]) else pl.DataFrame()
    layer, _, name = _bare(place).partition("/")
    if place == inbox.NAME and len(found):
        inbox.unname(site.lake, found)
    elif place == REPORT and len(found):
        table.apply(found.with_columns(place=pl.lit(NAMELESS)).unique(), found.unique(), table.columns)
    elif len(found):
        key = list(KEYS.get(layer) or KEYS.get(name) or table.key)
        table.apply(found.select(key).clear(), found.select(key).unique(), key)
    return len(found)


def _held(site: Site, places: Sequence[str]) -> Iterator[Find]:
    """The tables that are held and may say what a function made of the subject, under whatever names."""
    for place in places:
        layer = place.partition("/")[0]
        made = layer in SERVED or (layer in OF_RAW and site.dataset(place).clean)
        if made and _open_of(site, place).held:
            yield Find(
                place, "hops", 1, "held: the subject may stand in it by other names; resume it, erase again"
            )


def _open_of(site: Site, place: str) -> Table:
    table = _open(site, place)
    if table is None:
        raise Conflict(f"{place} was removed")
    return table


def _followed(site: Site, touched: Collection[str]) -> Iterator[Find]:
    """Have what follows from raw follow; yields what could not."""
    datasets = dict(site.datasets)
    mine = [d for d in datasets.values() if raw.name(d.name) in touched and site.lake.open(raw.name(d.name))]
    for dataset in mine:
        hops = [cleaned.clean, cleaned.quarantine, balance.weigh, *([history.track] if dataset.history else [])]
        for hop in hops:
            yield from _attempt(f"{hop.__name__} {dataset.name}", partial(hop, site.lake, dataset))
    for serving in (s for d in datasets.values() for s in d.serving):
        if {d.name for d in mine} & {*serving.upstreams}:
            yield from _attempt(f"serving/{serving.name}", partial(serve, site.lake, serving, datasets))
    for serving in site.servings:
        if f"serving/{serving.name}" in touched and site.lake.open(f"serving/{serving.name}"):
            yield from _attempt(
                f"dynamodb/{serving.name}", partial(sync.publish, site.lake, serving, site.items(serving))
            )


def _attempt(place: str, act: Callable[[], object]) -> Iterator[Find]:
    try:
        act()
    except Conflict:
        raise
    except Exception as error:
        yield Find(place, "hops", 1, f"failed: {type(error).__name__}; when it went, erase again")


def _is_mine(erased: Erased, item: Item) -> bool:
    return erased.keyed(item[KEY]["S"]) if DELETED in item else erased.within(to_row(item))


def _items(site: Site, erased: Erased) -> Iterator[Find]:
    for serving in site.servings:
        items = site.items(serving)
        mine = [item for item in items.scan(tombstones=True) if _is_mine(erased, item)] if items.stands() else []
        if mine:
            yield Find(f"dynamodb/{items.name}", "items", len(mine), "deleted, tombstones too")


def _from_items(site: Site, erased: Erased) -> Iterator[Find]:
    for serving in site.servings:
        items = site.items(serving)
        if count := sync.erase(items, partial(_is_mine, erased)):
            yield Find(f"dynamodb/{items.name}", "items", count, "deleted, tombstones too")


def _forgotten(site: Site, place: str, erased: Erased) -> Find:
    table = _open_of(site, place)
    done = oblivion.forget(table, partial(_holds, site, place, erased), fenced=place.partition("/")[0] in FENCED)
    left = f"; {done.left} young ones left to the next call" if done.left else ""
    return Find(
        place, "files of its past", done.files, f"deleted; {done.commits} commits tell no values now{left}"
    )


def _report(lake: Lake, one: Subject, state: str, finds: Sequence[Find]) -> None:
    """By names that name no subject: the next one's neither."""
    now, gone = datetime.now(UTC), listed.erased(lake)
    rows = [
        (one.value, now, state, NAMELESS if gone.says(f.place) else f.place, f.what, f.count, f.how) for f in finds
    ]
    if rows:
        lake.ensure(REPORT, SCHEMA).append(pl.DataFrame(rows, schema=SCHEMA, orient="row"))
