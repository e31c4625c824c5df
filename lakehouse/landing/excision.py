"""object → the same object without the records of erased subjects: one function a format, beside its reader.

What has no such function, a document, a file that cannot be read, goes whole if it says a subject's value. Of
others' records that go with it raw has the only copy then.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Collection, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.formats import Excel, Format
from lakehouse.landing import packing
from lakehouse.landing.avro import cut_avro, read_avro
from lakehouse.landing.columnar import cut_arrow, cut_orc, cut_parquet, read_arrow, read_orc, read_parquet
from lakehouse.landing.content import unwrapped
from lakehouse.landing.delimited import cut_csv, read_csv
from lakehouse.landing.erased import Erased
from lakehouse.landing.events import ignorable
from lakehouse.landing.extractors import extract, media_type
from lakehouse.landing.markup import cut_xml, read_xml
from lakehouse.landing.objects import Bucket, Identity
from lakehouse.landing.readers import Reader, Unreadable, chosen, records
from lakehouse.landing.records import cut_json, cut_lines, cut_ndjson, read_json, read_lines, read_ndjson
from lakehouse.landing.workbook import cell_texts, is_workbook, sheets

CUTTERS: dict[Reader, Callable[..., bytes]] = {
    read_csv: cut_csv,
    read_json: cut_json,
    read_ndjson: cut_ndjson,
    read_lines: cut_lines,
}
"""Of formats whose records are kept as they stand."""
ANEW: dict[Reader, Callable[..., bytes]] = {
    read_parquet: cut_parquet,
    read_arrow: cut_arrow,
    read_avro: cut_avro,
    read_orc: cut_orc,
    read_xml: cut_xml,
}
"""Of formats that a library writes anew: what it wrote is read again, and stands if it says the same."""
LINE = ("line",)
"""The column of plain text."""
Judge = Callable[[pl.DataFrame, Sequence[str]], pl.Series]
"""Of a frame of records, and the columns of it that are mere text, which records are to go."""


@dataclass(frozen=True)
class Rest:
    """What is left of an object: all of it where `gone` is 0, nothing where there is no body.

    `gone`: how many records are to go, `others`: how many are not; what no reader takes counts as one. `whole`:
    why these go with them nevertheless. `lost`: the members that nobody could keep, closed ones, or need not, the
    subject's alone. `left`: though there is no body, it is to stay as it is. `blind`: why it was not looked into.
    """

    body: bytes | None
    gone: int = 0
    whole: str = ""
    others: int = 0
    lost: Collection[str] = ()
    left: bool = False
    blind: str = ""


def _zstd(body: bytes) -> bytes:
    import pyarrow as pa

    return bytes(pa.Codec("zstd").compress(body, asbytes=True))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": _zstd,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def excised(bucket: Bucket, dataset: Dataset, found: Identity, body: bytes, erased: Erased, judge: Judge) -> Rest:
    """What is left of an object of a dataset."""
    if found.emptied:
        rest = Rest(body)
    elif dataset.reader:
        rest = _document(partial(dataset.reader, bucket, found, body), body, erased, judge)
    else:
        rest = _looked(found.key, body, dataset.format, erased, judge)
    return _named(rest, "it is named after the subject") if erased.says(found.key) else rest


def _looked(key: str, body: bytes, form: Format | None, erased: Erased, judge: Judge) -> Rest:
    try:
        return _without(key, body, form, erased, judge, packing.Budget())
    except packing.Overrun as error:
        rest = _unread(body, erased)
        return rest if rest.gone else replace(rest, blind=str(error))


def _named(rest: Rest, whole: str) -> Rest:
    """Nothing: what is in it is the subject's by its name."""
    return Rest(None, max(rest.gone + rest.others, 1), whole)


def _unread(body: bytes, erased: Erased) -> Rest:
    if _says(body, erased):
        return Rest(None, 1, "it cannot be read as records")
    return Rest(body, others=1 if body else 0)


def _document(read: Callable[[], pl.DataFrame], body: bytes, erased: Erased, judge: Judge) -> Rest:
    try:
        rows = read()
    except Unreadable:
        return _unread(body, erased)
    gone = int(judge(rows, rows.columns).sum())
    if not gone and not _says(body, erased):
        return Rest(body, others=len(rows))
    gone = max(gone, 1)
    return Rest(None, gone, "a document is kept or goes as one", max(len(rows) - gone, 0))


def _without(
    key: str, body: bytes, form: Format | None, erased: Erased, judge: Judge, budget: packing.Budget
) -> Rest:
    try:
        content = unwrapped(key, body, budget)
        plain = content.whole()
        if packing.is_archive(plain) and is_workbook(io.BytesIO(plain)):
            rest = _sheets(plain, form, erased, judge)
        elif packing.is_archive(plain):
            rest = _members(plain, form, erased, judge, budget)
        else:
            rest = _records(content.suffix, plain, form, judge, budget)
    except packing.Overrun:
        raise
    except (Unreadable, MemoryError):
        return _unread(body, erased)
    if not rest.gone:
        return replace(rest, body=body)
    packed = packing.packed_as(body) if plain is not body else None
    return replace(rest, body=PACKERS[packed](rest.body)) if packed and rest.body is not None else rest


