"""XML: its elements are records, and nothing that it says is fetched, expanded or lost."""

import json
from typing import Any

import dataframely as dy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from lakehouse.dataset import Dataset
from lakehouse.formats import Csv, Lines, Xml
from lakehouse.landing import markup
from lakehouse.landing.readers import Unreadable, read
from lakehouse.layers import balance
from lakehouse_tests.conftest import Road

SCHEMA = 'xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:schemaLocation="urn:a a.xsd"'


def records(text: str | bytes, record: str | None = None) -> list[dict[str, Any]]:
    found = read("a.xml", text.encode() if isinstance(text, str) else text, Xml(record) if record else None)
    assert found["_bad"].null_count() == len(found)
    return [json.loads(one) for one in found["_text"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<s><b><t>x</t></b><b><t>y</t></b></s>", [{"t": "x"}, {"t": "y"}]),
        ("<s><b><t>x</t></b></s>", [{"t": "x"}]),
        ("<s><b>1</b><b>2</b><b/></s>", [{"b": "1"}, {"b": "2"}, {"b": None}]),
        ('<s day="3"><b id="1"/><b id="2">x</b></s>',
         [{"s.day": "3", "id": "1"}, {"s.day": "3", "id": "2", "b": "x"}]),
        ("<s><b><a>p</a><a>q</a><in><x>1</x></in></b></s>", [{"a": ["p", "q"], "in": {"x": "1"}}]),
        ('<s><b><p in="EUR">5</p></b></s>', [{"p": {"in": "EUR", "p": "5"}}]),
        ("<o><id>7</id><to>x</to></o>", [{"id": "7", "to": "x"}]),
        ('<o id="7"/>', [{"id": "7"}]),
        ("<o>text</o>", [{"o": "text"}]),
        ("<o>so <b>it</b> is</o>", [{"b": "it", "o": "so  is"}]),
        ("<o/>", []),
        ("<s><put><n>1</n></put><del><n>2</n></del><put><n>3</n></put></s>",
         [{"element": "put", "n": "1"}, {"element": "del", "n": "2"}, {"element": "put", "n": "3"}]),
        ("<s><b><![CDATA[<x>&]]></b><!-- no --><b>a<!-- no -->b</b><?no no?></s>", [{"b": "<x>&"}, {"b": "ab"}]),
        (f'<s xmlns="urn:a" {SCHEMA}><b i:nil="true"/><b>é</b></s>', [{"b": None}, {"b": "é"}]),
    ],
)  # fmt: skip
def test_elements_and_attributes_are_a_records_columns(text: str, expected: list[dict[str, Any]]) -> None:
    assert records(text) == expected
    assert records(f'<?xml version="1.0" encoding="utf-16"?>{text}'.encode("utf-16")) == expected


def test_records_are_declared_by_their_name_wherever_they_stand() -> None:
    feed = (
        '<rss v="2"><channel><title>T</title><item><t>1</t><item/></item>so<item><t>2</t></item></channel></rss>'
    )
    assert records(feed, "item") == [{"t": "1", "item": None}, {"t": "2"}]
    assert records(feed, "rss")[0]["channel"]["title"] == "T"
    with pytest.raises(Unreadable, match="no element entry in it"):
        records(feed, "entry")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><l><i>&b;</i></l>', "entities"),
        ('<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><l>&a;</l>', "entities"),
        ('<!DOCTYPE l [<!ENTITY % a SYSTEM "http://127.0.0.1:9/x"> %a;]><l/>', "entities"),
        ('<!DOCTYPE l SYSTEM "http://127.0.0.1:9/x"><l a="&b;"/>', "entities"),
        ('<!DOCTYPE l SYSTEM "http://127.0.0.1:9/x"><l><i/>&b;<i/></l>', "entities"),
        ("<l><i>&b;</i></l>", "not XML"),
        ("<a>" * 300 + "</a>" * 300, "not XML: Excessive depth"),
        ("<l><i>1</i>", "not XML: Premature end"),
        ("nothing of the kind", "not XML"),
        ("<s>so<b/><b/></s>", "text between the elements of s"),
    ],
)
def test_hostile_or_broken_xml_is_refused_with_a_plain_reason(text: str, reason: str) -> None:
    for record in (None, "i"):
        if record is None or "between" not in reason:
            with pytest.raises(Unreadable, match=reason):
                records(text, record)


