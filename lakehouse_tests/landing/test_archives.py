"""Each member of a zip or tar is an object of its own, whose life follows the archive's."""

import base64
import dataclasses
import ensurepip
import gzip
import io
import random
import stat
import sysconfig
import tarfile
import tracemalloc
import warnings
import weakref
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.landing import content, objects, packing
from lakehouse.landing.events import ignorable
from lakehouse.landing.reconcile import reconcile
from lakehouse.landing.refusal import Unreadable
from lakehouse.layers import balance, generation, ingest, raw, refused, sheets
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import check, land

PACKAGES = Path(sysconfig.get_paths()["purelib"])
KEY = "flights/a.zip"
ONE, TWO = sample.flights(("AA", 1, 5), ("UA", 2, 20)), sample.flights(("DL", 3, 7))


Files = Mapping[str, bytes] | Sequence[tuple[str, bytes]]


def zipped(files: Files) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate name")
        for name, content in files.items() if isinstance(files, Mapping) else files:
            archive.writestr(name, content)
    return body.getvalue()


def tarred(files: Files) -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w") as archive:
        for name, content in files.items() if isinstance(files, Mapping) else files:
            told = tarfile.TarInfo(name)
            told.size = len(content)
            archive.addfile(told, io.BytesIO(content))
    return body.getvalue()


def wide(road: Road, on_delete: str = "keep", landing: str = "flights/*") -> Road:
    """The road, with flights that also come in archives."""
    flights = dataclasses.replace(road.datasets["flights"], landing=landing, on_delete=on_delete)
    return dataclasses.replace(road, datasets={**road.datasets, "flights": flights})


def take(road: Road, body: bytes | None, key: str = KEY) -> None:
    if body is None:
        road.bucket.client.delete_object(Bucket=road.bucket.name, Key=key)
    else:
        road.bucket.put(key, body)
    road.announce(key)
    road.hops()


def heads(road: Road) -> dict[str, tuple[str, int, int, str | None]]:
    last = raw.last_heads(raw.open_raw(road.lake, "flights")).collect()
    return {h["_object"]: (h["_state"], h["_generation"], h["_records"], h["_reason"]) for h in last.to_dicts()}


@pytest.mark.parametrize(
    ("key", "pack"),
    [(KEY, zipped), ("flights/a.tar", tarred), ("flights/a.tar.gz", lambda f: gzip.compress(tarred(f))),
     ("flights/a.tgz", lambda f: gzip.compress(tarred(f))), ("flights/misnamed.csv", zipped)],
)  # fmt: skip
def test_the_members_of_an_archive_arrive_as_objects_of_their_own(road: Road, key: str, pack: object) -> None:
    road = wide(road)
    assert callable(pack)
    airlines = {"airlines/airlines.csv": sample.FILES["airlines/airlines.csv"]}
    land(road, airlines)
    road.announce(*airlines)
    files = {"day/1.csv": ONE, "2.csv.gz": gzip.compress(TWO), "__MACOSX/._1.csv": b"x"}
    take(road, pack(files), key)
    names = {f"{key}!/day/1.csv": 2, f"{key}!/2.csv.gz": 1, key: 0}
    assert {name: told[:3] for name, told in heads(road).items()} == {n: ("read", 1, r) for n, r in names.items()}
    assert heads(road)[key][3] == "1 hidden or temporary members left aside"
    check(road, {**airlines, "flights/1.csv": ONE, "flights/2.csv": TWO})
    widest = dataclasses.replace(road.datasets["flights"], landing="flights/**")
    assert reconcile(road.lake, road.bucket, {"flights": widest}) == {"flights": 0}
    take(road, pack(files), key)
    assert balance.unbalanced(road.lake, road.datasets["flights"]).is_empty()


def flights(road: Road) -> set[int]:
    table = road.lake.open("cleaned/flights")
    assert table is not None
    return set(table.scan().collect()["flight"])


@pytest.mark.parametrize("on_delete", ["keep", "retract"])
def test_an_overwritten_archive_takes_back_the_members_that_it_no_longer_has(road: Road, on_delete: str) -> None:
    road = wide(road, on_delete)
    take(road, zipped({"1.csv": ONE, "2.csv": TWO}))
    assert flights(road) == {1, 2, 3}
    take(road, zipped({"2.csv": TWO}))
    assert flights(road) == {3}
    assert heads(road)[f"{KEY}!/1.csv"] == ("read", 2, 0, f"no longer in {KEY}")
    assert balance.unbalanced(road.lake, road.datasets["flights"]).is_empty()
    take(road, zipped({"2.csv": TWO, "3.csv": ONE}))
    assert flights(road) == {1, 2, 3}
    assert heads(road)[f"{KEY}!/1.csv"][1] == 2
    take(road, b"PK\x03\x04 cut off")
    assert flights(road) == set()
    assert heads(road)[KEY][0] == "refused"


