"""records → whose they are, and the generations of objects without those of erased subjects."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import filterfalse

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.landing.erased import REASON, Erased
from lakehouse.landing.excision import LINE, Judge
from lakehouse.layers.cleaned import split
from lakehouse.layers.generation import Generation
from lakehouse.layers.raw import KEY, SCHEMA
from lakehouse.layers.rescued import Columns, as_text
from lakehouse.layers.sheets import Slip, fitted


def judge(dataset: Dataset, erased: Erased) -> Judge:
    """Records are held against their own columns, and against what `clean` calls these."""
    named = {c.lower() for c in dataset.contract.column_names()} & {s.column for s in erased.subjects}

    def among(rows: pl.DataFrame, free: Collection[str] = ()) -> pl.Series:
        found = erased.among(rows, free)
        if dataset.clean and (anew := named - {c.lower() for c in rows.columns if not rows[c].has_nulls()}):
            found |= _as_cleaned(dataset, rows, erased, anew)
        return found

    return among


def _as_cleaned(dataset: Dataset, rows: pl.DataFrame, erased: Erased, anew: Collection[str]) -> pl.Series:
    """By the rows that `clean` makes of them; where it makes none, or a bad one, by what their fields say.

    `anew`: the subjects' columns that some of the rows lack.
    """
    raw = rows if "_record" in rows.columns else _as_raw(rows)
    good = split(dataset, raw).good
    bad = raw.join(good.select(KEY), on=KEY, how="anti")
    named = [pl.col(c).is_not_null() for c in bad.columns if c.lower() in anew]
    if len(named) == len(anew):
        bad = bad.filter(~pl.all_horizontal(named))
    told = [good.filter(erased.among(good)), bad.filter(_said(dataset, bad, erased.of(anew)))]
    mine = pl.concat([rows.select(KEY) for rows in told]).with_columns(_mine=pl.lit(True))
    return raw.select(KEY).join(mine, on=KEY, how="left", maintain_order="left")["_mine"].fill_null(False)


def _said(dataset: Dataset, rows: pl.DataFrame, erased: Erased) -> pl.Series:
    """Of each row whether a field that the contract does not name says a subject's value, word for word."""
    known = {c.lower() for c in dataset.contract.column_names()}
    fields = [c for c in rows.columns if not c.startswith("_") and c.lower() not in known]
    texts = zip(*(as_text(rows[c]) for c in fields), strict=True) if fields else ((),) * len(rows)
    return pl.Series([any(erased.says(t, short=True) for t in row if t) for row in texts], dtype=pl.Boolean)


def _as_raw(records: pl.DataFrame) -> pl.DataFrame:
    slip = Slip({"_object": "", "_generation": 1}, records, 1)
    return pl.concat([pl.DataFrame(schema=SCHEMA), *fitted(Columns({}), [slip])], how="diagonal")


def free_of(dataset: Dataset, columns: Sequence[str]) -> Sequence[str]:
    """The columns that are mere text: all of a document's, and the lines of a text."""
    return columns if dataset.reader else LINE


def kept_out(dataset: Dataset, parts: Iterator[Generation], erased: Erased) -> Iterator[Generation]:
    """The generations without what is erased: how many records that were, the head says where it is known.

    None of them is held: what was taken of an archive is gone before its next member is read.
    """
    if not erased:
        return parts
    among = judge(dataset, erased)
    others = filterfalse(lambda one: erased.says(one.head["_object"]), parts)
    return map(lambda one: _without(dataset, one, erased, among), others)


def _without(dataset: Dataset, one: Generation, erased: Erased, among: Judge) -> Generation:
    reason = one.head.get("_reason")
    if reason and erased.tells(reason, broken=True):
        one = replace(one, head={**one.head, "_reason": REASON})
    if one.inside is not None:
        return replace(one, inside=kept_out(dataset, one.inside, erased))
    if one.further is not None:
        further = (rows.filter(~among(rows, free_of(dataset, rows.columns))) for rows in one.further)
        return replace(one, further=further)
    if one.records.is_empty():
        return one
    gone = among(one.records, free_of(dataset, one.records.columns))
    if not gone.any():
        return one
    left = one.records.filter(~gone)
    told = f"{int(gone.sum())} records of erased subjects kept out"
    return Generation({**one.head, "_records": len(left), "_reason": told}, left)
