"""Each sheet of a workbook is an object of its own, and what is in its cells arrives as a person sees it."""

import dataclasses
import io
import zipfile
from datetime import datetime, time
from typing import Any

import dataframely as dy
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.dataset import Dataset
from lakehouse.formats import Csv, Excel
from lakehouse.landing import packing, workbook
from lakehouse.landing.readers import Unreadable, read
from lakehouse.layers import balance, raw
from lakehouse_tests.conftest import Road
from lakehouse_tests.landing import files

KEY = "stock/book.xlsx"
AT = datetime(2024, 5, 6, 7, 8, 9)
HEADER = ("shop", "count")


def sheets(body: bytes, form: Excel | None = None) -> dict[str, Any]:
    found = workbook.sheets(body, packing.Budget(), form or Excel())
    return {name: rows if isinstance(rows, Unreadable) else rows.rows() for name, rows in found}


def again(body: bytes, swaps: dict[str, tuple[bytes, bytes]]) -> bytes:
    """The workbook with texts of its parts swapped; what is swapped for nothing leaves the part out."""
    new = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as old, zipfile.ZipFile(new, "w") as made:
        for name in old.namelist():
            was, now = swaps.get(name, (b"", b""))
            assert was in old.read(name)
            if was or not now:
                made.writestr(name, old.read(name).replace(was, now))
    return new.getvalue()


def test_cells_arrive_as_text_and_nothing_in_them_is_lost() -> None:
    row = [1, 1.1, 2**53, "007", " x ", True, AT, time(7, 8, 9), None, ""]
    body = files.workbook({"s": [[f"c{n}" for n in range(len(row))], [], row, [None, "only"]]})
    told = ("1", "1.1", "9007199254740992", "007", " x ", "true", "2024-05-06 07:08:09", "07:08:09", None, None)
    assert sheets(body) == {"s": [told, (None, "only", *[None] * 8)]}


def test_an_error_in_a_cell_is_its_text() -> None:
    body = files.workbook({"s": [["a"], ["=1/0"], ["=NA()"], [3]]})
    place = "xl/worksheets/sheet1.xml"
    body = again(body, {place: (b'r="A2"><f>1/0</f><v>0<', b'r="A2" t="e"><f>1/0</f><v>#DIV/0!<')})
    body = again(body, {place: (b'r="A3"><f>NA()</f><v>0<', b'r="A3" t="e"><f>NA()</f><v>#N/A<')})
    assert sheets(body) == {"s": [("#DIV/0!",), ("#N/A",), ("3",)]}


def test_a_header_is_the_first_row_with_something_in_it_but_those_to_be_skipped() -> None:
    rows = [[], [None, "Stock of May"], [], [None, *HEADER], [None, "x", 1]]
    assert sheets(files.workbook({"s": rows}), Excel(skip=1)) == {"s": [("x", "1")]}
    assert sheets(files.workbook({"s": rows[3:], "none": []})) == {"s": [("x", "1")], "none": []}
    assert "empty or doubled name" in str(sheets(files.workbook({"s": rows}))["s"])
    with pytest.raises(ValueError, match="0 or more"):
        Excel(skip=-1)


