"""Whose a record is, and what is left of a file without some."""

import gzip
import io
import json
import tarfile
import zipfile
from typing import Any

import fastavro
import polars as pl
import pyarrow as pa
import pyarrow.orc as orc
import pytest

from lakehouse.formats import Csv, Format, Xml
from lakehouse.landing.columnar import read_parquet
from lakehouse.landing.erased import Erased, Subject
from lakehouse.landing.excision import ANEW, Rest, _without
from lakehouse.landing.packing import Budget, members
from lakehouse.landing.readers import read
from lakehouse_tests.landing.files import workbook

ANN = "ann@example.org"
ERASED = Erased((Subject.of("Customer", ANN, "salt"),))
SHORT = Erased((Subject.of("id", "17", "salt"),))
ROWS = pl.DataFrame({"n": [1, 2, 3], "customer": [ANN, "bob", None]})


def excise(key: str, body: bytes, erased: Erased = ERASED, form: Format | None = None) -> Rest:
    return _without(key, body, form, erased, erased.among, Budget())


def parquet(rows: pl.DataFrame) -> bytes:
    body = io.BytesIO()
    rows.write_parquet(body)
    return body.getvalue()


def arrow(column: pa.Array, *, streamed: bool = False) -> bytes:
    """One row a batch, of one dictionary."""
    body, rows = io.BytesIO(), pa.table({"n": [1, 2, 3], "customer": column})
    with (pa.ipc.new_stream if streamed else pa.ipc.new_file)(body, rows.schema) as sink:
        sink.write_table(rows, max_chunksize=1)
    return body.getvalue()


def of_orc() -> bytes:
    body = io.BytesIO()
    orc.write_table(ROWS.to_arrow(compat_level=pl.CompatLevel.oldest()), body, compression="zstd")
    return body.getvalue()


def avro() -> bytes:
    kinds = [{"type": "enum", "name": "e", "symbols": ["x"]}, {"type": "fixed", "name": "f", "size": 1}]
    parts = [{"type": "record", "name": name, "fields": [{"name": name, "type": "int"}]} for name in "ab"]
    told = {"n": "long", "customer": ["null", "string"], "one": ["null", kinds[0]], "any": [*parts, kinds[1]]}
    schema = {"type": "record", "name": "r", "fields": [{"name": n, "type": kind} for n, kind in told.items()]}
    rows = [
        {"n": 1, "customer": ANN, "one": "x", "any": {"a": 1}},
        {"n": 2, "customer": "bob", "one": "x", "any": {"b": 1}},
        {"n": 3, "customer": None, "one": None, "any": b"z"},
    ]
    body = io.BytesIO()
    fastavro.writer(body, schema, rows, codec="deflate", metadata={"by": "us"})
    return body.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return body.getvalue()


NAMES = pa.array([ANN, "bob", None])
ORDERS = f"""<?xml version="1.0" encoding="ISO-8859-1"?><!DOCTYPE orders><orders xmlns="urn:o" at="noon">
<!-- {ANN} --><order n="1"><customer>{ANN}</customer></order>
<order n="2"><customer>böb</customer></order><order n="3"><customer>eve</customer></order></orders>"""
CSV = f'n,customer\r\n1,{ANN}\r\n\r\n2,"bo\nb"\r\n3,"{ANN}"\r\n4,eve'
FILES: dict[str, tuple[bytes, Format | None]] = {
    "a.csv": (CSV.encode(), None),
    "a.csv.gz": (gzip.compress(CSV.encode()), None),
    "marked.csv": (CSV.encode("utf-8-sig"), None),
    "wide.csv": (CSV.encode("utf-16"), None),
    "declared.dat": (
        f"1;{ANN}\n2;b\u00f6b\n".encode("latin-1"),
        Csv(header=False, columns=["n", "customer"], encoding="latin-1"),
    ),
    "plain.csv": (f"n,customer\n1,{ANN}\n2,bob\n".encode(), None),
    "a.ndjson": (b'{"n": 1, "Customer": "ann@example.org"}\n\n{"n": 1.10}\nnot json\n', None),
    "a.json": (json.dumps([{"customer": ANN}, {"n": 2, "of": [{"customer": "bob"}]}, 3]).encode(), None),
    "a.log": (f"{ANN} came\n\nbob came\n".encode(), None),
    "a.parquet": (parquet(ROWS), None),
    "a.arrow": (arrow(NAMES), None),
    "a.feather": (arrow(NAMES.cast(pa.dictionary(pa.int8(), pa.string()))), None),
    "a.arrows": (arrow(NAMES, streamed=True), None),
    "a.orc": (of_orc(), None),
    "a.avro": (avro(), None),
    "a.xml": (ORDERS.encode("latin-1"), None),
    "declared.xml": (f"<o><x><r><customer>{ANN}</customer><r/></r></x><r><c>1</c></r></o>".encode(), Xml("r")),
}


