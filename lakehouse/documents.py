"""Objects that are no tables, declared: one row each, and what they say as columns.

dataset = documents("documents", landing="documents/**")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import dataframely as dy
import polars as pl

from lakehouse.dataset import Dataset, Serving
from lakehouse.landing.documents import read_document


class Document(dy.Schema):
    """One object, whatever it is, and what could be read from it."""

    uri = dy.String(primary_key=True, description="s3://bucket/key")
    version = dy.String(nullable=True, description="S3's version, if the bucket has them")
    size = dy.Int64(nullable=False, min=0, description="bytes")
    media_type = dy.String(nullable=False, description="told from the content")
    sha256 = dy.String(nullable=False)
    metadata = dy.String(nullable=False, description="what its uploader said of it, JSON")
    tags = dy.String(nullable=True, description="JSON; null: we may not ask")
    title = dy.String(nullable=True)
    text = dy.String(nullable=True, description="of PDFs, HTML and plain text")
    pages = dy.Int64(nullable=True, min=0, description="of a PDF")
    width = dy.Int64(nullable=True, min=0, description="of an image, pixels")
    height = dy.Int64(nullable=True, min=0, description="of an image, pixels")
    format = dy.String(nullable=True, description="of an image")
    cut = dy.Bool(nullable=False, description="whether there is more text than was kept")


def documents(
    name: str, landing: str, *, on_delete: Literal["keep", "retract"] = "keep", serving: Sequence[Serving] = ()
) -> Dataset:
    """A dataset of whole objects. Its serving functions get the columns of `Document`."""
    return Dataset(
        name,
        landing,
        Document,
        clean=without_bytes,
        on_delete=on_delete,
        serving=serving,
        reader=read_document,
    )


def without_bytes(rows: pl.LazyFrame) -> pl.LazyFrame:
    """What was read of each document; raw alone keeps the document itself."""
    return rows.drop("bytes", strict=False)
