"""What documents say of themselves, by what their bytes are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.landing import extractors
from lakehouse.landing.extractors import Extract, extract, media_type
from lakehouse_tests.landing import files

KINDS = {
    "application/pdf": files.pdf("one"),
    "image/png": files.image("PNG"),
    "image/jpeg": files.image("JPEG"),
    "image/gif": files.image("GIF"),
    "image/webp": files.image("WEBP"),
    "image/tiff": files.image("TIFF"),
    "text/html": files.PAGE,
    "text/plain": b"First.\nSecond.\n",
    "application/octet-stream": bytes(range(256)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_media_type_is_told_from_the_content(kind: str) -> None:
    assert media_type(KINDS[kind]) == kind


def test_a_pdf_tells_its_text_its_pages_and_its_title() -> None:
    told = extract("application/pdf", files.pdf("Hello there", "second page", title="A  note"))
    assert told == Extract("A note", "Hello there\nsecond page", pages=2)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_an_image_tells_its_size_and_format(kind: str) -> None:
    body = files.image(kind, 30, 20)
    assert extract(media_type(body), body) == Extract(width=30, height=20, format=kind)


def test_a_page_tells_its_title_and_what_a_reader_sees() -> None:
    assert extract("text/html", files.PAGE) == Extract("Late & early", "Delays in January .")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_plain_text_is_read_in_its_encoding(encoding: str) -> None:
    body = "\nÜber Züge\nmehr".encode(encoding)
    assert extract(media_type(body), body) == Extract("Über Züge", "\nÜber Züge\nmehr")


def test_what_no_extractor_knows_has_no_text_and_is_no_error() -> None:
    assert extract("application/zip", b"PK") == Extract()


def test_text_and_pages_beyond_the_bounds_are_cut_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractors, "TEXT", 20)
    monkeypatch.setattr(extractors, "PAGES", 2)
    monkeypatch.setattr(extractors, "MARKUP", 300)
    assert extract("text/plain", b"x" * 21) == Extract("x" * 20, "x" * 20, cut=True)
    assert extract("text/plain", b"x" * 20).cut is False
    told = extract("application/pdf", files.pdf("a", "b", "c"))
    assert (told.text, told.pages, told.cut) == ("a\nb", 3, True)
    long = extract("application/pdf", files.pdf("x" * 30, "b"))
    assert (long.text, long.cut) == ("x" * 20, True)
    assert extract("text/html", files.PAGE + b"<p>more" * 99).cut is True


def test_text_is_bounded_as_it_comes() -> None:
    told = extract("text/plain", b"x" * 5_000_000)
    assert told.text is not None
    assert (len(told.text) <= 1_000_000, told.cut) == (True, True)


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("application/pdf", b"%PDF-1.7 cut", "ended unexpectedly"),
        ("application/pdf", files.pdf("secret", password="x"), "decrypted"),
        ("image/png", files.bomb(30_000, 30_000), "decompression bomb"),
        ("image/png", files.image("PNG")[:30], "cannot identify|Truncated"),
    ],
)
def test_what_cannot_be_read_raises_with_the_reason(kind: str, body: bytes, reason: str) -> None:
    with pytest.raises(Exception, match=reason):
        extract(kind, body)


@given(st.sampled_from([*KINDS.values()]), st.data())
def test_mangled_documents_raise_or_tell_and_never_kill(body: bytes, data: st.DataObject) -> None:
    """An error is caught by who calls; what must not come is anything that is none."""
    mangled = bytearray(body)
    for at in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=8)):
        mangled[at] = data.draw(st.integers(0, 255))
    mangled = mangled[: data.draw(st.integers(0, len(body)))]
    kind = media_type(bytes(mangled))
    try:
        assert isinstance(extract(kind, bytes(mangled)), Extract)
    except Exception as error:
        assert kind.startswith(("image/", "application/pdf")), error