@pytest.mark.parametrize("key", FILES)
def test_a_file_keeps_all_other_records_as_they_were(key: str) -> None:
    body, form = FILES[key]
    before = read(key, body, form)
    mine = ERASED.among(before, ("line",))
    rest = excise(key, body, form=form)
    assert rest.body is not None
    assert rest.gone == mine.sum() > 0
    assert read(key, rest.body, form).equals(before.filter(~mine))
    assert excise(key, rest.body, form=form) == Rest(rest.body, others=rest.others)
    assert rest.others == (~mine).sum()
    if not key.endswith(".gz"):
        assert ANN.encode() not in rest.body


@pytest.mark.parametrize(
    ("rows", "mine"),
    [
        ({"CUSTOMER": [ANN, "x", None]}, [True, False, False]),
        ({"other": [ANN]}, [False]),
        ({"nested": [{"to": [{"customer": ANN}]}, {"to": [{"customer": "x"}]}]}, [True, False]),
        ({"customer": [[ANN, "x"], ["x"]]}, [True, False]),
        ({"_text": [json.dumps({"a": {"customer": [ANN]}}), json.dumps({"note": ANN})]}, [True, False]),
        ({"_text": [f"1,{ANN},too many", f"1,{ANN}x"]}, [True, False]),
        ({"_object": [f"a/{ANN}_2.csv", "a/ann.csv"]}, [True, False]),
    ],
)
def test_a_record_is_the_subjects_by_its_field_and_a_text_by_its_words(
    rows: dict[str, Any], mine: list[bool]
) -> None:
    assert ERASED.among(pl.DataFrame(rows, strict=False)).to_list() == mine


def test_a_short_value_counts_in_fields_and_broken_records_alone() -> None:
    rows = pl.DataFrame(
        {"id": [17, 170], "line": ["17", "17"], "_text": ["x", "a,17,b"], "_object": ["17.csv", "17"]}
    )
    assert SHORT.among(rows, ("line",)).to_list() == [True, True]
    assert SHORT.among(rows.drop("_text", "id"), ("line",)).to_list() == [False, False]
    assert SHORT.among(pl.DataFrame({"id": [17.0, 1.7]})).to_list() == [True, False]


def test_what_cannot_be_rewritten_goes_whole_and_says_why() -> None:
    assert excise("a.json", json.dumps({"customer": ANN, "others": ["bob"]}).encode()).body is None
    told = excise("a.bin", b"\x00" + ANN.encode())
    assert (told.body, told.whole) == (None, "it cannot be read as records")
    assert excise("a.bin", b"\x00bob") == Rest(b"\x00bob", others=1)
    assert excise("a.bin", b"") == Rest(b"")


def test_a_member_that_is_named_after_the_subject_goes_with_all_its_records_and_they_are_counted() -> None:
    rest = excise("a.zip", zipped({f"{ANN}.csv": b"customer\nbob\neve\n", "b.csv": b"customer\neve\n"}))
    assert (rest.gone, rest.others, rest.whole) == (2, 1, "a member is named after the subject")
    assert rest.body is not None
    assert zipfile.ZipFile(io.BytesIO(rest.body)).namelist() == ["b.csv"]


