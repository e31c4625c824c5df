"""Small documents and workbooks, written here."""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import xlsxwriter
from PIL import Image
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject


def pdf(*pages: str, title: str | None = None, password: str | None = None) -> bytes:
    """A PDF of one line a page."""
    writer = PdfWriter()
    font = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica"}
    named = DictionaryObject({NameObject(k): NameObject(v) for k, v in font.items()})
    fonts = DictionaryObject({NameObject("/F1"): writer._add_object(named)})
    for line in pages:
        page, stream = writer.add_blank_page(300, 100), DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 10 50 Td ({line}) Tj ET".encode())
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        page[NameObject("/Contents")] = writer._add_object(stream)
    if title:
        writer.add_metadata({"/Title": title})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    body = io.BytesIO()
    writer.write(body)
    return body.getvalue()


def image(kind: str, width: int = 3, height: int = 2) -> bytes:
    body = io.BytesIO()
    Image.new("RGB", (width, height)).save(body, kind)
    return body.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is so large."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def workbook(sheets: Mapping[str, Sequence[Sequence[Any]]]) -> bytes:
    """Each sheet's rows, from its first cell on; None leaves a cell out."""
    body = io.BytesIO()
    with xlsxwriter.Workbook(body, {"in_memory": True, "default_date_format": "yyyy-mm-dd hh:mm:ss"}) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for at, row in enumerate(rows):
                sheet.write_row(at, 0, row)
    return body.getvalue()


PAGE = b"""<!-- a page --><!DOCTYPE html><html><head><title>Late &amp; early</title><style>p {color: red}</style>
<script>never()</script></head><body><h1>Delays</h1><p>in <b>January</b>.</p></body></html>"""
