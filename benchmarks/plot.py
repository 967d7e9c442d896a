"""Growth curves as SVG: one panel a curve, no scripts, no fonts to load."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 440, 270
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 52, 48
CAPTION = 30
COLUMNS = 2
TICKS = 4
# On a page of its own, light wherever it is shown; readable in grey. A value has a
# light edge, for lines pass below it.
_STYLE = """
text { font: 12px sans-serif; fill: #1f2937 }
.title { font-weight: bold } .small { font-size: 11px; fill: #4b5563 }
.value { font-size: 11px }
.edge { font-size: 11px; stroke: #fff; stroke-width: 4px }
.page { fill: #fff } .axis { stroke: #d1d5db; fill: none }
.range { stroke: #2563eb; stroke-opacity: .45; stroke-width: 5; fill: none }
.line { stroke: #2563eb; stroke-width: 2; fill: none } .dot { fill: #2563eb }
"""


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve.

    Attributes:
        title: what is shown, with the unit of the values.
        axis: what the places mean.
        points: each place, with its value; places in ascending order.
        ranges: the lowest and the highest value at each place; empty: not known.
        by_factors: places grow by factors: their logarithms are shown; they are over 0.
    """

    title: str
    axis: str
    points: Sequence[tuple[float, float]]
    ranges: Sequence[tuple[float, float]] = ()
    by_factors: bool = True


def draw(curves: Sequence[Curve], caption: str) -> str:
    """Return the curves as one SVG document, with a line of text below them."""
    rows = math.ceil(len(curves) / COLUMNS)
    parts = [
        f'<g transform="translate({index % COLUMNS * WIDTH},'
        f'{index // COLUMNS * HEIGHT})">{"".join(_panel(curve))}</g>'
        for index, curve in enumerate(curves)
    ]
    width, height = COLUMNS * WIDTH, rows * HEIGHT + CAPTION
    parts.append(_text(16, height - 12, caption, "start", "small"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' role="img"><style>{_STYLE}</style>'
        f'<rect class="page" width="{width}" height="{height}"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _panel(curve: Curve) -> Iterator[str]:
    values = [value for _, value in curve.points]
    top = _round_up(max([*values, *(high for _, high in curve.ranges)]))
    places = [_across(curve, place) for place, _ in curve.points]
    levels = [_up(value / top) for value in values]
    yield _text(LEFT, 20, curve.title, "start", "title")
    for tick in range(TICKS + 1):
        y = _up(tick / TICKS)
        yield f'<path class="axis" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>'
        yield _text(LEFT - 8, y + 4, f"{top * tick / TICKS:,.4g}", "end")
    for x, (low, high) in zip(places, curve.ranges, strict=False):
        yield f'<path class="range" d="M{x} {_up(low / top)}V{_up(high / top)}"/>'
    line = " ".join(f"{x},{y}" for x, y in zip(places, levels, strict=True))
    yield f'<polyline class="line" points="{line}"/>'
    for x, y, (place, value) in zip(places, levels, curve.points, strict=True):
        yield f'<circle class="dot" cx="{x}" cy="{y}" r="3.5"/>'
        for kind in ("edge", "value"):
            yield _text(x, y - 10, _three_digits(value), "middle", kind)
        yield _text(x, HEIGHT - BOTTOM + 16, _short(place), "middle")
    scale = " (logarithmic)" if curve.by_factors else ""
    axis = f"{curve.axis}{scale}"
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, axis, "middle", "small")


def _across(curve: Curve, place: float) -> float:
    """Return where a place is, between the first and the last."""
    of = math.log if curve.by_factors else float
    first, last = of(curve.points[0][0]), of(curve.points[-1][0])
    share = (of(place) - first) / (last - first) if last > first else 0.5
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
            return f"{place / size:.3g}{unit}"
    return f"{place:.3g}"


def _three_digits(value: float) -> str:
    """Return a value as exactly as it was measured, which is not very."""
    digits = max(2 - math.floor(math.log10(value)), 0) if value > 0 else 0
    return f"{value:,.{digits}f}"


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    return (
        f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">'
        f"{html.escape(text)}</text>"
    )
