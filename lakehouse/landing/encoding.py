"""bytes → text: UTF-8 and UTF-16 tell themselves, any other encoding is declared."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import chain

from lakehouse.landing.refusal import Unreadable

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
UTF_8 = {"utf-8", "utf-8-sig"}
SAMPLE = 512


def decoded(body: bytes, encoding: str | None = None) -> str:
    """The text, without its byte order mark. Raises `Unreadable` where the bytes are no such text."""
    encoding = encoding or _found(body)
    try:
        return body.decode(encoding).removeprefix("\ufeff")
    except UnicodeError as error:
        raise unfit(encoding, error) from error


def recoded(pieces: Iterator[bytes], encoding: str | None = None) -> Iterator[bytes]:
    """The same text in UTF-8 without its byte order mark, a piece at a time, none of them empty.

    What is said to be UTF-8 is passed on as it is: who parses it finds out. Raises as `decoded` for the others.
    """
    first = next(pieces, b"")
    encoding = codecs.lookup(encoding or _found(first)).name
    if encoding in UTF_8:
        yield from filter(None, chain([first.removeprefix(codecs.BOM_UTF8)], pieces))
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        begin = decoder.decode(first).removeprefix("\ufeff")
        yield from filter(None, (text.encode() for text in chain([begin], map(decoder.decode, pieces))))
        decoder.decode(b"", final=True)
    except UnicodeError as error:
        raise unfit(encoding, error) from error


def unfit(encoding: str, error: UnicodeError) -> Unreadable:
    """What is wrong with bytes that are no such text."""
    hint = "" if encoding != "utf-8" else '; if it is Latin-1, its dataset declares encoding="latin-1"'
    return Unreadable(f"not {encoding.upper()}: {error}{hint}")


def encoded(text: str, body: bytes, encoding: str | None = None) -> bytes:
    """The text as the body was written, its byte order mark too."""
    return text.encode(encoding or _found(body))


def _found(body: bytes) -> str:
    marked = (encoding for mark, encoding in MARKS.items() if body.startswith(mark))
    return next(marked, None) or _unmarked(body[:SAMPLE])


def _unmarked(sample: bytes) -> str:
    """UTF-16 without a mark: every second byte of Western text is 0, and none of the others."""
    even, odd = sample[::2], sample[1::2]
    if odd and not any(odd) and all(even):
        return "utf-16-le"
    return "utf-16-be" if odd and not any(even) and all(odd) else "utf-8"
