"""The lines to the left of a list of steps, as in ``git log --graph``.

A column stands for a step that is still to come: it opens below the first step
that leads there, and whoever else leads there joins it::

    ● a
    ├─╮
    ● │   b
    │ ●   c
    ├─╯
    ●     d
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from saga_orchestrator.graph.layout import Layout

_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_JOINTS = {
    _UP | _DOWN | _RIGHT: "├",
    _UP | _DOWN | _LEFT: "┤",
    _UP | _DOWN | _LEFT | _RIGHT: "┼",
    _UP | _RIGHT: "╰",
    _UP | _LEFT: "╯",
    _UP | _LEFT | _RIGHT: "┴",
    _DOWN | _RIGHT: "╭",
    _DOWN | _LEFT: "╮",
    _DOWN | _LEFT | _RIGHT: "┬",
}


@dataclass(frozen=True, slots=True)
class Rail:
    """What stands to the left of one step.

    Attributes:
        step: its number.
        at: beside the step, its glyph left open as ``{}``.
        below: beside further lines about it.
        joint: a line of its own that leads to other columns; empty: none is needed.
        leads_on: some step waits for this one.
    """

    step: int
    at: str
    below: str
    joint: str
    leads_on: bool


def rails(layout: Layout) -> Iterator[Rail]:
    """Yield the rail of each step, in the layout's order."""
    order = layout.in_order()
    place = {step: position for position, step in enumerate(order)}
    leads_to = defaultdict(list)
    for before, step in layout.edges:
        leads_to[before].append(step)
    columns: list[int | None] = []
    for step in order:
        own = columns.index(step) if step in columns else _free(columns, 0)
        _put(columns, own, step)
        at = _line(columns, own, "{}")
        targets = sorted(leads_to[step], key=place.__getitem__)
        new = [target for target in targets if target not in columns]
        below = _line(columns, own, "│" if targets else " ")
        columns[own] = None
        for target in new:
            _put(columns, _free(columns, own), target)
        ends = {columns.index(target) for target in targets}
        opened = {columns.index(target) for target in new}
        joint = _joint(columns, own, ends, opened)
        yield Rail(step, at, below, joint, leads_on=bool(targets))
        while columns and columns[-1] is None:
            columns.pop()


def _free(columns: list[int | None], near: int) -> int:
    """Return the nearest column that stands for nobody, or the next one."""
    free = [i for i, step in enumerate(columns) if step is None]
    return min([*free, len(columns)], key=lambda column: (abs(column - near), column))


def _put(columns: list[int | None], column: int, step: int) -> None:
    columns.extend([None] * (column + 1 - len(columns)))
    columns[column] = step


def _line(columns: list[int | None], own: int, mark: str) -> str:
    cells = (
        mark if column == own else " " if step is None else "│"
        for column, step in zip(count(), columns, strict=False)
    )
    return " ".join(cells)


def _joint(
    columns: list[int | None], own: int, ends: set[int], opened: set[int]
) -> str:
    """Return the line from a step's column to those of the steps after it."""
    if not ends or ends == {own}:
        return ""
    left, right = min(ends | {own}), max(ends | {own})
    line = []
    for column, step in enumerate(columns):
        sides = _LEFT * (left < column) | _RIGHT * (column < right)
        if column == own or column in ends:
            sides |= _UP * (column == own or column not in opened)
            sides |= _DOWN * (column in ends)
            line.append(_JOINTS[sides] if left <= column <= right else "│")
        elif step is not None:
            line.append("│")
        else:
            line.append("─" if left < column < right else " ")
        line.append("─" if left <= column < right else " ")
    return "".join(line).rstrip()
