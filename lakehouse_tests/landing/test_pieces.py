"""However a file is read, alone, with others like it or in pieces, its records are the same."""

import bz2
import gzip
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import fastavro
import polars as pl
import pyarrow as pa
import pyarrow.orc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.formats import Csv, Format, Xml
from lakehouse.landing import avro, columnar, content, delimited, lined, markup, packing, records
from lakehouse.landing.content import Body, Interrupted
from lakehouse.landing.readers import Unreadable, read, read_pieces, read_together

mangled = st.text('a,"\n', max_size=40)
LINE = '{"a":%s}'
UNFIT = ['"\\ud800"', "[" * 200 + "]" * 200, "NaN", "1e400", '"\x01"']


def rows(
    found: pl.DataFrame, names: tuple[str, ...] = ("a", "b", "_text", "_bad")
) -> list[tuple[str | None, ...]]:
    return found.select(pl.col(n) if n in found.columns else pl.lit(None).alias(n) for n in names).rows()


def pieces(name: str, body: bytes, form: Format | None = None) -> Iterator[pl.DataFrame]:
    return read_pieces(content.unwrapped(name, Body(name, io.BytesIO(body)), packing.Budget()), form)


def in_pieces(name: str, body: bytes, form: Format | None = None) -> pl.DataFrame:
    return pl.concat(pieces(name, body, form), how="diagonal")


ROOMS = (content, records, markup, columnar, avro)


def cut_small(patch: pytest.MonkeyPatch, size: int = 16) -> None:
    for room in ROOMS:
        patch.setattr(room, "PIECE", size)
    patch.setattr(packing, "PART", size)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_small(monkeypatch)


@settings(max_examples=300)
@given(st.lists(mangled, min_size=1, max_size=3))
def test_files_read_together_give_what_each_gives_alone(texts: list[str]) -> None:
    objects = [(f"{n}.csv", f"a,b\n{text}".encode()) for n, text in enumerate(texts)]
    for (name, body), found in zip(objects, read_together(objects), strict=True):
        assert found is None or rows(found) == rows(read(name, body))


