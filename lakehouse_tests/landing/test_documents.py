"""Documents down the whole road: one row an object, what it says, an item an application reads."""

import json
import struct
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import vl_convert
from botocore.exceptions import ClientError

from lakehouse.dynamodb.items import to_row
from lakehouse.landing import documents, extractors, packing
from lakehouse.landing.extractors import Extract
from lakehouse.layers import balance, raw
from lakehouse.layers.ingest import ingest
from lakehouse.layers.lag import lagging
from lakehouse_tests.conftest import Road
from lakehouse_tests.landing import files

PACKAGES = Path(sysconfig.get_paths()["purelib"])
LANDED = {
    "documents/note.pdf": files.pdf("Hello there", "second page", title="A note"),
    "documents/deep/down/picture": files.image("PNG", 30, 20),
    "documents/page.html": files.PAGE,
    "documents/plain.txt": b"First.\nSecond.\n",
    "documents/nothing": b"",
    "documents/odd.bin": bytes(range(256)),
    "documents/cut.pdf": b"%PDF-1.7 and no more",
}


@pytest.fixture
def documented(road: Road) -> Road:
    road.datasets = {"documents": road.datasets["documents"]}
    for key, body in LANDED.items():
        road.bucket.put(key, body)
    road.announce(*LANDED)
    road.hops()
    return road


def rows(road: Road, name: str) -> dict[str, dict[str, Any]]:
    table = road.lake.open(name)
    assert table is not None
    found = table.scan().collect()
    if "_part" in found.columns:
        found = found.filter(pl.col("_part") == "row")
    return {row["_object"]: row for row in found.to_dicts()}


PICTURES = [*(PACKAGES / "networkx").rglob("*.png"), *(PACKAGES / "werkzeug").rglob("*.png")]
PAGES = [PACKAGES / "dagster_webserver" / "webapp" / "build" / name for name in ("404.html", "index.html")]


def chart() -> bytes:
    spec = {"mark": "bar", "title": "Late flights", "data": {"values": [{"hour": 7}]}}
    return bytes(vl_convert.vegalite_to_pdf({**spec, "encoding": {"x": {"field": "hour"}}}))


def test_documents_that_others_made_say_what_they_are(road: Road) -> None:
    """Pictures and pages that packages ship, and a PDF by the library that draws the charts."""
    road.datasets = {"documents": road.datasets["documents"]}
    made = {f"documents/{n}": path for n, path in enumerate([*PICTURES, *PAGES])}
    for key, path in made.items():
        road.bucket.put(key, path.read_bytes())
    road.bucket.put("documents/chart", chart())
    road.announce("documents/chart", *made)
    road.hops()
    held = rows(road, "cleaned/documents")
    assert held.keys() == {"documents/chart", *made}
    for key, path in made.items():
        one = held[key]
        if path in PICTURES:
            assert (one["width"], one["height"]) == struct.unpack(">II", path.read_bytes()[16:24])
            assert one["media_type"] == "image/png"
        else:
            assert one["media_type"] == "text/html"
            assert one["size"] == path.stat().st_size
    drawn = held["documents/chart"]
    assert (drawn["media_type"], drawn["pages"]) == ("application/pdf", 1)
    assert "Late flights" in drawn["text"]
    assert held[next(k for k, p in made.items() if p == PAGES[-1])]["title"] == "Dagster"


def test_raw_has_a_row_an_object_with_its_bytes(documented: Road) -> None:
    held = rows(documented, "raw/documents")
    assert {key: row["bytes"] for key, row in held.items()} == LANDED
    note = held["documents/note.pdf"]
    assert note["uri"] == f"s3://{documented.bucket.name}/documents/note.pdf"
    assert note["version"] == note["_object_version"]
    assert (note["size"], note["media_type"]) == (len(LANDED["documents/note.pdf"]), "application/pdf")
    assert len(note["sha256"]) == 64


def test_cleaned_has_what_each_says(documented: Road) -> None:
    held = rows(documented, "cleaned/documents")
    assert held.keys() == LANDED.keys() - {"documents/cut.pdf"}
    note, picture = held["documents/note.pdf"], held["documents/deep/down/picture"]
    assert (note["title"], note["text"], note["pages"]) == ("A note", "Hello there\nsecond page", 2)
    assert (picture["format"], picture["width"], picture["height"]) == ("PNG", 30, 20)
    assert held["documents/page.html"]["title"] == "Late & early"
    assert held["documents/nothing"]["text"] == ""
    assert held["documents/odd.bin"]["media_type"] == "application/octet-stream"
    assert "bytes" not in held["documents/odd.bin"]
    assert balance.unbalanced(documented.lake, documented.datasets["documents"]).is_empty()


def test_one_that_cannot_be_read_is_in_quarantine_alone_with_the_reason(documented: Road) -> None:
    (row,) = rows(documented, "quarantine/documents").values()
    assert row["_object"] == "documents/cut.pdf"
    assert row["_rules"].startswith("application/pdf could not be read: PdfStreamError")
    told = json.loads(row["_text"])
    assert told["uri"].endswith("documents/cut.pdf")
    assert "bytes" not in told


def test_an_application_finds_a_document_in_the_index(documented: Road) -> None:
    (one,) = documented.servings()
    items = {i["uri"]["S"]: to_row(i) for i in documented.items(one).scan()}
    assert len(items) == len(LANDED) - 1
    note = items[f"s3://{documented.bucket.name}/documents/note.pdf"]
    assert (note["title"], note["pages"], note["beginning"]) == ("A note", 2, "Hello there\nsecond page")
    assert lagging(documented.lake, documented.datasets, documented.items) == {}


