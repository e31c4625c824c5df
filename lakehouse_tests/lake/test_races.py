"""Writers that race for one table: of all that looked at one version, one commits. On disk and on `s3://`."""

import multiprocessing
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import boto3
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.lake import Conflict, Desired, Lake, Table, hop
from lakehouse.lake.table import Cursor
from lakehouse_tests.lake.test_hop import SCHEMA, copy

WRITERS = 4
Commit = Callable[[Table, Cursor], None]


def frame(*rows: tuple[str, int]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA, orient="row")


WAYS: dict[str, Commit] = {
    "append": lambda table, cursor: table.append(frame(("new", 1)), [cursor]),
    "append of nothing": lambda table, cursor: table.append(frame(), [cursor]),
    "upsert": lambda table, cursor: table.apply(frame(("a", 2)), frame(), ["k"], [cursor]),
    "delete": lambda table, cursor: table.apply(frame(), frame(("b", 0)), ["k"], [cursor]),
    "both": lambda table, cursor: table.apply(frame(("a", 2)), frame(("b", 0)), ["k"], [cursor]),
    "neither": lambda table, cursor: table.apply(frame(), frame(), ["k"], [cursor]),
}


@pytest.fixture(params=["disk", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    if request.param == "disk":
        return Lake(str(tmp_path))
    request.getfixturevalue("local")
    bucket = f"lake-{uuid.uuid4().hex[:8]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return Lake(f"s3://{bucket}/lake")


def begun(lake: Lake) -> None:
    lake.ensure("target", SCHEMA).append(frame(("a", 1), ("b", 1)))


def opened(lake: Lake, name: str = "target") -> Table:
    table = lake.open(name)
    assert table is not None
    return table


@pytest.mark.parametrize("late", WAYS)
@pytest.mark.parametrize("early", WAYS)
def test_whoever_commits_second_on_one_look_is_told(tmp_path: Path, early: str, late: str) -> None:
    lake = Lake(str(tmp_path))
    begun(lake)
    first, second = opened(lake), opened(lake)
    WAYS[early](first, Cursor("source", 1, 1))
    standing = opened(lake)
    with pytest.raises(Conflict):
        WAYS[late](second, Cursor("source", 1, 1))
    assert opened(lake).version == standing.version
    assert opened(lake).cursor("source") == Cursor("source", 1, 1)


@pytest.mark.parametrize("way", WAYS)
def test_any_commit_after_the_look_is_a_conflict_whosever_cursor_it_carries(lake: Lake, way: str) -> None:
    begun(lake)
    handle = opened(lake)
    opened(lake).append(frame(("other", 1)), [Cursor("elsewhere", 5, 1)])
    with pytest.raises(Conflict):
        WAYS[way](handle, Cursor("source", 1, 1))
    assert opened(lake).cursor("source") is None


@pytest.mark.parametrize("way", WAYS)
def test_of_racing_writers_one_commits(lake: Lake, way: str) -> None:
    begun(lake)
    before = opened(lake).version
    handles = [opened(lake) for _ in range(WRITERS)]
    told = race(lambda: WAYS[way](handles.pop(), Cursor("source", 1, 1)))
    assert [type(t) for t in told] == [Conflict] * (WRITERS - 1)
    assert opened(lake).version == before + 1


def race(step: Callable[[], object]) -> list[BaseException]:
    """Take one step in several threads at once; gives what they raised."""
    barrier, faults = threading.Barrier(WRITERS), list[BaseException]()

    def run() -> None:
        barrier.wait()
        try:
            step()
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=run) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return faults


def carry(lake: Lake) -> None:
    hop(lambda: lake.ensure("target", SCHEMA), [lambda: lake.ensure("source", SCHEMA)], copy, key=["k"], code="1")


def fill(lake: Lake, appended: str) -> None:
    """Add every row of the source to an append-only target: a repeat would show as a double."""
    hop(
        lambda: lake.ensure(appended, SCHEMA),
        [lambda: lake.ensure("source", SCHEMA)],
        lambda _, news: Desired(news[0].touched(["k", "v"]), new=True),
        key=["k"],
        code="1",
    )


def both(root: str) -> None:
    carry(Lake(root))
    fill(Lake(root), "appended")


def test_racing_hops_write_each_change_once(lake: Lake) -> None:
    for turn in range(2):
        lake.ensure("source", SCHEMA).append(frame((f"n{turn}", turn), (f"m{turn}", turn)))
        assert race(lambda: both(lake.root)) == []
    expected = [(f"{c}{n}", n) for c in "mn" for n in range(2)]
    for name in ("target", "appended"):
        assert sorted(opened(lake, name).scan().collect().iter_rows()) == expected


@pytest.mark.slow
def test_racing_processes_write_each_change_once(lake: Lake) -> None:
    lake.ensure("source", SCHEMA).append(frame(("a", 1), ("b", 2)))
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=both, args=(lake.root,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [w.exitcode for w in workers] == [0, 0]
    for name in ("target", "appended"):
        assert sorted(opened(lake, name).scan().collect().iter_rows()) == [("a", 1), ("b", 2)]


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(
    ["'", "''", "\\", "%", "`"]
)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(names, st.integers(0, 9), max_size=5), st.dictionaries(names, st.integers(0, 9), max_size=5)
)
def test_any_text_is_a_key(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, int], then: dict[str, int]
) -> None:
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    table = lake.ensure("target", SCHEMA)
    table.apply(frame(*first.items()), frame(), ["k"])
    gone = [(k, 0) for k in first.keys() - then.keys()]
    opened(lake).apply(frame(*then.items()), frame(*gone), ["k"])
    assert dict(opened(lake).scan().collect().iter_rows()) == then
