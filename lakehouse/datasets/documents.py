"""Documents of any kind: what they are and what they say, and an index for applications."""

import polars as pl

from lakehouse.dataset import Serving
from lakehouse.documents import documents as declared


def document_index(documents: pl.LazyFrame) -> pl.LazyFrame:
    """Each document and how it begins; the whole text is in cleaned.documents."""
    facts = ["uri", "title", "media_type", "size", "pages", "width", "height", "sha256"]
    return documents.select(*facts, beginning=pl.col("text").str.slice(0, 300))


dataset = declared(
    "documents",
    landing="documents/**",
    serving=[Serving(document_index, key="uri", group="uri", publish=True)],
)
