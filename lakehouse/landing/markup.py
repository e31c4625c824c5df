"""XML → rows: each record's attributes and elements as the JSON of its text.

Which elements are the records is declared, or found out: the root's children, where one name among them repeats or
the only one is not a mere value; else the root is one record. What its name has several of is a list, what has
parts of its own an object. An element's own text beside those stands under the element's name.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import polars as pl

from lakehouse.formats import Xml
from lakehouse.landing.content import PIECE, spooled
from lakehouse.landing.packing import LIMIT
from lakehouse.landing.records import as_records, in_parts
from lakehouse.landing.refusal import Unreadable

FOUND_OUT = Xml()
SAFE: dict[str, Any] = {
    "resolve_entities": False,
    "load_dtd": False,
    "dtd_validation": False,
    "no_network": True,
    "huge_tree": False,
}
"""How XML is parsed that nobody vouches for: it brings in nothing from elsewhere, and nests 256 deep at most."""
INSTANCE = "{http://www.w3.org/2001/XMLSchema-instance}"
SILENT = {f"{INSTANCE}{name}" for name in ("nil", "schemaLocation", "noNamespaceSchemaLocation")}
"""Attributes that say nothing of the data."""
REFERENCE = re.compile(rb"&(?!(amp|lt|gt|quot|apos);|#)")
"""What stands for a text that only a DTD tells."""
Named = tuple[str, Any]


def is_xml(body: bytes, _: bool) -> bool:
    return body.removeprefix(b"\xef\xbb\xbf").startswith(b"<?xml")


def read_xml(body: bytes, form: Xml = FOUND_OUT) -> pl.DataFrame:
    return as_records([*_texts_of(io.BytesIO(body), form)])


def xml_pieces(pieces: Iterator[bytes], form: Xml | None) -> Iterator[pl.DataFrame]:
    """It goes to disk first: which elements are the records is known at its end."""
    with spooled(pieces) as file:
        yield from in_parts(_texts_of(file, form or FOUND_OUT))


def cut_xml(body: bytes, keep: Sequence[bool], form: Xml = FOUND_OUT) -> bytes:
    """The file with the elements that are kept, and without comments, which may speak of the others."""
    from lxml import etree

    root = etree.fromstring(body, etree.XMLParser(remove_comments=True, **SAFE))
    for one, kept in zip(_outermost(root, form.record) if form.record else [*_children(root)], keep, strict=True):
        if not kept:
            one.getparent().remove(one)
    tree = root.getroottree()
    return bytes(etree.tostring(tree, xml_declaration=True, encoding=tree.docinfo.encoding))


def _outermost(root: Any, name: str) -> list[Any]:
    return [one for one in root.iter(f"{{*}}{name}") if name not in map(_name, one.iterancestors())]


def _texts_of(source: IO[bytes], form: Xml) -> Iterator[str]:
    """Each record's JSON."""
    try:
        for record in _declared(source, form.record) if form.record else _found(source):
            yield json.dumps(record, ensure_ascii=False)
    except SyntaxError as error:  # lxml's is one
        raise Unreadable(f"not XML: {error}") from error


def _declared(source: IO[bytes], name: str) -> Iterator[dict[str, Any]]:
    """The elements of that name, and what lies in them."""
    count = inside = 0
    for event, element, _ in _walk(source):
        if not inside and event == "end":
            _forget(element)
        if _name(element) != name:
            continue
        inside += 1 if event == "start" else -1
        if not inside:
            count += 1
            yield _record((name, _value(element)))
            _forget(element)
    if not count:
        raise Unreadable(f"there is no element {name} in it, by which its records are declared")


def _found(source: IO[bytes]) -> Iterator[dict[str, Any]]:
    """The root's children, or the root: the file is read once to tell which, and once more for them."""
    plan = _planned(source)
    children = _children_of_root(source)
    if plan.alone:
        own = [(plan.root, plan.loose)] if plan.loose.strip() else []
        if parts := [*plan.attributes, *children, *own]:
            yield _gathered(parts)
        return
    if plan.loose.strip():
        raise Unreadable(f"text between the elements of {plan.root}; which are its records is to be declared")
    about = [(f"{plan.root}.{name}", value) for name, value in plan.attributes]
    if plan.count * sum(len(name) + len(value) for name, value in about) > LIMIT:
        raise Unreadable(f"unpacks to more than {LIMIT:,} bytes")
    for one in children:
        yield _gathered([*about, *([("element", one[0])] if plan.several else []), *_record(one).items()])