def test_a_large_document_is_kept_by_reference_and_read_all_the_same(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "INLINE", 20)
    road.datasets = {"documents": replace(road.datasets["documents"])}
    road.bucket.put("documents/small.txt", b"x" * 20)
    road.bucket.put("documents/large.txt", b"y" * 21)
    road.announce("documents/small.txt", "documents/large.txt")
    road.hops()
    held = rows(road, "raw/documents")
    assert held["documents/small.txt"]["bytes"] == b"x" * 20
    large = held["documents/large.txt"]
    assert large["bytes"] is None
    where = {"Bucket": road.bucket.name, "Key": "documents/large.txt", "VersionId": large["version"]}
    assert road.bucket.client.get_object(**where)["Body"].read() == b"y" * 21
    assert rows(road, "cleaned/documents")["documents/large.txt"]["text"] == "y" * 21


def test_a_document_too_large_for_memory_is_refused_unread(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "LIMIT", 20)
    road.datasets = {"documents": road.datasets["documents"]}
    road.bucket.put("documents/large.txt", b"y" * 21)
    road.announce("documents/large.txt")
    road.hops()
    (head,) = raw.last_heads(raw.open_raw(road.lake, "documents")).collect().to_dicts()
    assert head["_state"] == "refused"
    assert head["_reason"].startswith("more than 20 bytes")


def test_metadata_and_tags_are_told_and_tags_that_we_may_not_see_are_no_failure(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    road.datasets = {"documents": road.datasets["documents"]}
    told = {"Metadata": {"author": "ann"}, "Tagging": "team=ops&kept=yes"}
    for key in ("documents/a.txt", "documents/b.txt"):
        road.bucket.client.put_object(Bucket=road.bucket.name, Key=key, Body=b"hi", **told)
    road.announce("documents/a.txt")
    road.hops()

    def denied(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObjectTagging")

    monkeypatch.setattr(road.bucket.client, "get_object_tagging", denied)
    road.announce("documents/b.txt")
    road.hops()
    held = rows(road, "cleaned/documents")
    assert [json.loads(row["metadata"]) for row in held.values()] == [{"author": "ann"}] * 2
    assert json.loads(held["documents/a.txt"]["tags"]) == {"team": "ops", "kept": "yes"}
    assert held["documents/b.txt"]["tags"] is None


def test_a_broken_document_among_others_stops_nobody(road: Road) -> None:
    road.datasets = {"documents": road.datasets["documents"]}
    broken = {"documents/cut.pdf": LANDED["documents/cut.pdf"], "documents/plain.txt": b"here"}
    for key, body in broken.items():
        road.bucket.put(key, body)
    road.announce(*broken)
    road.hops()
    assert rows(road, "cleaned/documents").keys() == {"documents/plain.txt"}
    assert rows(road, "quarantine/documents").keys() == {"documents/cut.pdf"}


def test_a_throttled_question_is_no_fault_of_the_document(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    road.bucket.put("documents/a.txt", b"hi")
    road.announce("documents/a.txt")

    def throttled(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "SlowDown", "Message": "later"}}, "GetObjectTagging")

    with monkeypatch.context() as patched:
        patched.setattr(road.bucket.client, "get_object_tagging", throttled)
        with pytest.raises(ClientError):
            ingest(road.lake, road.bucket, road.datasets["documents"])
    ingest(road.lake, road.bucket, road.datasets["documents"])
    assert rows(road, "raw/documents")["documents/a.txt"]["text"] == "hi"


def test_an_overwritten_document_says_what_it_now_says(documented: Road) -> None:
    documented.bucket.put("documents/cut.pdf", files.pdf("mended"))
    documented.announce("documents/cut.pdf")
    documented.hops()
    assert rows(documented, "cleaned/documents")["documents/cut.pdf"]["text"] == "mended"
    assert rows(documented, "quarantine/documents") == {}


def test_another_extractor_reads_again_what_was_read_and_then_nothing(
    documented: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bits(body: bytes) -> Extract:
        return Extract(text=f"{len(body)} bytes")

    declared = documented.datasets["documents"]
    monkeypatch.setitem(extractors.EXTRACTORS, "application/octet-stream", bits)
    mended = type(declared)(**{k: v for k, v in vars(declared).items() if k in declared.__dataclass_fields__})
    assert mended.reading != declared.reading
    documented.datasets = {"documents": mended}
    assert lagging(documented.lake, documented.datasets, documented.items) == {"documents": "raw/documents"}
    documented.hops()
    assert rows(documented, "cleaned/documents")["documents/odd.bin"]["text"] == "256 bytes"
    heads = raw.heads(raw.open_raw(documented.lake, "documents")).collect()
    assert heads["_generation"].max() == 2
    assert len(heads) == 2 * len(LANDED)
    assert lagging(documented.lake, documented.datasets, documented.items) == {}
    documented.announce(*LANDED)
    documented.hops()
    assert len(raw.heads(raw.open_raw(documented.lake, "documents")).collect()) == len(heads)


def test_the_text_of_documents_is_searched_by_sql(
    documented: Road, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from lakehouse_tests.test_cli import answer

    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    monkeypatch.setenv("LAKEHOUSE_LAKE", documented.lake.root)
    for found in ("ilike '%HELLO%'", "like '%Hello%'", "~ 'Hel+o'", "~* 'hel+o'", "not like '%e%' or pages = 2"):
        asked = f"select title from cleaned.documents where text {found}"
        assert {"title": "A note"} in answer(asked), found
