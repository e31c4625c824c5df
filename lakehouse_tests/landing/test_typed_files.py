"""Arrow, Avro and ORC: their own types arrive, and what is cut, mangled or a lie is refused with a reason."""

import io
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import fastavro
import polars as pl
import pyarrow as pa
import pyarrow.orc as orc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.formats import Arrow, Avro, Csv, Format, Orc
from lakehouse.landing import packing
from lakehouse.landing.readers import Unreadable, read

AT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
ROWS: list[dict[str, Any]] = [
    {"n": 1, "word": "é", "cost": Decimal("1.50"), "at": AT, "day": date(2024, 5, 6), "few": [1], "in": {"x": 1}},
    {"n": 2**40, "word": None, "cost": None, "at": None, "day": None, "few": [], "in": {"x": None}},
]
KINDS: dict[str, Any] = {
    "n": pl.Int64,
    "word": pl.String,
    "cost": pl.Decimal(10, 2),
    "at": pl.Datetime("us", "UTC"),
    "day": pl.Date,
    "few": pl.List(pl.Int64),
    "in": pl.Struct({"x": pl.Int64}),
}
TABLE = pl.DataFrame(ROWS, schema=KINDS)
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}
WITHIN = {"type": "record", "name": "in", "fields": [{"name": "x", "type": ["null", "long"]}]}
RECORD = {
    "type": "record",
    "name": "row",
    "fields": [
        {"name": "n", "type": "long"},
        {"name": "word", "type": ["null", "string"]},
        {
            "name": "cost",
            "type": ["null", MONEY],
        },
        {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
        {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
        {"name": "few", "type": {"type": "array", "items": "long"}},
        {
            "name": "in",
            "type": {"type": "record", "name": "in", "fields": [{"name": "x", "type": ["null", "long"]}]},
        },
    ],
}


def plain() -> pa.Table:
    """As writers other than polars have it: no views."""
    return TABLE.to_arrow(compat_level=pl.CompatLevel.oldest())


def arrow(compression: str | None = None) -> bytes:
    body = io.BytesIO()
    with pa.ipc.new_file(body, plain().schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as file:
        file.write_table(plain(), max_chunksize=1)
    return body.getvalue()


def stream() -> bytes:
    body = io.BytesIO()
    with pa.ipc.new_stream(body, plain().schema) as file:
        file.write_table(plain(), max_chunksize=1)
    return body.getvalue()


def of_orc(compression: str = "zstd") -> bytes:
    body = io.BytesIO()
    names = [f.with_type(pa.list_(pa.int64())) if f.name == "few" else f for f in plain().schema]
    orc.write_table(plain().cast(pa.schema(names)), body, compression=compression)
    return body.getvalue()


def avro(codec: str = "null", rows: list[dict[str, Any]] = ROWS, schema: Any = RECORD) -> bytes:
    body = io.BytesIO()
    fastavro.writer(body, schema, rows, codec=codec)
    return body.getvalue()


def of_name(value: object) -> str | None:
    """Some bodies are others in each process: no test is named after one."""
    return "" if isinstance(value, bytes) else None


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.arrow", arrow()),
        ("a.feather", arrow("lz4")),
        ("a.arrow", arrow("zstd")),
        ("a.arrows", stream()),
        ("a.avro", avro()),
        ("a.avro", avro("deflate")),
        ("a.orc", of_orc()),
        ("a.csv", arrow()),
        ("a", stream()),
        ("a.json", avro()),
        ("a.parquet", of_orc("snappy")),
    ],
    ids=of_name,
)
def test_one_table_keeps_its_types_in_every_typed_format(name: str, body: bytes) -> None:
    """ORC's times are in nanoseconds, of which tables hold microseconds."""
    found = read(name, body)
    kinds = {n: pl.Datetime("us", "UTC") if k == pl.Datetime("ns", "UTC") else k for n, k in found.schema.items()}
    assert found.cast(kinds).drop("_typed").equals(TABLE)
    assert kinds == {**TABLE.schema, "_typed": pl.Boolean}
    assert found["_typed"].all()


@pytest.mark.parametrize(
    ("name", "body", "form", "reason"),
    [
        ("a.avro", b"n,word\n1,x\n", None, "named or declared as Avro, its content is not"),
        ("a.csv", b"n,word\n1,x\n", Orc(), "named or declared as Orc, its content is not"),
        ("a.csv", avro(), Csv(), "declared as Csv, its content is Avro"),
        ("a", stream(), Avro(), "declared as Avro, its content is Arrow"),
        ("a.arrow", arrow()[:-9], None, "named or declared as Arrow, its content is not"),
        ("a.arrows", stream()[:-600], None, "its reader failed"),
        ("a.arrow", arrow().replace("é".encode(), b"\xff\xfe"), None, "its reader failed"),
        ("a.arrows", stream() + b"more", Arrow(), "ends 4 bytes before its object"),
        ("a.avro", avro()[:-20], None, "its reader failed"),
        ("a.avro", avro() + b"\x80", None, "its reader failed"),
        ("a.avro", avro(schema="long", rows=[1, 2]), None, "its schema is not that of records"),  # type: ignore[list-item]
        ("a.avro", avro("deflate", [], {**RECORD, "fields": []}), None, "empty or doubled name"),
        ("ORC,b.csv", b"ORC,b\n1,2\n", Orc(), "its content is not"),
    ],
    ids=of_name,
)  # fmt: skip
def test_what_is_cut_or_not_what_it_says_is_refused(
    name: str, body: bytes, form: Format | None, reason: str
) -> None:
    with pytest.raises(Unreadable, match=reason):
        read(name, body, form)


def test_a_text_that_begins_like_a_typed_file_is_a_text() -> None:
    assert read("a.csv", b"ORC,Obj\n1,2\n").rows() == [("1", "2")]


@pytest.mark.parametrize("told", [2, 6])
def test_an_avro_block_that_tells_of_more_or_fewer_records_than_it_has_is_refused(told: int) -> None:
    """Its counts and lengths are numbers whose lowest bit is the sign: 4 is 2 records."""
    body = bytearray(avro())
    sync = bytes(body[-16:])
    at = body.index(sync) + 16
    assert body[at] == 4
    body[at] = told
    with pytest.raises(Unreadable, match=r"a block that has more|its reader failed"):
        read("a.avro", bytes(body))


def test_what_no_column_has_a_type_for_is_json() -> None:
    linked = {"type": "record", "name": "l", "fields": [{"name": "next", "type": ["null", "l"]}]}
    kinds = {
        "map": {"type": "map", "values": "bytes"},
        "either": ["null", "string", "long"],
        "linked": linked,
        "id": {"type": "string", "logicalType": "uuid"},
    }
    schema = {"type": "record", "name": "r", "fields": [{"name": n, "type": k} for n, k in kinds.items()]}
    some = [{"map": {"k": b"\xff"}, "either": e, "linked": {"next": None}, "id": "0" * 32} for e in (7, "x", None)]
    found = read("a.avro", avro(rows=some, schema=schema)).drop("_typed")
    assert set(found.dtypes) == {pl.String}
    assert found["either"].to_list() == ["7", "x", None]
    assert found.row(0) == ('{"k": "/w=="}', "7", '{"next": null}', "00000000-0000-0000-0000-000000000000")


NULLS = pa.table({"x": pa.nulls(1_000_000)})


@pytest.mark.parametrize("make", [arrow, stream, avro, of_orc])
def test_a_file_that_unpacks_to_too_much_is_refused(
    make: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "LIMIT", 15)
    with pytest.raises(packing.Overrun, match="unpacks to more than 15 bytes"):
        read("a", make())


def test_rows_that_take_no_bytes_are_counted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "LIMIT", 1_000_000)
    body = io.BytesIO()
    with pa.ipc.new_stream(body, NULLS.schema) as file:
        file.write_table(NULLS)
    empty = {"type": "record", "name": "r", "fields": [{"name": "x", "type": "null"}]}
    lies = bytearray(avro(rows=[{"x": None}], schema=empty))
    at = lies.index(bytes(lies[-16:])) + 16
    lies[at : at + 1] = b"\xfe\xff\xff\xff\x7f"
    for told in (body.getvalue(), bytes(lies)):
        with pytest.raises(packing.Overrun):
            read("a", told)