def _says(body: bytes, erased: Erased) -> bool:
    """Whether what no reader takes says a subject's value, as far as it can be told."""
    try:
        said = extract(media_type(body), body).text or ""
    except Exception:  # an extractor sees the bytes and nothing else
        said = ""
    return erased.says(said) or erased.says(body.decode(errors="replace"))


def _records(suffix: str, body: bytes, form: Format | None, judge: Judge, budget: packing.Budget) -> Rest:
    reader, form = chosen(suffix, body, form)
    rows = records(body, reader, form, budget)
    gone = judge(rows, LINE if reader is read_lines else ())
    count = int(gone.sum())
    others = len(rows) - count
    if not count or not others:
        return Rest(body if others else None, count, others=others)
    args = (body, (~gone).to_list(), *([form] if form else []))
    left = CUTTERS[reader](*args) if reader in CUTTERS else _anew(reader, form, args, rows.filter(~gone))
    return Rest(left, count, "" if left else "it cannot be rewritten to say the same of the others", others)


def _anew(reader: Reader, form: Format | None, args: tuple[Any, ...], told: pl.DataFrame) -> bytes | None:
    """The file with the records that are kept; None where it would tell them otherwise, or cannot be written."""
    try:
        left = ANEW[reader](*args)
        return left if records(left, reader, form, packing.Budget()).equals(told) else None
    except (Exception, pl.exceptions.PanicException):  # a library that writes what it has read
        return None


def _sheets(body: bytes, form: Format | None, erased: Erased, judge: Judge) -> Rest:
    """Of a sheet that cannot be read nobody knows whose its records are: it counts as one of others'."""
    told = [rows for _, rows in sheets(body, packing.Budget(), form if isinstance(form, Excel) else Excel())]
    judged = [judge(rows, ()) for rows in told if not isinstance(rows, Unreadable)]
    gone = sum(int(those.sum()) for those in judged)
    refused = len(told) - len(judged)
    others = sum(map(len, judged)) - gone + refused
    gone = gone or int(refused > 0 and any(erased.says(text) for text in cell_texts(body)))
    whole = "a workbook is kept or goes as one"
    return Rest(None, gone, whole, others) if gone else Rest(body, others=others)


def _members(body: bytes, form: Format | None, erased: Erased, judge: Judge, budget: packing.Budget) -> Rest:
    """The archive with what is left of its members; without those of which nothing is.

    A member that takes others' records with it takes the archive: without it, it would tell of their removal.
    One that a later one of its name supersedes nobody reads, and the archive that is written has none.
    """
    found: dict[str, Rest | Unreadable] = {}
    past = 0
    for name, content in packing.members(io.BytesIO(body), budget, superseded=True):
        before = found.pop(name, None)
        past += before.gone if isinstance(before, Rest) else 0
        assert content is not None
        try:
            found[name] = _member(name, content(), form, erased, judge, budget)
        except packing.Hollow as error:
            says = erased.says(name) or erased.says(str(error))
            found[name] = _named(Rest(b""), "a link is named after the subject") if says else Rest(b"")
        except packing.Overrun:
            raise
        except Unreadable as error:
            found[name] = Unreadable(str(error))
    rests = {name: rest for name, rest in found.items() if isinstance(rest, Rest)}
    gone = past + sum(rest.gone for rest in rests.values())
    others = sum(rest.others for name, rest in rests.items() if not ignorable(name))
    if not gone:
        return Rest(body, others=others)
    whole = next((rest.whole for rest in rests.values() if rest.whole), "")
    closed = found.keys() - rests.keys()
    lost = closed | {name for name, rest in rests.items() if not rest.body and not rest.others}
    if closed:
        return Rest(None, gone, f"{len(closed):,} members of it cannot be unpacked, and go with it", others, lost)
    changed = {name: rest.body for name, rest in rests.items() if rest.gone}
    torn = any(rest.body is None and rest.others for rest in rests.values())
    if torn or all(name in changed and changed[name] is None for name in rests):
        return Rest(None, gone, whole, others, lost)
    return Rest((_zip if body.startswith(b"PK") else _tar)(body, changed), gone, whole, others)


def _member(
    name: str, body: bytes, form: Format | None, erased: Erased, judge: Judge, budget: packing.Budget
) -> Rest:
    rest = _without(name, body, form, erased, judge, budget)
    return _named(rest, "a member is named after the subject") if erased.says(name) else rest


def _zip(body: bytes, changed: dict[str, bytes | None]) -> bytes:
    left = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as old, zipfile.ZipFile(left, "w") as new:
        for name in dict.fromkeys(old.namelist()):
            info = old.getinfo(name)
            content = changed[name] if name in changed else old.read(info)
            if content is not None:
                kept = zipfile.ZipInfo(name, info.date_time)
                kept.compress_type, kept.external_attr = info.compress_type, info.external_attr
                new.writestr(kept, content)
    return left.getvalue()


def _tar(body: bytes, changed: dict[str, bytes | None]) -> bytes:
    left = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:") as old, tarfile.open(fileobj=left, mode="w") as new:
        for info in {one.name: one for one in old}.values():
            stream = old.extractfile(info) if info.isfile() else None
            content = changed[info.name] if info.name in changed else stream.read() if stream else b""
            if content is not None:
                kept = copy(info)
                kept.size = len(content)
                new.addfile(kept, io.BytesIO(content))
    return left.getvalue()
