"""What the benchmarks name is there, and each way that needs no peer's environment does its work."""

from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import data, page
from benchmarks.commands import COMMANDS, Command
from benchmarks.measured import Bound, Goal, Result, Way, Work
from benchmarks.way import run
from benchmarks.works import WORKS

ROOT = Path(__file__).parents[1]
APART = {"benchmarks.stock", "benchmarks.peer_delay_risk"}
"""The one turns the sensor that it imports into another, the other is made for the peers' environment."""
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "benchmarks").rglob("*.py")
    if path.name != "__init__.py"
)
TINY = {"small": 3, "ndjson": 3, "mixed": 400, "range": 20_000, "scattered": 20_000, "recent": 20_000}
TINY |= {"groups": 200_000}
HERE = [(work, way) for work in WORKS if work.name in TINY for way in work.ways if way.role != "peer"]


@pytest.mark.parametrize("module", [m for m in MODULES if m not in APART])
def test_a_module_finds_all_that_it_imports(module: str) -> None:
    assert import_module(module)


@pytest.mark.parametrize("call", sorted({way.call for work in WORKS for way in work.ways}))
def test_a_way_is_where_its_work_says(call: str) -> None:
    module, _, name = call.partition(":")
    assert callable(getattr(import_module(module), name))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.name)
def test_a_command_is_where_it_says(command: Command) -> None:
    assert callable(import_module(command.module).main)


@pytest.mark.parametrize("work", WORKS, ids=lambda one: one.name)
def test_what_is_wanted_is_of_ways_that_the_work_has(work: Work) -> None:
    names = {way.name for way in work.ways}
    assert len(names) == len(work.ways)
    assert {goal.way for goal in work.goals} | {goal.other for goal in work.goals} <= names
    assert {bound.way for bound in work.bounds} <= names


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.mark.parametrize(("work", "way"), HERE, ids=[f"{work.name}-{way.call}" for work, way in HERE])
def test_a_way_does_its_work_at_a_tiny_size(work: Work, way: Way, made: Path, tmp_path: Path) -> None:
    size = TINY[work.name]
    module, _, name = way.call.partition(":")
    found = run(getattr(import_module(module), name), work.make(made, size), tmp_path, size)
    assert found["seconds"] > 0
    assert {*work.also} <= {*found}


def test_a_name_tells_of_each_mixed_file_how_it_is(made: Path) -> None:
    """One in a hundred is broken, each kind in its turn; the others' headers take turns."""
    names = [path.stem.partition("-")[2] for path in sorted(data.mixed_files(made, TINY["mixed"]).rglob("*.csv"))]
    assert [name for name in names if name in data.BREAK] == [*data.BREAK]
    assert names[:3] == ["alike", "more", "less"]


def test_a_missed_goal_and_a_missed_bound_are_said_to_be_missed() -> None:
    figures = {"processor": 1, "peak_mb": 500, "bytes": 0}
    road, peer = (
        Result("w", name, "road", 1, 1, [{"seconds": seconds, **figures}])
        for name, seconds in (("a", 1), ("b", 2))
    )
    work = Work("w", "W", "files", Path, lambda _: 1, [], 1, 1, [Goal("a", "b", 3)], [Bound("a", 400)])
    told = "\n".join(page.table(work, [road, peer]))
    assert "a against b, wanted ≥ 3 ×: **2.00 ×**, missed." in told
    assert "a, peak of memory, wanted ≤ 400 MB: **500 MB**, missed." in told