def test_a_length_that_no_memory_holds_is_the_files_fault() -> None:
    table, body = pa.table({"n": [0] * 1_000}), io.BytesIO()
    with pa.ipc.new_stream(body, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as file:
        file.write_table(table)
    length, lie = (8_000).to_bytes(8, "little"), (1 << 55).to_bytes(8, "little")
    assert read("a", body.getvalue()).height == 1_000
    with pytest.raises(Unreadable, match="more memory than there can be"):
        read("a", body.getvalue().replace(length, lie))


SOUND = [arrow(), arrow("lz4"), stream(), avro(), avro("deflate"), of_orc(), of_orc("uncompressed")]


@settings(max_examples=150)
@given(st.data(), st.sampled_from(SOUND))
def test_a_mangled_typed_file_is_read_or_refused(data: st.DataObject, sound: bytes) -> None:
    body = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read("a", bytes(body[: data.draw(st.integers(1, len(body)))]))
    except Unreadable as error:
        assert str(error)
    else:
        assert found.width


longs = st.integers(-(2**63), 2**63 - 1)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
AVROS: dict[str, Any] = {
    "long": longs,
    "string": words,
    "double": st.floats(allow_nan=False),
    "boolean": st.booleans(),
    "bytes": st.binary(max_size=4),
}


@settings(max_examples=30)
@given(st.data(), st.lists(st.sampled_from([*AVROS]), min_size=1, max_size=4))
def test_every_record_that_avro_wrote_is_read_back(data: st.DataObject, kinds: list[str]) -> None:
    fields = [{"name": f"c{n}", "type": ["null", kind]} for n, kind in enumerate(kinds)]
    record = st.fixed_dictionaries({f"c{n}": st.none() | AVROS[kind] for n, kind in enumerate(kinds)})
    rows = data.draw(st.lists(record, max_size=4))
    body = avro(rows=rows, schema={"type": "record", "name": "r", "fields": fields})
    assert read("a.avro", body).drop("_typed").to_dicts() == rows
