"""bytes → what they say: one function a media type, told from the content, each bounded.

An extractor gets the bytes and returns an `Extract`. To read another kind of document, write such a function and
name it in `EXTRACTORS`. What it raises puts that one document into quarantine, with the reason.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass

import filetype

TEXT = 1_000_000
"""Characters of a document's text that are kept."""
PAGES = 1_000
"""Pages of a PDF that are read. pypdf itself bounds what each of its streams may grow to, 75 MB."""
MARKUP = 4 << 20
"""Bytes of an HTML page that are parsed: a tree takes many times its page's memory."""
HTML = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
UNKNOWN = "application/octet-stream"


@dataclass(frozen=True)
class Extract:
    """What a document says of itself. `cut`: there is more text than was kept."""

    title: str | None = None
    text: str | None = None
    pages: int | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    cut: bool = False


def media_type(body: bytes) -> str:
    """The media type by what the bytes are, whatever the name says."""
    if found := filetype.guess(body):
        return str(found.mime)
    if b"%PDF-" in body[:1024]:
        return "application/pdf"
    encoding = _encoding(body)
    if encoding is None:
        return UNKNOWN
    return "text/html" if HTML.match(_text(body[:4096], encoding).encode()) else "text/plain"


def extract(kind: str, body: bytes) -> Extract:
    """What the extractor of a media type, or of its family, makes of the bytes; nothing where there is none."""
    extractor = EXTRACTORS.get(kind) or EXTRACTORS.get(f"{kind.split('/')[0]}/*")
    return extractor(body) if extractor else Extract()


def pdf(body: bytes) -> Extract:
    """Text and pages; a PDF that asks for a password raises."""
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(body))
    title = reader.metadata.title if reader.metadata else None
    count, texts, length = len(reader.pages), list[str](), 0
    for page in reader.pages[:PAGES]:
        texts.append(page.extract_text())
        length += len(texts[-1])
        if length > TEXT:
            break
    unread = len(texts) < count
    return Extract(_line(title), "\n".join(texts)[:TEXT], pages=count, cut=unread or length > TEXT)


def image(body: bytes) -> Extract:
    """Size and format, from the header: the pixels are not unpacked. Pillow refuses an image that would burst."""
    from PIL import Image

    with Image.open(io.BytesIO(body)) as picture:
        width, height, kind = picture.width, picture.height, picture.format
        picture.verify()
    return Extract(width=width, height=height, format=kind)


def html(body: bytes) -> Extract:
    """Title and text, without scripts and styles."""
    from bs4 import BeautifulSoup

    page = BeautifulSoup(body[:MARKUP], "html.parser")
    title = page.title.get_text() if page.title else None
    for hidden in page(["script", "style", "title", "template"]):
        hidden.decompose()
    text = page.get_text(" ", strip=True)
    return Extract(_line(title), text[:TEXT], cut=len(body) > MARKUP or len(text) > TEXT)


def plain(body: bytes) -> Extract:
    """Text as it is; its first line that says something is the title."""
    text = _text(body, _encoding(body) or "cp1252")
    first = next((line for line in text[:TEXT].splitlines() if line.strip()), None)
    return Extract(_line(first), text[:TEXT], cut=len(text) > TEXT)


Extractor = Callable[[bytes], Extract]
EXTRACTORS: dict[str, Extractor] = {
    "application/pdf": pdf,
    "image/*": image,
    "text/html": html,
    "text/plain": plain,
}


def _encoding(body: bytes) -> str | None:
    """How the bytes are text, or None if they are not. Of bytes without a mark that are no UTF-8: Windows'."""
    for mark, name in BOMS.items():
        if body.startswith(mark):
            return name
    if CONTROL.search(body[: 1 << 20]):
        return None
    try:
        body.decode()
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _text(body: bytes, encoding: str) -> str:
    return body.decode(encoding, errors="replace")


def _line(text: object) -> str | None:
    """One line of at most 200 characters; None if nothing is left."""
    return " ".join(str(text).split())[:200] or None if text else None