@settings(max_examples=300)
@given(mangled)
def test_a_file_read_in_pieces_gives_what_it_gives_whole(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "PIECE", 8)
        body = f"a,b\n{text}".encode()
        assert rows(in_pieces("x.csv", body)) == rows(read("x.csv", body))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_packed_and_otherwise_encoded_files_are_read_in_pieces_too(
    small: None, pack: type[bytes], encoding: str
) -> None:
    body = "a,b\r\n" + "é,1\r\nü\r\n,2\r\n" * 20
    form = Csv(encoding=encoding) if encoding == "latin-1" else None
    packed = pack(body.encode(encoding))
    assert rows(in_pieces("x.csv", packed, form)) == rows(read("x.csv", packed, form))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_of_two_byte_order_marks_the_second_is_a_letter(encoding: str) -> None:
    form = Csv(encoding="utf-8") if encoding == "utf-8" else None
    for size in range(2, 24, 2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(content, "PIECE", size)
            body = f"{chr(0xFEFF) if encoding == 'utf-8' else ''}a,b\n1,{chr(0xFEFF)}é\n".encode(encoding)
            assert rows(in_pieces("x.csv", body, form)) == [("1", f"{chr(0xFEFF)}é", None, None)]


@given(st.text('a,"\n\r\x85\u2028', max_size=60))
def test_lines_are_those_that_the_standard_library_tells(text: str) -> None:
    assert [*delimited._lines(text)] == [*io.StringIO(text, newline="")]


@pytest.mark.parametrize("name", ["x.ndjson", "x.log"])
def test_lines_are_read_in_pieces_too(small: None, name: str) -> None:
    body = b'{"a": "a line longer than a piece"}\n\n{"b":1}\nnope\n{}'
    names = ("_text", "_bad") if name == "x.ndjson" else ("line",)
    assert rows(in_pieces(name, body), names) == rows(read(name, body), names)


TABLE = pl.DataFrame({"a": range(1000), "b": [None, "é", "ü"] * 333 + [None]})


def as_parquet() -> bytes:
    body = io.BytesIO()
    TABLE.write_parquet(body)
    return body.getvalue()


def as_arrow(make: Callable[..., Any]) -> bytes:
    body, table = io.BytesIO(), TABLE.to_arrow(compat_level=pl.CompatLevel.oldest())
    with make(body, table.schema) as file:
        file.write_table(table, max_chunksize=70)
    return body.getvalue()


def as_orc() -> bytes:
    body = io.BytesIO()
    table = TABLE.to_arrow(compat_level=pl.CompatLevel.oldest())
    pyarrow.orc.write_table(table, body, stripe_size=1, batch_size=100)
    return body.getvalue()


def as_avro() -> bytes:
    body = io.BytesIO()
    fields = [{"name": "a", "type": "long"}, {"name": "b", "type": ["null", "string"]}]
    schema = {"type": "record", "name": "r", "fields": fields}
    fastavro.writer(body, schema, TABLE.iter_rows(named=True), sync_interval=500)
    return body.getvalue()


TYPED = {
    "x.parquet": as_parquet(),
    "x.arrow": as_arrow(pa.ipc.new_file),
    "x.arrows": as_arrow(pa.ipc.new_stream),
    "x.orc": as_orc(),
    "x.avro": as_avro(),
}


@pytest.fixture
def smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in pieces of which the first still tells the format."""
    cut_small(monkeypatch, 300)


@pytest.mark.parametrize("name", [*TYPED])
def test_typed_rows_are_read_in_pieces_too(smaller: None, name: str) -> None:
    body = TYPED[name]
    parts = [*pieces(name, body)]
    assert len([part for part in parts if len(part)]) > 3
    assert pl.concat(parts).equals(read(name, body))
    assert read(name, body).drop("_typed").equals(TABLE)


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("x.arrow", TYPED["x.arrow"][:-500], "its reader failed"),
        ("x.arrows", TYPED["x.arrows"] + b"more", "ends 4 bytes before its object"),
        ("x.orc", TYPED["x.orc"][:-3], "its reader failed"),
        ("x.avro", TYPED["x.avro"][:-20], "its reader failed"),
        ("x.xml", b"<?xml version='1.0'?>" + b"<a><b>1</b><b>2</b>" * 30, "not XML"),
        ("x.xml", b"<!DOCTYPE a SYSTEM 'a.dtd'><a>" + b"<b>1 &lt;</b>" * 40 + b"<b>&c;</b></a>", "entities"),
        ("x.json", b'{"a": 1, "b": [}' * 3, "not JSON"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_cut_or_not_what_it_says_is_refused_in_pieces_too(
    smaller: None, name: str, body: bytes, reason: str
) -> None:
    with pytest.raises(Unreadable, match=reason):
        [*pieces(name, body)]


MANGLED = {
    **TYPED,
    "x.xml": b"<?xml version='1.0'?><s>" + b"<r id='1'><v>5</v></r><r/>" * 40 + b"</s>",
    "x.json": b"[" + b'{"a": [1, "b"]}, ' * 40 + b"{}]",
}


@settings(max_examples=200)
@given(st.data(), st.sampled_from([*MANGLED]))
def test_a_mangled_file_is_read_in_pieces_or_refused(data: st.DataObject, name: str) -> None:
    body = bytearray(MANGLED[name])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with pytest.MonkeyPatch.context() as patch:
        cut_small(patch, 300)
        try:
            found = in_pieces(name, bytes(body[: data.draw(st.integers(1, len(body)))]))
        except Unreadable as error:
            assert str(error)
        else:
            assert found.width


def test_each_part_of_a_typed_file_is_bounded_and_not_all_of_them(
    smaller: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "LIMIT", 4_000)
    for name in ("x.arrow", "x.arrows", "x.orc", "x.avro"):
        with pytest.raises(packing.Overrun):
            read(name, TYPED[name])
        assert len(in_pieces(name, TYPED[name])) == 1000
    monkeypatch.setattr(packing, "LIMIT", 100)
    with pytest.raises(packing.Overrun):
        in_pieces("x.arrow", TYPED["x.arrow"])


elements = st.sampled_from(["1234567", '"a,]"', "{}", '{"k": [1, {"é": "ü"}]}', "[2, 3]", "null", "nope", '"cut'])


@settings(max_examples=300)
@given(st.lists(elements, max_size=5), st.sampled_from(["]", "", "] more", ",", "]\n "]), st.integers(1, 9))
def test_an_array_read_in_pieces_gives_what_it_gives_whole(values: list[str], end: str, size: int) -> None:
    body = f" [{', '.join(values)}{end}".encode()
    with pytest.MonkeyPatch.context() as patch:
        cut_small(patch, size)
        found = in_pieces("x.json", body) if b"[" in body[:size] else read("x.json", body)
    names = ("_text", "_bad")
    assert rows(found, names)[:-1] == rows(read("x.json", body), names)[:-1]
    assert found["_text"].to_list() == read("x.json", body)["_text"].to_list()


@pytest.mark.parametrize("text", ['{"a": 1}\n{"a": 2}\n\nnope\n', '{"a": 1,\n "b": [1, 2, 3, 4]}'])
def test_documents_and_lines_that_are_named_json_are_read_in_pieces_too(small: None, text: str) -> None:
    body = text.encode()
    assert rows(in_pieces("x.json", body), ("_text", "_bad")) == rows(read("x.json", body), ("_text", "_bad"))


XMLS = [
    "<s at='1'><r id='1'><v>5</v></r><r id='2'/><t>x</t></s>",
    "<s>loose<one>1</one> text<two>2</two></s>",
    "<s><only><v>1</v><v>2</v></only></s>",
    "<s/>",
    "<!DOCTYPE s SYSTEM 's.dtd'><s><r>a &amp; b</r><r>c</r></s>",
]


@pytest.mark.parametrize("text", XMLS)
@pytest.mark.parametrize("form", [None, Xml(record="r")], ids=["found out", "declared"])
def test_elements_are_read_in_pieces_too(small: None, text: str, form: Xml | None) -> None:
    body, names = text.encode(), ("_text", "_bad")
    try:
        whole = rows(read("x.xml", body, form), names)
    except Unreadable as error:
        with pytest.raises(Unreadable, match=str(error)):
            in_pieces("x.xml", body, form)
    else:
        assert rows(in_pieces("x.xml", body, form), names) == whole


@pytest.mark.parametrize("unfit", UNFIT)
def test_a_line_that_not_every_parser_reads_is_told_from_those_beside_it(unfit: str) -> None:
    lines = [LINE % 1, LINE % unfit, LINE % 2]
    found = read("x.ndjson", "\n".join(lines).encode())
    assert found["_text"].to_list() == lines
    assert [bad is None for bad in found["_bad"]] == [True, False, True]


@given(st.lists(st.recursive(st.none() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v))))
def test_lines_of_any_json_are_kept_as_they_are_written(values: list[object]) -> None:
    lines = [json.dumps({"v": value}, ensure_ascii=False) for value in values]
    found = read("x.ndjson", "\n".join([*lines, "{}"]).encode(errors="surrogatepass") or b"{}")
    assert found["_text"].to_list() == [*lines, "{}"]


def test_a_short_record_beside_an_empty_field_is_told_whatever_quotes_stand_around() -> None:
    found = read("x.csv", b'a,b\n"1,2",\n"3,4"\n"5",""\n')
    assert rows(found)[0] == ("1,2", None, None, None)
    assert rows(found)[1][2:] == ('"3,4"', "1 fields where the header has 2")
    assert rows(found)[2] == ("5", None, None, None)


def test_a_quote_in_the_wrong_place_is_read_as_the_standard_reader_reads_it() -> None:
    assert rows(read("x.csv", b'a,b\n,""c""\n'))[0][:2] == (None, 'c""')


def test_a_quote_that_is_never_closed_does_not_take_the_rest_into_memory(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lined, "LONGEST", 100)
    with pytest.raises(Unreadable, match="more than 100 bytes; a quote that is never closed"):
        in_pieces("x.csv", b'a,b\n1,"2\n' + b"3,4\n" * 100)


@pytest.mark.parametrize("name", ["x.json", "x.csv"])
def test_what_is_too_large_to_be_read_at_once_is_refused_before_it_is_in_memory(
    small: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(packing, "LIMIT", 100)
    body = io.BytesIO(b"a,b\n" + b"1,2\n" * 100)
    unpacked = content.unwrapped(name, Body(name, body), packing.Budget())
    if name == "x.csv":
        assert sum(map(len, read_pieces(unpacked, None))) == 100
        return
    with pytest.raises(Unreadable, match="more than 100 bytes"):
        list(read_pieces(unpacked, None))
    assert body.tell() < 200


def test_a_service_that_fails_on_the_way_is_no_fault_of_the_object(small: None) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 50:
                raise ConnectionError("reset")
            return super().read(size)

    unpacked = content.unwrapped("x.csv", Body("x.csv", Broken(b"a,b\n" + b"1,2\n" * 100)), packing.Budget())
    with pytest.raises(Interrupted, match="reset"):
        list(read_pieces(unpacked, None))
