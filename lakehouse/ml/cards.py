"""version → Markdown: what a model is for, what it was made of, how good it is, and where it ends."""

from __future__ import annotations

import base64
from html import escape
from typing import Any

import polars as pl

from lakehouse.ml.evaluation import LEAST, Estimate
from lakehouse.ml.registry import Version
from lakehouse.model import Model

SIDE, EDGE = 220, 24
NAMED, BAR = 150, 16
LIMITS = (
    "It answers for rows like those that it has learned from. Its reasons say what moved the model, not what "
    "caused the outcome. Calibration follows the season: see the weekly monitor. The intervals take rows for "
    "independent, and those of one day are alike: they are too narrow. What poisons the newest rows, too, passes "
    "the gate as the truth."
)


def card(model: Model, version: str, told: dict[str, Any], reasons: list[str]) -> str:
    """The card of a version: `told` holds its pins, metrics and columns."""
    pins, metrics = told["pins"], told["metrics"]
    inputs = "\n".join(f"- cleaned/{name}, Delta version {pin['version']}" for name, pin in pins["inputs"].items())
    left_out = (
        f"{pins['unlabelled']:,} rows have no label (cancelled, diverted or still to come) and are left out."
    )
    verdict = "passed" if not reasons else "refused: " + "; ".join(reasons)
    return f"""# {model.name} {version}

{model.question}

**Gate**: {verdict}

## Data
{inputs}

Learned from {pins["rows"]:,} rows asked from {pins["learned"][0]} to {pins["learned"][1]}; judged by the
{pins["judged"]:,} newest, to {pins["judged by"][1]}. {left_out}

Features: {", ".join(told["columns"])}.

## Quality on the newest rows, with 95 % intervals
{_table(metrics)}

## By segment
{segments(metrics["segments"])}

## Calibration
![predicted against true]({plot([(b["predicted"], b["true"]) for b in metrics["calibration"]])})

## Made by
Code {pins["code"]}, {", ".join(f"{k} {v}" for k, v in pins["libraries"].items())}, {pins["rounds"]} rounds,
parameters {pins["params"]}, fixed {pins["fixed"]}.

## Limits
{LIMITS}
"""


def _table(metrics: dict[str, Any]) -> str:
    lines = ["| | AUC | log loss | Brier | calibration |", "|---|---|---|---|---|"]
    for name in ("challenger", "champion", "baseline"):
        if name in metrics:
            told = [Estimate(**metrics[name][m]) for m in ("auc", "log_loss", "brier", "calibration")]
            lines.append(f"| {name} | {' | '.join(map(str, told))} |")
    return "\n".join(lines)


def segments(found: list[dict[str, Any]]) -> str:
    """A line a segment that the gate judges; the others are named."""
    judged = [s for s in found if s["rows"] >= LEAST]
    lines = ["| segment | rows | share | AUC | calibration |", "|---|---|---|---|---|"] if judged else []
    for one in judged:
        told = " | ".join(str(Estimate(**one[m])) for m in ("auc", "calibration"))
        lines.append(f"| {one['segment']} {one['value']} | {one['rows']:,} | {one['share']:.3f} | {told} |")
    few = [f"{s['segment']} {s['value']} ({s['rows']})" for s in found if s["rows"] < LEAST]
    return "\n".join([*lines, *(["", f"Too few rows to judge: {', '.join(few)}."] if few else [])])


def plot(
    points: list[tuple[float, float]], top: float | None = None, axes: tuple[str, str] = ("predicted", "came true")
) -> str:
    """A line through points as an SVG in a data URI; both axes from 0 to `top`, the largest value if not told."""
    reach = top or max([max(p) for p in points], default=1.0) or 1.0

    def at(x: float, y: float) -> str:
        return f"{EDGE + x / reach * SIDE:.1f},{EDGE + SIDE - y / reach * SIDE:.1f}"

    line = " ".join(at(x, y) for x, y in points)
    even = f'<polyline points="{at(0, 0)} {at(reach, reach)}" stroke="#bbb" fill="none"/>' if top is None else ""
    size = SIDE + 2 * EDGE
    return _svg(
        size,
        size,
        f'<rect x="{EDGE}" y="{EDGE}" width="{SIDE}" height="{SIDE}" fill="#fafafa" stroke="#ccc"/>{even}'
        f'<polyline points="{line}" stroke="#c33" stroke-width="2" fill="none"/>'
        f'<text x="{EDGE}" y="{size - 8}">{axes[0]}</text>'
        f'<text x="{EDGE}" y="14">{axes[1]}, 0 to {reach:.2f}</text>',
    )


def _svg(width: int, height: int, drawn: str) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
    image = f'{head} font-size="10" font-family="sans-serif">{drawn}</svg>'
    return "data:image/svg+xml;base64," + base64.b64encode(image.encode()).decode()


def drifted(found: pl.DataFrame) -> str:
    """The columns of `monitoring.drift` as bars, those that moved most first, as Markdown."""
    pictures = (
        ("PSI of the newest weeks against what was learned from", "psi", "#36c"),
        ("Share of missing values in the newest weeks", "missing", "#c33"),
    )
    told = (
        f"{title}\n\n![{title}]({bars([*found.select('feature', column).iter_rows()], colour)})"
        for title, column, colour in pictures
    )
    return "\n\n".join(told)


def bars(values: list[tuple[str, float]], colour: str) -> str:
    """A bar a name, with its value, as an SVG in a data URI; the longest is the largest value."""
    reach = max((value for _, value in values), default=0.0) or 1.0
    lines = "".join(
        f'<text x="{NAMED - 6}" y="{BAR * n + 12}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{NAMED}" y="{BAR * n + 3}" width="{value / reach * SIDE:.1f}" height="11" fill="{colour}"/>'
        f'<text x="{NAMED + value / reach * SIDE + 4:.1f}" y="{BAR * n + 12}">{value:.3f}</text>'
        for n, (name, value) in enumerate(values)
    )
    return _svg(NAMED + SIDE + 60, BAR * len(values) + 4, lines)


def weekly(weeks: pl.DataFrame, champion: Version | None) -> str:
    """A table of the weeks, the first line what the champion showed at the gate, and a picture of their AUC."""
    known = weeks.drop_nulls("auc")
    points = [(n / max(len(known) - 1, 1), value) for n, value in enumerate(known["auc"])]
    head = "| week | model | rows | AUC | calibration | Brier | predicted | came true |\n|" + "---|" * 8
    lines = [_week(f"{w['week']:%Y-%m-%d}", w["model"], w) for w in known.iter_rows(named=True)]
    if champion:
        gate = champion.metrics["challenger"]
        values = {name: gate[name]["value"] for name in ("auc", "calibration", "brier")}
        values["predicted"] = gate["share"] + values["calibration"]
        lines.insert(0, _week("at the gate", champion.id, gate | values))
    return "\n".join([f"![AUC by week]({plot(points, 1.0, ('week', 'AUC'))})", "", head, *lines])


def _week(named: str, model: object, told: dict[str, Any]) -> str:
    measures = f"{told['auc']:.3f} | {told['calibration']:+.3f} | {told['brier']:.3f}"
    return f"| {named} | {model} | {told['rows']:,} | {measures} | {told['predicted']:.3f} | {told['share']:.3f} |"
