"""The SVG's lines: forward edges, the way back, and from a step to its undo.

In a sequence the way back is drawn from undo to undo. In a graph that would be
a second graph on top of the first; there the numbers tell the order.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from saga_orchestrator.core.states import StepState
from saga_orchestrator.graph.frame import INSET, Frame
from saga_orchestrator.graph.picture import Picture

_TIPS = {
    "right": "l-8 -4.5v9z",
    "left": "l8 -4.5v9z",
    "down": "l-4.5 -8h9z",
    "up": "l-4.5 8h9z",
}
_TIP = 7
"""How far before its end a line stops, for the tip."""


def routes(picture: Picture, frame: Frame) -> Iterator[str]:
    """Yield the lines as SVG elements; boxes are drawn over them."""
    for number, node in enumerate(picture.nodes):
        if node.undo is not None:
            yield _link(frame, number)
    for before, step in picture.layout.edges:
        status = picture.nodes[step].status
        unused = status is not None and status.state is StepState.PENDING
        yield from _edge(frame, before, step, "edge unused" if unused else "edge")
    if picture.layout.is_sequence and not picture.undo_together:
        yield from _way_back(picture, frame)


def _link(frame: Frame, number: int) -> str:
    step, undo = frame.step_at(number), frame.undo_at(number)
    if frame.is_down:
        line = f"M{step.right} {step.middle[1]}H{undo.x}"
    else:
        line = f"M{step.middle[0]} {step.bottom}V{undo.y}"
    return f'<path class="link" d="{line}"/>'


def _edge(frame: Frame, before: int, step: int, kind: str) -> Iterator[str]:
    """Yield an edge: into the step's lane at once, then along it."""
    start, end, gap = frame.step_at(before), frame.step_at(step), frame.gap
    if frame.is_down:
        x, y, to_y = start.middle[0], start.bottom, end.y
        line = f"M{x} {y}V{to_y - _TIP}"
        yield from _arrow(kind, line, "down", x, to_y)
        return
    (_, y), (_, to_y), to_x = start.middle, end.middle, end.x
    x = start.right
    line = f"M{x} {y}"
    if y != to_y:
        bend = gap - _TIP - 3
        line += f"C{x + bend // 2} {y} {x + bend // 2} {to_y} {x + bend} {to_y}"
    yield from _arrow(kind, f"{line}H{to_x - _TIP}", "right", to_x, to_y)


def _way_back(picture: Picture, frame: Frame) -> Iterator[str]:
    order = picture.layout.in_order()
    undone = [
        step
        for step in reversed(order)
        if (undo := picture.nodes[step].undo) is not None and undo.is_on_the_way
    ]
    for later, earlier in pairwise(undone):
        yield from _back(frame, later, earlier)
    turn = _turning_step(picture, order)
    if undone and turn is not None and turn != undone[0]:
        yield from _turn(frame, turn, undone[0])


def _turning_step(picture: Picture, order: list[int]) -> int | None:
    """Return the step that a saga came to before it turned back."""
    if not any(node.undo and not node.undo.is_on_the_way for node in picture.nodes):
        return None
    came_to = [
        step
        for step in order
        if (status := picture.nodes[step].status) is not None
        and status.state is not StepState.PENDING
    ]
    return came_to[-1] if came_to else None


def _back(frame: Frame, later: int, earlier: int) -> Iterator[str]:
    start, end = frame.undo_at(later), frame.undo_at(earlier)
    x, y = end.middle
    if frame.is_down:
        y = end.bottom
        yield from _arrow("back", f"M{x} {start.y}V{y + _TIP}", "up", x, y)
    else:
        x = end.right
        yield from _arrow("back", f"M{start.x} {y}H{x + _TIP}", "left", x, y)


def _turn(frame: Frame, turn: int, last: int) -> Iterator[str]:
    """Yield the arrow from where the saga turned to the first undo."""
    start, end = frame.step_at(turn), frame.undo_at(last)
    if frame.is_down:
        x, y, tip_y = end.middle[0], start.y + INSET // 2, end.bottom
        line = f"M{start.right} {y}H{x - 8}q8 0 8 -8V{tip_y + _TIP}"
        yield from _arrow("back", line, "up", x, tip_y)
    else:
        x, y, tip_x = start.x + INSET // 2, end.middle[1], end.right
        line = f"M{x} {start.bottom}V{y - 8}q0 8 -8 8H{tip_x + _TIP}"
        yield from _arrow("back", line, "left", tip_x, y)


def _arrow(kind: str, line: str, way: str, x: int, y: int) -> Iterator[str]:
    yield f'<path class="{kind}" d="{line}"/>'
    yield f'<path class="{kind} tip" d="M{x} {y}{_TIPS[way]}"/>'
