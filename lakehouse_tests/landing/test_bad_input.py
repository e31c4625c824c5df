"""Whatever lands, each bad thing is kept with a reason that a person understands, and nothing else is lost."""

import gzip
import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.dataset import load
from lakehouse.landing import inbox
from lakehouse.landing.queue import Message
from lakehouse.landing.readers import OWN, Unreadable, read
from lakehouse.layers import balance, cleaned, raw
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.landing.test_events import direct, s3
from lakehouse_tests.test_road import check, land

HEADER = sample.HEADER
ROW = "2013-01-01T10:00:00Z,{carrier},{number},JFK,LAX,N1,0,{late},300,2475"

REFUSED = {
    "flights/empty.csv": (b"", "0 bytes"),
    "flights/blank.csv": (b"\n \n", "no header"),
    "flights/latin.csv": (f"{HEADER}\n".encode() + "é".encode("latin-1"), "not UTF-8"),
    "flights/photo.csv": (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    "flights/utf16cut.csv": (sample.flights(("AA", 90, 1)).decode().encode("utf-16")[:-1], "not UTF-16"),
    "flights/cut.csv.gz": (gzip.compress(sample.flights(("AA", 91, 1)))[:-9], "cannot be unpacked as .gz"),
    "flights/no.csv.gz": (b"no gzip", "cannot be unpacked as .gz"),
    "flights/doubled.csv": (f"{HEADER},carrier\n".encode(), "doubled name"),
    "flights/cases.csv": (f"{HEADER},Carrier\n".encode(), "doubled name"),
    "flights/nameless.csv": (f"{',' * HEADER.count(',')}\n{ROW}".encode(), "empty or doubled"),
    "flights/ours.csv": (f'{HEADER},_text\n{ROW},"x"\n'.encode(), "['_text']"),
    "flights/nul.csv": (f"{HEADER},a\0b\n".encode(), "no column can have"),
}

KEPT = {
    "flights/short.csv": (ROW.rsplit(",", 1)[0], "9 fields where the header has 10"),
    "flights/long.csv": (ROW + ",1", "11 fields where the header has 10"),
    "flights/range.csv": (ROW.replace("{late}", "99999"), "arr_delay|max"),
    "flights/huge.csv": (ROW.replace("2475", "1e400"), "distance|dtype"),
    "flights/key.csv": (ROW.replace("{carrier}", ""), "carrier|nullability"),
    "flights/date.csv": (ROW.replace("2013-01", "2013-13"), "time_hour|dtype"),
    "flights/open.csv": (ROW.replace("N1", '"N1'), "6 fields where the header has 10"),
}

STRANGE = [
    "flights/a b.csv",
    "flights/a+b.csv",
    "flights/a%2Bb.csv",
    "flights/é ü 日本.csv",
    "flights/new\nline.csv",
    "flights/quote'\"`.csv",
    "flights/semi;colon,comma=eq&amp?.csv",
    f"flights/{'x' * 900}.csv",
]


def bad(number: int, line: str) -> bytes:
    """A file with one bad record before a good one."""
    good = ROW.format(carrier="ZZ", number=number, late=1)
    return f"{HEADER}\n{line.format(carrier='YY', number=number, late=1)}\n{good}\n".encode()


def table(road: Road, name: str) -> pl.DataFrame:
    opened = road.lake.open(name)
    assert opened is not None
    return opened.scan().collect()


def walk(road: Road, files: dict[str, bytes]) -> None:
    land(road, files)
    while road.receive():
        pass
    road.hops()


def test_each_unreadable_file_is_refused_with_its_reason_and_the_others_arrive(road: Road) -> None:
    walk(road, {**sample.FILES, **{k: body for k, (body, _) in REFUSED.items()}})
    refused = table(road, "raw/flights").filter(pl.col("_state") == "refused")
    reasons = dict(refused.select("_object", "_reason").iter_rows())
    assert reasons.keys() == REFUSED.keys()
    assert {k: r for k, r in reasons.items() if REFUSED[k][1] not in r} == {}
    check(road, sample.FILES)


def test_each_bad_record_is_kept_with_its_reason_and_its_neighbour_arrives(road: Road) -> None:
    files = {k: bad(n, line) for n, (k, (line, _)) in enumerate(KEPT.items(), 100)}
    walk(road, {**sample.FILES, **files})
    kept = table(road, "quarantine/flights").filter(pl.col("_object").is_in(list(files)))
    rules = {o: r for o, r in kept.select("_object", "_rules").iter_rows()}
    assert rules.keys() == files.keys()
    assert {k: r for k, r in rules.items() if KEPT[k][1] not in r} == {}
    assert all("2013-" in text for text in kept["_text"])
    swallowed = "flights/open.csv"
    arrived = table(road, "cleaned/flights").filter(pl.col("_object").is_in(list(files)))
    assert set(arrived["_object"]) == files.keys() - {swallowed}
    assert "ZZ" in kept.filter(pl.col("_object") == swallowed)["_text"].item()
    assert balance.unbalanced(road.lake, road.datasets["flights"]).is_empty()


def test_a_key_of_any_characters_goes_the_whole_road(road: Road) -> None:
    files = {key: sample.flights(("AA", n, n)) for n, key in enumerate(STRANGE, 200)}
    walk(road, {**sample.FILES, **files})
    assert set(table(road, "cleaned/flights")["_object"]) >= files.keys()
    check(road, {**sample.FILES, **files})


def test_other_columns_and_other_spellings_lose_no_row(road: Road) -> None:
    more = sample.flights(("AA", 301, 1)).replace(b"distance", b"distance,more").replace(b"2475", b"2475,x")
    files = {
        "flights/more.csv": more,
        "flights/spelled.csv": sample.flights(("AA", 302, 2)).replace(b"tailnum", b"TailNum"),
        "flights/shuffled.csv": b"\n".join(
            b",".join(reversed(line.split(b","))) for line in sample.flights(("AA", 303, 3)).split(b"\n")
        ),
        "flights/header.csv": HEADER.encode(),
    }
    walk(road, {"flights/0.csv": sample.flights(("AA", 300, 0)).replace(b"tailnum", b"TAILNUM"), **sample.FILES})
    walk(road, files)
    rows = table(road, "cleaned/flights").filter(pl.col("carrier") == "AA", pl.col("flight") >= 300)
    held = set(rows.select("flight", "arr_delay", "tailnum").iter_rows())
    assert held == {(300 + n, n, f"N{300 + n}") for n in range(4)}
    lacking = sample.flights(("AA", 400, 1)).replace(b",distance\n", b"\n").replace(b",2475\n", b"\n")
    walk(road, {"flights/less.csv": lacking})
    (row,) = table(road, "quarantine/flights").filter(pl.col("_object") == "flights/less.csv").to_dicts()
    assert row["_rules"] == "distance|nullability"


def test_every_bad_line_of_json_is_kept_with_its_reason_and_its_neighbour_arrives(road: Road) -> None:
    line = '{"origin":"JFK","time_hour":"2013-01-01T10:00:00Z","temp":%s}'
    bad_lines = {
        "nope": "not JSON",
        "[1]": "not a JSON object",
        line % "NaN": "NaN, too large",
        line % "1e400": "NaN, too large",
        line % '"\\ud800"': "half a surrogate",
        line % ("[" * 200 + "]" * 200): "too deep",
        line % '"warm"': "temp|dtype",
        '{"time_hour":"2013-01-01T10:00:00Z"}': "origin|nullability",
        '{"origin":null,"time_hour":"2013-01-01T10:00:00Z"}': "origin|nullability",
        "\0": "not JSON",
    }
    walk(road, {"weather/1.ndjson": "\n".join([line % "1.50", *bad_lines]).encode()})
    kept = dict(table(road, "quarantine/weather").select("_text", "_rules").iter_rows())
    assert kept.keys() == bad_lines.keys()
    assert {t: r for t, r in kept.items() if bad_lines[t] not in r} == {}
    assert table(road, "cleaned/weather")["temp"].to_list() == [1.5]


def test_bad_messages_are_parked_and_the_good_ones_beside_them_arrive(road: Road) -> None:
    bodies = [json.dumps({"Records": [unfit]}) for unfit in UNFIT] + ["no JSON", "[]", '"\\ud800"', "[" * 100_000]
    for body in bodies:
        road.queue.client.send_message(QueueUrl=road.queue.url, MessageBody=body)
    road.bucket.put("flights/", b"")
    walk(road, sample.FILES)
    box = inbox.open_inbox(road.lake).scan().collect()
    parked = box.filter(pl.col("dataset") == inbox.PARKED)
    assert sorted(parked["body"]) == sorted(bodies)
    assert all(parked["reason"])
    marker = box.filter(pl.col("key") == "flights/")
    assert marker["reason"].to_list() == ["a directory marker"]
    check(road, sample.FILES)


def unfit(**wrong: Any) -> dict[str, Any]:
    record = s3("flights/1.csv")
    record["s3"]["object"] |= {k: v for k, v in wrong.items() if k in record["s3"]["object"]}
    return record | {k: v for k, v in wrong.items() if k in record}


UNFIT: list[Any] = [
    unfit(size=10**400),
    unfit(size=-1),
    unfit(versionId="\ud800"),
    unfit(eTag="\ud800"),
    unfit(eventName="ObjectCreated:\ud800"),
    unfit(eventTime="0001-01-01T00:00:00+14:00"),
    unfit(eventTime="yesterday"),
    unfit(key="%ff"),
    unfit(key=""),
    None,
    {"eventName": "ObjectCreated:Put", "s3": None},
]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["key", "size", "eTag", "versionId", "sequencer"]), anything), anything)
def test_no_record_can_keep_its_neighbours_out_of_the_inbox(fields: dict[str, Any], when: Any) -> None:
    body = json.dumps({"Records": [unfit(**fields, eventTime=when), s3("flights/1.csv")]})
    messages = [Message("1", "r", body, None), Message("2", "r", direct("flights/2.csv"), None)]
    rows = inbox.records(messages, "b", load())
    assert rows.to_arrow().num_rows == len(rows)
    assert rows["key"].to_list()[-1] == "flights/2.csv"
    assert "flights/1.csv" in rows["key"]


