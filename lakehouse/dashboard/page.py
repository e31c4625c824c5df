"""cards → HTML: style, script and numbers in one file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import Any

BUNDLED = "window.vegaEmbed = vegaEmbed"
FRAME = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class Tile:
    """One number: what it is, the number as text, what is said below it, and whether it is as it should be."""

    name: str
    value: str
    note: str = ""
    well: bool = True


@dataclass(frozen=True)
class Card:
    """One chart, as Vega-Lite has it."""

    title: str
    note: str
    spec: dict[str, Any]


@dataclass(frozen=True)
class Section:
    name: str
    note: str
    tiles: Sequence[Tile]
    cards: Sequence[Card]


def page(sections: Sequence[Section], at: datetime) -> str:
    specs = [card.spec for section in sections for card in section.cards]
    return Template(FRAME.read_text()).substitute(
        at=at.strftime("%-d %B %Y, %H:%M UTC"),
        links="".join(f'<a href="#{escape(s.name)}">{escape(s.name)}</a>' for s in sections),
        sections="".join(_section(s) for s in sections),
        specs=json.dumps(_plain(specs), default=str, allow_nan=False).replace("<", "\\u003c"),
        bundle=_bundle(),
    )


def _plain(value: Any) -> Any:
    """JSON has no word for what is no number or endless: nothing is drawn of it."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _section(section: Section) -> str:
    head = f'<h2 id="{escape(section.name)}">{escape(section.name)}</h2><p>{escape(section.note)}</p>'
    tiles = "".join(map(_tile, section.tiles))
    cards = "".join(map(_card, section.cards))
    return f'<section>{head}<div class="tiles">{tiles}</div><div class="cards">{cards}</div></section>'


def _tile(tile: Tile) -> str:
    told = f"<dt>{escape(tile.name)}</dt><dd>{escape(tile.value)}</dd><small>{escape(tile.note)}</small>"
    return f'<dl class="{"well" if tile.well else "off"}">{told}</dl>'


def _card(card: Card) -> str:
    head = f"<figcaption><h3>{escape(card.title)}</h3><p>{escape(card.note)}</p></figcaption>"
    return f'<figure>{head}<div class="chart"></div></figure>'


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one module."""
    import vl_convert

    return str(vl_convert.javascript_bundle(BUNDLED)).replace("</script", "<\\/script")