@dataclass(frozen=True)
class _Plan:
    """What is to be known of a root before its records are made. `alone`: it is the one record.

    `several`: its children, so many, have several names. `loose`: the text between them.
    """

    root: str
    attributes: list[Named]
    count: int
    several: bool
    alone: bool
    loose: str


def _planned(source: IO[bytes]) -> _Plan:
    names, loose = set[str](), list[str]()
    count, structured = 0, False
    root: Any = None
    for event, element, depth in _walk(source):
        root = element if root is None else root
        if event == "end" and depth == 1:
            count += 1
            names.add(_name(element))
            structured = bool(_attributes(element)) or any(True for _ in _children(element))
            loose.append(_forget(element))
    loose += _texts(root)
    alone = len(names) == count and not (count == 1 and structured)
    return _Plan(_name(root), _attributes(root), count, len(names) > 1, alone, "".join(loose))


def _children_of_root(source: IO[bytes]) -> Iterator[Named]:
    for event, element, depth in _walk(source):
        if event == "end" and depth == 1:
            yield _name(element), _value(element)
            _forget(element)


def _walk(source: IO[bytes]) -> Iterator[tuple[str, Any, int]]:
    """Each element at its start and its end, with its depth: the root's is 0."""
    from lxml import etree

    source.seek(0)
    depth = 0
    for event, element in etree.iterparse(source, events=("start", "end"), **SAFE):
        depth -= event == "end"
        if event == "start" and not depth:
            _check_entities(element, source)
        yield event, element, depth
        depth += event == "start"


def _check_entities(root: Any, source: IO[bytes]) -> None:
    """A name that stands for a text can stand for any number of them, or for a file of this machine."""
    declared = root.getroottree().docinfo.internalDTD
    if declared is None:
        return
    if next(declared.iterentities(), None) is not None or _refers(source):
        raise Unreadable("it has entities that it or its DTD declares, and they are not expanded here")


def _refers(source: IO[bytes]) -> bool:
    """Whether a name stands for a text; the file is left where it was."""
    at, left = source.tell(), b""
    source.seek(0)
    while piece := source.read(PIECE):
        whole, begun, left = (left + piece.replace(b"\0", b"")).rpartition(b"&")
        if REFERENCE.search(whole):
            return True
        left = begun and begun + left[:8]
    source.seek(at)
    return bool(REFERENCE.search(left))


def _forget(element: Any) -> str:
    """Let go of what has been read, siblings before it included; gives the text that stood behind those."""
    element.clear(keep_tail=True)
    parent, behind = element.getparent(), ""
    while parent is not None and (before := element.getprevious()) is not None:
        behind += before.tail or ""
        parent.remove(before)
    return behind


def _record(one: Named) -> dict[str, Any]:
    name, value = one
    return value if isinstance(value, dict) else {name: value}


def _value(element: Any) -> Any:
    """Its text, where that is all there is; None where there is nothing."""
    parts = [*_attributes(element), *((_name(child), _value(child)) for child in _children(element))]
    text = "".join(_texts(element))
    if parts:
        return _gathered([*parts, *([(_name(element), text)] if text.strip() else [])])
    return text if text.strip() else None


def _gathered(parts: list[Named]) -> dict[str, Any]:
    """Values by name, a list where a name has several."""
    found: dict[str, list[Any]] = {}
    for name, value in parts:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _attributes(element: Any) -> list[Named]:
    return [(local(key), value) for key, value in element.attrib.items() if key not in SILENT]


def _children(element: Any) -> Iterator[Any]:
    return (child for child in element if isinstance(child.tag, str))


def _texts(element: Any) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        yield child.tail or ""


def _name(element: Any) -> str:
    return local(element.tag)


def local(tag: str) -> str:
    """A name without its namespace."""
    return tag.rpartition("}")[2]
