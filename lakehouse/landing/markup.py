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
from typing import Any

import polars as pl

from lakehouse.formats import Xml
from lakehouse.landing.packing import LIMIT
from lakehouse.landing.records import as_records
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
    try:
        records = _declared(body, form.record) if form.record else _found(body)
    except SyntaxError as error:  # lxml's is one
        raise Unreadable(f"not XML: {error}") from error
    return as_records([json.dumps(record, ensure_ascii=False) for record in records])


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


def _declared(body: bytes, name: str) -> list[dict[str, Any]]:
    """The elements of that name, and what lies in them."""
    found, inside = list[Named](), 0
    for event, element, _ in _walk(body):
        if not inside and event == "end":
            _forget(element)
        if _name(element) != name:
            continue
        inside += 1 if event == "start" else -1
        if not inside:
            found.append((name, _value(element)))
            _forget(element)
    if not found:
        raise Unreadable(f"there is no element {name} in it, by which its records are declared")
    return [_record(one) for one in found]


def _found(body: bytes) -> list[dict[str, Any]]:
    children, loose = list[Named](), ""
    root: Any = None
    for event, element, depth in _walk(body):
        root = element if root is None else root
        if event == "end" and depth == 1:
            children.append((_name(element), _value(element)))
            loose += _forget(element)
    loose += "".join(_texts(root))
    names = {name for name, _ in children}
    alone = len(children) == 1 and isinstance(children[0][1], dict)
    about = [(f"{_name(root)}.{name}", value) for name, value in _attributes(root)]
    if not alone and len(names) == len(children):
        own = [(_name(root), loose)] if loose.strip() else []
        return [_gathered([*_attributes(root), *children, *own])] if children or about or own else []
    if loose.strip():
        raise Unreadable(f"text between the elements of {_name(root)}; which are its records is to be declared")
    if len(children) * sum(len(name) + len(value) for name, value in about) > LIMIT:
        raise Unreadable(f"unpacks to more than {LIMIT:,} bytes")
    several = len(names) > 1
    return [
        _gathered([*about, *([("element", one[0])] if several else []), *_record(one).items()]) for one in children
    ]


def _walk(body: bytes) -> Iterator[tuple[str, Any, int]]:
    """Each element at its start and its end, with its depth: the root's is 0."""
    from lxml import etree

    depth = 0
    for event, element in etree.iterparse(io.BytesIO(body), events=("start", "end"), **SAFE):
        depth -= event == "end"
        if event == "start" and not depth:
            _check_entities(element, body)
        yield event, element, depth
        depth += event == "start"


def _check_entities(root: Any, body: bytes) -> None:
    """A name that stands for a text can stand for any number of them, or for a file of this machine."""
    declared = root.getroottree().docinfo.internalDTD
    if declared is None:
        return
    if next(declared.iterentities(), None) is not None or REFERENCE.search(body.replace(b"\0", b"")):
        raise Unreadable("it has entities that it or its DTD declares, and they are not expanded here")


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