def test_an_archives_key_may_hold_what_stands_before_a_members_name(road: Road) -> None:
    key = "flights/q!/b.zip"
    road = wide(road, landing="flights/**")
    take(road, zipped({"1.csv": ONE, "2!/2.csv": TWO}), key)
    take(road, zipped({"1.csv": ONE}), key)
    assert flights(road) == {1, 2}
    assert heads(road)[f"{key}!/2!/2.csv"] == ("read", 2, 0, f"no longer in {key}")


@pytest.mark.parametrize(("on_delete", "left"), [("keep", {1, 2, 3}), ("retract", set())])
def test_a_deleted_archives_members_do_what_the_dataset_declares(
    road: Road, on_delete: str, left: set[int]
) -> None:
    road = wide(road, on_delete)
    take(road, zipped({"1.csv": ONE, "2.csv": TWO}))
    take(road, None)
    assert {told[0] for told in heads(road).values()} == {"gone"}
    assert flights(road) == left
    take(road, zipped({"2.csv": TWO}))
    assert flights(road) == {3}


def test_one_bad_member_is_refused_alone(road: Road) -> None:
    road = wide(road)
    take(road, zipped({"1.csv": ONE, "2.csv": b"a,a\n1,2\n", "3.pdf": b"%PDF-1.7", "4.zip": zipped({"x": b"y"})}))
    assert flights(road) == {1, 2}
    told = heads(road)
    reasons = {"2.csv": "doubled name", "3.pdf": "its content is a PDF", "4.zip": "an archive in an archive"}
    for name, reason in reasons.items():
        state, _, _, said = told[f"{KEY}!/{name}"]
        assert state == "refused"
        assert reason in str(said)


def with_links(files: Mapping[str, bytes], links: Mapping[str, tuple[bytes, str]]) -> bytes:
    """A tar of files, and of members of another kind, with what they name."""
    body = io.BytesIO(tarred(files))
    with tarfile.open(fileobj=body, mode="a") as archive:
        for name, (kind, target) in links.items():
            told = tarfile.TarInfo(name)
            told.type, told.linkname = kind, target
            archive.addfile(told)
    return body.getvalue()


def zipped_link(files: Mapping[str, bytes], name: str, target: str) -> bytes:
    body = io.BytesIO(zipped(files))
    with zipfile.ZipFile(body, "a") as archive:
        link = zipfile.ZipInfo(name)
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, target)
    return body.getvalue()


def test_a_link_in_an_archive_is_refused_with_what_it_names(road: Road) -> None:
    road = wide(road)
    links = {"hard.csv": (tarfile.LNKTYPE, "1.csv"), "soft.csv": (tarfile.SYMTYPE, "/etc/passwd"),
             "pipe.csv": (tarfile.FIFOTYPE, ""), "folder": (tarfile.DIRTYPE, "")}  # fmt: skip
    take(road, with_links({"1.csv": ONE}, links), "flights/a.tar")
    take(road, zipped_link({"2.csv": TWO}, "soft.csv", "2.csv"))
    assert flights(road) == {1, 2, 3}
    refused = {key: reason for key, (state, _, _, reason) in heads(road).items() if state == "refused"}
    assert refused == {
        "flights/a.tar!/hard.csv": "a link to 1.csv, which is not followed",
        "flights/a.tar!/soft.csv": "a link to /etc/passwd, which is not followed",
        "flights/a.tar!/pipe.csv": "neither a file nor a link",
        f"{KEY}!/soft.csv": "a link to 2.csv, which is not followed",
    }


ZONES = PACKAGES / "dateutil" / "zoneinfo" / "dateutil-zoneinfo.tar.gz"
WHEEL = next((Path(ensurepip.__file__).parent / "_bundled").glob("*.whl"))


def test_each_member_of_archives_that_others_made_is_accounted_for(road: Road) -> None:
    """Time zones, many of them links to others, and a wheel of Python's own."""
    road = wide(road)
    take(road, ZONES.read_bytes(), "flights/zones.tar.gz")
    take(road, WHEEL.read_bytes(), "flights/wheel.whl")
    told = heads(road)
    with tarfile.open(ZONES) as archive, zipfile.ZipFile(WHEEL) as wheel:
        links = {f"flights/zones.tar.gz!/{one.name}" for one in archive if one.islnk()}
        members = {f"flights/zones.tar.gz!/{one.name}" for one in archive if not one.isdir()}
        members |= {f"flights/wheel.whl!/{name}" for name in wheel.namelist() if not ignorable(name)}
        aside = sum(bool(ignorable(name)) for name in wheel.namelist())
    assert len(links) > 100
    assert told.keys() == {"flights/zones.tar.gz", "flights/wheel.whl", *members}
    assert {key for key, (_, _, _, reason) in told.items() if "not followed" in str(reason)} == links
    assert {told[key][0] for key in told if key.endswith((".txt", ".json"))} == {"read"}
    assert told["flights/wheel.whl"][3] == f"{aside} hidden or temporary members left aside"
    assert balance.unbalanced(road.lake, road.datasets["flights"]).is_empty()


