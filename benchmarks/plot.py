"""Growth curves as SVG: one panel a curve, no scripts, no fonts to load."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 440, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 44, 44
COLUMNS = 2
TICKS = 4
# Readable in grey, and on a dark page: the reader's colour for text and lines.
_STYLE = """
text { font: 12px sans-serif; fill: currentColor }
.title { font-weight: bold } .value { font-size: 11px }
.axis { stroke: currentColor; stroke-opacity: .35; fill: none }
.line { stroke: #2563eb; stroke-width: 2; fill: none } .dot { fill: #2563eb }
svg { color: #1f2937 }
@media (prefers-color-scheme: dark) { svg { color: #e5e7eb; background: #111827 } }
"""


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve.

    Attributes:
        title: what is shown, with the unit of the values.
        axis: what the places mean.
        points: each place, with its value; places in ascending order, over 0.
    """

    title: str
    axis: str
    points: Sequence[tuple[float, float]]


def draw(curves: Sequence[Curve]) -> str:
    """Return the curves as one SVG document."""
    rows = math.ceil(len(curves) / COLUMNS)
    parts = [
        f'<g transform="translate({index % COLUMNS * WIDTH},'
        f'{index // COLUMNS * HEIGHT})">{"".join(_panel(curve))}</g>'
        for index, curve in enumerate(curves)
    ]
    size = f"{COLUMNS * WIDTH} {rows * HEIGHT}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img">'
        f"<style>{_STYLE}</style>{''.join(parts)}</svg>\n"
    )


def _panel(curve: Curve) -> Iterator[str]:
    top = _round_up(max(value for _, value in curve.points))
    places = [_across(curve, place) for place, _ in curve.points]
    levels = [_up(value / top) for _, value in curve.points]
    yield _text(LEFT, 20, curve.title, "start", "title")
    for tick in range(TICKS + 1):
        y = _up(tick / TICKS)
        yield f'<path class="axis" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>'
        yield _text(LEFT - 8, y + 4, f"{top * tick / TICKS:,.4g}", "end")
    line = " ".join(f"{x},{y}" for x, y in zip(places, levels, strict=True))
    yield f'<polyline class="line" points="{line}"/>'
    for x, y, (place, value) in zip(places, levels, curve.points, strict=True):
        yield f'<circle class="dot" cx="{x}" cy="{y}" r="3.5"/>'
        yield _text(x, y - 8, f"{value:,.4g}", "middle", "value")
        yield _text(x, HEIGHT - BOTTOM + 16, _short(place), "middle")
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, curve.axis, "middle")


def _across(curve: Curve, place: float) -> float:
    """Return where a place is, by its logarithm: they grow by factors."""
    first, last = curve.points[0][0], curve.points[-1][0]
    share = math.log(place / first) / math.log(last / first) if last > first else 0.5
    inner = WIDTH - LEFT - RIGHT - 40
    return round(LEFT + 20 + share * inner, 1)


def _up(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _round_up(value: float) -> float:
    """Return the next number of one digit, or one and a half, as the axis' end."""
    if value <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(
        step * size for step in (1, 1.5, 2, 3, 4, 6, 8, 10) if value <= step * size
    )


def _short(place: float) -> str:
    for size, unit in ((1_000_000, "M"), (1000, "k")):
        if place >= size:
            return f"{place / size:g}{unit}"
    return f"{place:g}"


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    return (
        f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">'
        f"{html.escape(text)}</text>"
    )
