"""The command line, as a person types it."""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import boto3
import click
import polars as pl
import pytest
from click.testing import CliRunner, Result

from lakehouse.cli import main, running
from lakehouse.cli.plain import told_plainly
from lakehouse.dynamodb import table
from lakehouse.lake import Lake
from lakehouse.layers import raw
from lakehouse.local import aws, feed
from lakehouse.local import house as local
from lakehouse.settings import VARIABLES, SettingError, Settings
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road
from lakehouse_tests.test_road import land


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake with three airlines in cleaned, and one object in raw."""
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    monkeypatch.setenv("LAKEHOUSE_LAKE", str(tmp_path / "lake"))
    lake = Lake(str(tmp_path / "lake"))
    rows = pl.DataFrame({"carrier": ["AA", "UA", "cleaned.airlines"], "name": ["American", "United", None]})
    lake.ensure("cleaned/airlines", rows.schema).append(rows)
    parts = pl.DataFrame({"_part": ["head", "row", "row"], "_object": ["a.csv"] * 3, "_record": [None, 1, 2]})
    raw.open_raw(lake, "airlines").append(parts)
    return lake


def ask(query: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["sql", query, *options])


def answer(query: str) -> list[dict[str, object]]:
    found = ask(query, "--json")
    assert found.exit_code == 0, found.output
    return list(json.loads(found.output))


def test_sql_reads_a_table_by_layer_and_name(lake: Lake) -> None:
    assert answer("select name from cleaned.airlines where carrier = 'AA'") == [{"name": "American"}]


def test_a_tables_name_inside_a_text_is_a_text(lake: Lake) -> None:
    query = "select carrier from cleaned.airlines where carrier = 'cleaned.airlines'"
    assert answer(query) == [{"carrier": "cleaned.airlines"}]


def test_sql_joins_under_aliases_and_whole_names(lake: Lake) -> None:
    query = "select a.name from cleaned.airlines a join cleaned.airlines b on a.carrier = b.carrier"
    assert {row["name"] for row in answer(query)} == {None, "American", "United"}
    assert len(answer("select cleaned.airlines.carrier from cleaned.airlines")) == 3


def test_raw_shows_the_rows_and_landing_the_heads(lake: Lake) -> None:
    assert answer("select count(*) as n from raw.airlines") == [{"n": 2}]
    assert answer("select _object from landing.airlines") == [{"_object": "a.csv"}]


def test_sql_prints_a_table_or_csv(lake: Lake) -> None:
    query = "select carrier, name from cleaned.airlines where carrier = 'UA'"
    assert ask(query, "--format", "csv").output == "carrier,name\nUA,United\n"
    assert "│ UA" in ask(query).output


def test_bytes_are_written_in_base64_and_what_csv_has_no_word_for_is_told(lake: Lake) -> None:
    rows = pl.DataFrame({"held": [b"\x00\xff"], "parts": [["a", "b"]]})
    lake.ensure("cleaned/documents", rows.schema).append(rows)
    assert answer("select * from cleaned.documents") == [{"held": "AP8=", "parts": ["a", "b"]}]
    assert ask("select held from cleaned.documents", "--format", "csv").output == "held\nAP8=\n"
    told = ask("select * from cleaned.documents", "--format", "csv").output.splitlines()
    assert told == ["Error: CSV format does not support nested data", "Hint: take --format json or parquet"]


def test_bytes_within_structures_are_written_in_base64_too(lake: Lake) -> None:
    kinds = {
        "few": pl.List(pl.Binary),
        "at": pl.Struct({"x": pl.Struct({"y": pl.List(pl.Binary)}), "z": pl.Int64}),
    }
    told = [{"few": [b"\xff", None], "at": {"x": {"y": [b"a"]}, "z": 1}}, {"few": None, "at": None}]
    rows = pl.DataFrame(told, schema=kinds)
    lake.ensure("cleaned/documents", rows.schema).append(rows)
    assert answer("select * from cleaned.documents") == [
        {"few": ["/w==", None], "at": {"x": {"y": ["YQ=="]}, "z": 1}},
        {"few": None, "at": None},
    ]


def test_sql_from_a_pipe_is_read_from_there(lake: Lake) -> None:
    query = "select carrier\nfrom cleaned.airlines\nwhere carrier = 'UA';\n"
    assert CliRunner().invoke(main, ["sql", "--format", "csv"], input=query).output == "carrier\nUA\n"
    assert "│ UA" in CliRunner().invoke(main, ["sql"], input=query).output


def test_a_number_of_rows_below_none_is_refused(lake: Lake) -> None:
    assert "-1 is not in the range x>=0" in run("trace", "airlines", "carrier=AA", "--rows", "-1", code=2)
    assert "-1 is not in the range x>=0" in run("quarantine", "list", "--limit", "-1", code=2)


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "HOME/lake/x"), "LAKEHOUSE_HOME and LAKEHOUSE_LAKE"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/elsewhere/x.csv"), "see that it is there"),
        (OSError(errno.ENOSPC, "No space left on device"), "make room"),
        (OSError(errno.ECHILD, "No child processes"), None),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_what_to_do_about_that_file(
    lake: Lake, tmp_path: Path, error: OSError, hint: str | None
) -> None:
    if error.filename:
        error.filename = error.filename.replace("HOME", str(tmp_path))
    told = told_plainly(error)
    assert (told and told.hint.startswith(str(hint))) == (None if hint is None else True)


def test_sql_writes_parquet_into_a_pipe_and_not_onto_a_terminal(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = ask("select carrier from cleaned.airlines where carrier = 'UA'", "--format", "parquet")
    assert pl.read_parquet(done.stdout_bytes).rows() == [("UA",)]
    monkeypatch.setattr("lakehouse.cli.tables.sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    assert "not for a terminal" in ask("select 1", "--format", "parquet").output


WRONG = {
    "select * from cleaned.nothing": "tables: landing.airlines, raw.airlines, refused.airlines, ",
    "selekt": "polars SQL; ",
    "select nope from cleaned.airlines": "polars SQL; ",
    "select carrier + 1 from cleaned.airlines": "polars SQL; ",
}


@pytest.mark.parametrize("query", WRONG)
def test_a_wrong_query_ends_with_what_and_a_hint_that_names_the_tables_where_none_is_known(
    lake: Lake, query: str
) -> None:
    lake.ensure("models/delay_risk", pl.Schema({"id": pl.String}))
    found = ask(query)
    assert found.exit_code == 1
    what, hint = found.output.splitlines()
    assert what.startswith("Error: ")
    assert hint.startswith(f"Hint: {WRONG[query]}")
    assert hint.endswith("models.delay_risk") == ("tables" in WRONG[query])


def test_maintain_names_every_table(lake: Lake) -> None:
    done = CliRunner().invoke(main, ["maintain"])
    assert done.exit_code == 0, done.output
    told = [re.sub(r"\d+", "N", line) for line in done.output.splitlines()]
    sizes = "N files deleted; N files of N.N MB → N files of N.N MB"
    assert told == [f"raw/airlines: {sizes}", f"cleaned/airlines: {sizes}"]


@pytest.fixture
def empty_house(road: Road, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Road:
    """A road, as the command line finds it."""
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    monkeypatch.setenv("LAKEHOUSE_LAKE", road.lake.root)
    monkeypatch.setenv("LAKEHOUSE_LANDING_BUCKET", road.bucket.name)
    monkeypatch.setenv("LAKEHOUSE_QUEUE_URL", road.queue.url)
    monkeypatch.setenv("LAKEHOUSE_TABLE_PREFIX", road.prefix)
    return road


@pytest.fixture
def house(empty_house: Road) -> Road:
    """A road that was walked."""
    land(empty_house, sample.FILES)
    while empty_house.receive():
        pass
    empty_house.hops()
    return empty_house


def run(*words: str, code: int = 0) -> str:
    found = CliRunner().invoke(main, [*words])
    assert found.exit_code == code, found.output
    return found.output


def test_a_drip_goes_on_after_the_sample_and_lands_nothing_twice(
    empty_house: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if pauses.count(5.0) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(local, "local_aws", lambda _: nullcontext())
    monkeypatch.setattr(local, "dagster", lambda _: nullcontext("http://127.0.0.1"))
    monkeypatch.setattr(running, "time", SimpleNamespace(sleep=pause))
    told = run("up", "--drip", "5").splitlines()
    landed = [line.split()[1] for line in told if line.startswith("landed ")]
    assert len(landed) == len(set(landed)) == len([*feed.sample(7)]) + 2 * 2


def test_status_tells_rows_versions_lag_and_items(house: Road) -> None:
    told = json.loads(run("status", "--json"))
    assert told["queue"] == {"waiting": 0, "in_flight": 0, "dead": None}
    assert told["tables"]["cleaned/flights"]["rows"] == 3
    raw.open_raw(house.lake, "planes")
    (asked,) = answer("select count(*) as n from raw.flights")
    assert told["tables"]["raw/flights"]["rows"] == asked["n"]
    assert {t["lag"] for t in [*told["tables"].values(), *told["dynamodb"].values()]} == {0}
    assert told["dynamodb"]["carrier_punctuality"]["items"] == 2
    house.announce("flights/1.csv")
    assert json.loads(run("status", "--json"))["tables"]["raw/flights"]["lag"] == 1
    assert "carrier_punctuality" in run("status")


def test_land_uploads_below_a_prefix_and_its_event_arrives(house: Road, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_bytes(sample.flights(("AA", 99, 2)))
    assert "flights/new.csv" in run("land", str(file), "--prefix", "flights/")
    house.receive()
    house.hops()
    item = json.loads(run("get", "carrier_punctuality", "carrier=AA"))
    assert (item["flights"], item["mean_arr_delay"]) == (3, 12.33)


def test_get_says_what_is_wrong_and_what_to_do(house: Road) -> None:
    assert "Hint" in run("get", "carrier_punctuality", "carrier=ZZ", code=1)
    assert "the key of carrier_punctuality is carrier" in run("get", "carrier_punctuality", "plane=1", code=1)
    assert "no serving table nothing" in run("get", "nothing", "a=1", code=1)
    empty = run("get", "carrier_punctuality", "carrier=", code=1).splitlines()
    assert empty[0] == "Error: no item of carrier_punctuality has an empty key"
    assert empty[1].startswith("Hint: ")
    assert "carrier is not column=value" in run("get", "carrier_punctuality", "carrier", code=1)


@pytest.mark.parametrize("hour", ["2013-01-01T10:00:00Z", "2013-01-01T10:00:00+00:00", "2013-01-01 10:00"])
def test_get_takes_a_time_however_it_is_told(house: Road, hour: str) -> None:
    item = json.loads(run("get", "airport_hourly", f"time_hour={hour}", "origin=JFK"))
    assert item == json.loads(run("get", "airport_hourly", f"time_hour={item['time_hour']}", "origin=JFK"))
    assert "no item" in run("get", "airport_hourly", "time_hour=yesterday", "origin=JFK", code=1)


def test_verify_lists_differences_and_repairs_them(house: Road) -> None:
    assert "carrier_punctuality: 0 differences" in run("verify")
    one = next(s for s in house.servings() if s.name == "carrier_punctuality")
    items = house.items(one)
    house.dynamodb.delete_item(TableName=items.name, Key={"_key": {"S": "AA"}})
    assert "AA" in run("verify", "carrier_punctuality", code=1)
    run("verify", "carrier_punctuality", "--repair")
    assert "carrier_punctuality: 0 differences" in run("verify", "carrier_punctuality")


def test_get_before_the_first_publish_says_so(empty_house: Road) -> None:
    told = run("get", "carrier_punctuality", "carrier=AA", code=1)
    assert told.startswith("Error: nothing of carrier_punctuality is published yet\nHint: `lakehouse status`")


@pytest.mark.parametrize("command", [["up"], ["dashboard", "--no-open"]], ids=lambda words: words[0])
def test_a_home_that_cannot_be_made_is_told(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", "/proc/nope")
    monkeypatch.delenv("LAKEHOUSE_LAKE", raising=False)
    what, hint = refused(*command)
    assert "'/proc/nope" in what
    assert "LAKEHOUSE_HOME" in hint


def test_a_shell_completes_commands_and_their_options() -> None:
    def completed(words: str) -> set[str]:
        told = {"_LAKEHOUSE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        found = CliRunner().invoke(main, prog_name="lakehouse", env=told)
        return {line.partition(",")[2] for line in found.output.splitlines()}

    assert completed("lakehouse re") == {"reconcile", "redrive", "restore", "resume"}
    assert completed("lakehouse model pro") == {"promote"}
    assert completed("lakehouse sql --f") == {"--format"}
    assert completed("lakehouse sql --format p") == {"parquet"}


def leaves(group: click.Group, *way: str) -> Iterator[tuple[str, click.Command]]:
    for name, one in group.commands.items():
        if isinstance(one, click.Group):
            yield from leaves(one, *way, name)
        else:
            yield " ".join([*way, name]), one


def test_every_command_that_ends_takes_json() -> None:
    lacking = {name for name, one in leaves(main) if not any("--json" in p.opts for p in one.params)}
    assert lacking == {"up", "demo"}


ASKING = [
    ("status",),
    ("get", "carrier_punctuality", "carrier=AA"),
    ("land", __file__),
    ("reconcile",),
    ("verify",),
]
ASKED = pytest.mark.parametrize("command", ASKING, ids=lambda c: c[0])


def refused(*words: str) -> list[str]:
    """The lines of a command that ends with what, why and what to do."""
    lines = run(*words, code=1).splitlines()
    assert lines[0].startswith("Error: ")
    assert lines[-1].startswith("Hint: ")
    assert len(lines) in (2, 3)
    return lines


@ASKED
def test_with_nothing_running_a_command_says_what_to_start(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [n for n in os.environ if n.startswith(("AWS_", "LAKEHOUSE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    assert "lakehouse up" in refused(*command)[-1]


def test_where_what_ran_is_gone_a_command_says_what_to_start(house: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{aws.free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(table, "ATTEMPTS", 1)
    for command in ASKING:
        what, why, hint = refused(*command)
        assert what == "Error: AWS cannot be reached"
        assert "onnect" in why
        assert "lakehouse up" in hint


def test_a_bucket_queue_or_table_that_is_missing_is_told(house: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_LANDING_BUCKET", "no-such-bucket")
    monkeypatch.setenv("LAKEHOUSE_QUEUE_URL", house.queue.url + "-no")
    monkeypatch.setenv("LAKEHOUSE_TABLE_PREFIX", "no-such-")
    for command in [ASKING[0], *ASKING[2:4]]:
        what, why, _ = refused(*command)
        assert what.startswith("Error: AWS refused ")
        assert ": " in why


@pytest.mark.parametrize("name", VARIABLES)
def test_a_missing_setting_is_called_by_its_variable(name: str) -> None:
    given = {name: "sail" if name == "engine" else f"/{name}" for name in VARIABLES}
    whole = Settings.load({VARIABLES[name]: value for name, value in given.items()})
    assert whole.required(name) == given[name]
    with pytest.raises(SettingError, match=f"{VARIABLES[name]} is not set"):
        replace(whole, **{name: None}).required(name)  # type: ignore[arg-type]


def test_reconcile_announces_what_no_event_told(house: Road) -> None:
    assert "flights: 0 objects" in run("reconcile", "flights")
    house.bucket.client.delete_object(Bucket=house.bucket.name, Key="flights/1.csv")
    assert "flights: 1 object announced" in run("reconcile")
    assert "no dataset nothing" in run("reconcile", "nothing", code=1)


def test_a_refused_record_is_listed_shown_and_sent_again(house: Road) -> None:
    assert run("quarantine", "list", "flights").endswith("flights/2.csv#3  arr_delay|dtype\nflights: 1 record\n")
    assert "DL" in run("quarantine", "show", "flights/2.csv#3")
    assert "flights: 1 sent again" in run("quarantine", "replay", "flights/2.csv#3")
    assert "nothing to send" in run("quarantine", "replay", "airlines")
    assert "nothing refused is called x" in run("quarantine", "replay", "x", code=1)
    assert "nothing refused is called x" in run("quarantine", "show", "x", code=1)
    assert "no dataset x" in run("quarantine", "list", "x", code=1)
    assert answer("select count(*) as n from refused.flights") == [{"n": 0}]
    assert {one["id"] for one in json.loads(run("quarantine", "list", "--json"))} == {"flights/2.csv#3"}


def test_infer_prints_a_dataset_file_and_says_where_nothing_landed(house: Road) -> None:
    assert "carrier = dy.String(primary_key=True)  # 2 distinct" in run("infer", "airlines/")
    assert "Error: nothing has landed below nowhere/" in run("infer", "nowhere", code=1)


def test_redrive_moves_dead_letters_back(house: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "LAKEHOUSE_DEAD_LETTER_QUEUE_URL is not set" in run("redrive", code=1)
    dead = house.queue.client.create_queue(QueueName=f"{house.bucket.name}-dead")["QueueUrl"]
    monkeypatch.setenv("LAKEHOUSE_DEAD_LETTER_QUEUE_URL", dead)
    house.queue.client.send_message(QueueUrl=dead, MessageBody="{}")
    assert "1 message moved back" in run("redrive")
    assert house.queue.depth().waiting == 1


def test_env_prints_exports_that_a_shell_takes(house: Road, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("AWS_ENDPOINT_URL=http://127.0.0.1:1\n")
    assert run("env") == "export AWS_ENDPOINT_URL='http://127.0.0.1:1'\n"


def test_what_a_command_prints_for_a_person_it_prints_as_json_too(house: Road, tmp_path: Path) -> None:
    assert json.loads(run("verify", "--json"))["carrier_punctuality"] == []
    assert json.loads(run("reconcile", "--json"))["flights"] == 0
    assert "cleaned/flights" in {done["table"] for done in json.loads(run("maintain", "--json"))}
    (tmp_path / "new.csv").write_bytes(sample.flights(("AA", 99, 1)))
    (landed,) = json.loads(run("land", str(tmp_path / "new.csv"), "--json"))
    assert landed["object"] == f"s3://{house.bucket.name}/new.csv"
    (tmp_path / "env").write_text("AWS_REGION=moon-1\n")
    (refused,) = json.loads(run("quarantine", "show", "flights/2.csv#3", "--json"))
    assert refused["kind"] == "record"
    assert json.loads(run("quarantine", "replay", "flights/2.csv#3", "--json")) == {"flights": 1}
    back = json.loads(run("restore", "cleaned.flights", "--to", "1", "--hold", "--json"))
    assert (back["table"], back["stands"], back["held"]) == ("cleaned/flights", 1, True)
    assert json.loads(run("resume", "cleaned.flights", "--json")) == {
        "table": "cleaned/flights",
        "version": back["version"] + 1,
    }
    assert json.loads(run("env", "--json")) == {"AWS_REGION": "moon-1"}
    assert json.loads(run("get", "carrier_punctuality", "carrier=AA", "--json"))["carrier"] == "AA"
    assert json.loads(run("infer", "airlines/", "--json"))["file"] == run("infer", "airlines/")


def test_an_error_is_coloured_on_a_terminal_only(house: Road) -> None:
    asked = ["get", "nothing", "a=1"]
    assert "\x1b" not in CliRunner().invoke(main, asked).output
    assert "\x1b[31m" in CliRunner().invoke(main, asked, color=True).output


def test_maintain_leaves_every_row(house: Road) -> None:
    before = answer("select count(*) as n from cleaned.flights")
    run("maintain")
    assert answer("select count(*) as n from cleaned.flights") == before


@pytest.mark.parametrize(
    "command",
    sorted(main.commands),
)
def test_every_command_tells_its_use(command: str) -> None:
    assert "Usage" in run(command, "--help")


@pytest.mark.parametrize("group", [[], ["model"], ["quarantine"]], ids=lambda words: "".join(words) or "all")
def test_help_tells_the_whole_sentence_of_each_command(group: list[str]) -> None:
    listed = run(*group, "--help").partition("Commands:")[2]
    assert listed
    assert "..." not in listed


def test_restore_holds_a_table_until_it_is_resumed(house: Road) -> None:
    land(house, {"flights/3.csv": sample.flights(("UA", 7, 1))})
    house.announce("flights/3.csv")
    house.hops()
    now = answer("select count(*) as n from cleaned.flights")
    told = run("restore", "cleaned.flights", "--to", "1", "--hold")
    assert told.startswith("cleaned.flights stands as in version 1, now its version ")
    assert answer("select count(*) as n from cleaned.flights") != now
    assert answer('select count(*) as n from "cleaned.flights@2"') == now
    assert json.loads(run("status", "--json"))["tables"]["cleaned/flights"]["held"]
    assert ", held" in next(line for line in run("status").splitlines() if line.startswith("cleaned/flights"))
    run("resume", "cleaned.flights")
    house.hops()
    assert answer("select count(*) as n from cleaned.flights") == now
    assert "is not held" in run("resume", "cleaned.flights", code=1)


def test_raw_is_not_put_back_where_it_could_not_be_read_again(house: Road) -> None:
    version = raw.open_raw(house.lake, "flights").version
    land(house, {"flights/3.csv": sample.flights(("UA", 7, 1))})
    house.announce("flights/3.csv")
    house.hops()
    house.bucket.client.delete_object(Bucket=house.bucket.name, Key="flights/3.csv")
    told = run("restore", "raw.flights", "--to", str(version), code=1)
    assert "gone from the bucket: 1 object read since, flights/3.csv among them" in told
    house.bucket.put("flights/3.csv", sample.flights(("UA", 7, 1)))
    assert "stands as in version" in run("restore", "raw.flights", "--to", str(version))


def test_raw_of_a_prefix_without_a_dataset_is_put_back_and_held_too(house: Road) -> None:
    for number in range(2):
        land(house, {f"deep/{number}.csv": b"id\n1\n"})
        house.announce(f"deep/{number}.csv")
        house.hops()
    count = "select count(*) as n from raw.deep"
    version = raw.open_raw(house.lake, "deep").version
    run("restore", "raw.deep", "--to", str(version - 1), "--hold")
    house.hops()
    assert answer(count) == [{"n": 1}]
    run("resume", "raw.deep")
    house.hops()
    assert answer(count) == [{"n": 2}]


def test_what_cannot_be_put_back_says_why(house: Road) -> None:
    for words, told in {
        "cleaned.flights --to 99": "cleaned/flights has no version 99",
        "cleaned.flights --to noon": "noon is neither a version nor a time",
        "landing.inbox --to 1": "no table landing.inbox that can be put back",
        "cleaned.nothing --to 1": "one of: raw.airlines",
    }.items():
        assert told in run("restore", *words.split(), code=1)