def test_a_cell_far_from_all_others_is_refused_before_its_sheet_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reader makes room for every cell between: the last there can be would take 500 GiB."""
    near = files.workbook({"s": [["a"], ["b"]]})
    for place, limit in ((b'r="ZZ999"', 1_000_000), (b'r="zz999"', 1_000_000), (b'r="XFD1048576"', 1 << 30)):
        monkeypatch.setattr(packing, "LIMIT", limit)
        with pytest.raises(packing.Overrun):
            sheets(again(near, {"xl/worksheets/sheet1.xml": (b'r="A2"', place)}))


def test_empty_cells_that_are_merely_formatted_count_for_nothing() -> None:
    blank = b'</row><row r="1048576"><c r="XFD1048576" s="1"/></row></sheetData>'
    body = again(
        files.workbook({"s": [["a"], ["b"]]}), {"xl/worksheets/sheet1.xml": (b"</row></sheetData>", blank)}
    )
    assert len(sheets(body)["s"]) == 1


def test_a_workbook_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "LIMIT", 50_000)
    with pytest.raises(packing.Overrun, match="unpacks to more than 50,000 bytes"):
        sheets(files.workbook({"s": [["a" * 99 + str(n)] for n in range(500)]}))


def test_sheets_that_share_a_name_or_their_cells_are_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    book = files.workbook({"one": [["a" * 300 + str(n)] for n in range(9)], "two": []})
    twins = again(book, {"xl/workbook.xml": (b'name="two"', b'name="one"')})
    with pytest.raises(Unreadable, match="each with a name of its own"):
        sheets(twins)
    both = again(book, {"xl/workbook.xml": (b'r:id="rId2"', b'r:id="rId1"')})
    assert len(sheets(both)["two"]) == 8
    budget = packing.Budget()
    list(workbook.sheets(book, budget))
    monkeypatch.setattr(packing, "LIMIT", packing.LIMIT - budget.left + 100)
    with pytest.raises(packing.Overrun):
        sheets(both)


def test_a_panic_of_the_reading_library_is_the_files_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        pass

    def giving_up(*_: object) -> pl.DataFrame:
        raise raised("gone")

    monkeypatch.setattr(workbook, "_rows", giving_up)
    book = files.workbook({"s": [["a"]]})
    raised: type[BaseException] = PanicException
    ((_, told),) = workbook.sheets(book, packing.Budget())
    assert str(told) == "a workbook that cannot be read: gone"
    raised = MemoryError
    with pytest.raises(MemoryError):
        sheets(book)


class Stock(dy.Schema):
    """How many a shop has."""

    shop = dy.String(primary_key=True)
    count = dy.Int64(nullable=False)


def stocked(road: Road, **declared: Any) -> Dataset:
    road.datasets.clear()
    road.datasets["stock"] = Dataset("stock", "stock/*", Stock, **declared)
    return road.datasets["stock"]


def take(road: Road, body: bytes, key: str = KEY) -> dict[str, tuple[str, int, str | None]]:
    road.bucket.put(key, body)
    road.announce(key)
    road.hops()
    assert balance.unbalanced(road.lake, road.datasets["stock"]).is_empty()
    heads = raw.last_heads(raw.open_raw(road.lake, "stock")).collect().to_dicts()
    return {h["_object"]: (h["_state"], h["_records"], h["_reason"]) for h in heads}


def shops(road: Road) -> set[tuple[str, int]]:
    table = road.lake.open("cleaned/stock")
    assert table is not None
    return set(table.scan().select("shop", "count").collect().rows())


def test_the_sheets_of_a_workbook_live_as_objects_of_their_own(road: Road) -> None:
    stocked(road)
    told = take(road, files.workbook({"May": [HEADER, ["x", 1], ["y", "two"]], "Notes": [["a", "a"]], "New": []}))
    assert told == {
        KEY: ("read", 0, None),
        f"{KEY}!/May": ("read", 2, None),
        f"{KEY}!/Notes": ("refused", 0, "the header has an empty or doubled name: ['a', 'a']"),
        f"{KEY}!/New": ("read", 0, None),
    }
    assert shops(road) == {("x", 1)}
    told = take(road, files.workbook({"June": [("count", "shop"), [3, "z"]]}))
    assert told[f"{KEY}!/May"] == ("read", 0, f"no longer in {KEY}")
    assert shops(road) == {("z", 3)}


def test_what_was_read_is_read_again_once_its_format_is_declared(road: Road) -> None:
    dataset = stocked(road)
    assert take(road, files.workbook({"s": [["Stock", "of May"], HEADER, ["x", 1]]}))[f"{KEY}!/s"][1] == 2
    road.datasets["stock"] = dataclasses.replace(dataset, format=Excel(skip=1))
    road.hops()
    assert shops(road) == {("x", 1)}


def test_what_is_no_workbook_is_refused_whole_and_a_csv_of_another_name_is_not(road: Road) -> None:
    dataset = stocked(road)
    book = files.workbook({"s": [HEADER, ["x", 1]]})
    assert take(road, book, "stock/misnamed.csv")["stock/misnamed.csv!/s"][0] == "read"
    word = io.BytesIO()
    with zipfile.ZipFile(word, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", "<document/>")
    lost = again(book, {"xl/_rels/workbook.xml.rels": (b"<", b"")})
    refused = {
        "stock/a.docx": (word.getvalue(), "an Office document that is no workbook"),
        "stock/b.xlsx": (b"shop,count\nx,1\n", "named or declared as Excel, its content is not"),
        "stock/c.xlsx": (lost, "a workbook that cannot be read"),
        "stock/d.xlsx": (book[:-30], "an archive that cannot be opened"),
    }
    for key, (body, reason) in refused.items():
        state, _, said = take(road, body, key)[key]
        assert state == "refused"
        assert reason in str(said)
    road.datasets["stock"] = dataclasses.replace(dataset, format=Csv())
    assert take(road, book, "stock/e.csv")["stock/e.csv"][2] == "declared as Csv, its content is Excel"
    with pytest.raises(Unreadable, match="an archive in an archive"):
        read("book.xlsx", book)


cells = st.none() | st.integers(-(2**40), 2**40) | st.text("ab 7", max_size=3)


@settings(max_examples=30)
@given(st.lists(st.lists(cells, min_size=2, max_size=2), max_size=5))
def test_every_row_with_something_in_it_is_read_back(rows: list[list[Any]]) -> None:
    kept = [tuple(None if v in (None, "") else str(v) for v in row) for row in rows]
    assert sheets(files.workbook({"s": [["a", "b"], *rows]})) == {"s": [row for row in kept if any(row)]}


PARTS = ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/sharedStrings.xml", "xl/styles.xml"]


@settings(max_examples=60)
@given(st.data(), st.sampled_from(PARTS))
def test_a_mangled_workbook_is_read_or_refused(data: st.DataObject, part: str) -> None:
    with zipfile.ZipFile(io.BytesIO(files.workbook({"s": [HEADER, ["x", 1.5]]}))) as archive:
        parts = {name: bytearray(archive.read(name)) for name in archive.namelist()}
    for _ in range(data.draw(st.integers(1, 3))):
        parts[part][data.draw(st.integers(0, len(parts[part]) - 1))] = data.draw(st.integers(0, 255))
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, bytes(content))
    try:
        found = sheets(body.getvalue())
    except Unreadable as error:
        assert str(error)
    else:
        assert all(isinstance(rows, list) or str(rows) for rows in found.values())
