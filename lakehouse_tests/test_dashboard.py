"""One file that tells of the datasets and of the road, and needs nothing beside it."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import altair as alt
import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner

from lakehouse.cli import main
from lakehouse.dashboard import write
from lakehouse.dashboard.page import Card, Section, page
from lakehouse.dataset import Dataset, Serving
from lakehouse.definitions import defs
from lakehouse.lake import Lake
from lakehouse.layers import raw
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import land


def titles(sections: list[Section]) -> dict[str, list[str]]:
    return {section.name: [card.title for card in section.cards] for section in sections}


def tiles(sections: list[Section]) -> dict[str, str]:
    return {tile.name: tile.value for section in sections for tile in section.tiles}


def test_it_shows_each_datasets_charts_and_how_the_road_does(road: Road, tmp_path: Path) -> None:
    many = sample.flights(*[("AA", n, n) for n in range(12)], ("DL", 4, "x"))
    land(road, sample.FILES | {"flights/2.csv": many})
    while road.receive():
        pass
    road.hops()
    road.announce("airlines/airlines.csv")
    found = write(road.lake, road.datasets, tmp_path / "lake.html", road.items)
    assert titles(found) == {
        "Flights": [
            "Which airlines are late",
            "Routes, by distance and delay",
            "Delay at departure, day by day",
            "When to fly",
        ],
        "Pipeline": ["Upload to served", "Backlog", "Quarantine", "Cursor lag"],
    }
    told = tiles(found)
    assert (told["Objects read"], told["Quarantined"], told["Events waiting"]) == ("3", "2", "1")
    assert told["Cursors behind"] == "1"
    assert re.fullmatch(r"[\d,.]+ s", told["Upload to served"])
    text = (tmp_path / "lake.html").read_text()
    frame = text.split('<script type="module">')[0]
    assert not re.search(r"""<(script|link|img|iframe)[^>]+(src|href)=["'](?!data:)""", frame)
    assert "@import" not in text
    assert "url(" not in text.split("</style>")[0]


def test_the_backlog_ends_now_with_what_waits_now(road: Road, tmp_path: Path) -> None:
    land(road, sample.FILES)
    while road.receive():
        pass
    road.hops()
    land(road, {"flights/3.csv": sample.flights(("AA", 9, 9)), "flights/4.csv": sample.flights(("AA", 10, 9))})
    while road.receive():
        pass
    began = datetime.now(UTC)
    (spec,) = [
        c.spec for s in write(road.lake, road.datasets, tmp_path / "x") for c in s.cards if c.title == "Backlog"
    ]
    (rows,) = spec["datasets"].values()
    times = [datetime.fromisoformat(row["at"]).replace(tzinfo=UTC) for row in rows]
    assert times == sorted(times)
    assert times[-1] >= began
    assert [row["waiting"] for row in rows][-2:] == [2, 2]
    assert max(row["waiting"] for row in rows) <= len(sample.FILES)


def test_a_document_that_was_read_waits_no_more(road: Road, tmp_path: Path) -> None:
    land(road, {"documents/note.txt": b"hello"})
    while road.receive():
        pass
    road.hops()
    told = tiles(write(road.lake, road.datasets, tmp_path / "lake.html", road.items))
    assert (told["Objects read"], told["Events waiting"], told["Cursors behind"]) == ("1", "0", "0")


def test_a_chart_of_no_rows_is_left_out(road: Road, tmp_path: Path) -> None:
    land(road, sample.FILES)
    road.announce(*sample.FILES)
    road.hops()
    found = write(road.lake, road.datasets, tmp_path / "lake.html")
    assert titles(found)["Flights"] == ["Delay at departure, day by day", "When to fly"]


def test_an_empty_lake_has_a_page_too(tmp_path: Path) -> None:
    found = write(Lake(str(tmp_path / "lake")), {}, tmp_path / "lake.html")
    assert titles(found) == {"Pipeline": []}
    assert tiles(found)["Objects read"] == "0"


def drawn(rows: pl.DataFrame) -> Any:
    """Rows </script> of it.
    What is said
    below it.
    """
    return alt.Chart(rows).mark_point().encode(x="a:Q", y="name:N")


def made(a: pl.LazyFrame) -> pl.LazyFrame:
    return a


def test_a_dataset_adds_a_chart_in_its_own_file_and_no_value_ends_the_script(road: Road, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    rows = pl.DataFrame({"a": [1], "name": ["</script><b>"]})
    lake.ensure("serving/made", rows.schema).append(rows)
    raw.open_raw(lake, "airlines")
    dataset = Dataset(
        "airlines", "x/*", road.datasets["airlines"].contract, serving=[Serving(made, key="a", charts=[drawn])]
    )
    (section, _) = write(lake, {"airlines": dataset}, tmp_path / "lake.html")
    (card,) = section.cards
    assert (card.title, card.note) == ("Rows </script> of it", "What is said below it.")
    text = (tmp_path / "lake.html").read_text()
    assert text.count("</script>") == 3
    specs = re.search(r'<script id="specs" type="application/json">(.*?)</script>', text)
    assert specs
    assert "</script><b>" in str(json.loads(specs[1]))


def test_what_is_no_number_does_not_take_the_page_away() -> None:
    values = [{"a": float("nan")}, {"a": -float("inf")}, {"a": 1.5}]
    text = page([Section("one", "", [], [Card("a chart", "", {"data": {"values": values}})])], datetime.now(UTC))
    (specs,) = re.findall(r'<script id="specs" type="application/json">(.*?)</script>', text)
    (spec,) = json.loads(specs, parse_constant=pytest.fail)
    assert [row["a"] for row in spec["data"]["values"]] == [None, None, 1.5]


def test_a_page_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lake.html"
    write(Lake(str(tmp_path / "lake")), {}, path)
    before = path.read_text()
    monkeypatch.setattr("lakehouse.dashboard.page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(Lake(str(tmp_path / "lake")), {}, path)
    assert path.read_text() == before


def test_the_command_writes_it_prints_where_and_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    monkeypatch.delenv("LAKEHOUSE_QUEUE_URL", raising=False)
    opened: list[str] = []
    monkeypatch.setattr("click.launch", opened.append)
    path = str(tmp_path / "dashboard.html")
    assert CliRunner().invoke(main, ["dashboard", "--no-open"]).output == f"{path}\n"
    assert opened == []
    assert json.loads(CliRunner().invoke(main, ["dashboard", "--json"]).output) == {"path": path, "charts": []}
    assert CliRunner().invoke(main, ["dashboard"]).output == f"{path}\n"
    assert opened == [path]


def test_the_asset_hangs_on_what_it_draws_and_no_dataset_s_run_draws_it() -> None:
    whole = defs() if isinstance(defs(), dg.Definitions) else None
    assert whole
    graph = whole.resolve_asset_graph()
    parents = {key.to_user_string() for key in graph.get(dg.AssetKey("dashboard")).parent_keys}
    drawn = {"serving/airport_hourly", "serving/carrier_punctuality", "serving/route_performance"}
    assert parents == {*drawn, "monitor/delay_risk"}
    job = whole.resolve_job_def("flights")
    assert dg.AssetKey("dashboard") not in job.asset_layer.executable_asset_keys


def test_page_is_well_formed_without_sections() -> None:
    from datetime import UTC, datetime

    assert "as of 1 May 2013, 10:00 UTC" in page([], datetime(2013, 5, 1, 10, tzinfo=UTC))
