"""Documents of any kind: what they are and what they say, and an index for applications."""

import narwhals as nw

from lakehouse.dataset import Serving
from lakehouse.documents import documents as declared


def document_index(documents: nw.LazyFrame) -> nw.LazyFrame:
    """Each document and how it begins; the whole text is in cleaned.documents."""
    facts = ["uri", "title", "media_type", "size", "pages", "width", "height", "sha256"]
    return documents.select(*facts, beginning=nw.col("text").str.slice(0, 300))


dataset = declared(
    "documents",
    landing="documents/**",
    serving=[Serving(document_index, key="uri", group="uri", publish=True)],
)