@pytest.mark.parametrize("what", ["flights", f"{KEY}!/3.pdf", f"{KEY}!/1.csv#3"])
def test_a_refused_member_is_sent_again_with_its_archive(road: Road, what: str) -> None:
    """Whether it was refused itself or a record in it; what was read stays, and what is refused stays listed."""
    road = wide(road, "retract")
    take(road, zipped({"1.csv": ONE + b"short\n", "2.csv": TWO, "3.pdf": b"%PDF-1.7"}))
    told = heads(road)
    again = refused.replay(road.lake, road.bucket.name, {"flights": road.datasets["flights"]}, what)
    assert again == {"flights": 1}
    road.hops()
    assert heads(road) == {key: (state, 2, *rest) for key, (state, _, *rest) in told.items()}
    assert flights(road) == {1, 2, 3}


def members(body: bytes) -> dict[str, packing.Member]:
    return dict(packing.members(io.BytesIO(body), packing.Budget()))


def mangled(body: bytes, what: str) -> bytes:
    """A tar of three members, each a block of header and one of content."""
    block = tarfile.BLOCKSIZE
    match what:
        case "a header":
            return body[: 2 * block] + bytes([body[2 * block] ^ 1]) + body[2 * block + 1 :]
        case "an end":
            return body[: 4 * block]
        case "an end in a header":
            return body[: 4 * block + 100]
        case "an end in its end":
            return body[: 6 * block + 100]
    return body + tarred({"4.csv": TWO})


@pytest.mark.parametrize("what", ["a header", "an end", "an end in a header", "an end in its end", "another tar"])
def test_a_tar_whose_later_members_cannot_be_told_is_refused(what: str) -> None:
    body = tarred({f"{n}.csv": ONE for n in range(3)})
    assert len(members(body[: 7 * tarfile.BLOCKSIZE])) == 3
    with pytest.raises(Unreadable, match="damaged, or cut off, at byte"):
        members(mangled(body, what))


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_member_that_a_later_one_of_its_name_replaces_is_told(road: Road, pack: object) -> None:
    assert callable(pack)
    road = wide(road)
    take(road, pack([("1.csv", TWO), ("1.csv", ONE), ("._1.csv", b"x")]))
    assert flights(road) == {1, 2}
    told = "1 hidden or temporary members left aside; 1 members that later ones of their names replace left aside"
    assert heads(road)[KEY] == ("read", 1, 0, told)


