"""Every format, chosen by name and confirmed by content; generated and mangled files; files that others made."""

import bz2
import csv
import gzip
import io
import json
import lzma
import sysconfig
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.dataset import Dataset
from lakehouse.formats import Csv, Format, Json
from lakehouse.landing.readers import Unreadable, read
from lakehouse.layers import balance, raw
from lakehouse_tests.conftest import Road

PACKAGES = Path(sysconfig.get_paths()["purelib"])
TEXT = "name;town\nJürgen;Köln\nZoë;Gößweinstein\n"
ROWS = [("Jürgen", "Köln"), ("Zoë", "Gößweinstein")]
FILE = io.BytesIO()
pl.DataFrame({"name": ["Jürgen", "Zoë"], "town": ["Köln", "Gößweinstein"]}).write_parquet(FILE)
PARQUET = FILE.getvalue()


def zstd(body: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(body)
    return bytes(out.getvalue())


@pytest.mark.parametrize(
    ("name", "body", "form"),
    [
        ("a.csv", TEXT.encode(), None),
        ("a.csv", TEXT.encode("utf-8-sig"), None),
        ("a.csv", TEXT.encode("utf-16"), None),
        ("a.csv", b"\xfe\xff" + TEXT.encode("utf-16-be"), None),
        ("a.csv", TEXT.encode("utf-16-le"), None),
        ("a.csv", TEXT.replace("\n", "\r\n").encode(), None),
        ("a.csv", TEXT.replace(";", ",").encode(), None),
        ("a.csv", TEXT.replace(";", "|").encode(), None),
        ("a.tsv", TEXT.replace(";", "\t").encode(), None),
        ("a.CSV", TEXT.encode("latin-1"), Csv(encoding="latin-1")),
        ("a.dat", TEXT.replace(";", ":").encode(), Csv(delimiter=":")),
        ("a", TEXT.split("\n", 1)[1].encode(), Csv(header=False, columns=("name", "town"))),
        ("a.csv", PARQUET, None),
        ("a.parquet", PARQUET, None),
        ("a", PARQUET, None),
        ("a.parquet.gz", gzip.compress(PARQUET, mtime=0), None),
        ("a.csv.gz", gzip.compress(TEXT.encode(), mtime=0), None),
        ("a.csv", gzip.compress(TEXT.encode(), mtime=0), None),
        ("a.csv.bz2", bz2.compress(TEXT.encode()), None),
        ("a.csv.xz", lzma.compress(TEXT.encode()), None),
        ("a.csv.zst", zstd(TEXT.encode()), None),
    ],
)  # fmt: skip
def test_one_table_in_many_forms_is_one_table(name: str, body: bytes, form: Format | None) -> None:
    assert read(name, body, form).select("name", "town").rows() == ROWS


@pytest.mark.parametrize(
    ("name", "body", "form", "reason"),
    [
        ("a.parquet", TEXT.encode(), None, "its content is not"),
        ("a.parquet", PARQUET[:-9], None, "its content is not"),
        ("a.csv", PARQUET, Csv(), "declared as Csv, its content is Parquet"),
        ("a.csv", b"%PDF-1.7 ...", None, "a PDF"),
        ("a.csv", TEXT.encode("latin-1"), None, 'declares encoding="latin-1"'),
        ("a.json", b'{"a": 1,\n"b": ', None, "not JSON"),
        ("a.xyz", TEXT.encode(), None, "no reader for this kind of name"),
        ("a.csv", PARQUET[:4] + b"x" * 50 + b"PAR1", None, "its reader failed"),
    ],
)
def test_what_is_not_what_it_says_is_refused_with_a_plain_reason(
    name: str, body: bytes, form: Format | None, reason: str
) -> None:
    with pytest.raises(Unreadable, match=reason):
        read(name, body, form)


def test_where_nothing_quotes_a_quote_is_a_letter() -> None:
    found = read("a.csv", b'a,b\n5" pipe,"x\n', Csv(quote=""))
    assert found.rows() == [('5" pipe', '"x')]


def test_what_cannot_be_a_form_is_refused_where_it_is_declared() -> None:
    for wrong in ({"encoding": "latin-17"}, {"delimiter": ";;"}, {"columns": ["a"]}):
        with pytest.raises(ValueError, match=r".+"):
            Csv(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "records"),
    [
        ('{"a": 1.10}', ['{"a": 1.10}']),
        ('{\n  "a": {"b": [1, 2]}\n}\n', ['{\n  "a": {"b": [1, 2]}\n}']),
        ('[{"a": 1.10}, {"a": "[,"}]', ['{"a": 1.10}', '{"a": "[,"}']),
        ('[\n {"a": 1},\n {"a": 2}\n]\n', ['{"a": 1}', '{"a": 2}']),
        ('{"a": 1}\n{"a": 2}\n', ['{"a": 1}', '{"a": 2}']),
        ("[]", []),
    ],
)
def test_a_json_file_is_a_document_an_array_or_lines(text: str, records: list[str]) -> None:
    found = read("a.json", text.encode())
    assert found["_text"].to_list() == records
    assert found["_bad"].null_count() == len(records)


@pytest.mark.parametrize("rest", ['{"a": ', "", "nope, {}]", "1]", "] and more", '{"a": NaN}]'])
def test_what_comes_after_the_last_good_element_is_kept_with_a_reason(rest: str) -> None:
    found = read("a.json", f'[{{"a": 1}}, {rest}'.encode())
    assert found["_text"][0] == '{"a": 1}'
    assert found["_bad"].is_null().to_list() == [True, False]
    assert str(found["_text"][1]).removesuffix("]") in rest