def test_a_document_that_only_names_its_dtd_is_read_without_it() -> None:
    assert records('<!DOCTYPE l SYSTEM "http://127.0.0.1:9/x"><l><i>&lt;&#65;</i></l>') == [{"i": "<A"}]


def test_what_stands_for_every_record_counts_for_every_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markup, "LIMIT", 1_000)
    assert len(records(f'<s a="{"x" * 100}"><b/><b/></s>')) == 2
    with pytest.raises(Unreadable, match="unpacks to more than 1,000 bytes"):
        records(f'<s a="{"x" * 100}">{"<b/>" * 10}</s>')


def test_xml_is_told_by_its_declaration_and_is_lines_to_who_asks_for_lines() -> None:
    body = b'<?xml version="1.0"?>\n<s><b>1</b><b>2</b></s>\n'
    for name in ("a.csv", "a", "a.xml"):
        assert read(name, body)["_text"].to_list() == ['{"b": "1"}', '{"b": "2"}']
    assert read("a.log", body)["line"].len() == 2
    assert read("a.xml", body, Lines())["line"].len() == 2
    with pytest.raises(Unreadable, match="declared as Csv, its content is Xml"):
        read("a.xml", body, Csv())


words = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=6)
names = st.sampled_from(["a", "b", "c-d", "e.f"])


@given(
    st.lists(st.dictionaries(names, words | st.lists(words, min_size=2, max_size=3)), min_size=2), st.booleans()
)
def test_every_value_that_was_written_is_read_back(rows: list[dict[str, Any]], attributes: bool) -> None:
    root = etree.Element("rows")
    for row in rows:
        element = etree.SubElement(root, "row")
        for name, value in row.items():
            if attributes and isinstance(value, str):
                element.set(name, value)
            for one in (
                [] if attributes and isinstance(value, str) else [value] if isinstance(value, str) else value
            ):
                etree.SubElement(element, name).text = one

    def said(value: Any) -> Any:
        return [said(one) for one in value] if isinstance(value, list) else (value if value.strip() else None)

    expected = [
        {n: v if attributes and isinstance(v, str) else said(v) for n, v in row.items()} or {"row": None}
        for row in rows
    ]
    assert records(etree.tostring(root)) == expected


SOUND = b'<?xml version="1.0"?><!-- x --><s day="3"><b id="1"><t>x</t>&amp;</b><b><![CDATA[y]]><t/></b></s>'


@settings(max_examples=100)
@given(st.data(), st.sampled_from([None, Xml("b"), Xml("t")]))
def test_mangled_xml_is_read_or_refused(data: st.DataObject, form: Xml | None) -> None:
    body = bytearray(SOUND)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read("a.xml", bytes(body[: data.draw(st.integers(1, len(body)))]), form)
    except Unreadable as error:
        assert str(error)
    else:
        assert found["_bad"].null_count() == len(found)


class Book(dy.Schema):
    """A book and what it costs."""

    id = dy.Int64(primary_key=True)
    title = dy.String(nullable=True)
    price = dy.Struct({"in": dy.String(nullable=True), "price": dy.Float64(nullable=True)}, nullable=True)


def test_xml_goes_the_whole_road_and_every_record_is_accounted_for(road: Road) -> None:
    road.datasets.clear()
    road.datasets["books"] = Dataset("books", "books/*.xml", Book)
    first = '<book id="1"><title>A</title><price in="EUR">1.5</price></book>'
    road.bucket.put("books/1.xml", f'<books>{first}<book id="x"/><book id="2"/></books>'.encode())
    road.bucket.put("books/2.xml", b'<books><book id="3"><title>C</title><shelf>9</shelf></book></books>')
    road.announce("books/1.xml", "books/2.xml")
    road.hops()
    cleaned, refused = (road.lake.open(f"{layer}/books") for layer in ("cleaned", "quarantine"))
    assert cleaned is not None
    assert refused is not None
    rows = cleaned.scan().select("id", "title", "price", "shelf").sort("id").collect().rows()
    none = {"in": None, "price": None}
    assert [(*row[:2], row[2] or none, row[3]) for row in rows] == [
        (1, "A", {"in": "EUR", "price": 1.5}, None),
        (2, None, none, None),
        (3, "C", none, "9"),
    ]
    assert refused.scan().select("_rules", "_text").collect().rows() == [("id|dtype", '{"id": "x"}')]
    assert balance.unbalanced(road.lake, road.datasets["books"]).is_empty()
