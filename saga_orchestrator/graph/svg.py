"""A picture as SVG 1.1: no font, script or image from outside, all in ASCII."""

from __future__ import annotations

from collections.abc import Iterator

from saga_orchestrator.graph.frame import (
    ALARM,
    LETTER_HEAD,
    LINE,
    PAD,
    Frame,
)
from saga_orchestrator.graph.labels import cut
from saga_orchestrator.graph.marks import RESIDUAL
from saga_orchestrator.graph.picture import Node, Picture, Undo
from saga_orchestrator.graph.routes import routes
from saga_orchestrator.graph.shapes import state, step_box, text, undo_box, xml
from saga_orchestrator.graph.style import stylesheet

_NAMESPACE = "http://www.w3.org/2000/svg"


def draw_svg(picture: Picture) -> str:
    """Draw a picture as an SVG document."""
    frame = Frame(picture)
    w, h = frame.width, frame.height
    size = f'width="{w}" height="{h}" viewBox="0 0 {w} {h}"'
    lines = [
        f'<svg xmlns="{_NAMESPACE}" version="1.1" class="saga" role="img" {size}>',
        f"<title>{xml(_title(picture))}</title>",
        f"<desc>{xml(' '.join(_sentences(picture)))}</desc>",
        f"<style>\n{stylesheet()}</style>",
        f'<rect class="sheet" x=".5" y=".5" width="{w - 1}" height="{h - 1}" rx="8"/>',
        *_header(picture, frame),
        *routes(picture, frame),
        *_boxes(picture, frame),
        "</svg>\n",
    ]
    return "\n".join(lines).encode("ascii", "xmlcharrefreplace").decode()


def _header(picture: Picture, frame: Frame) -> Iterator[str]:
    room = frame.width - 2 * PAD
    yield text(PAD, 36, cut(picture.name, int(room / LETTER_HEAD)), "head")
    if picture.mark is None:
        return
    yield f'<g class="{picture.mark.kind}">'
    yield state(picture.mark, picture.mark.word, PAD, 60)
    yield "</g>"
    yield text(frame.width - PAD, 60, picture.saga_id, "code faint end")
    top = 84
    if picture.alarm:
        yield f'<g class="{RESIDUAL.kind}">'
        yield state(RESIDUAL, picture.alarm, PAD, top)
        yield "</g>"
        top += ALARM
    for number, line in enumerate(frame.reason):
        yield text(PAD, top + LINE * number, line, "code faint")


def _boxes(picture: Picture, frame: Frame) -> Iterator[str]:
    for number in picture.layout.in_order():
        node, box = picture.nodes[number], frame.step_at(number)
        yield from step_box(node, box, _told(node), frame)
        if node.undo is not None:
            told = _undo_told(node.name, node.undo)
            yield from undo_box(node.undo, frame.undo_at(number), told)


def _title(picture: Picture) -> str:
    if picture.mark is None:
        return f"Saga {picture.name}"
    return f"Saga {picture.name} {picture.saga_id}: {picture.mark.word}"


def _sentences(picture: Picture) -> Iterator[str]:
    """Yield what the picture shows, for those who cannot see it."""
    if picture.reason:
        yield f"Reason: {picture.reason}."
    if picture.alarm:
        yield f"{picture.alarm}."
    for number in picture.layout.in_order():
        node = picture.nodes[number]
        yield f"{_told(node)}."
        if node.undo is not None:
            yield f"{_undo_told(node.name, node.undo)}."


def _told(node: Node) -> str:
    number = f"{node.order}. " if node.order else ""
    told = [
        f"{number}{node.name}: {node.words}" if node.words else node.name,
        f"action {node.action}" if node.action else "no action",
        f"if {node.when}" if node.when else "",
        "pivot" if node.pivot else "",
    ]
    return ", ".join(filter(None, told))


def _undo_told(step: str, undo: Undo) -> str:
    number = f"{undo.order}. " if undo.order else ""
    told = f"{number}undo of {step} by {undo.name}"
    return f"{told}: {undo.words}" if undo.words else told