def test_the_lakes_own_column_names_are_all_refused_in_a_header() -> None:
    assert {*raw.SCHEMA, *cleaned.BAD} <= OWN
    for name in OWN:
        with pytest.raises(Unreadable, match="no column can have"):
            read("x.csv", f"a,{name}\n1,2\n".encode())


@given(st.lists(st.lists(st.text("ab", max_size=2), max_size=4), max_size=6))
def test_ragged_records_are_told_from_good_ones_whatever_their_number(rows: list[list[str]]) -> None:
    lines = [",".join(row) for row in rows]
    found = read("x.csv", "\n".join(["a,b", *lines, ""]).encode())
    bad = found["_bad"].is_not_null().to_list() if "_bad" in found.columns else [False] * len(found)
    assert bad == [line.count(",") != 1 for line in lines if line]


def test_a_quote_that_is_never_closed_does_not_swallow_the_rest_in_silence() -> None:
    found = read("x.csv", b'a,b\n1,2\n3,"4\n5,6\n7,8\n')
    assert found["a"].to_list() == ["1", None]
    assert found["_text"].to_list() == [None, '3,"4\n5,6\n7,8']
    assert found["_bad"].to_list() == [None, "a quote that is never closed"]
    assert read("x.csv", b'a,b\n5" pipe,"1\n2"\n')["_bad"].to_list() == [None]


def test_a_long_quoted_field_is_no_fault() -> None:
    for begin in (b"1", b'1"'):  # at once, and record by record
        found = read("x.csv", b"a,b\n" + begin + b',"' + b"x" * 300_000 + b'"\n')
        assert found["b"].str.len_bytes().to_list() == [300_000]
