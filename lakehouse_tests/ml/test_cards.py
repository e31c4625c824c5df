"""What a person sees of a model: pictures that say what the numbers say."""

import base64
import re
from xml.etree import ElementTree

import polars as pl

from lakehouse.ml import cards, evaluation

SVG = "{http://www.w3.org/2000/svg}"


def pictures(markdown: str) -> list[ElementTree.Element]:
    found = re.findall(r"\(data:image/svg\+xml;base64,([^)]+)\)", markdown)
    return [ElementTree.fromstring(base64.b64decode(one)) for one in found]


def test_drift_is_drawn_as_bars_as_long_as_it_is_strong() -> None:
    found = pl.DataFrame({"feature": ["a<b", "c"], "psi": [0.4, 0.1], "missing": [0.0, 0.0]})
    told = cards.drifted(found)
    drift, missing = pictures(told)
    widths = [float(one.attrib["width"]) for one in drift.iter(f"{SVG}rect")]
    assert widths == [220.0, 55.0]
    assert [one.text for one in drift.iter(f"{SVG}text")] == ["a<b", "0.400", "c", "0.100"]
    assert [one.attrib["width"] for one in missing.iter(f"{SVG}rect")] == ["0.0", "0.0"]


def test_a_segment_of_few_rows_is_named_and_not_measured() -> None:
    found = [
        {"segment": "carrier", "value": name, **evaluation.quality(truth, truth.cast(pl.Float64))}
        for name, truth in (("UA", pl.Series([True, False] * 250)), ("HA", pl.Series([True, False] * 7)))
    ]
    told = cards.segments(found).splitlines()
    assert [line.split(" | ")[0] for line in told[2:3]] == ["| carrier UA"]
    assert told[3:] == ["", "Too few rows to judge: carrier HA (14)."]
    assert cards.segments(found[1:]).strip() == told[4]