def test_every_line_of_a_log_is_a_record_numbered_as_in_the_file() -> None:
    assert read("a.log", b'one\r\n\ntwo, "2"\n').select("line").rows() == [("one",), ("",), ('two, "2"',)]


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
tables = st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=6)


@given(tables, st.sampled_from(",;\t|"), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.booleans())
def test_every_record_of_any_dialect_is_read_back(
    rows: list[list[str]], delimiter: str, encoding: str, header: bool
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([["a", "b", "c"], *rows] if header else rows)
    form = Csv(delimiter=delimiter, header=header, columns=() if header else ("a", "b", "c"))
    found = read("x.csv", text.getvalue().encode(encoding), form)
    assert found.select("a", "b", "c").rows() == [tuple(cell or None for cell in row) for row in rows]
    if header and "_bad" in found.columns:
        assert found["_bad"].null_count() == len(rows)


values = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, width=32) | cells
records = st.dictionaries(cells, values | st.lists(values, max_size=2), max_size=4)


@given(st.lists(records, max_size=5), st.integers(0, 3))
def test_the_elements_of_an_array_are_told_apart_as_json_does(rows: list[dict[str, Any]], indent: int) -> None:
    text = json.dumps(rows, indent=indent or None, ensure_ascii=False)
    assert [json.loads(one) for one in read("x.json", text.encode())["_text"]] == rows


NAMES = ["x.csv", "x.tsv", "x.json", "x.ndjson", "x.txt", "x.parquet", "x.csv.gz", "x.json.zst", "x.log.xz", "x"]
SOUND = {
    "csv": TEXT.encode(),
    "json": json.dumps([{"a": {"b": [1, 2.5, "x"]}}, {"a": None}]).encode(),
    "parquet": PARQUET,
    "gz": gzip.compress(TEXT.encode(), mtime=0),
    "zst": zstd(b'{"a": 1}\n'),
    "xz": lzma.compress(b"one\ntwo\n"),
}


@settings(max_examples=400)
@given(st.data(), st.sampled_from(NAMES), st.sampled_from([*SOUND]), st.sampled_from([None, Csv(), Json()]))
def test_a_mangled_file_is_read_or_refused(data: st.DataObject, name: str, kind: str, form: Format | None) -> None:
    body = bytearray(SOUND[kind])
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(body[: data.draw(st.integers(0, len(body)))])
    try:
        found = read(name, cut, form)
    except Unreadable as error:
        assert str(error)
    else:
        assert found.width


def lines_lost(body: bytes) -> int:
    """How many of a text's lines with something in them no record of its own or another's text has."""
    found = read("x.ndjson", body)
    return sum(line.strip() not in "\n".join(found["_text"]) for line in body.decode().split("\n") if line.strip())


@given(st.lists(cells.filter(lambda cell: "\n" not in cell), max_size=6))
def test_no_line_that_is_no_json_is_lost(lines: list[str]) -> None:
    body = "\n".join(['{"a": 1}', *lines]).encode()
    assert lines_lost(body) == 0


class Any_(dy.Schema):
    """Any record, by where it stands."""

    at = dy.String(primary_key=True)


def placed(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(at=pl.format("{} {}", "_object", "_record"))


VEGA = sorted((PACKAGES / "vega_datasets" / "_data").iterdir())
PENGUINS = sorted((PACKAGES / "palmerpenguins" / "data").glob("*.csv"))
ARROW = sorted((PACKAGES / "pyarrow" / "tests" / "data").glob("*/*"))
READ = (".csv", ".json", ".parquet", ".orc", ".feather")
OTHERS = {path.name: path for path in [*VEGA, *PENGUINS, *ARROW] if path.suffix in READ}


def counted(path: Path) -> int:
    """How many records there are, told without the package."""
    if path.suffix == ".json":
        told = json.loads(path.read_text())
        return len(told) if isinstance(told, list) else 1
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return int(pq.ParquetFile(path).metadata.num_rows)
    if path.suffix == ".orc":
        from pyarrow.orc import ORCFile

        return int(ORCFile(path).nrows)
    if path.suffix == ".feather":
        from pyarrow import feather

        return int(feather.read_table(path).num_rows)
    with path.open(newline="", encoding="utf-8-sig") as file:
        return sum(1 for fields in csv.reader(file) if fields) - 1


def test_files_that_others_made_arrive_whole_and_every_record_is_accounted_for(road: Road) -> None:
    assert len(OTHERS) > 20
    dataset = Dataset("others", "others/*", Any_, clean=placed)
    road.datasets.clear()
    road.datasets["others"] = dataset
    for name, path in OTHERS.items():
        road.bucket.put(f"others/{name}", path.read_bytes())
    road.announce(*(f"others/{name}" for name in OTHERS))
    road.hops()
    heads = raw.last_heads(raw.open_raw(road.lake, "others")).collect()
    assert heads.filter(pl.col("_state") != "read").select("_object", "_reason").rows() == []
    assert dict(heads.select("_object", "_records").iter_rows()) == {
        f"others/{name}": counted(path) for name, path in OTHERS.items()
    }
    table = road.lake.open("cleaned/others")
    assert table is not None
    assert table.count == sum(counted(path) for path in OTHERS.values())
    assert "Culmen Length (mm)" in table.columns
    assert balance.unbalanced(road.lake, dataset).is_empty()
