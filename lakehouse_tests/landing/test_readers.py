"""Bad input gets a kept reason, and nothing else is lost."""

import csv
import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.landing.readers import Unreadable, read

cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5)


@given(st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1))
def test_every_record_that_csv_wrote_is_read_back(rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["a", "b", "c"])
    writer.writerows(rows)
    found = read("x.csv", text.getvalue().encode()).select("a", "b", "c").rows()
    assert found == [tuple(cell or None for cell in row) for row in rows]


@given(st.binary(min_size=1))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for name in ("x.csv", "x.ndjson", "x.csv.gz", "x.csv.zst"):
        try:
            read(name, body)
        except Unreadable as error:
            assert str(error)


def test_short_and_long_records_are_kept_with_their_text() -> None:
    found = read("x.csv", b"a,b\n1,2\n3\n4,5,6\n7,8\n")
    assert found["a"].to_list() == ["1", None, None, "7"]
    assert found["_text"].to_list() == [None, "3", "4,5,6", None]
    assert found["_bad"].to_list()[1] == "1 fields where the header has 2"


def test_a_line_that_is_no_json_is_kept_among_its_neighbours() -> None:
    found = read("x.ndjson", b'{"a": 1.10}\nnope\n[1]\n')
    assert found["_text"].to_list() == ['{"a": 1.10}', "nope", "[1]"]
    assert [bad is None for bad in found["_bad"]] == [True, False, False]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("x.csv", b""),
        ("x.csv", b"\n\n"),
        ("x.csv", "a,b\n\xe9,1\n".encode("latin-1")),
        ("x.csv", b"a,a\n1,2\n"),
        ("x.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-9]),
        ("x.parquet", b"PAR1"),
    ],
)
def test_an_unreadable_object_is_refused_with_a_reason(name: str, body: bytes) -> None:
    with pytest.raises(Unreadable, match=r".+"):
        read(name, body)