def added(members: list[tuple[str, bytes]], *, tar: bool) -> bytes:
    """An archive that was added to: of members of one name the last counts."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w") if tar else zipfile.ZipFile(body, "w") as archive:
        for name, content in members:
            if isinstance(archive, tarfile.TarFile):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                archive.writestr(name, content)
    return body.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("tar", [False, True], ids=["zip", "tar"])
def test_a_member_that_a_later_one_of_its_name_supersedes_is_looked_into(tar: bool) -> None:
    last = {"b.csv": b"customer\neve\n", "a.csv": b"customer\nbob\n"}
    body = added([("a.csv", PEOPLE), *last.items()], tar=tar)
    rest = excise("a", body)
    assert rest.body is not None
    assert (rest.gone, rest.others, rest.whole) == (1, 2, "")
    assert ANN.encode() not in rest.body
    left = members(io.BytesIO(rest.body), Budget())
    assert {name: content and content() for name, content in left} == last
    assert excise("a", rest.body) == Rest(rest.body, others=2)
    untouched = added([("a.csv", b"customer\nal\n"), *last.items()], tar=tar)
    assert excise("a", untouched) == Rest(untouched, others=2)


BOOK = workbook({"one": [["customer"], ["bob"], ["eve"]]})


def shut(files: dict[str, bytes]) -> bytes:
    """An archive in which what is `shut` cannot be read, and so not be kept."""
    return zipped(files).replace(b"shut", b"open")


@pytest.mark.parametrize("body", [BOOK, zipped({"a.csv": b"customer\nbob\neve\n"})], ids=["workbook", "archive"])
def test_what_nothing_goes_of_tells_how_many_records_others_have_in_it(body: bytes) -> None:
    assert excise("a", body) == Rest(body, others=2)
    assert excise("a.zip", zipped({f"{ANN}.x": body})).gone == 2


def test_what_goes_with_an_archive_though_raw_may_not_have_it_is_told() -> None:
    rest = excise("a.zip", shut({"a.csv": PEOPLE, "b": b"shut", "c": ANN.encode(), "d": b"", "e": b"\x00"}))
    assert {*rest.lost} == {"b", "c", "d"}
    assert rest.whole == "1 members of it cannot be unpacked, and go with it"


NESTED = pa.array([[ANN], ["bob"], []], pa.list_(pa.dictionary(pa.int8(), pa.string())))
ODD = f"<o><customer>{ANN}</customer><c>2</c><c>3</c></o>".encode()
PEOPLE = f"customer\n{ANN}\nbob\neve".encode()


@pytest.mark.parametrize(
    ("key", "body"),
    [
        ("a.arrow", arrow(NESTED)),
        ("a.xml", ODD),
        ("a.xlsx", workbook({"one": [["n", "customer"], [1, ANN]], "two": [["customer"], ["bob"], ["eve"]]})),
        ("a.zip", zipped({"a.xml": ODD, "b.csv": b"customer\n"})),
        ("a.zip", shut({"a.csv": PEOPLE, "b": b"shut"})),
        ("a.zip", shut({"a.csv": f"customer\n{ANN}".encode(), "b.xlsx": BOOK, "c": b"shut"})),
        ("a.zip", shut({"a.csv": PEOPLE[:-4], "b.bin": b"\x00", "__MACOSX/._a.csv": b"\x00", "c": b"shut"})),
        ("a.xlsx", workbook({"one": [["customer"], [ANN], ["bob"]], "two": [["a", "a"], ["bob", "eve"]]})),
    ],
    ids=["dictionary", "shape", "workbook", "member", "closed", "untouched", "no reader", "sheet"],
)
def test_what_cannot_be_rewritten_for_others_tells_how_many_records_are_theirs(key: str, body: bytes) -> None:
    rest = excise(key, body)
    assert (rest.body, rest.gone, rest.others) == (None, 1, 2)
    assert rest.whole


def test_a_library_that_gives_up_as_it_writes_ends_no_erasure(monkeypatch: pytest.MonkeyPatch) -> None:
    def panics(*_: Any) -> bytes:
        raise pl.exceptions.PanicException("not implemented")

    monkeypatch.setitem(ANEW, read_parquet, panics)
    rest = excise("a.parquet", parquet(ROWS))
    assert (rest.body, rest.gone, rest.others) == (None, 1, 2)
    assert rest.whole


def test_a_file_whose_reader_gives_up_goes_whole_if_it_says_the_subject() -> None:
    """Polars knows no decimals of this width, and panics."""
    wide = pa.array([1, 2], pa.decimal256(50, 2))
    body, rows = io.BytesIO(), pa.table({"customer": [ANN, " bob"], "sum": wide})
    with pa.ipc.new_file(body, rows.schema) as sink:
        sink.write_table(rows)
    rest = excise("a.arrow", body.getvalue())
    assert (rest.body, rest.gone, rest.whole) == (None, 1, "it cannot be read as records")