def test_a_bomb_is_refused_before_it_is_unpacked(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    road = wide(road)
    monkeypatch.setattr(packing, "LIMIT", 100_000)
    take(road, zipped({"1.csv": ONE, "2.csv": b"a,b\n" + b"1,2\n" * 50_000}))
    assert heads(road)[KEY] == ("refused", 1, 0, "unpacks to more than 100,000 bytes")
    take(road, gzip.compress(b"a" * 200_000), "flights/b.csv.gz")
    assert heads(road)["flights/b.csv.gz"][0] == "refused"
    monkeypatch.setattr(packing, "MEMBERS", 2)
    take(road, tarred({str(n): b"" for n in range(3)}), "flights/c.tar")
    assert "3 members" in str(heads(road)["flights/c.tar"][3])
    assert flights(road) == set()


def test_what_is_packed_in_members_counts_towards_the_archives_bound(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    road = wide(road)
    monkeypatch.setattr(packing, "LIMIT", 100_000)
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 10_000)
    take(road, zipped({f"{n}.csv.gz": packed for n in range(2)}))
    assert heads(road)[f"{KEY}!/1.csv.gz"] == ("read", 1, 10_000, None)
    take(road, zipped({f"{n}.csv.gz": packed for n in range(3)}))
    assert heads(road)[KEY] == ("refused", 2, 0, "unpacks to more than 100,000 bytes")
    assert f"{KEY}!/2.csv.gz" not in heads(road)


def test_a_members_bytes_and_records_are_gone_before_the_next_is_read(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for what the sheets hold; nor are the archive's own bytes in memory."""
    road, size, count = wide(road), 2 << 20, 20
    words = random.Random(1)
    lines = [b"flight\n" + base64.b64encode(words.randbytes(size * 3 // 4)) for _ in range(count)]
    road.bucket.put(KEY, zipped({f"{n}.csv": line for n, line in enumerate(lines)}))
    road.announce(KEY)
    lines.clear()
    monkeypatch.setattr(objects, "WHOLE", 500)
    monkeypatch.setattr(content, "PIECE", 100_000)
    monkeypatch.setattr(sheets, "SHEET", 1)
    found, alive, read = list[weakref.ref[pl.DataFrame]](), list[int](), generation.read

    def watched(*args: Any) -> pl.DataFrame:
        alive.append(sum(ref() is not None for ref in found))
        records = read(*args)
        found.append(weakref.ref(records))
        return records

    monkeypatch.setattr(generation, "read", watched)
    tracemalloc.start()
    try:
        ingest.ingest(road.lake, road.bucket, road.datasets["flights"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert alive == [0] * count
    assert peak < count * size // 3, "far less than the archive has, packed or not"
    assert [*heads(road).values()].count(("read", 1, 1, None)) == count


def test_an_archive_that_is_refused_at_its_end_brings_no_row_and_takes_none_from_others(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though those of its first members were in files, and in one with an object's that came before it."""
    road = wide(road)
    take(road, zipped({"0.csv": ONE, "1.csv": TWO}))
    monkeypatch.setattr(packing, "LIMIT", 100_000)
    monkeypatch.setattr(sheets, "SHEET", 3_000)
    some = {f"{n}.csv": sample.flights(*[("AA", n, 0)] * 30) for n in range(1, 9)}
    bomb = zipped({**some, "9.csv": b"a,b\n" + b"1,2\n" * 50_000})
    for key, body in {"flights/0.csv": ONE, KEY: bomb, "flights/b.csv": TWO}.items():
        road.bucket.put(key, body)
        road.announce(key)
    road.hops()
    assert heads(road) == {
        "flights/0.csv": ("read", 1, 2, None),
        KEY: ("refused", 2, 0, "unpacks to more than 100,000 bytes"),
        f"{KEY}!/0.csv": ("read", 2, 0, f"no longer in {KEY}"),
        f"{KEY}!/1.csv": ("read", 2, 0, f"no longer in {KEY}"),
        "flights/b.csv": ("read", 1, 1, None),
    }
    rows = raw.open_raw(road.lake, "flights").scan().filter(pl.col("_part") == "row").collect()
    assert sorted(rows.select("_object", "_generation", "_record").rows()) == [
        ("flights/0.csv", 1, 1), ("flights/0.csv", 1, 2), (f"{KEY}!/0.csv", 1, 1), (f"{KEY}!/0.csv", 1, 2),
        (f"{KEY}!/1.csv", 1, 1), ("flights/b.csv", 1, 1),
    ]  # fmt: skip
    assert flights(road) == {1, 2, 3}
    assert balance.unbalanced(road.lake, road.datasets["flights"]).is_empty()


def test_a_refused_archive_brings_no_column(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    road, typed = wide(road), io.BytesIO()
    pl.DataFrame({"flight": [1], "gate": [7]}).write_parquet(typed)
    monkeypatch.setattr(packing, "LIMIT", 100_000)
    monkeypatch.setattr(sheets, "SHEET", 1)
    bomb = zipped({"1.parquet": typed.getvalue(), "2.csv": b"a,b\n" + b"1,2\n" * 50_000})
    for key, body in {KEY: bomb, "flights/b.csv": b"flight,gate\n1,B7\n"}.items():
        road.bucket.put(key, body)
        road.announce(key)
    ingest.ingest(road.lake, road.bucket, road.datasets["flights"])
    rows = raw.open_raw(road.lake, "flights").scan().filter(pl.col("_part") == "row").collect()
    assert rows["gate"].to_list() == ["B7"]


def test_members_that_break_off_count_towards_the_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "LIMIT", 5 << 20)
    budget, broken = packing.Budget(), gzip.compress(bytes(2 << 20))[:-8]
    for _ in range(2):
        with pytest.raises(Unreadable, match="cannot be unpacked"):
            [*packing.unpacked(".gz", io.BytesIO(broken), budget)]
    with pytest.raises(packing.Overrun):
        [*packing.unpacked(".gz", io.BytesIO(broken), budget)]


@settings(max_examples=200)
@given(st.data(), st.sampled_from([zipped, tarred]))
def test_a_mangled_archive_is_opened_or_refused(data: st.DataObject, pack: object) -> None:
    assert callable(pack)
    body = bytearray(pack({"1.csv": ONE, "b/2.csv": TWO}))
    for _ in range(data.draw(st.integers(1, 5))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        for _, content in packing.members(
            io.BytesIO(body[: data.draw(st.integers(1, len(body)))]), packing.Budget()
        ):
            assert content is None or isinstance(opened(content), bytes | Unreadable)
    except Unreadable as error:
        assert str(error)


def opened(content: Callable[[], bytes]) -> bytes | Unreadable:
    try:
        return content()
    except Unreadable as error:
        return error
