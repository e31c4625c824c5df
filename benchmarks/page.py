"""results → the page: a table and a picture a work, a command's own words, between what somebody wrote by hand.

In the page the part of each lies between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`. Where there is none
yet, it is added to the end, below the title; what stands outside is never touched.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.capacity import fit
from benchmarks.commands import Command
from benchmarks.measured import PEERS, Bound, Goal, Result, Work, told

OURS = ("polars", "deltalake", "pyarrow", "boto3", "dagster")
OTHERS = ("polars", "deltalake", "pyarrow", "duckdb", "dlt", "boto3", "awswrangler", "tpchgen-cli")
EMPTY = "# What was measured\n\n<!-- bench:machine -->\n<!-- /bench:machine -->\n"
COLOURS = {"road": "#3f51b5", "peer": "#b0bec5", "floor": "#78909c"}


def render(results: Path, page: Path, works: Sequence[Work], commands: Sequence[Command]) -> None:
    """Write each part anew from its file in the folder of results; what has none keeps the part that it has."""
    text = page.read_text() if page.exists() else EMPTY
    for work in works:
        if (file := results / f"{work.name}.jsonl").exists():
            mine = told(file)
            picture = draw(work, mine, page.parent / "bench" / f"{work.name}.svg")
            text = placed(text, work, [*table(work, mine), "", *picture])
    for command in commands:
        if (file := results / f"{command.name}.md").exists():
            text = placed(text, command, file.read_text().splitlines())
    if results.exists():
        text = between(text, "machine", machine())
    page.write_text(text)


def placed(text: str, what: Work | Command, lines: Sequence[str]) -> str:
    if f"<!-- bench:{what.name} -->" not in text:
        text += f"\n## {what.title}\n\n<!-- bench:{what.name} -->\n<!-- /bench:{what.name} -->\n"
    return between(text, what.name, lines)


def between(text: str, name: str, lines: Sequence[str]) -> str:
    """The text with these lines between the name's marks, if it has them."""
    marks = re.compile(rf"(<!-- bench:{name} -->\n).*?(<!-- /bench:{name} -->)", re.DOTALL)
    return marks.sub(lambda m: f"{m[1]}\n" + "\n".join(lines) + f"\n\n{m[2]}", text)


def table(work: Work, results: Sequence[Result]) -> list[str]:
    """A line a way: rate, median, least and most, processor time, memory, bytes; and what is wanted."""
    seconds = ["s, median", "least", "most", "processor s"]
    heads = ["way", f"{work.unit} a second", *seconds, "peak MB", "written MB", *work.also.values(), "n"]
    lines = [
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
        *[_line(one, [*work.also]) for one in results],
    ]
    goals = [_goal(goal, results) for goal in work.goals] + [_bound(bound, results) for bound in work.bounds]
    goals += _growth(work, results)
    settings = [f"- {w.name}: {w.settings}" for w in work.ways if w.settings]
    return lines + (["", *goals] if goals else []) + (["", *settings] if settings else [])


def _line(one: Result, also: Sequence[str]) -> str:
    if not one.runs:
        return f"| {one.way} | {one.failed} |" + " – |" * (6 + len(also)) + " 0 |"
    least, most = one.spread("seconds")
    figures = [
        f"{one.amount / one.median('seconds'):.1f}",
        *(f"{seconds:.2f}" for seconds in (one.median("seconds"), least, most, one.median("processor"))),
        f"{one.median('peak_mb'):.0f}",
        f"{written / 1e6:.1f}" if (written := one.median("bytes")) else "–",
        *(f"{one.median(figure):,.0f}" for figure in also),
        str(len(one.runs)),
    ]
    return f"| {one.way} | {' | '.join(figures)} |"


def ratio(goal: Goal, results: Sequence[Result]) -> float | None:
    """How many times as much a second `way` does as `other`; None where one of them gave no figures."""
    by_name = {one.way: one for one in results}
    mine, other = by_name[goal.way], by_name[goal.other]
    if not (mine.runs and other.runs):
        return None
    return (mine.amount / mine.median(goal.figure)) / (other.amount / other.median(goal.figure))


def _goal(goal: Goal, results: Sequence[Result]) -> str:
    found = ratio(goal, results)
    by = "" if goal.figure == "seconds" else ", by processor time"
    what = f"{goal.way} against {goal.other}{by}, wanted ≥ {goal.times:.2g} ×"
    if found is None:
        return f"- {what}: **no ratio**, one of them gave no figures."
    return f"- {what}: **{found:.2f} ×**, {'reached' if found >= goal.times else 'missed'}."


def _bound(bound: Bound, results: Sequence[Result]) -> str:
    (mine,) = [one for one in results if one.way == bound.way]
    what = f"{bound.way}, peak of memory, wanted ≤ {bound.most:.0f} MB"
    if not mine.runs:
        return f"- {what}: **no figure**."
    found = mine.median("peak_mb")
    return f"- {what}: **{found:.0f} MB**, {'kept' if found <= bound.most else 'missed'}."


def _growth(work: Work, results: Sequence[Result]) -> list[str]:
    """By how much the work grows from its least size to its greatest, by a line through all of them."""
    if work.sizes is None or not all(one.runs for one in results):
        return []
    sizes, told = work.sizes(results[0].size), []
    for figure, by in (("processor", "processor time"), ("seconds", "the wall")):
        line = fit([(size, one.median(figure)) for size, one in zip(sizes, results, strict=True)])
        grown = (line.start + line.each * sizes[-1]) / (line.start + line.each * sizes[0])
        told.append(f"{grown:.2f} × by {by}")
    return [f"- From {sizes[0]:g} to {sizes[-1]:g}, by the slope over {len(sizes)} sizes: {', '.join(told)}."]


def draw(work: Work, results: Sequence[Result], path: Path) -> list[str]:
    """A bar a way, its rounds as points; the Markdown that shows it."""
    import altair as alt
    import polars as pl

    rows = [
        {"way": one.way.replace("*", "").replace("`", ""), "role": one.role, "rate": one.amount / run["seconds"]}
        for one in results
        for run in one.runs
    ]
    if not rows:
        return []
    base = alt.Chart(pl.DataFrame(rows), width=460, height=26 * len({r["way"] for r in rows})).encode(
        y=alt.Y("way:N", title=None, sort=None, axis=alt.Axis(labelLimit=340)),
        color=alt.Color("role:N", legend=None, scale=alt.Scale(domain=[*COLOURS], range=[*COLOURS.values()])),
    )
    bars = base.mark_bar().encode(x=alt.X("median(rate):Q", title=f"{work.unit} a second"))
    points = base.mark_circle(color="black", size=18).encode(x="rate:Q", color=alt.value("#212121"))
    path.parent.mkdir(parents=True, exist_ok=True)
    alt.layer(bars, points, padding={"left": 40, "right": 20, "top": 5, "bottom": 5}).save(path)
    return [f"![{work.title}](bench/{path.name})"]


def machine() -> list[str]:
    """When, where and with what."""
    at = datetime.now(UTC).strftime("%Y-%m-%d")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    here = f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}"
    ours = ", ".join(f"{name} {version(name)}" for name in OURS)
    return [f"{at}: {here}, Python {platform.python_version()}; {ours}. The peers have {_peers()}."]


def _peers() -> str:
    if not PEERS.exists():
        return "no environment here"
    ask = f"from importlib.metadata import version as v; print(', '.join(f'{{n}} {{v(n)}}' for n in {OTHERS!r}))"
    return subprocess.run([PEERS, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
