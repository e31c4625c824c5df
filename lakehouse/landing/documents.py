"""object → one row: what it is, what S3 keeps with it, and what it says."""

from __future__ import annotations

import hashlib
import json

import polars as pl

from lakehouse.lake.table import schema
from lakehouse.landing.extractors import Extract, extract, media_type
from lakehouse.landing.objects import Bucket, Identity

INLINE = 1 << 20
"""Bytes of a document that raw keeps in its row. A larger one is kept by reference: its URI and version."""
COLUMNS = schema(
    {
        "uri": pl.String,
        "version": pl.String,
        "size": pl.Int64,
        "media_type": pl.String,
        "sha256": pl.String,
        "metadata": pl.String,
        "tags": pl.String,
        "bytes": pl.Binary,
        "title": pl.String,
        "text": pl.String,
        "pages": pl.Int64,
        "width": pl.Int64,
        "height": pl.Int64,
        "format": pl.String,
        "cut": pl.Boolean,
        "_bad": pl.String,
    }
)


def read_document(bucket: Bucket, identity: Identity, body: bytes) -> pl.DataFrame:
    """One row, whatever the object is. Where its extractor raises, the row says so in `_bad`.

    It is extracted here, where the bytes are at hand whatever their number, and once: one that kills the process
    that reads it is then refused as any other file is.
    """
    kind = media_type(body)
    said, bad = _extracted(kind, body)
    tags = bucket.tags(identity)
    row = {
        "uri": f"s3://{bucket.name}/{identity.key}",
        "version": identity.version,
        "size": identity.size,
        "media_type": kind,
        "sha256": hashlib.sha256(body).hexdigest(),
        "metadata": json.dumps(dict(identity.metadata), ensure_ascii=False),
        "tags": None if tags is None else json.dumps(tags, ensure_ascii=False),
        "bytes": body if len(body) <= INLINE else None,
        **{name: _sound(value) for name, value in vars(said).items()},
        "_bad": _sound(bad),
    }
    return pl.DataFrame([row], schema=COLUMNS)


def _extracted(kind: str, body: bytes) -> tuple[Extract, str | None]:
    try:
        return extract(kind, body), None
    except MemoryError:
        raise
    except Exception as error:  # an extractor sees the bytes and nothing else
        return Extract(), f"{kind} could not be read: {type(error).__name__}: {error}"


def _sound(value: object) -> object:
    """Text without the halves of characters that a damaged document may hold and no table can."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value
