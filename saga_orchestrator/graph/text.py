"""A picture as lines of text: readable without colour, 80 columns where it can.

A step has a line, and its compensation one below it::

    ↩  1  create_order    orders.create    compensated
    │  3                ↩ orders.delete    undone
    ✗  2  charge_payment  payment.charge   failed, refused

Where the lines between the steps would take too much room, the steps stand in
groups by rank, each with those that it waits for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import NamedTuple

from saga_orchestrator.graph.labels import LONG, cut, width, wrapped
from saga_orchestrator.graph.marks import ASCII, RESIDUAL
from saga_orchestrator.graph.picture import Node, Picture
from saga_orchestrator.graph.rails import Rail, rails

COLUMNS = 80
RAILS_MAX = 24
"""Columns that the lines between the steps may take."""
_NAMED_MAX = 8
"""Steps that are named as those which another one waits for."""
_GAP = "  "


class _Row(NamedTuple):
    """One line about a step."""

    order: str
    name: str
    handler: str
    words: str


def draw_text(picture: Picture) -> list[str]:
    """Draw a picture as lines of text."""
    lines = [*_header(picture), ""]
    track = _narrow_rails(picture)
    lines += _by_rank(picture) if track is None else _with_rails(picture, track)
    return [line.rstrip() for line in lines]


def in_ascii(lines: Sequence[str]) -> list[str]:
    """Return a drawing in letters that every terminal has."""
    return [line.translate(ASCII) for line in lines]


def _header(picture: Picture) -> Iterator[str]:
    yield _GAP.join(filter(None, (picture.name, picture.saga_id)))
    if picture.mark is not None:
        state = f"{picture.mark.glyph} {picture.mark.word}"
        text = f"{state}: {picture.reason}" if picture.reason else state
        first, *others = wrapped(text, COLUMNS - len(_GAP), LONG)
        yield first
        yield from (_GAP + other for other in others)
    if picture.alarm:
        yield f"{RESIDUAL.glyph} {picture.alarm}"
    if not picture.nodes:
        yield "no steps"


def _narrow_rails(picture: Picture) -> list[Rail] | None:
    """Return the rails, or None where they would take too much room."""
    track = []
    for rail in rails(picture.layout):
        if width(rail.below) > RAILS_MAX:
            return None
        track.append(rail)
    return track


def _with_rails(picture: Picture, track: Sequence[Rail]) -> Iterator[str]:
    margin = max((width(rail.below) for rail in track), default=0) + len(_GAP)
    table = _Table(picture.nodes, COLUMNS - margin)
    for rail in track:
        first, *others = table.lines(rail.step)
        glyph = picture.nodes[rail.step].mark.glyph
        yield rail.at.format(glyph).ljust(margin) + first
        for text in others:
            yield rail.below.ljust(margin) + text
        if rail.joint:
            yield rail.joint
        elif rail.leads_on and not others:
            yield rail.below


def _by_rank(picture: Picture) -> Iterator[str]:
    layout = picture.layout
    before = defaultdict(list)
    for dependency, step in layout.edges:
        before[step].append(picture.nodes[dependency].name)
    margin = len(f"{_GAP}●{_GAP}")
    table = _Table(picture.nodes, COLUMNS - margin)
    for rank, steps in groupby(layout.in_order(), key=layout.ranks.__getitem__):
        yield f"rank {rank + 1}"
        for step in steps:
            first, *others = table.lines(step)
            yield f"{_GAP}{picture.nodes[step].mark.glyph}{_GAP}{first}"
            if step in before:
                others.append(cut(f"after {_named(before[step])}", COLUMNS - margin))
            for text in others:
                yield " " * margin + text


def _named(names: Sequence[str]) -> str:
    if len(names) <= _NAMED_MAX:
        return ", ".join(names)
    return f"{', '.join(names[:3])} and {len(names) - 3} more"


class _Table:
    """The lines about each step: in columns if they fit, else one below another."""

    def __init__(self, nodes: Sequence[Node], columns: int) -> None:
        self._columns = columns
        self._rows = [list(_rows(node)) for node in nodes]
        cells = zip(*(row for row in chain(*self._rows) if row.handler), strict=True)
        widths = [max(map(width, column)) for column in cells] or [0] * 4
        self._order, self._name, self._handler, _ = widths
        gaps = len(_GAP) * (sum(map(bool, widths)) - 1)
        self._fits = sum(widths) + gaps <= columns

    def lines(self, step: int) -> list[str]:
        """Return the lines about a step."""
        texts = map(self._aligned if self._fits else self._stacked, self._rows[step])
        return [cut(text, self._columns) for text in chain(*texts)]

    def _aligned(self, row: _Row) -> Iterator[str]:
        name = row.name.ljust(self._name) if row.handler else row.name
        texts = [name, row.handler.ljust(self._handler), row.words]
        yield self._lead(row.order) + _GAP.join(texts).rstrip()

    def _stacked(self, row: _Row) -> Iterator[str]:
        lead = self._lead(row.order)
        if row.name:
            yield lead + row.name
            lead = self._lead("")
        if row.handler:
            room = self._columns - width(lead + _GAP + row.words)
            yield _GAP.join((lead + cut(row.handler, room), row.words)).rstrip()

    def _lead(self, order: str) -> str:
        return order.rjust(self._order) + _GAP if self._order else ""


def _rows(node: Node) -> Iterator[_Row]:
    words = ", ".join(filter(None, (node.words, "pivot" if node.pivot else "")))
    yield _Row(_number(node.order), node.name, f"  {node.action or '-'}", words)
    if node.when:
        yield _Row("", f"  if {node.when}", "", "")
    if node.undo is not None:
        undo = node.undo
        yield _Row(
            _number(undo.order), "", f"{undo.mark.glyph} {undo.name}", undo.words
        )


def _number(order: int | None) -> str:
    return "" if order is None else str(order)
